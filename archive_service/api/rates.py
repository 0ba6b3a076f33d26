"""How many requests somebody may make a minute: a token bucket an actor, in this process alone."""

import threading
import time
from collections.abc import Callable

from archive_service.api.errors import TooMany

_PERIOD = 60.0  # seconds that a rate is for
_MOST_ACTORS = 10_000


class ActorRates:
    """Each API process counts for itself: where N share a port, somebody may reach N times his rate. A bucket holds
    what a minute allows. Thread-safe."""

    def __init__(self, rate: int | None, monotonic: Callable[[], float] = time.monotonic) -> None:
        """``rate``: requests a minute; None bounds nothing."""
        self._rate = rate
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._buckets: dict[tuple[str, str], tuple[float, float]] = {}  # tokens, and when there were so many

    def take(self, tenant: str, subject: str) -> None:
        """Count one request. Raises TooMany (``rate.exceeded``), which says in how many seconds there is room again."""
        if self._rate is None:
            return
        now, full = self._monotonic(), float(self._rate)
        with self._lock:
            self._forget(now, full)
            tokens, since = self._buckets.get((tenant, subject), (full, now))
            tokens = min(full, tokens + (now - since) * full / _PERIOD)
            self._buckets[tenant, subject] = (max(tokens - 1, 0.0) if tokens >= 1 else tokens, now)
        if tokens < 1:
            raise TooMany(int((1 - tokens) * _PERIOD / full) + 1)

    def _forget(self, now: float, full: float) -> None:
        """Buckets that are full again say nothing."""
        if len(self._buckets) < _MOST_ACTORS:
            return
        self._buckets = {
            who: (tokens, since)
            for who, (tokens, since) in self._buckets.items()
            if tokens + (now - since) * full / _PERIOD < full
        }
