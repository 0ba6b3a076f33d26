"""The root log against all others: whoever cut a log back, or changed a checkpoint, is seen here."""

import hashlib
from collections.abc import Mapping

from archive_service.ledger import anchors
from archive_service.ledger.entry import Entry
from archive_service.ledger.payloads import PayloadVault
from archive_service.ledger.verify.report import Report, What
from archive_service.ledger.verify.walk import LogFacts
from archive_service.model.errors import ArchiveError
from archive_service.vault.key_layout import LogId


class Roots:
    """Collects ``anchors`` entries while the root log is walked, then compares them with every log's facts."""

    def __init__(self, vault: PayloadVault, root: LogId, report: Report) -> None:
        self._vault = vault
        self._root = root
        self._report = report
        self._listed: dict[str, dict[int, tuple[str, int]]] = {}
        self._anchors: dict[str, int] = {}

    def take(self, entry: Entry) -> None:
        """One entry of the root log."""
        if entry.type != "anchors":
            return
        try:
            for anchor in entry.fields["anchors"]:
                self._anchors[str(anchor)] = entry.seq
            listing = self._vault.open(self._root, entry.fields.get("payload"))
            for row in listing["checkpoints"]:
                known = self._listed.setdefault(str(row["log"]), {})
                known[int(row["size"])] = (str(row["note_sha256"]), entry.seq)
        except ArchiveError:
            return  # named when the entry's payload is checked
        except (KeyError, TypeError, ValueError):
            self._report.damage(
                What.PAYLOAD,
                "an anchor list that does not follow its format",
                log=str(self._root),
                seq=entry.seq,
            )

    def compare(self, facts: Mapping[str, LogFacts], salts: Mapping[str, bytes]) -> None:
        """After every log was walked."""
        for log, sizes in sorted(self._listed.items()):
            known = facts.get(log)
            if known is None:
                self._report.damage(What.ROOT, "the root log names a log that has gone", log=log)
                continue
            for size, (digest, seq) in sorted(sizes.items()):
                self._one(known, size, digest, seq, salts)
        for log, found in sorted(facts.items()):
            newest = max(self._listed.get(log, {}), default=0)  # those before it stand under its root
            loose = sum(size > newest for size in found.checkpoints)
            if loose and log != str(self._root):
                self._report.note(What.CHECKPOINT, f"{loose} checkpoints are not anchored", log=log)

    def _one(self, known: LogFacts, size: int, digest: str, seq: int, salts: Mapping[str, bytes]) -> None:
        log = str(known.log)
        if known.size < size:
            detail = f"the log ends at {known.size}; root entry {seq} saw {size}: it was cut back"
            self._report.damage(What.ROOT, detail, log=log, seq=known.size)
            return
        if not known.signed:
            return  # its checkpoints cannot be checked, and the missing key is named
        point = known.checkpoints.get(size)
        if point is None and size in known.claimed:
            return  # it stands, and does not fit the entries: named there
        if point is None:
            self._report.damage(
                What.CHECKPOINT, f"root entry {seq} names a checkpoint that has gone", log=log, seq=size - 1
            )
            return
        if hashlib.sha256(point.note.encode()).hexdigest() != digest:
            self._report.damage(
                What.CHECKPOINT, f"not the checkpoint that root entry {seq} names", log=log, seq=size - 1
            )
            return
        salt_key = salts.get(known.log.owner)
        if salt_key is not None:
            anchor = anchors.anchor_of(anchors.salt_of(salt_key, point.note), point.note)
            if anchor not in self._anchors:
                self._report.damage(
                    What.ROOT, f"root entry {seq} does not anchor what it lists", log=log, seq=size - 1
                )
