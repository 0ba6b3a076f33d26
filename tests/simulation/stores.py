"""The stores as actors see them: every call is a switch point and may meet a fault."""

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from archive_service.model.errors import KeyUnavailable, Tampered
from archive_service.vault.stores.base import KeyPlace, Lock, NewObject, ObjectStore, Stored
from tests.simulation.hub import Hub


@dataclass(frozen=True)
class SimStore:
    """An ObjectStore behind the schedule. Creating several objects is several calls on a real store: it may break off
    between two of them."""

    inner: ObjectStore
    hub: Hub

    def create(self, objects: Sequence[NewObject]) -> list[Stored]:
        """As in ObjectStore."""
        some = objects[: len(objects) // 2]
        return self.hub.call(
            f"create {objects[0].key}",
            lambda: self.inner.create(objects),
            changes=True,
            half=lambda: self.inner.create(some),
        )

    def read(self, key: str, version: str | None = None, offset: int = 0, length: int | None = None) -> bytes:
        """As in ObjectStore."""
        return self.hub.call(
            f"read {key}", lambda: self.inner.read(key, version, offset, length), changes=False
        )

    def stat(self, key: str) -> list[tuple[Stored, Lock]]:
        """As in ObjectStore."""
        return self.hub.call(f"stat {key}", lambda: self.inner.stat(key), changes=False)

    def list(self, prefix: str, after: str = "") -> Iterator[Stored]:
        """As in ObjectStore."""
        return self.hub.call(f"list {prefix}", lambda: self.inner.list(prefix, after), changes=False)

    def protect(self, key: str, version: str, lock: Lock) -> None:
        """As in ObjectStore."""
        self.hub.call(f"protect {key}", lambda: self.inner.protect(key, version, lock), changes=True)

    def delete(self, key: str, version: str) -> None:
        """As in ObjectStore."""
        self.hub.call(f"delete {key}", lambda: self.inner.delete(key, version), changes=True)


@dataclass(frozen=True)
class SimPlace:
    """A KeyPlace behind the schedule."""

    inner: KeyPlace
    hub: Hub
    letter: str

    def create(self, name: str, data: bytes) -> None:
        """As in KeyPlace."""
        self.hub.call(f"{self.letter} create {name}", lambda: self.inner.create(name, data), changes=True)

    def put(self, name: str, data: bytes) -> None:
        """As in KeyPlace."""
        self.hub.call(f"{self.letter} put {name}", lambda: self.inner.put(name, data), changes=True)

    def get(self, name: str) -> bytes:
        """As in KeyPlace."""
        return self.hub.call(f"{self.letter} get {name}", lambda: self.inner.get(name), changes=False)

    def list(self, prefix: str) -> Iterator[str]:
        """As in KeyPlace."""
        return self.hub.call(f"{self.letter} list {prefix}", lambda: self.inner.list(prefix), changes=False)

    def delete(self, name: str) -> None:
        """As in KeyPlace."""
        self.hub.call(f"{self.letter} delete {name}", lambda: self.inner.delete(name), changes=True)


@dataclass
class SimKms:
    """A key service that seals nothing and forgets what it is told to: the schedule is not about its cryptography."""

    provider: str = "simulated"
    standing: list[str] = field(default_factory=lambda: ["1"])

    def wrap(self, context: bytes, plaintext: bytes) -> tuple[str, bytes]:
        """As in Kms."""
        return self.standing[-1], context + plaintext

    def unwrap(self, version: str, context: bytes, wrapped: bytes) -> bytes:
        """As in Kms."""
        if version not in self.standing:
            raise KeyUnavailable("the key version was destroyed", code="kms.destroyed")
        if not wrapped.startswith(context):
            raise Tampered("another context")
        return wrapped[len(context) :]

    def rotate(self) -> str:
        """As in Kms."""
        self.standing.append(str(int(self.standing[-1]) + 1))
        return self.standing[-1]

    def versions(self) -> list[str]:
        """As in Kms."""
        return list(self.standing)

    def destroy(self, version: str) -> None:
        """As in Kms."""
        self.standing.remove(version)


class SeededSecrets:
    """Makes ``secrets`` say what the seed says, for the time of a schedule: names and keys decide orders too."""

    def __init__(self, hub: Hub) -> None:
        self._random = hub.random

    def __enter__(self) -> None:
        self._kept = secrets.token_bytes, secrets.token_hex
        secrets.token_bytes = self._random.randbytes  # type: ignore[assignment]
        secrets.token_hex = lambda count: self._random.randbytes(count).hex()  # type: ignore[assignment,misc]

    def __exit__(self, *_: object) -> None:
        secrets.token_bytes, secrets.token_hex = self._kept
