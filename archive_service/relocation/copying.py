"""One object from store to store: its digests checked on both sides, its lock carried over, its new version learnt."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from archive_service.model.clock import Clock
from archive_service.model.errors import AlreadyExists, NotFound, Refused, StoreError, Tampered
from archive_service.vault.stores.base import Lock, LockMode, NewObject, ObjectStore, Stored
from archive_service.vault.stores.rules import normal, strictest

_CHUNK = 4 * 1024 * 1024
_OVER_SOON = timedelta(minutes=1)
_LEAST_TERM = timedelta(days=1)
_ROUNDED = timedelta(seconds=1)  # stores that keep no fractions of a second round up


@dataclass(frozen=True)
class Digest:
    """What identifies bytes: size, SHA-256 and SHA-512 in hex."""

    size: int
    sha256: str
    sha512: str

    @staticmethod
    def of_entry(facts: dict[str, Any]) -> "Digest":
        """What an entry says of its object. Raises Tampered."""
        try:
            return Digest(int(facts["size"]), str(facts["sha256"]), str(facts["sha512"]))
        except (KeyError, TypeError, ValueError) as error:
            raise Tampered("an entry that does not describe its object") from error


class _Hashing:
    """Chunks of a stored version, hashed as they pass."""

    def __init__(self, store: ObjectStore, key: str, version: str, size: int) -> None:
        self._store = store
        self._key = key
        self._version = version
        self._left = size
        self._hashes = hashlib.sha256(), hashlib.sha512()
        self._size = 0

    def __iter__(self) -> Iterator[bytes]:
        while self._left > 0:
            chunk = self._store.read(self._key, self._version, self._size, min(_CHUNK, self._left))
            if not chunk:
                return
            self._left -= len(chunk)
            self._size += len(chunk)
            for each in self._hashes:
                each.update(chunk)
            yield chunk

    def digest(self) -> Digest:
        first, second = self._hashes
        return Digest(self._size, first.hexdigest(), second.hexdigest())


def digest_of(store: ObjectStore, stored: Stored) -> Digest:
    """A version's digest, in flat memory."""
    hashing = _Hashing(store, stored.key, stored.version, stored.size)
    for _ in hashing:
        pass
    return hashing.digest()


@dataclass(frozen=True)
class Copied:
    """An object that stands in the target. ``fresh``: it did not before. ``source``, ``target``: its versions."""

    key: str
    source: str
    target: str
    digest: Digest
    fresh: bool


class Copier:
    """Copies objects. Thread-safe."""

    def __init__(self, source: ObjectStore, target: ObjectStore, clock: Clock) -> None:
        self._source = source
        self._target = target
        self._clock = clock

    def copy(self, key: str, expected: Digest | None = None) -> Copied:
        """The oldest version of ``key`` with its lock; durable, and read back, on return. What stands in the target
        already is compared instead; its lock is only lengthened.

        Raises Tampered when the source is not as ``expected`` (or its lock was edited): then it was not copied. Raises
        Refused (``relocate.diverged``) when other bytes stand in the target, StoreError.
        """
        stored, lock = self._oldest(key)
        standing = self._standing(key)
        if standing is None:
            self._create(stored, lock, expected)
            standing, fresh = self._standing(key), True
        else:
            fresh = False
        if standing is None:
            raise StoreError(f"object {key}: it does not stand in the target", code="relocate.lost")
        wanted = expected or digest_of(self._source, stored)
        if digest_of(self._target, standing[0]) != wanted:
            self._explain(stored, wanted, fresh=fresh)
        self._carry_lock(standing, lock)
        return Copied(key, stored.version, standing[0].version, wanted, fresh)

    def _oldest(self, key: str) -> tuple[Stored, Lock]:
        try:
            return self._source.stat(key)[0]
        except NotFound as error:
            raise Tampered("an object that its entry names is missing", code="integrity.missing") from error

    def _standing(self, key: str) -> tuple[Stored, Lock] | None:
        try:
            return self._target.stat(key)[0]
        except NotFound:
            return None

    def _create(self, stored: Stored, lock: Lock, expected: Digest | None) -> None:
        """A source that is not as expected leaves nothing in the target: the check comes before the last chunk ends."""

        def checked() -> Iterator[bytes]:
            hashing = _Hashing(self._source, stored.key, stored.version, stored.size)
            yield from hashing
            _require(hashing.digest(), expected)

        body = checked() if stored.size > _CHUNK else b"".join(checked())
        try:
            self._target.create([NewObject(stored.key, body, self._born(lock))])
        except AlreadyExists:
            return  # another run was faster: it is compared like all that stands

    def _born(self, lock: Lock) -> Lock:
        """No store takes a term that is over; a day is the least that says that there was one."""
        if lock.until is None or lock.until > self._clock() + _OVER_SOON:
            return lock
        return Lock(lock.mode, self._clock() + _LEAST_TERM, lock.hold)

    def _explain(self, stored: Stored, wanted: Digest, *, fresh: bool) -> None:
        _require(digest_of(self._source, stored), wanted)
        if fresh:
            raise StoreError(
                "an object does not read back from the target as written", code="relocate.read_back"
            )
        raise Refused(f"object {stored.key}: the target holds other bytes", code="relocate.diverged")

    def _carry_lock(self, standing: tuple[Stored, Lock], lock: Lock) -> None:
        stored, found = standing
        if covers(found, lock):
            return
        longer = strictest(normal(found), self._born(normal(lock)))
        self._target.protect(stored.key, stored.version, Lock(longer.mode, longer.until, lock.hold))
        again = self._standing(stored.key)
        if again is None or not covers(again[1], lock):
            raise StoreError("the target does not keep an object's lock", code="relocate.lock")


def _require(found: Digest, expected: Digest | None) -> None:
    if expected is not None and found != expected:
        raise Tampered("an object does not match the digest in its entry", code="integrity.object")


def covers(found: Lock, wanted: Lock) -> bool:
    """Whether a lock is no shorter and no weaker than another, with the same hold."""
    if found.hold != wanted.hold:
        return False
    if wanted.until is None:
        return True
    strong = found.mode is LockMode.COMPLIANCE or wanted.mode is LockMode.GOVERNANCE
    return strong and found.until is not None and found.until >= wanted.until


def same_lock(found: Lock, wanted: Lock) -> bool:
    """Whether two stores hold the same lock, but for fractions of a second rounded up."""
    one, other = normal(found), normal(wanted)
    if one.until is None or other.until is None:
        return one == other
    close = timedelta(0) <= one.until - other.until < _ROUNDED
    return close and (one.mode, one.hold) == (other.mode, other.hold)
