"""A fence before every write of an erasure batch: whoever was frozen for long must not go on where another process has
taken over since. The key store knows no compare-and-swap, so the batch must know that it is still alone."""

import time
from collections.abc import Callable

from archive_service.model.errors import StoreError

_RENEW = 60.0  # seconds
_LIMIT = 600.0  # far below the takeover of the lease; the difference is what one write may take


def boot_seconds() -> float:
    """Seconds that go on while a machine sleeps, and that nobody sets back."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Fence:
    """Call it before each write. ``renew``: whether the lease is renewed, and still ours."""

    def __init__(self, renew: Callable[[], bool], now: Callable[[], float] = boot_seconds) -> None:
        self._renew = renew
        self._now = now
        self._renewed = now()

    def __call__(self) -> None:
        """Raises StoreError (``erasure.fenced``): stop at once, another run finishes the batch."""
        asked = self._now()
        silent = asked - self._renewed
        if silent > _LIMIT or (silent > _RENEW and not self._renew()):
            raise StoreError("this erasure batch was silent for too long", code="erasure.fenced")
        if silent > _RENEW:
            self._renewed = asked
