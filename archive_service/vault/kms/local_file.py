"""Key versions in a folder of their own."""

import re
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from archive_service.model.errors import AlreadyExists, NotFound, StoreError, Tampered
from archive_service.vault.kms.base import absent, nothing_stands, require_destroyable
from archive_service.vault.stores.base import KeyPlace

_VERSION = re.compile(r"v[1-9][0-9]{0,5}")
_KEY_SIZE = 32


class LocalKms:
    """Implements Kms. Key versions are files of 64 hex digits (``v1.key``, ...) in a place of their own.

    Whoever reads that place and the key store reads the archive: keep it on another disk, or use an HSM. Keys are read
    anew at each call, so that what another process destroyed is destroyed here too.
    """

    provider = "local-file"

    def __init__(self, place: KeyPlace, *, create: bool = True) -> None:
        """``create``: make the first version when there is none; otherwise an empty place (a disk that is not
        mounted) is an error."""
        self._place = place
        self._create = create

    def _numbers(self) -> list[int]:
        names = (name.removesuffix(".key") for name in self._place.list("") if name.endswith(".key"))
        return sorted(int(name[1:]) for name in names if _VERSION.fullmatch(name))

    def _key(self, version: str) -> bytes:
        if not _VERSION.fullmatch(version):
            raise Tampered("a record names a key version that could not be")
        try:
            key = bytes.fromhex(self._place.get(f"{version}.key").decode("ascii"))
        except NotFound as error:
            number = int(version[1:])
            raise absent((number,), [(each,) for each in self._numbers()], version) from error
        except ValueError as error:
            raise _damaged(version) from error
        if len(key) != _KEY_SIZE:
            raise _damaged(version)
        return key

    def _newest(self) -> str:
        numbers = self._numbers()
        if numbers:
            return f"v{numbers[-1]}"
        if not self._create:
            raise nothing_stands()
        return self._make(numbers)

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
        """See Kms. Two at once make the same version: who loses the exclusive create takes the winner's."""
        numbers = self._numbers()
        if not numbers and not self._create:
            raise nothing_stands()
        return self._make(numbers)

    def _make(self, numbers: list[int]) -> str:
        version = f"v{numbers[-1] + 1 if numbers else 1}"
        try:
            self._place.create(f"{version}.key", secrets.token_hex(_KEY_SIZE).encode("ascii"))
        except AlreadyExists:
            self._key(version)  # whole, or it is no version to rely on
        return version

    def versions(self) -> list[str]:
        """See Kms."""
        numbers = self._numbers()
        if not numbers:
            raise nothing_stands()
        return [f"v{number}" for number in numbers]

    def destroy(self, version: str) -> None:
        """See Kms. The file is unlinked: what the medium still holds of it is beyond this program."""
        require_destroyable(version, self.versions())
        if _VERSION.fullmatch(version):
            self._place.delete(f"{version}.key")


def _damaged(version: str) -> StoreError:
    return StoreError(f"key version {version} is damaged in the key service", code="kms.damaged")
