"""What the archive asks of storage, shaped by its callers. One conformance suite runs over every back end
(``tests/contracts``). Only ``bootstrap`` builds back ends."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class LockMode(StrEnum):
    """As in S3 Object Lock. COMPLIANCE can never be shortened; GOVERNANCE only outside this program."""

    GOVERNANCE = "GOVERNANCE"
    COMPLIANCE = "COMPLIANCE"


@dataclass(frozen=True)
class Lock:
    """The retention state of one object version: until when, in which mode, and any legal hold."""

    mode: LockMode = LockMode.COMPLIANCE
    until: datetime | None = None
    hold: bool = False

    def lengthened(self, other: "Lock") -> "Lock":
        """Until the later of both ends, in the stricter of the modes of those that have one; this one's hold stays."""
        if other.until is None:
            return self
        if self.until is None:
            return replace(other, hold=self.hold)
        strict = LockMode.COMPLIANCE in (self.mode, other.mode)
        mode = LockMode.COMPLIANCE if strict else LockMode.GOVERNANCE
        return replace(self, mode=mode, until=max(self.until, other.until))


@dataclass(frozen=True)
class NewObject:
    """One object to create. ``body`` is bytes, or an iterable of chunks that is consumed once, so that
    a large mail never stands in memory whole."""

    key: str
    body: bytes | Iterable[bytes]
    lock: Lock = field(default_factory=Lock)


@dataclass(frozen=True)
class Stored:
    """One stored object version.

    ``modified`` is the store's own time, for information: from ``create`` and from ``list`` it may differ by a
    second, so it does not count when two are compared. ``marker``: no object but a delete marker laid over one in a
    versioned bucket; it hides a name from careless readers, has no bytes, and only ``stat`` shows it.
    """

    key: str
    version: str
    size: int
    modified: datetime = field(compare=False)
    marker: bool = False


class ObjectStore(Protocol):
    """Immutable objects under names like ``a/b/c`` (ASCII letters, digits, ``-_.``, at most 512 bytes).

    Thread-safe. Every method may raise StoreError (outcome unknown), StoreDenied, StoreFull.
    A name may have several versions (a versioned bucket after an attack); the oldest is the truth, whatever lies
    over it: a newer version, or a delete marker.

    Back ends differ in two things that no caller may rely on. A deleted name: never free again in a folder or in
    memory, free again on S3 (names are never reused by callers). The end of a lock: S3 keeps whole seconds, so it
    is rounded up there and may come back up to a second later than it was asked for, never earlier.
    """

    def create(self, objects: Sequence[NewObject]) -> list[Stored]:
        """Create each object unless its name exists, with its lock, and return when all are durable.

        Raises AlreadyExists if any name is taken (the others may have been created: names are
        opaque and never reused, so the caller abandons them). After any other StoreError each
        object may or may not exist; the caller settles it by ``stat``. What a body raises goes on, and then
        nothing was created.
        """
        ...

    def read(self, key: str, version: str | None = None, offset: int = 0, length: int | None = None) -> bytes:
        """The bytes of a version (None: the oldest). Raises NotFound."""
        ...

    def stat(self, key: str) -> list[tuple[Stored, Lock]]:
        """All versions, oldest first, with their retention state; after them any delete markers, oldest first, with
        an empty lock. Raises NotFound if there is no version but markers at most, Tampered if the retention state
        was edited from outside."""
        ...

    def list(self, prefix: str, after: str = "") -> Iterator[Stored]:
        """Every version of every object whose key starts with ``prefix`` and is greater than ``after``,
        in key order, oldest version first; no markers. ``prefix`` ends with "/" or is empty."""
        ...

    def protect(self, key: str, version: str, lock: Lock) -> None:
        """Set a version's retention state; durable on return. Raises Locked when that would shorten the
        term or downgrade COMPLIANCE; setting or clearing ``hold`` is always allowed."""
        ...

    def delete(self, key: str, version: str) -> None:
        """Remove a version. Raises Locked while held or before its term, NotFound when it is not there."""
        ...


class KeyPlace(Protocol):
    """One of the two places of the key store: small mutable records, apart from the archive.

    Thread-safe. A put is atomic and durable on return. Names as in ObjectStore. Raises StoreError
    (outcome unknown), StoreDenied, StoreFull.
    """

    def create(self, name: str, data: bytes) -> None:
        """Write a record unless it exists. Raises AlreadyExists."""
        ...

    def put(self, name: str, data: bytes) -> None:
        """Write or replace a record."""
        ...

    def get(self, name: str) -> bytes:
        """Raises NotFound."""
        ...

    def list(self, prefix: str) -> Iterator[str]:
        """Names that start with ``prefix`` (ends with "/" or is empty), in order."""
        ...

    def delete(self, name: str) -> None:
        """Remove a record; the data is overwritten or unlinked. Absent is not an error."""
        ...
