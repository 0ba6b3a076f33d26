"""Appending to a log: claim its slot, then create batch after batch, each under the name that only its place has.

The store's exclusive create decides every race. An outcome that is not known is settled by reading back; a writer
that cannot settle it stops, and claims anew before it appends again.

A claim names the key generation that its maker uses, and no later entry names an older one: so whoever destroys a
generation has only to see that every head names a later one. Recovered orphans alone are older, and a claim behind
them in the same batch says again where the log stands.
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
    sleep: Callable[[float], None] = _time.sleep


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
        policy.sleep(pause)
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


def _require_newer(drafts: Sequence[Draft], floor: int) -> None:
    """Raises StoreError (``key.older``): the sender hears 4xx and what it repeats is sealed anew."""
    for _, fields in drafts:
        if 0 < entries.used_generation(fields) < floor:
            raise StoreError("sealed under an older key generation than the log names", code="key.older")


class Appender:
    """The owner of one log slot. Not thread-safe: one thread appends.

    ``generation``: the number of the key generation to use, given the one that the log's head names; it is never below
    that. None where entries need no key record: a claim then repeats what the head names.
    """

    def __init__(
        self,
        store: ObjectStore,
        log: LogId,
        clock: Clock,
        policy: LedgerPolicy | None = None,
        *,
        generation: Callable[[int], int] | None = None,
    ) -> None:
        self._store = store
        self.log = log
        self._clock = clock
        self._policy = policy or LedgerPolicy()
        self._generation_for = generation or (lambda floor: floor)
        self._writer = secrets.token_hex(8)
        self._place: Place | None = None
        self._highest = 0

    def _lock(self) -> Lock:
        return Lock(self._policy.mode, self._clock() + timedelta(days=self._policy.days))

    def claim(self) -> None:
        """Take the slot: append a ``claim`` at its head. Raises SlotLost when another was faster, StoreError, and what
        ``generation`` raises. What was sealed before must not be appended after it (see ``ledger.slots``)."""
        self._place = None
        place = find_head(self._store, self.log)
        self._highest = max(place.generation, self._generation_for(place.generation))
        self._append_at(place, [self._claim()])

    def _claim(self) -> Draft:
        named = {"generation": self._highest} if self._highest else {}
        return "claim", {"writer": self._writer, **named}

    @property
    def head(self) -> Place | None:
        """Where the next entry will stand, or None before the claim and after an unknown outcome."""
        return self._place

    @property
    def generation(self) -> int:
        """The highest key generation claimed or appended: nothing older may follow."""
        return self._highest

    def append(self, drafts: Sequence[Draft]) -> list[Entry]:
        """Append all drafts as one batch; durable on return. Raises StoreError (``key.older``) before anything is
        written, else SlotLost, StoreError: after those the slot must be claimed again before the next append."""
        place = self._held()
        _require_newer(drafts, self._highest)
        made = self._append_at(place, drafts)
        self._highest = max(self._highest, *(entries.used_generation(entry.fields) for entry in made))
        return made

    def append_recovered(self, drafts: Sequence[Draft]) -> list[Entry]:
        """Append orphans, of whatever key generation, and a claim behind them; as ``append``. At most a batch less
        one."""
        place = self._held()
        return self._append_at(place, [*drafts, self._claim()])[:-1]

    def _held(self) -> Place:
        if self._place is None:
            raise SlotLost("the slot is not claimed")
        return self._place

    def _append_at(self, place: Place, drafts: Sequence[Draft]) -> list[Entry]:
        batch = build(self.log, place, rfc3339(self._clock()), drafts)
        self._place = None
        create_batch(self._store, self.log, batch, self._lock(), self._policy)
        self._place = Place.after(batch[-1])
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
        head (it raises to refuse), sealed under the key generation that the head names or a later one. Starts over when
        another was faster. Durable on return."""
        while True:
            while reader.hand_on(seen) is not None:
                pass
            place = reader.place
            sealed = drafts(place)
            _require_newer(sealed, place.generation)
            made = build(self.log, place, rfc3339(self._clock()), sealed)
            lock = Lock(self._policy.mode, self._clock() + timedelta(days=self._policy.days))
            try:
                create_batch(self._store, self.log, made, lock, self._policy)
            except SlotLost:
                continue
            caught_up = reader.hand_on(seen)
            if caught_up is None or caught_up[-1].digest() != made[-1].digest():
                raise Tampered("an appended act does not read back")
            return made
