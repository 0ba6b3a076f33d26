"""What entries name: objects byte by byte, payloads, the keys behind them in both places, the locks upon them."""

from collections.abc import Callable
from random import Random
from typing import Any

from archive_service.ledger import evidence
from archive_service.ledger.dispositions import Dispositions
from archive_service.ledger.entry import Entry
from archive_service.ledger.erasures import Erasures
from archive_service.ledger.moves import object_facts
from archive_service.ledger.payloads import PayloadVault, open_capture, read_stored
from archive_service.ledger.verify.keys import check_copies
from archive_service.ledger.verify.locks import Locks
from archive_service.ledger.verify.moves import Moves
from archive_service.ledger.verify.report import Report, What
from archive_service.model.clock import from_rfc3339
from archive_service.model.errors import ArchiveError, Invalid, KeyUnavailable, StoreError, Tampered
from archive_service.vault import key_layout
from archive_service.vault.key_layout import LogId
from archive_service.vault.keyring import Keyring, parse_record
from archive_service.vault.stores.base import Lock, LockMode, ObjectStore

_WHAT = {"integrity.object": What.OBJECT, "integrity.missing": What.OBJECT, "integrity.commit": What.OBJECT}
_MALFORMED = (AttributeError, KeyError, TypeError, ValueError)  # what an entry gives whose fields were edited


