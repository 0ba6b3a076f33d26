"""Which owners and logs there are, without asking the store at every look: on S3 each answer is a listing a name."""

import threading
import time
from collections.abc import Callable

from archive_service.ledger.reader import logs, owners
from archive_service.vault.key_layout import LogId
from archive_service.vault.stores.base import ObjectStore


class Census:
    """What was there at the last look, for ``pause`` seconds; 0 looks every time. Thread-safe.

    Nobody may conclude from it that something does not exist: for that ask with an ``age`` of 0, the seconds that an
    answer may be old. Raises StoreError.
    """

    def __init__(
        self, store: ObjectStore, pause: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._pause = pause
        self._clock = clock
        self._lock = threading.Lock()
        self._owners: tuple[float, list[str]] | None = None
        self._logs: dict[str, tuple[float, list[LogId]]] = {}

    def owners(self, age: float | None = None) -> list[str]:
        """Every owner with a log."""
        with self._lock:
            if self._owners is None or self._is_old(self._owners[0], age):
                self._owners = (self._clock(), owners(self._store))
            return list(self._owners[1])

    def logs(self, owner: str, age: float | None = None) -> list[LogId]:
        """Every log of an owner, by name."""
        with self._lock:
            known = self._logs.get(owner)
            if known is None or self._is_old(known[0], age):
                known = self._logs[owner] = (self._clock(), logs(self._store, owner))
            return list(known[1])

    def _is_old(self, looked: float, age: float | None) -> bool:
        most = self._pause if age is None else min(age, self._pause)
        return most <= 0 or self._clock() - looked >= most
