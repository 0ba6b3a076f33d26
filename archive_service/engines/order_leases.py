"""Which follower is the active one, where the catalog is PostgreSQL: the one whose session holds the lock.

The server lets it go when its holder is killed, at once; and when its holder falls silent, be it frozen or cut off. So
what holds one says so again and again, from a thread of its own. As with all leases, the claim in the log decides.
"""

import logging
import threading

from archive_service.catalog.advisory import AdvisoryLeases

_log = logging.getLogger(__name__)
_BEATS = 4  # looks within the time of silence


class OrderLeases:
    """Implements ``Leases``. Thread-safe."""

    def __init__(self, url: str, silence: float) -> None:
        """``silence``: seconds after which a holder that says nothing is relieved. Raises Invalid."""
        self._inner = AdvisoryLeases(url, silence=silence)
        self._pause = silence / _BEATS
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def take(self, name: str) -> bool:
        """See ``Leases``. Raises StoreError when the server cannot be reached."""
        taken = self._inner.take(name)
        if taken:
            self._begin()
        return taken

    def _begin(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._beat, name="order-leases", daemon=True)
                self._thread.start()

    def _beat(self) -> None:
        while not self._stop.wait(self._pause):
            if not self._inner.beat():
                _log.warning("the lease of the order was lost")

    def release(self, name: str) -> None:
        """See ``Leases``."""
        self._inner.release(name)

    def close(self) -> None:
        """See ``Leases``."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._inner.close()
