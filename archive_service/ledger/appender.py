"""Appending to a log: claim its slot, then create batch after batch, each under the name that only its place has.

The store's exclusive create decides every race. An outcome that is not known is settled by reading back; a writer
that cannot settle it stops, and claims anew before it appends again.
"""

import secrets
import time as _time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from archive_service.ledger import entry as entries
from archive_service.ledger.entry import Entry
from archive_service.ledger.reader import LogReader, Place, find_head
from archive_service.model.clock import Clock, rfc3339
from archive_service.model.errors import SlotLost, StoreError, Tampered
from archive_service.vault import key_layout
from archive_service.vault.key_layout import LogId
from archive_service.vault.stores.base import Lock, LockMode, NewObject, ObjectStore

Draft = tuple[str, dict[str, Any]]
"""An entry to be: its type and its own fields."""


@dataclass(frozen=True)
class LedgerPolicy:
    """How ledger objects are locked: a rolling term that the follower keeps ahead of the present."""

    mode: LockMode = LockMode.COMPLIANCE
    days: int = 365
    settle_tries: int = 5
    pause: float = 0.05  # seconds before the first retry, doubling


def build(log: LogId, place: Place, time: str, drafts: Sequence[Draft]) -> list[Entry]:
    """The drafts as chained entries at a place. Raises ValueError for more than a batch may hold."""
    if len(drafts) > entries.MOST:
        raise ValueError("more entries than a batch may hold")
    batch: list[Entry] = []
    seq, prev = place.seq, place.prev
    for kind, fields in drafts:
        made = entries.make(log, seq, prev, time, kind, fields)
        batch.append(made)
        seq, prev = seq + 1, made.digest()
    return batch


def create_batch(
    store: ObjectStore, log: LogId, batch: list[Entry], lock: Lock, policy: LedgerPolicy
) -> None:
    """Create a batch; durable on return. Raises SlotLost when another stands there, StoreError when the
    outcome stays unknown."""
    key = key_layout.batch_key(log, batch[0].seq)
    data = entries.join(batch)
    pause = policy.pause
    for attempt in range(policy.settle_tries):
        try:
            store.create([NewObject(key, data, lock)])
            return
        except StoreError as error:
            outcome = _stands(store, key)
            if outcome == data:
                return
            if outcome is not None:
                raise SlotLost(f"another writer appended to {log.name}") from error
            if attempt == policy.settle_tries - 1:
                raise
        _time.sleep(pause)
        pause *= 2


def _stands(store: ObjectStore, key: str) -> bytes | None:
    """What stands under a batch's name and will stay; None when nothing does, or when that cannot be told.

    ``stat`` comes first: it refuses where a failed sync leaves open what a power cut would take away, while
    ``read`` would show it.
    """
    try:
        store.stat(key)
        return store.read(key)
    except StoreError:
        return None


class Appender:
    """The owner of one log slot. Not thread-safe: one thread appends."""

    def __init__(
        self, store: ObjectStore, log: LogId, clock: Clock, policy: LedgerPolicy | None = None
    ) -> None:
        self._store = store
        self.log = log
        self._clock = clock
        self._policy = policy or LedgerPolicy()
        self._writer = secrets.token_hex(8)
        self._place: Place | None = None

    def _lock(self) -> Lock:
        return Lock(self._policy.mode, self._clock() + timedelta(days=self._policy.days))

    def claim(self) -> None:
        """Take the slot: append a ``claim`` at its head. Raises SlotLost when another was faster."""
        self._place = find_head(self._store, self.log)
        self.append([("claim", {"writer": self._writer})])

    @property
    def head(self) -> Place | None:
        """Where the next entry will stand, or None before the claim and after an unknown outcome."""
        return self._place

    def append(self, drafts: Sequence[Draft]) -> list[Entry]:
        """Append all drafts as one batch; durable on return. Raises SlotLost, StoreError; after either the
        slot must be claimed again before the next append."""
        place, self._place = self._place, None
        if place is None:
            raise SlotLost("the slot is not claimed")
        batch = build(self.log, place, rfc3339(self._clock()), drafts)
        create_batch(self._store, self.log, batch, self._lock(), self._policy)
        self._place = Place(batch[-1].seq + 1, batch[-1].digest())
        return batch


class SharedAppender:
    """A log with many writers at a low rate: the acts. A lost race is caught up with, judged again, and retried."""

    def __init__(
        self, store: ObjectStore, log: LogId, clock: Clock, policy: LedgerPolicy | None = None
    ) -> None:
        self._store = store
        self.log = log
        self._clock = clock
        self._policy = policy or LedgerPolicy()

    def append(
        self, reader: LogReader, seen: Callable[[list[Entry]], None], drafts: Callable[[Place], list[Draft]]
    ) -> list[Entry]:
        """Catch up through ``reader``, handing each batch to ``seen``; then append what ``drafts`` makes of the
        head (it raises to refuse). Starts over when another was faster. Durable on return."""
        while True:
            while reader.hand_on(seen) is not None:
                pass
            place = reader.place
            made = build(self.log, place, rfc3339(self._clock()), drafts(place))
            lock = Lock(self._policy.mode, self._clock() + timedelta(days=self._policy.days))
            try:
                create_batch(self._store, self.log, made, lock, self._policy)
            except SlotLost:
                continue
            caught_up = reader.hand_on(seen)
            if caught_up is None or caught_up[-1].digest() != made[-1].digest():
                raise Tampered("an appended act does not read back")
            return made
