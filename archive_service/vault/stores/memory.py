"""Object store and key place in memory: for tests, under the same contract as the others.

``forge_version`` and ``forge_marker`` do what an attacker with a versioned bucket's credentials can do: lay a
newer version, or a delete marker, over a name. The oldest version stays the truth.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from archive_service.model.clock import Clock, utc_now
from archive_service.model.errors import AlreadyExists, NotFound
from archive_service.vault.stores.base import Lock, NewObject, Stored
from archive_service.vault.stores.rules import (
    check_change,
    check_deletable,
    check_key,
    check_prefix,
    check_span,
    normal,
)


@dataclass
class _Version:
    stored: Stored
    data: bytes
    lock: Lock


class MemoryStore:
    """An ObjectStore that forgets everything with the process."""

    def __init__(self, *, clock: Clock = utc_now) -> None:
        self._clock = clock
        self._mutex = threading.Lock()
        # An empty list: the name was used and deleted. It is never free again.
        self._objects: dict[str, list[_Version]] = {}
        self._markers: dict[str, list[Stored]] = {}

    def create(self, objects: Sequence[NewObject]) -> list[Stored]:
        """As in ObjectStore."""
        for item in objects:
            check_key(item.key)
        locks = [normal(item.lock) for item in objects]
        bodies = [_bytes_of(item) for item in objects]
        with self._mutex:
            created = []
            for item, lock, body in zip(objects, locks, bodies, strict=True):
                if item.key in self._objects:
                    raise AlreadyExists(f"object {item.key}: the name is taken")
                created.append(self._add(item.key, body, lock))
            return created

    def forge_version(self, key: str, data: bytes) -> str:
        """For tests: a newer version over an existing name, without lock. Returns its version."""
        with self._mutex:
            self._version(key, None)
            return self._add(key, data, Lock()).version

    def forge_marker(self, key: str) -> str:
        """For tests: a delete marker over an existing name. Returns its version."""
        with self._mutex:
            self._version(key, None)
            laid = self._markers.setdefault(key, [])
            marker = Stored(key, f"marker-{len(laid) + 1}", 0, self._clock(), marker=True)
            laid.append(marker)
            return marker.version

    def _add(self, key: str, data: bytes, lock: Lock) -> Stored:
        versions = self._objects.setdefault(key, [])
        number = 1 + max((int(version.stored.version) for version in versions), default=0)
        stored = Stored(key, str(number), len(data), self._clock())
        versions.append(_Version(stored, data, lock))
        return stored

    def _version(self, key: str, version: str | None) -> _Version:
        for candidate in self._objects.get(key, []):
            if version is None or candidate.stored.version == version:
                return candidate
        raise NotFound(f"object {key}: not found")

    def read(self, key: str, version: str | None = None, offset: int = 0, length: int | None = None) -> bytes:
        """As in ObjectStore; beyond the end there are no bytes."""
        check_key(key)
        check_span(offset, length)
        with self._mutex:
            data = self._version(key, version).data
        return data[offset:] if length is None else data[offset : offset + length]

    def stat(self, key: str) -> list[tuple[Stored, Lock]]:
        """As in ObjectStore."""
        check_key(key)
        with self._mutex:
            self._version(key, None)
            versions = [(version.stored, version.lock) for version in self._objects[key]]
            return versions + [(marker, Lock()) for marker in self._markers.get(key, [])]

    def list(self, prefix: str, after: str = "") -> Iterator[Stored]:
        """As in ObjectStore: what was there at the time of the call."""
        check_prefix(prefix)
        with self._mutex:
            keys = sorted(key for key in self._objects if key.startswith(prefix) and key > after)
            return iter([version.stored for key in keys for version in self._objects[key]])

    def protect(self, key: str, version: str, lock: Lock) -> None:
        """As in ObjectStore."""
        check_key(key)
        wanted = normal(lock)
        with self._mutex:
            found = self._version(key, version)
            check_change(key, found.lock, wanted)
            found.lock = wanted

    def delete(self, key: str, version: str) -> None:
        """As in ObjectStore."""
        check_key(key)
        with self._mutex:
            found = self._version(key, version)
            check_deletable(key, found.lock, self._clock())
            self._objects[key].remove(found)


class MemoryKeyPlace:
    """A KeyPlace that forgets everything with the process."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._records: dict[str, bytes] = {}

    def create(self, name: str, data: bytes) -> None:
        """As in KeyPlace."""
        check_key(name)
        with self._mutex:
            if name in self._records:
                raise AlreadyExists(f"record {name}: the name is taken")
            self._records[name] = bytes(data)

    def put(self, name: str, data: bytes) -> None:
        """As in KeyPlace."""
        check_key(name)
        with self._mutex:
            self._records[name] = bytes(data)

    def get(self, name: str) -> bytes:
        """As in KeyPlace."""
        check_key(name)
        with self._mutex:
            if name not in self._records:
                raise NotFound(f"record {name}: not found")
            return self._records[name]

    def list(self, prefix: str) -> Iterator[str]:
        """As in KeyPlace: what was there at the time of the call."""
        check_prefix(prefix)
        with self._mutex:
            return iter(sorted(name for name in self._records if name.startswith(prefix)))

    def delete(self, name: str) -> None:
        """As in KeyPlace."""
        check_key(name)
        with self._mutex:
            self._records.pop(name, None)


def _bytes_of(item: NewObject) -> bytes:
    if isinstance(item.body, bytes | bytearray | memoryview):
        return bytes(item.body)
    return b"".join(item.body)
