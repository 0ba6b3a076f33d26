"""Whether what is to be forgotten is forgotten in time."""

from datetime import timedelta

from archive_service.alarms import names
from archive_service.alarms.tally import Sample
from archive_service.ledger.acts import Acts
from archive_service.ledger.erasures import Asked, Batch
from archive_service.ledger.reader import read_entry
from archive_service.model.clock import Clock, from_rfc3339, rfc3339
from archive_service.model.errors import NotFound, Refused, Tampered
from archive_service.model.grounds import KeepGround
from archive_service.vault.key_layout import object_key
from archive_service.vault.stores.base import ObjectStore
from retention.precedence import Case, decide

_IN_TIME = timedelta(hours=48)  # a request waits for the end of its day, then for the next batch of the hour
_AFTER_GRACE = timedelta(hours=6)  # the batches run every hour


class Erasures:
    """Looks at one owner's erasures. Not thread-safe."""

    def __init__(self, store: ObjectStore, acts: Acts, clock: Clock) -> None:
        self._store = store
        self._acts = acts
        self._clock = clock
        self._times: dict[int, float] = {}

    def look(self) -> list[Sample]:
        """By the acts as read. Raises StoreError, Tampered."""
        now = self._clock().timestamp()
        pending = self._acts.erasures.pending()
        late = [now - self._due(asked) for asked in self._oldest(pending, now)]
        late += [now - due for batch in self._acts.erasures.batches.values() if (due := _destroyed_by(batch))]
        owner = self._acts.log.owner
        return [
            Sample.of(names.ERASURES_PENDING, len(pending), owner=owner),
            Sample.of(names.ERASURE_OVERDUE, max([0.0, *late]), owner=owner),
        ]

    def _oldest(self, pending: list[Asked], now: float) -> list[Asked]:
        """The first that is due and that nothing keeps, if any."""
        for asked in sorted(pending, key=lambda each: each.position):
            if self._due(asked) > now:
                return []
            if not self._kept(asked):
                return [asked]
        return []

    def _due(self, asked: Asked) -> float:
        if asked.position not in self._times:
            entry = read_entry(self._store, self._acts.log, asked.position)
            self._times[asked.position] = _seconds(entry.time)
        return self._times[asked.position] + _IN_TIME.total_seconds()

    def _kept(self, asked: Asked) -> bool:
        """Whether a ground above its own keeps it: then it waits by right."""
        keeps = self._acts.erasures.keeps_of(asked.capture, rfc3339(self._clock()))
        if self._held(asked):
            keeps = [*keeps, KeepGround.HOLD]
        try:
            decide(Case(str(asked.log), asked.capture, asked.ground, keeps))
        except Refused:
            return True
        return False

    def _held(self, asked: Asked) -> bool:
        try:
            return any(lock.hold for _, lock in self._store.stat(object_key(asked.log, asked.capture)))
        except NotFound:
            return False


def _destroyed_by(batch: Batch) -> float | None:
    """When the key version behind a batch should be gone; None when it is, or when the batch is not over."""
    if batch.destroy_after is None or batch.destroyed_at is not None:
        return None
    return _seconds(batch.destroy_after) + _AFTER_GRACE.total_seconds()


def _seconds(text: str) -> float:
    try:
        return from_rfc3339(text).timestamp()
    except ValueError as error:
        raise Tampered("an act without a time") from error
