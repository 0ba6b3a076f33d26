"""The key service: it alone can open table keys and secrets. ``LocalKms`` keeps its key versions in a folder; PKCS#11
and Vault come behind the same protocol."""

import re
import secrets
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from archive_service.model.errors import AlreadyExists, KeyUnavailable, NotFound, Tampered
from archive_service.vault.stores.base import KeyPlace

_VERSION = re.compile(r"v[1-9][0-9]{0,5}")
_KEY_SIZE = 32


class Kms(Protocol):
    """Wraps small secrets under key versions that never leave it. Thread-safe."""

    provider: str

    def wrap(self, context: bytes, plaintext: bytes) -> tuple[str, bytes]:
        """The newest key version's name, and opaque bytes. Raises KeyUnavailable."""
        ...

    def unwrap(self, version: str, context: bytes, wrapped: bytes) -> bytes:
        """Raises KeyUnavailable when the version is gone, Tampered when context or bytes are wrong."""
        ...

    def rotate(self) -> str:
        """Make a new key version, and return its name."""
        ...

    def destroy(self, version: str) -> None:
        """Destroy a key version for good. What it wrapped is unreadable from now on."""
        ...


class LocalKms:
    """Key versions as files of 64 hex digits (``v1.key``, ...) in a place of their own.

    Whoever reads that place and the key store reads the archive: keep it on another disk, or use an HSM.
    """

    provider = "local-file"

    def __init__(self, place: KeyPlace) -> None:
        self._place = place
        self._keys: dict[str, bytes] = {}

    def _versions(self) -> list[int]:
        names = (name.removesuffix(".key") for name in self._place.list(""))
        return sorted(int(name[1:]) for name in names if _VERSION.fullmatch(name))

    def _key(self, version: str) -> bytes:
        if not _VERSION.fullmatch(version):
            raise KeyUnavailable("no such key version in the key service")
        if version not in self._keys:
            try:
                key = bytes.fromhex(self._place.get(f"{version}.key").decode("ascii"))
                if len(key) != _KEY_SIZE:
                    raise ValueError("another length than a key's")
            except NotFound as error:
                raise KeyUnavailable(f"key version {version} is not in the key service") from error
            except ValueError as error:
                raise KeyUnavailable(f"key version {version} is damaged in the key service") from error
            self._keys[version] = key
        return self._keys[version]

    def _newest(self) -> str:
        versions = self._versions()
        if versions:
            return f"v{versions[-1]}"
        try:
            return self.rotate()
        except AlreadyExists:  # another process made the first version at the same time
            return f"v{self._versions()[-1]}"

    def wrap(self, context: bytes, plaintext: bytes) -> tuple[str, bytes]:
        """See Kms."""
        version = self._newest()
        nonce = secrets.token_bytes(12)
        return version, nonce + AESGCM(self._key(version)).encrypt(nonce, plaintext, context)

    def unwrap(self, version: str, context: bytes, wrapped: bytes) -> bytes:
        """See Kms."""
        try:
            return AESGCM(self._key(version)).decrypt(wrapped[:12], wrapped[12:], context)
        except (InvalidTag, ValueError) as error:
            raise Tampered("a wrapped key fails authentication") from error

    def rotate(self) -> str:
        """See Kms."""
        versions = self._versions()
        version = f"v{versions[-1] + 1 if versions else 1}"
        self._place.create(f"{version}.key", secrets.token_hex(32).encode("ascii"))
        return version

    def destroy(self, version: str) -> None:
        """See Kms."""
        self._keys.pop(version, None)
        self._place.delete(f"{version}.key")
