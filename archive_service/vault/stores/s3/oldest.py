"""Which version of a name is its oldest: the one that counts, whatever was laid over it.

What is oldest under a locked name stays so, so it may be remembered once it was seen in a listing. Whatever could be
otherwise (a deletion, a version that is gone) drops the memory.
"""

import threading
from collections import OrderedDict

from archive_service.vault.stores.base import Stored
from archive_service.vault.stores.s3.client import S3Client
from archive_service.vault.stores.s3.versions import just_before, pages

_REMEMBERED = 50_000  # names; some 10 MB
_AHEAD = 100  # names learned by one listing: a log is walked in order


class OldestVersions:
    """Finds and remembers the oldest version of names. Thread-safe."""

    def __init__(self, client: S3Client) -> None:
        self._client = client
        self._mutex = threading.Lock()
        self._known: OrderedDict[str, str] = OrderedDict()

    def known(self, key: str) -> str | None:
        """The oldest version id, if it was seen before."""
        with self._mutex:
            version = self._known.get(key)
            if version is not None:
                self._known.move_to_end(key)
            return version

    def look(self, key: str) -> str | None:
        """The oldest version id by a listing, which also learns the names that follow in the same folder; None when
        there is no version. Raises StoreError."""
        folder = key[: key.rfind("/") + 1]
        for page in pages(self._client, folder, just_before(key), size=_AHEAD):
            for group in page:
                if group.versions:
                    self._remember(group.versions[0])
            if page and page[-1].key >= key:
                break
        return next(
            (group.versions[0].version for group in page if group.key == key and group.versions), None
        )

    def _remember(self, stored: Stored) -> None:
        with self._mutex:
            self._known[stored.key] = stored.version
            self._known.move_to_end(stored.key)
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)

    def forget(self, key: str) -> None:
        """Ask the store next time."""
        with self._mutex:
            self._known.pop(key, None)