class Contents:
    """Checks what one owner's entries name. ``sample`` is the share of objects whose bytes are read, the same ones
    under the same ``seed``; keys, payloads and locks are always looked at. ``vkey``: what the owner signs with.
    ``erasures``: what its acts say of forgetting: a key that is gone by right is no damage, one that came back is.
    ``moves``: what the owner's move log says, taken before. ``dispositions``: whose objects are gone by right."""

    def __init__(
        self,
        vault: PayloadVault,
        report: Report,
        *,
        sample: float = 1.0,
        seed: int = 0,
        skip: Callable[[LogId, int], bool],
        vkey: str | None = None,
        erasures: Erasures | None = None,
        moves: Moves | None = None,
        dispositions: Dispositions | None = None,
    ) -> None:
        self._store: ObjectStore = vault.store
        self._keyring: Keyring = vault.keyring
        self._vault = vault
        self._report = report
        self._sample = sample
        self._seed = seed
        self._skip = skip
        self._vkey = vkey
        self._erasures = erasures or Erasures()
        self._gone = self._erasures.gone()
        self._dispositions = dispositions or Dispositions()
        self._moves = moves or Moves(vault.keyring.owner, report)
        self._last_record = ""
        self._locks: dict[LogId, Locks] = {}

    def check(self, log: LogId, entry: Entry) -> None:
        """Check one entry's object or payload."""
        if self._skip(log, entry.seq):
            return
        try:
            if entry.type == "capture":
                self._capture(log, entry)
            elif entry.type in {"act", "access", "anchors"}:
                self._payload(log, entry)
            elif entry.type == "finding":
                self._finding(log, entry)
            elif entry.type == evidence.TYPE:
                self._evidence(log, entry)
        except ArchiveError as error:
            self._problem(log, entry, error)
        except _MALFORMED:
            self._problem(log, entry, Tampered("an entry whose fields are malformed"))

    def _problem(self, log: LogId, entry: Entry, error: ArchiveError) -> None:
        what = What.PAYLOAD if entry.type != "capture" else What.OBJECT
        if isinstance(error, KeyUnavailable):
            what = What.KEY
        elif isinstance(error, Tampered):
            what = _WHAT.get(error.code, what)
        elif isinstance(error, StoreError):
            what = What.STORE
        self._report.damage(what, str(error), log=str(log), seq=entry.seq, name=_object_name(entry))

    # --- captures -------------------------------------------------------------------------------------

    def _capture(self, log: LogId, entry: Entry) -> None:
        fields = entry.fields
        self._report.tally.objects += 1
        if self._report.tally.objects % 64 == 0:
            self._report.step()
        self._record(log, entry, str(fields.get("capture")))
        self._lock(log, entry)
        opens = self._key_opens(log, entry, log, str(fields.get("capture")))
        if not self._sampled(log, entry.seq):
            self._report.tally.not_sampled += 1
        elif opens:
            open_capture(self._store, self._keyring, log, fields)
        else:
            self._without_key(str(fields.get("capture")), fields)

    def _without_key(self, capture: str, fields: dict[str, Any]) -> None:
        """What nobody can open is still there, unless it was deleted by right; then it stays away."""
        run = self._dispositions.of(capture) if capture in self._gone else None
        swept = capture in self._gone and capture in self._erasures.deleting
        try:
            read_stored(self._store, fields.get("object"))
        except Tampered as error:
            if (run is None and not swept) or error.code != "integrity.missing":
                raise
        else:
            if (run is not None and run.done is not None) or (swept and capture in self._erasures.deleted):
                raise Tampered("an object that was deleted is there again", code="integrity.object")

    def _sampled(self, log: LogId, seq: int) -> bool:
        """Decided for each entry alone, so that a resumed run reads what the whole run would have read."""
        return self._sample >= 1.0 or Random(f"{self._seed}/{log}/{seq}").random() < self._sample  # noqa: S311

    def _lock(self, log: LogId, entry: Entry) -> None:
        """The capture's lock is not shorter or weaker than its entry says."""
        name = _object_name(entry)
        lock = self._look(log, entry, name) if name is not None else None
        if lock is None:
            return
        until = entry.fields.get("lock_until")
        short = until is not None and (lock.until is None or lock.until < from_rfc3339(str(until)))
        weak = entry.fields.get("lock_mode") == "COMPLIANCE" and lock.mode is not LockMode.COMPLIANCE
        if short or weak:
            detail = "the lock is shorter or weaker than its entry says"
            self._report.damage(What.LOCK, detail, log=str(log), seq=entry.seq, name=name)

    def _look(self, log: LogId, entry: Entry, name: str) -> Lock | None:
        """The object's retention state, and whether it stands under the version that its entry or a move names."""
        locks = self._locks_of(log)
        lock = locks.check(name, entry.seq)
        if locks.version is not None:
            self._moves.check(log, entry, locks.version)
        return lock

    def _locks_of(self, log: LogId) -> Locks:
        return self._locks.setdefault(log, Locks(self._store, self._report, log))

    # --- payloads -------------------------------------------------------------------------------------

    def _payload(self, log: LogId, entry: Entry) -> None:
        payload = entry.fields["payload"]
        self._report.tally.payloads += 1
        self._record(log, entry, str(payload.get("name")))
        self._payload_lock(log, entry)
        if not self._key_opens(log, entry, log, str(payload.get("name"))):
            return
        opened = self._vault.open(log, payload)
        if opened.get("act") == "owner.create" and self._vkey not in {None, opened.get("vkey")}:
            detail = "the signing key is not the one that the owner's first act names"
            name = key_layout.secret_name(log.owner, "signing")
            self._report.damage(What.KEY, detail, log=str(log), seq=entry.seq, name=name)

    def _finding(self, log: LogId, entry: Entry) -> None:
        of, capture = LogId.parse(str(entry.fields["of"]["log"])), str(entry.fields.get("capture"))
        self._report.tally.payloads += 1
        self._payload_lock(log, entry)
        if not self._key_opens(log, entry, of, capture):
            return
        key = self._keyring.object_key(of, capture)
        opened = self._vault.open_finding(log, entry.fields.get("payload"), capture, key)
        if opened.get("finding", {}).get("capture") != capture:
            raise Tampered("a finding of another capture")

    def _evidence(self, log: LogId, entry: Entry) -> None:
        of, _, capture = evidence.subject(entry)
        self._report.tally.payloads += 1
        self._payload_lock(log, entry)
        if self._key_opens(log, entry, of, capture):
            evidence.open_evidence(self._vault, log, entry)

    def _payload_lock(self, log: LogId, entry: Entry) -> None:
        name = _object_name(entry)
        if name is not None:
            self._look(log, entry, name)

    # --- keys -----------------------------------------------------------------------------------------

    def _key_opens(self, log: LogId, entry: Entry, of: LogId, sealed_name: str) -> bool:
        """Whether the key behind a sealed name can be had; else it is named, apart from what it seals."""
        try:
            self._keyring.object_key(of, sealed_name)
        except (KeyUnavailable, Tampered) as error:
            if isinstance(error, KeyUnavailable) and self._erasures.begun(sealed_name):
                self._report.tally.erased += entry.type == "capture"
                return False
            name = _object_name(entry) or sealed_name
            self._report.damage(What.KEY, str(error), log=str(log), seq=entry.seq, name=name)
            return False
        if sealed_name in self._gone:
            detail = "a key that was destroyed can be had again"
            self._report.damage(What.KEY, detail, log=str(log), seq=entry.seq, name=sealed_name)
        return True

    def _record(self, log: LogId, entry: Entry, name: str) -> None:
        """The key record behind a sealed name: well-formed, and the same in both places."""
        try:
            batch, _ = key_layout.split_sealed_name(name)
        except Invalid as error:
            raise Tampered("an entry without a well-formed sealed name") from error
        record = key_layout.record_name(log, batch)
        if record == self._last_record:
            return
        self._last_record = record
        self._report.tally.keys += 1

        def opens(_: int, data: bytes) -> None:
            parsed = parse_record(data, log, batch)
            for index, key in enumerate(parsed["keys"]):
                if key is not None:
                    self._keyring.key_from(parsed, log, batch, index)

        check_copies(self._keyring.store, record, self._report, opens, str(log), entry.seq)


def _object_name(entry: Entry) -> str | None:
    """The object store key that an entry or its payload names."""
    names = object_names(entry)
    return names[0] if names else None


def object_names(entry: Entry) -> list[str]:
    """The object store keys that an entry names."""
    return [str(facts["key"]) for facts in object_facts(entry)]
