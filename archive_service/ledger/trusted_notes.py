"""A store through which a checkpoint is seen only when its owner has signed it.

Whoever may write to the bucket may put a note under the next free name, and a batch far behind the head: who believed
it would answer 250 for mail in a place that no reader ever reaches. So a walk begins only at what the owner's own key
has signed. ``verify`` looks at the store itself, and names what stands there.
"""

import threading
from collections.abc import Callable, Iterator, Sequence

from archive_service.ledger.note import Signer, Verifier
from archive_service.model.errors import KeyUnavailable, NotFound, Tampered
from archive_service.vault import key_layout
from archive_service.vault.key_layout import LogId
from archive_service.vault.keyring import Keyring
from archive_service.vault.stores.base import Lock, NewObject, ObjectStore, Stored


class ForgedNote(NotFound):
    """What stands there is no checkpoint of its owner's: for a reader there is none."""

    code = "integrity.checkpoint"


class OwnerVerifiers:
    """The verifier of each owner's notes. Thread-safe."""

    def __init__(self, keyring: Callable[[str], Keyring]) -> None:
        self._keyring = keyring
        self._known: dict[str, Verifier] = {}
        self._lock = threading.Lock()

    def __call__(self, owner: str) -> Verifier:
        """Raises KeyUnavailable for an owner who has no signing key here: its logs were put here by somebody else."""
        with self._lock:
            known = self._known.get(owner)
        if known is None:
            known = Verifier([Signer(owner, self._keyring(owner).secret("signing")).vkey])
            with self._lock:
                self._known[owner] = known
        return known


class TrustedNotes:
    """An ObjectStore over another one."""

    def __init__(self, inner: ObjectStore, verifier: Callable[[str], Verifier]) -> None:
        self.inner = inner
        self._verifier = verifier

    def read(self, key: str, version: str | None = None, offset: int = 0, length: int | None = None) -> bytes:
        """As in ObjectStore. Raises ForgedNote."""
        data = self.inner.read(key, version, offset, length)
        log = _log_of_checkpoint(key)
        if log is not None and offset == 0 and length is None:
            try:
                self._verifier(log.owner).check(data.decode("utf-8", "replace"), str(log))
            except (Tampered, KeyUnavailable) as error:
                raise ForgedNote(f"{key}: no checkpoint of its owner") from error
        return data

    def create(self, objects: Sequence[NewObject]) -> list[Stored]:
        """As in ObjectStore."""
        return self.inner.create(objects)

    def stat(self, key: str) -> list[tuple[Stored, Lock]]:
        """As in ObjectStore."""
        return self.inner.stat(key)

    def list(self, prefix: str, after: str = "") -> Iterator[Stored]:
        """As in ObjectStore."""
        return self.inner.list(prefix, after)

    def protect(self, key: str, version: str, lock: Lock) -> None:
        """As in ObjectStore."""
        self.inner.protect(key, version, lock)

    def delete(self, key: str, version: str) -> None:
        """As in ObjectStore."""
        self.inner.delete(key, version)


def _log_of_checkpoint(key: str) -> LogId | None:
    top, _, rest = key.partition("/")
    parts = rest.split("/")
    if top != "ledger" or len(parts) < 3 or parts[2] != "checkpoint":
        return None
    name = f"{parts[0]}/{parts[1]}"
    return LogId.parse(name) if key_layout.is_log(name) else None
