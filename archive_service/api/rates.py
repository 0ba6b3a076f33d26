"""How many requests somebody may make a minute: a token bucket an actor, or, of those whom nobody knows, a network, in
this process alone."""

import ipaddress
import threading
import time
from collections.abc import Callable

from archive_service.api.errors import TooMany

_PERIOD = 60.0  # seconds that a rate is for
_MOST_ACTORS = 10_000
_THE_REST = ("", "")
_STRANGERS = 120  # requests a minute of one network
SIGN_INS = 600
"""A minute from one network: a whole house may come from one address in the morning."""


class ActorRates:
    """Each API process counts for itself: where N share a port, somebody may reach N times his rate. A bucket holds
    what a minute allows. Thread-safe."""

    def __init__(
        self, rate: int | None, monotonic: Callable[[], float] = time.monotonic, *, most: int | None = None
    ) -> None:
        """``rate``: requests a minute; None bounds nothing. ``most``: of buckets; the rest then share one."""
        self._rate = rate
        self._most = most
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
            who = self._bucket(tenant, subject)
            tokens, since = self._buckets.get(who, (full, now))
            tokens = min(full, tokens + (now - since) * full / _PERIOD)
            self._buckets[who] = (max(tokens - 1, 0.0) if tokens >= 1 else tokens, now)
        if tokens < 1:
            raise TooMany(int((1 - tokens) * _PERIOD / full) + 1)

    def _bucket(self, tenant: str, subject: str) -> tuple[str, str]:
        full = self._most is not None and len(self._buckets) >= self._most
        return _THE_REST if full and (tenant, subject) not in self._buckets else (tenant, subject)

    def _forget(self, now: float, full: float) -> None:
        """Buckets that are full again say nothing."""
        if len(self._buckets) < _MOST_ACTORS:
            return
        self._buckets = {
            who: (tokens, since)
            for who, (tokens, since) in self._buckets.items()
            if tokens + (now - since) * full / _PERIOD < full
        }


class OriginRates:
    """Of public routes that cost something: by where somebody comes from. Behind a proxy that does not say (the API
    believes the one on its own machine) all share one. Thread-safe, and bounded in memory whoever comes."""

    def __init__(self, rate: int = _STRANGERS, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._rates = ActorRates(rate, monotonic, most=_MOST_ACTORS)

    def take(self, origin: str | None) -> None:
        """Count one request. Raises TooMany (``rate.exceeded``)."""
        self._rates.take("origin", network_of(origin))


def network_of(origin: str | None) -> str:
    """An IPv4 address as it is; of IPv6 the /64, for nobody has less."""
    try:
        address = ipaddress.ip_address((origin or "").partition("%")[0])
    except ValueError:
        return origin or ""
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
