"""Recovery: sealed captures that no entry names, because their writer died or gave up, are chained into their log.

    look     which objects under ``objects/LOG/`` no entry names and the store says are older than ten minutes
    open     each under its key record; what has none or does not open is reported and never chained
    claim    the log's slot: whatever its writer, dead, frozen or alive, sealed before can no longer be appended
    read     the log to that claim; what is named by now falls away, so nothing is ever chained twice
    chain    the rest, oldest first, as ordinary captures that carry ``recovered``

A live writer whose slot is claimed answers 4xx once; that happens only when its log has orphans. Several recoveries at
once do no harm: of two claims the later one holds, and the earlier one's append loses.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from archive_service.ledger.appender import Appender, Draft, LedgerPolicy
from archive_service.ledger.payloads import PayloadVault
from archive_service.ledger.reader import LogReader, Place, logs
from archive_service.ledger.recovery_marks import LogMark, Marks
from archive_service.ledger.slots import DayKeys
from archive_service.ledger.write_steps import capture_fields
from archive_service.model.clock import from_rfc3339, rfc3339
from archive_service.model.errors import (
    ArchiveError,
    Invalid,
    KeyUnavailable,
    NotFound,
    SlotLost,
    Tampered,
)
from archive_service.vault import key_layout
from archive_service.vault.key_layout import LogId
from archive_service.vault.keyring import parse_record
from archive_service.vault.seal import Kind, Opened, Seal, open_object
from archive_service.vault.stores.base import Stored

_log = logging.getLogger(__name__)

AGE = timedelta(minutes=10)  # a writer gives up after one; then nothing of its is under way any more
_LATE = timedelta(hours=1)  # how far behind its name an object may still arrive and be seen at once
_ANEW = timedelta(days=1)  # how often a log is read from its beginning: what arrived later still is seen then
_PART = 256  # orphans in one batch


@dataclass
class Recovered:
    """What a run did. ``chained``: captures; ``reported``: object key: why it cannot be chained; ``busy``: logs whose
    writer was faster, for the next run."""

    chained: int = 0
    reported: dict[str, str] = field(default_factory=dict)
    busy: int = 0


@dataclass(frozen=True)
class _Orphan:
    name: str
    draft: Draft


class Recovery:
    """One owner's capture logs. Not thread-safe. ``acts_seen`` reads the acts and says how many they are.

    ``only``: of which opened captures; all others, and those that do not open now, are left to a recovery without such
    a bound, and nothing is reported. Who gives it, and a shorter ``age``, knows that the writer of these is dead."""

    def __init__(
        self,
        vault: PayloadVault,
        acts_seen: Callable[[], int],
        policy: LedgerPolicy,
        marks: Marks,
        *,
        age: timedelta = AGE,
        only: Callable[[Opened], bool] | None = None,
    ) -> None:
        self._store = vault.store
        self._keyring = vault.keyring
        self._clock = vault.clock
        self._keys = DayKeys(vault.keyring, vault.clock)
        self._acts_seen = acts_seen
        self._seen: int | None = None
        self._policy = policy
        self._marks = marks
        self._age = age
        self._only = only

    def run(self) -> Recovered:
        """Look through every capture log once; what is chained is durable on return. One log's fault does not hold the
        others back: the first ArchiveError is raised at the end."""
        found = Recovered()
        self._seen = None
        failures: list[ArchiveError] = []
        for log in logs(self._store, self._keyring.owner):
            if log.kind == "capture":
                try:
                    self._log(log, found)
                except SlotLost:
                    found.busy += 1
                except ArchiveError as error:
                    failures.append(error)
        if failures:
            raise failures[0]
        return found

    def _log(self, log: LogId, found: Recovered) -> None:
        mark = self._mark(log)
        try:
            reader = self._read(log, mark)
        except Tampered:
            if mark.seq == 0:
                raise
            mark = self._fresh()  # the mark may be of another archive than this one
            reader = self._read(log, mark)
        orphans = [orphan for stored in self._old(log, mark) if (orphan := self._orphan(log, stored, mark))]
        if orphans:
            found.chained += self._chain(log, reader, mark, orphans)
        self._settle(log, mark)
        self._marks.put(log, mark)
        found.reported.update(
            (key_layout.object_key(log, name), reason) for name, reason in mark.unusable.items()
        )

    # --- looking --------------------------------------------------------------------------------------

    def _fresh(self) -> LogMark:
        return LogMark(since=rfc3339(self._clock()))

    def _mark(self, log: LogId) -> LogMark:
        mark = self._marks.get(log)
        if mark is None:
            return self._fresh()
        try:
            age = self._clock() - from_rfc3339(mark.since)
        except ValueError:
            return self._fresh()
        return mark if timedelta(0) <= age < _ANEW else self._fresh()

    def _read(self, log: LogId, mark: LogMark) -> LogReader:
        """Take what entries name, to the head."""
        reader = LogReader(self._store, log, Place(mark.seq, mark.prev))
        self._read_on(reader, mark)
        return reader

    @staticmethod
    def _read_on(reader: LogReader, mark: LogMark) -> set[str]:
        """Take what entries name from here to the head, and give it: the mark keeps only what is not settled yet, but
        a capture that could not be used for a day may be named at last."""
        names: set[str] = set()
        for entry in reader.entries():
            if entry.type == "capture":
                name = str(entry.fields.get("capture"))
                names.add(name)
                mark.unusable.pop(name, None)
                if _key(reader.log, name) > mark.settled:
                    mark.named.add(name)
        mark.seq, mark.prev = reader.place.seq, reader.place.prev
        return names

    def _old(self, log: LogId, mark: LogMark) -> Iterator[Stored]:
        """The oldest version of every object that no entry names and that is old enough, oldest name first; first what
        could not be used so far, for its key record may have come back."""
        for name in sorted(mark.unusable):
            try:
                yield self._store.stat(_key(log, name))[0][0]
            except NotFound:
                del mark.unusable[name]
        before = self._clock() - self._age
        for stored in self._beyond(log, mark):
            name = _name(stored)
            if name not in mark.named and name not in mark.unusable and stored.modified <= before:
                yield stored

    def _beyond(self, log: LogId, mark: LogMark) -> Iterator[Stored]:
        """Objects behind the settled ones, each once; what has no name of ours is for ``verify`` to name."""
        last = ""
        for stored in self._store.list(key_layout.objects_prefix(log), mark.settled):
            if stored.key != last and stored.key == _key(log, _name(stored)):
                last = stored.key
                yield stored

    def _settle(self, log: LogId, mark: LogMark) -> None:
        """Move on past what is named, up to where nothing arrives late any more."""
        until = self._clock() - _LATE
        for stored in self._beyond(log, mark):
            name = _name(stored)
            if (name not in mark.named and name not in mark.unusable) or _begun(name) > until:
                break
            mark.named.discard(name)
            mark.settled = stored.key

    # --- opening --------------------------------------------------------------------------------------

    def _orphan(self, log: LogId, stored: Stored, mark: LogMark) -> _Orphan | None:
        """The object as an entry would have it; None when not asked for; None, and marked with the reason, when it
        cannot be chained. Raises StoreError when that cannot be told now."""
        name = _name(stored)
        try:
            return self._opened(log, name, stored)
        except NotFound:
            return None  # it has just been disposed of
        except (Tampered, KeyUnavailable, Invalid) as error:
            if self._only is not None:
                _log.info("an object without entry was left to recovery: %s", error.code)
                return None  # it may be on its way, and of anybody
            if name not in mark.unusable:
                _log.warning("an orphan cannot be chained: %s", error.code)
            mark.unusable[name] = error.code
            return None

    def _opened(self, log: LogId, name: str, stored: Stored) -> _Orphan | None:
        data = self._store.read(stored.key, stored.version)
        number, opened = self._open(log, name, stored.key, data)
        _require_itself(opened, name)
        if self._only is not None and not self._only(opened):
            return None
        facts = Seal(
            size=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            sha512=hashlib.sha512(data).hexdigest(),
            commit=opened.commit(),
            raw_size=len(opened.raw),
        )
        lock = self._store.stat(stored.key)[0][1]
        if self._seen is None:
            self._seen = self._acts_seen()
        fields = capture_fields(name, number, stored, facts, lock, self._seen)
        return _Orphan(name, ("capture", {**fields, "recovered": True}))

    def _open(self, log: LogId, name: str, key: str, data: bytes) -> tuple[int, Opened]:
        """The object opened, and the generation that its key record names; the record stands in both places
        afterwards."""
        batch, index = key_layout.split_sealed_name(name)
        record_name = key_layout.record_name(log, batch)
        copies = self._keyring.store.copies(record_name)
        standing = [copy for copy in copies if copy is not None]
        if not standing:
            raise KeyUnavailable("no key record under this name in either place", code="key.no_record")
        if len(set(standing)) > 1:
            raise KeyUnavailable("the key record is not the same in both places", code="key.places_differ")
        record = parse_record(standing[0], log, batch)
        opened = open_object(self._keyring.key_from(record, log, batch, index), key, data)
        if len(standing) < len(copies):
            self._keyring.store.claim(record_name, standing[0])
        return record["generation"], opened

    # --- chaining -------------------------------------------------------------------------------------

    def _chain(self, log: LogId, reader: LogReader, mark: LogMark, orphans: list[_Orphan]) -> int:
        """How many were chained. Raises SlotLost when another claimed the slot: the next run looks again."""
        appender = Appender(self._store, log, self._clock, self._policy, generation=self._keys.number)
        appender.claim()
        self._keys.require_open(appender.generation)
        named = self._read_on(reader, mark) | mark.named
        left = [orphan for orphan in orphans if orphan.name not in named]
        for start in range(0, len(left), _PART):
            appender.append_recovered([orphan.draft for orphan in left[start : start + _PART]])
        self._read_on(reader, mark)
        _log.info("%d orphans chained", len(left))
        return len(left)


def _require_itself(opened: Opened, name: str) -> None:
    """An object that opens says itself which capture it is. Raises Tampered."""
    try:
        record: Any = json.loads(opened.record)
    except (ValueError, RecursionError) as error:
        raise Tampered("a capture record that is not JSON") from error
    if opened.kind is not Kind.CAPTURE or not isinstance(record, dict) or record.get("capture") != name:
        raise Tampered("an object that is not the capture its name says")


def _name(stored: Stored) -> str:
    return stored.key.rpartition("/")[2]


def _key(log: LogId, name: str) -> str:
    return key_layout.object_key(log, name)


def _begun(name: str) -> datetime:
    """When its writer named it (FORMAT.md section 1)."""
    try:
        return datetime.fromtimestamp(int(name[:12], 16) / 1000, UTC)
    except (ValueError, OverflowError):
        return datetime.max.replace(tzinfo=UTC)
