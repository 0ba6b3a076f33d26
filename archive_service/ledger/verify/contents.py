"""What entries name: objects byte by byte, payloads, the keys behind them in both places, the locks upon them."""

from collections.abc import Callable
from random import Random
from typing import Any

from archive_service.ledger.entry import Entry
from archive_service.ledger.payloads import PayloadVault, open_capture, read_stored
from archive_service.ledger.verify.report import Report, What
from archive_service.model.clock import from_rfc3339
from archive_service.model.errors import ArchiveError, Invalid, KeyUnavailable, NotFound, StoreError, Tampered
from archive_service.vault import key_layout
from archive_service.vault.key_layout import LogId
from archive_service.vault.keyring import Keyring, parse_record
from archive_service.vault.stores.base import LockMode, ObjectStore

_WHAT = {"integrity.object": What.OBJECT, "integrity.missing": What.OBJECT, "integrity.commit": What.OBJECT}


class Contents:
    """Checks what one owner's entries name. ``sample`` is the share of objects whose bytes are read; keys,
    payloads and locks are always looked at."""

    def __init__(
        self,
        vault: PayloadVault,
        report: Report,
        *,
        sample: float = 1.0,
        seed: int = 0,
        skip: Callable[[LogId, int], bool],
    ) -> None:
        self._store: ObjectStore = vault.store
        self._keyring: Keyring = vault.keyring
        self._vault = vault
        self._report = report
        self._sample = sample
        self._random = Random(seed)  # noqa: S311 - a sample, not a secret
        self._skip = skip
        self._last_record = ""

    def check(self, log: LogId, entry: Entry) -> None:
        """Check one entry's object or payload."""
        if self._skip(log, entry.seq):
            return
        try:
            if entry.type == "capture":
                self._capture(log, entry)
            elif entry.type in {"act", "access", "anchors"}:
                self._report.tally.payloads += 1
                self._record(log, entry, str(entry.fields.get("payload", {}).get("name")))
                self._vault.open(log, entry.fields.get("payload"))
            elif entry.type == "finding":
                self._finding(log, entry)
        except (ArchiveError, AttributeError) as error:
            self._problem(log, entry, error)

    def _problem(self, log: LogId, entry: Entry, error: Exception) -> None:
        facts = entry.fields.get("object")
        name = str(facts.get("key")) if isinstance(facts, dict) else None
        what = What.PAYLOAD if entry.type != "capture" else What.OBJECT
        if isinstance(error, KeyUnavailable):
            what = What.KEY
        elif isinstance(error, Tampered):
            what = _WHAT.get(error.code, what)
        elif isinstance(error, StoreError):
            what = What.STORE
        detail = str(error) if isinstance(error, ArchiveError) else "an entry whose fields are malformed"
        self._report.damage(what, detail, log=str(log), seq=entry.seq, name=name)

    def _capture(self, log: LogId, entry: Entry) -> None:
        fields = entry.fields
        self._report.tally.objects += 1
        if self._report.tally.objects % 64 == 0:
            self._report.step()
        self._record(log, entry, str(fields.get("capture")))
        self._lock(log, entry)
        if self._sample < 1.0 and self._random.random() >= self._sample:
            self._report.tally.not_sampled += 1
            return
        try:
            open_capture(self._store, self._keyring, log, fields)
        except KeyUnavailable as error:
            read_stored(self._store, fields.get("object"))
            detail = f"{error}; the sealed object itself is whole"
            self._report.damage(What.KEY, detail, log=str(log), seq=entry.seq, name=fields["object"]["key"])

    def _finding(self, log: LogId, entry: Entry) -> None:
        of = entry.fields.get("of")
        capture = str(entry.fields.get("capture"))
        if not isinstance(of, dict):
            raise Tampered("a finding that does not say of what")
        self._report.tally.payloads += 1
        key = self._keyring.object_key(LogId.parse(str(of.get("log"))), capture)
        opened = self._vault.open_finding(log, entry.fields.get("payload"), capture, key)
        if opened.get("finding", {}).get("capture") != capture:
            raise Tampered("a finding of another capture")

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
        check_copies(
            self._keyring,
            record,
            self._report,
            lambda data: parse_record(data, log, batch),
            str(log),
            entry.seq,
        )

    def _lock(self, log: LogId, entry: Entry) -> None:
        """The retention state: not edited from outside, and not shorter than the entry says."""
        key = str(entry.fields["object"]["key"]) if isinstance(entry.fields.get("object"), dict) else ""
        self._report.tally.locks += 1
        try:
            versions = self._store.stat(key)
        except NotFound:
            return  # the object is missing: named when it is read
        except Tampered as error:
            self._report.damage(What.LOCK, str(error), log=str(log), seq=entry.seq, name=key)
            return
        if len(versions) > 1:
            self._report.damage(
                What.OBJECT, "newer versions stand over an object", log=str(log), seq=entry.seq, name=key
            )
        lock = versions[0][1]
        until = entry.fields.get("lock_until")
        short = until is not None and (lock.until is None or lock.until < from_rfc3339(str(until)))
        weak = entry.fields.get("lock_mode") == "COMPLIANCE" and lock.mode is not LockMode.COMPLIANCE
        if short or weak:
            detail = "the lock is shorter or weaker than its entry says"
            self._report.damage(What.LOCK, detail, log=str(log), seq=entry.seq, name=key)


def check_copies(
    keyring: Keyring,
    name: str,
    report: Report,
    parse: Callable[[bytes], Any],
    log: str | None = None,
    seq: int | None = None,
) -> None:
    """A key store record must be well-formed and the same in both places."""
    copies = keyring.store.copies(name)
    for place, copy in enumerate(copies, 1):
        if copy is None:
            report.damage(What.KEY, f"missing in place {place}", log=log, seq=seq, name=name)
            continue
        try:
            parse(copy)
        except (ArchiveError, ValueError) as error:
            report.damage(What.KEY, f"in place {place}: {error}", log=log, seq=seq, name=name)
    if None not in copies and copies[0] != copies[1]:
        report.damage(What.KEY, "the two places differ", log=log, seq=seq, name=name)
