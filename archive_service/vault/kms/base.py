"""What the archive asks of a key service. One conformance suite runs over every back end (``tests/contracts``).

The names of key versions are the back end's own: opaque to callers, at most 64 of ``a-z0-9-``, never used twice.
What the errors of ``unwrap`` mean is the same everywhere, because an erasure's certificate rests on it:

    KeyUnavailable  kms.destroyed        the version was destroyed: a newer one stands, and this one does not
    Tampered                             context or bytes are not those of ``wrap``
    StoreError      kms.away             the service could not be asked, or holds no key version at all
    StoreError      kms.unknown_version  newer than all that the service has: an old copy of it, or another service
    StoreError      kms.damaged          the key version is there and cannot be used
    StoreDenied     kms.denied           the service refuses us: PIN, token, policy
    StoreError      kms.refused          the service does not take what we ask

So a service that is away, empty or put back from a backup is never taken for one that destroyed a key.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from archive_service.model.errors import KeyUnavailable, Refused, StoreError

AWAY = "kms.away"
DENIED = "kms.denied"

_Order = TypeVar("_Order", bound=tuple[int | str, ...])


class Kms(Protocol):
    """Wraps small secrets (at most 4 KiB) under key versions that never leave it. Thread-safe, and safe beside other
    processes. Every method may raise StoreError, StoreDenied (outcome unknown)."""

    provider: str

    def wrap(self, context: bytes, plaintext: bytes) -> tuple[str, bytes]:
        """The newest key version's name, and opaque bytes that open only with the same ``context``."""
        ...

    def unwrap(self, version: str, context: bytes, wrapped: bytes) -> bytes:
        """What was wrapped. Raises KeyUnavailable, Tampered, StoreError as said above."""
        ...

    def rotate(self) -> str:
        """Make a new key version, newer than all, and return its name; durable on return. The first one is made only by
        who opened the service to create it; else StoreError (``kms.away``).

        Two processes at once make two versions, or one: either way what each of them wraps opens. After an error it may
        have taken effect; to call it again makes one version too many, which harms nothing."""
        ...

    def versions(self) -> list[str]:
        """The key versions that exist, oldest first. Raises StoreError (``kms.away``) when there is none."""
        ...

    def destroy(self, version: str) -> None:
        """Destroy a key version for good; durable on return. What it wrapped is unreadable from now on, here and in
        every other process. Absent is no error.

        Raises Refused for the newest version (``kms.newest``: rotate first, so that names are not used twice and a
        missing version can be told from a missing service), and where a back end can only destroy the oldest one, for
        any other (``kms.order``)."""
        ...


def require_destroyable(version: str, standing: Sequence[str]) -> None:
    """Raises Refused for the newest of the versions that stand, oldest first."""
    if standing and version == standing[-1]:
        raise Refused(f"{version} is the newest key version: rotate before destroying it", code="kms.newest")


def absent(version: _Order, standing: Iterable[_Order], name: str) -> KeyUnavailable | StoreError:
    """What it means that a version is not there, by the order of those that are."""
    newest = max(standing, default=None)
    if newest is None:
        return nothing_stands()
    if version < newest:
        return KeyUnavailable(f"key version {name} was destroyed", code="kms.destroyed")
    return StoreError(
        f"key version {name} is newer than all that the key service has: is it an old copy, or another one?",
        code="kms.unknown_version",
    )


def nothing_stands() -> StoreError:
    """The error for a service without a key version."""
    return StoreError("the key service holds no key version: is it the right one, and all there?", code=AWAY)
