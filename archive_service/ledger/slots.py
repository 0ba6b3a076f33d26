"""Which slot a process writes to. Claims decide; a lease only keeps polite processes from colliding.

What is sealed for a slot is appended under the claim that stood when its sealing began, or never: between that claim
and the next one an erasure batch may have destroyed the keys, or recovery may have chained the objects. A ``Tenure`` is
that claim, as what was sealed carries it.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from archive_service.ledger.appender import Appender, LedgerPolicy
from archive_service.model.clock import Clock
from archive_service.model.errors import SlotLost
from archive_service.vault.key_layout import LogId
from archive_service.vault.keyring import Generation, Keyring
from archive_service.vault.stores.base import ObjectStore

Lease = Callable[[str], bool]
"""Tries to hold an advisory lease on a slot's name for this process's life; False when another holds it."""

_MOST_SLOTS = 10_000
_REST = timedelta(minutes=10)  # recovery and erasure claim a slot and leave it; another writer stays


class Slots:
    """Takes slots of one kind (``capture``, ``order``, ``access``) for one owner."""

    def __init__(
        self,
        store: ObjectStore,
        owner: str,
        kind: str,
        clock: Clock,
        lease: Lease,
        policy: LedgerPolicy | None = None,
    ) -> None:
        self._store = store
        self._owner = owner
        self._kind = kind
        self._clock = clock
        self._lease = lease
        self._policy = policy or LedgerPolicy()
        self._lost: dict[int, datetime] = {}

    def take(self, generation: Callable[[int], int] | None = None) -> Appender:
        """Claim the first slot that nobody leases and that this process has not lost of late. ``generation``: see
        ``Appender``. Raises SlotLost, StoreError."""
        for number in range(1, _MOST_SLOTS):
            log = LogId(self._owner, f"{self._kind}-{number}")
            if self._rests(number) or not self._lease(str(log)):
                continue
            appender = Appender(self._store, log, self._clock, self._policy, generation=generation)
            try:
                appender.claim()
            except SlotLost:
                self._lost[number] = self._clock()
                continue
            return appender
        raise SlotLost(f"no free {self._kind} slot")

    def _rests(self, number: int) -> bool:
        lost = self._lost.get(number)
        return lost is not None and abs(self._clock() - lost) < _REST

    def lose(self, appender: Appender) -> None:
        """Leave this slot alone for a while: if another process stays there, the two would only take it from each
        other; if recovery or an erasure passed by, it is free again, and logs need not become more and more."""
        self._lost[int(appender.log.name.rpartition("-")[2])] = self._clock()


@dataclass(frozen=True)
class DayKeys:
    """The key generations that an owner's writers use, by their clock."""

    keyring: Keyring
    clock: Clock

    def current(self, floor: int) -> Generation:
        """Today's, or the one that a log names already. Raises StoreError, KeyUnavailable, Tampered."""
        return self.keyring.current(self.clock().date(), floor)

    def number(self, floor: int) -> int:
        """Of ``current``: what ``Appender`` asks."""
        return self.current(floor).number

    def require_open(self, number: int) -> None:
        """After a claim: raises StoreError when an erasure batch has closed the generation since it was chosen. The
        batch looks at all logs after closing, so it has seen every claim that this does not refuse."""
        self.keyring.generations.require_open(number)


@dataclass(frozen=True, eq=False)
class Tenure:
    """A slot under one claim. Two tenures of the same slot are not the same."""

    slot: Appender

    @property
    def log(self) -> LogId:
        """The slot's log."""
        return self.slot.log


class HeldSlot:
    """The slot that a process holds of one kind: taken at the first need, claimed again after an append whose outcome
    is not known, given up when it is lost. Thread-safe; one thread at a time appends."""

    def __init__(self, slots: Slots, keys: DayKeys) -> None:
        self._slots = slots
        self._keys = keys
        self._lock = threading.Lock()
        self._slot: Appender | None = None
        self._tenure: Tenure | None = None

    def tenure(self) -> Tenure:
        """What to seal for now. Raises SlotLost, StoreError and what the keys raise; then nothing may be sealed."""
        with self._lock:
            if self._tenure is None:
                slot = self._claimed()
                self._keys.require_open(slot.generation)
                self._tenure = Tenure(slot)
            return self._tenure

    def _claimed(self) -> Appender:
        if self._slot is None:
            self._slot = self._slots.take(self._keys.number)
            return self._slot
        try:
            self._slot.claim()
        except SlotLost:
            self._give_up(self._slot)
            raise
        return self._slot

    def _give_up(self, slot: Appender) -> None:
        self._slots.lose(slot)
        self._slot = None

    def is_current(self, tenure: Tenure) -> bool:
        """Whether what was sealed under it may still be appended."""
        with self._lock:
            return tenure is self._tenure

    def ended(self, tenure: Tenure, *, lost: bool) -> None:
        """An append failed: ``lost`` to another writer, or with an unknown outcome. What was sealed under this tenure
        is never appended."""
        with self._lock:
            if tenure is self._tenure:
                self._tenure = None
                if lost:
                    self._give_up(tenure.slot)
