"""Who was turned away before he was let in: bad tokens, sessions of other sites' pages, too many requests.

Anybody can be turned away as often as he likes and must not fill a log, so these are sums: an entry a minute for each
tenant, reason and person. What names no tenant of ours (no token, or one that is none) is nobody's to record; it is
counted on ``/metrics`` like every request.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from archive_service.access.events import AccessEvent, AccessLog
from archive_service.model.errors import ArchiveError

UNKNOWN = "unknown"
"""The actor of an entry about somebody who did not prove who he is."""

_MOST_ORIGINS = 20
_log = logging.getLogger(__name__)
_Key = tuple[str, str, str]  # tenant, actor, reason


@dataclass
class _Sum:
    count: int = 0
    origins: set[str] = field(default_factory=set)

    def add(self, count: int, origins: set[str]) -> None:
        """The first origins are named, the rest only counted."""
        self.count += count
        self.origins |= set(sorted(origins)[: _MOST_ORIGINS - len(self.origins)])


class Strangers:
    """What one process has to tell. Thread-safe. Its memory is bounded by the tenants there are and the people who
    proved who they are."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sums: dict[_Key, _Sum] = {}

    def note(self, tenant: str, reason: str, origin: str | None, actor: str = UNKNOWN) -> None:
        """One more, of a tenant that is here; never waits for a log."""
        with self._lock:
            self._sum((tenant, actor, reason)).add(1, {origin} if origin else set())

    def write(self, log_of: Callable[[str], AccessLog | None]) -> None:
        """An entry for each sum since the last time, durable on return; what cannot be written is told with the
        next."""
        with self._lock:
            taken, self._sums = self._sums, {}
        for key, some in taken.items():
            try:
                log = log_of(key[0])
                if log is not None:
                    log.record(_event(key, some))
            except (ArchiveError, OSError) as error:
                _log.warning("who was turned away cannot be recorded: %s", getattr(error, "code", "os"))
                with self._lock:
                    self._sum(key).add(some.count, some.origins)

    def _sum(self, key: _Key) -> _Sum:
        return self._sums.setdefault(key, _Sum())


def _event(key: _Key, some: _Sum) -> AccessEvent:
    _, actor, reason = key
    detail = {"reason": reason, "count": some.count, "origins": sorted(some.origins)}
    return AccessEvent(actor=actor, role="none", action="auth.turned_away", outcome="refused", detail=detail)
