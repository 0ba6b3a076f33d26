"""The read path: from the catalog's row to the ledger's entry to the object, re-hashing all of it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from archive_service.catalog.base import CaptureRow, EvidenceRow, MessageRow
from archive_service.catalog.merge import merge
from archive_service.catalog.vouching import entry_of, vouched
from archive_service.ledger.entry import Entry
from archive_service.ledger.evidence import TYPE as EVIDENCE
from archive_service.ledger.evidence import open_evidence
from archive_service.ledger.payloads import PayloadVault, open_capture
from archive_service.ledger.reader import read_entry
from archive_service.model.errors import NotFound, Tampered
from archive_service.model.evidence import Evidence
from archive_service.vault.key_layout import LogId
from archive_service.vault.seal import Opened


@dataclass(frozen=True)
class Looked:
    """One look at a capture as the order log has it: its entry, what it says, and what opens the entry's commit."""

    entry: Entry
    evidence: Evidence
    salt: bytes


class LedgerContents:
    """A tenant's captures. ``barred``: see ``Acts.barred``; asked at every read. Thread-safe."""

    def __init__(self, vault: PayloadVault, barred: Callable[[Iterable[str]], set[str]]) -> None:
        self._vault = vault
        self._barred = barred

    def entry(self, capture: CaptureRow) -> Entry:
        """The ledger entry of a capture. Raises Tampered when the catalog's row does not fit it."""
        return entry_of(self._vault.store, capture)

    def opened(self, capture: CaptureRow) -> Opened:
        """Raw bytes and record, re-hashed, for a row that says what the ledger says. Raises Tampered, KeyUnavailable,
        StoreError."""
        fields = self._checked(capture).fields
        return open_capture(self._vault.store, self._vault.keyring, LogId.parse(capture.log), fields)

    def check(self, message: MessageRow) -> None:
        """The catalog is no authority: before a message is shown, its rows must say what the sealed findings say.
        Raises Tampered, KeyUnavailable, StoreError."""
        for capture in message.captures:
            self._checked(capture)
        if merge(list(message.captures)) != message:
            raise Tampered("the catalog's message does not follow from its captures", code="integrity.row")

    def _checked(self, capture: CaptureRow) -> Entry:
        """See ``vouched``. Raises NotFound for what an act has barred, whatever the catalog still says."""
        if self._barred([capture.id]):
            raise NotFound("nothing is here under this id", code="not_found")
        return vouched(self._vault, capture)

    def looks(self, capture: CaptureRow, rows: Sequence[EvidenceRow]) -> list[Looked]:
        """What was seen of a capture after its ``250``, opened in the order log and compared with the catalog's
        ``rows`` of it. Raises as ``check``."""
        if self._barred([capture.id]):
            raise NotFound("nothing is here under this id", code="not_found")
        order = LogId(LogId.parse(capture.log).owner, "order-1")
        found: list[Looked] = []
        for row in rows:
            entry = read_entry(self._vault.store, order, row.order_seq)
            same = entry.fields.get("of") == {"log": capture.log, "seq": capture.seq}
            if entry.type != EVIDENCE or not same or entry.fields.get("capture") != capture.id:
                raise Tampered("the catalog's evidence does not fit the order log", code="integrity.row")
            evidence, salt = open_evidence(self._vault, order, entry)
            if evidence.summary() != row.evidence:
                raise Tampered(
                    "the catalog's evidence does not say what the ledger says", code="integrity.row"
                )
            found.append(Looked(entry, evidence, salt))
        return found

    def raw(self, capture: CaptureRow) -> bytes:
        """The capture as received, byte for byte. Raises as ``opened``."""
        return self.opened(capture).raw
