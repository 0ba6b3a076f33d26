"""Which slot a process writes to. Claims decide; a lease only keeps polite processes from colliding."""

from collections.abc import Callable

from archive_service.ledger.appender import Appender, LedgerPolicy
from archive_service.model.clock import Clock
from archive_service.model.errors import SlotLost
from archive_service.vault.key_layout import LogId
from archive_service.vault.stores.base import ObjectStore

Lease = Callable[[str], bool]
"""Tries to hold an advisory lease on a slot's name for this process's life; False when another holds it."""

_MOST_SLOTS = 10_000


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
        self._lost: set[int] = set()

    def take(self) -> Appender:
        """Claim the first slot that nobody leases and that this process has not lost before."""
        for number in range(1, _MOST_SLOTS):
            log = LogId(self._owner, f"{self._kind}-{number}")
            if number in self._lost or not self._lease(str(log)):
                continue
            appender = Appender(self._store, log, self._clock, self._policy)
            try:
                appender.claim()
            except SlotLost:
                self._lost.add(number)
                continue
            return appender
        raise SlotLost(f"no free {self._kind} slot")

    def lose(self, appender: Appender) -> None:
        """Never take this slot again: another process owns it."""
        self._lost.add(int(appender.log.name.rpartition("-")[2]))
