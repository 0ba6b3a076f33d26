"""What waits for a writing thread, handed out in groups.

A group costs the same few files and syncs whatever its size, so larger ones carry more mail. Senders that wait for
their replies come back in step: those just answered and those that wait already would otherwise take turns for ever,
each half as a group of its own. So who takes a group waits for the senders of the last one to come back, but no
longer than writing that one took, nor than ``patience``; when they do not come, the next group expects fewer.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Arrivals(Generic[Item]):
    """A queue that is emptied group by group. Thread-safe.

    ``most`` items make a group, or fewer when their ``size`` reaches ``most_bytes``. ``patience`` (seconds) is for
    one taker; with several give 0, for while one waits another takes.
    """

    def __init__(
        self,
        size: Callable[[Item], int],
        *,
        most: int,
        most_bytes: int,
        patience: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._size = size
        self._most = most
        self._most_bytes = most_bytes
        self._patience = patience
        self._clock = clock
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._wanted = 1  # how many must be there before a taker is woken
        self._closed = False
        self._last = 0  # how many the last group had
        self._taken_at = 0.0

    def put(self, item: Item) -> bool:
        """Add an item; False when closed: it will not be taken."""
        with self._changed:
            if self._closed:
                return False
            self._items.append(item)
            if len(self._items) >= self._wanted:
                self._changed.notify()
            return True

    def close(self) -> None:
        """Take no more; what is there is still handed out."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def take(self) -> list[Item] | None:
        """The next group, once there is one; None when closed and empty. To be called when the last is written."""
        with self._changed:
            expected = min(self._last + len(self._items), self._most)
            patience = min(self._clock() - self._taken_at, self._patience)
            self._wait_for(1, None)
            if len(self._items) < expected and patience > 0:
                self._wait_for(expected, patience)
            group = self._group()
            self._last, self._taken_at = len(group), self._clock()
            return group or None

    def _wait_for(self, wanted: int, seconds: float | None) -> None:
        self._wanted = wanted
        self._changed.wait_for(lambda: self._closed or len(self._items) >= wanted, seconds)
        self._wanted = 1

    def _group(self) -> list[Item]:
        group: list[Item] = []
        size = 0
        while self._items and len(group) < self._most and size < self._most_bytes:
            item = self._items.popleft()
            size += self._size(item)
            group.append(item)
        return group
