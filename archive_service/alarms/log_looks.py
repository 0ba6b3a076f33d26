"""How far logs, their checkpoints and the projections are apart: asked of the store and the catalog, never of the
processes that do the work, for one that is frozen says nothing."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from archive_service.alarms import names
from archive_service.alarms.tally import Sample
from archive_service.catalog.base import Catalog
from archive_service.ledger.entry import Entry
from archive_service.ledger.reader import (
    batch_from,
    checkpoint_note,
    checkpoint_size,
    find_head,
    newest_checkpoint,
    read_entry,
    read_from,
)
from archive_service.model.clock import from_rfc3339
from archive_service.model.errors import NotFound, Tampered
from archive_service.vault.key_layout import LogId
from archive_service.vault.stores.base import ObjectStore

_NEAR = 8  # entries behind a claim
_MOST_UNREAD = 20  # captures whose lock is looked at in one run


@dataclass(frozen=True)
class LogLook:
    """A log's size and how much of it the newest checkpoint signs."""

    size: int
    signed: int


class Logs:
    """Looks at logs; one that was quiet since costs one GET. Not thread-safe."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._known: dict[LogId, LogLook] = {}

    def look(self, log: LogId) -> LogLook:
        """As it is now. Raises StoreError, Tampered."""
        known = self._known.get(log)
        if known and known.signed == known.size and batch_from(self._store, log, known.size) is None:
            return known
        ordinal = newest_checkpoint(self._store, log)
        note = checkpoint_note(self._store, log, ordinal) if ordinal >= 0 else None
        found = LogLook(find_head(self._store, log).seq, checkpoint_size(note) if note else 0)
        self._known[log] = found
        return found

    def entry(self, log: LogId, seq: int) -> Entry:
        """One entry. Raises NotFound, StoreError, Tampered."""
        return read_entry(self._store, log, seq)

    def first_locked(self, log: LogId, seq: int) -> Entry:
        """The first entry from ``seq`` on that has a lock, among the next few. Raises as ``entry``."""
        for entry in islice(read_from(self._store, log, seq), _NEAR):
            if isinstance(entry.fields.get("lock_until"), str):
                return entry
        raise NotFound("no capture near")

    def age(self, log: LogId, seq: int, now: float) -> float:
        """Seconds since an entry was appended. Raises as ``entry``."""
        return max(0.0, now - _time(self.entry(log, seq).time))


def _time(text: str) -> float:
    try:
        return from_rfc3339(text).timestamp()
    except ValueError as error:
        raise Tampered("an entry without a time") from error


def checkpoint_lag(logs: Logs, owner: str, found: Iterable[LogId], now: float) -> Sample:
    """The age of the oldest entry of an owner's logs that no checkpoint signs. Raises StoreError, Tampered."""
    oldest = 0.0
    for log in found:
        look = logs.look(log)
        if look.size > look.signed:
            oldest = max(oldest, logs.age(log, look.signed, now))
    return Sample.of(names.CHECKPOINT_LAG, oldest, owner=owner)


@dataclass
class _Waiting:
    entries: int = 0
    seconds: float = 0.0

    def add(self, logs: Logs, log: LogId, start: int, end: int, now: float) -> None:
        """Entries [start, end) of a log wait. A catalog that claims more than the log has, because somebody wrote it so
        or a ledger was rolled back, has proved nothing: then all of them wait."""
        if start > end:
            start = 0
        if end > start:
            self.entries += end - start
            self.seconds = max(self.seconds, logs.age(log, start, now))


def follower_lag(
    logs: Logs, acts: tuple[LogId, int], captures: list[LogId], catalog: Catalog, now: float
) -> list[Sample]:
    """What waits before each stage: to be ordered, to be in the catalog, to be in the index. ``acts``: the acts log and
    its size. Raises StoreError, Tampered."""
    acts_log, acts_size = acts
    order_log = LogId(acts_log.owner, "order-1")
    position, took = catalog.position(), catalog.took()  # before the heads: what moves meanwhile is no lag
    order, rows, index = _Waiting(), _Waiting(), _Waiting()
    order.add(logs, acts_log, position.acts, acts_size, now)
    for log in captures:
        order.add(logs, log, took.get(str(log), 0), logs.look(log).size, now)
    ordered = logs.look(order_log).size
    rows.add(logs, order_log, position.rows, ordered, now)
    index.add(logs, order_log, position.indexed, min(position.rows, ordered), now)
    found: list[Sample] = []
    for stage, waiting in (("order", order), ("catalog", rows), ("index", index)):
        labels = {"owner": acts_log.owner, "stage": stage}
        found.append(Sample.of(names.FOLLOWER_LAG_ENTRIES, waiting.entries, **labels))
        found.append(Sample.of(names.FOLLOWER_LAG_SECONDS, waiting.seconds, **labels))
    return found


def unread(
    logs: Logs,
    owner: str,
    captures: list[LogId],
    catalog: Catalog,
    now: float,
    unkept: tuple[LogId, int] | None = None,
) -> list[Sample]:
    """How many captures wait to be opened, and how much of the intake lock is over of the oldest one that is not
    classified: not taken yet, not opened yet, or, as ``unkept`` says, not yet locked as its class asks. Raises
    StoreError, Tampered."""
    waiting, took = catalog.unread(), catalog.took()
    candidates = [(LogId.parse(name), seq) for name, seq in waiting[:_MOST_UNREAD]]
    for log in captures:
        start = took.get(str(log), 0)
        if logs.look(log).size > start:
            candidates.append((log, start))
    if unkept is not None:
        candidates.append(unkept)
    used = max((_lock_used(logs, log, seq, now) for log, seq in candidates), default=0.0)
    return [
        Sample.of(names.CAPTURES_UNREAD, len(waiting), owner=owner),
        Sample.of(names.INTAKE_LOCK_USED, used, owner=owner),
    ]


def _lock_used(logs: Logs, log: LogId, seq: int, now: float) -> float:
    """The part of a capture's lock that is over; of the first capture behind it for an entry that is none, such as the
    claim that a writer begins with. 0 where there is none near."""
    try:
        entry = logs.first_locked(log, seq)
    except NotFound:
        return 0.0
    until = entry.fields["lock_until"]
    begun, ends = _time(entry.time), _time(until)
    return max(0.0, (now - begun) / (ends - begun)) if ends > begun else 1.0
