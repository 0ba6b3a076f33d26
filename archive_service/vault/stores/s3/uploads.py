"""Creating one object: its body staged, put under its name unless that is taken, and an unknown outcome settled.

An attempt whose answer was lost may have taken effect. So a later "the name is taken" may speak of our own object:
the oldest version under the name is read, and if it has our bytes it is ours.
"""

import base64
import errno
import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from archive_service.model.clock import utc_now
from archive_service.model.errors import AlreadyExists, StoreError, StoreFull
from archive_service.vault.stores.base import Lock, NewObject, Stored
from archive_service.vault.stores.rules import normal
from archive_service.vault.stores.s3.client import S3Client, answered_at
from archive_service.vault.stores.s3.failures import Passing
from archive_service.vault.stores.s3.versions import group_of

_IN_MEMORY = 1 << 20  # bytes of an iterable body kept in memory; longer ones go to a temporary file
_CHUNK = 1 << 20


@dataclass
class Upload:
    """An object whose body is all here. ``body``: its bytes, or an open file that holds them (ciphertext)."""

    key: str
    lock: Lock
    body: "bytes | IO[bytes]"
    size: int
    sha256: bytes

    def close(self) -> None:
        """Let a temporary file go."""
        if not isinstance(self.body, bytes):
            self.body.close()


def whole_seconds(lock: Lock) -> Lock:
    """The lock in normal form, its end rounded up to a second: services keep no finer time, and a lock that ends
    earlier than an entry says would be damage. Raises Invalid."""
    plain = normal(lock)
    if plain.until is None or plain.until.microsecond == 0:
        return plain
    return Lock(plain.mode, plain.until.replace(microsecond=0) + timedelta(seconds=1), plain.hold)


def staged(item: NewObject, lock: Lock) -> Upload:
    """Take the whole body, in flat memory. What the body raises goes on. Raises StoreFull, StoreError when the
    temporary file cannot be written."""
    if isinstance(item.body, bytes | bytearray | memoryview):
        body = bytes(item.body)
        return Upload(item.key, lock, body, len(body), hashlib.sha256(body).digest())
    return _spooled(item.key, lock, item.body)


def _spooled(key: str, lock: Lock, chunks: Iterable[bytes]) -> Upload:
    digest, size = hashlib.sha256(), 0
    file = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115  closed by Upload.close
    try:
        for chunk in chunks:
            digest.update(chunk)
            size += len(chunk)
            _write(key, file, chunk)
        if size > _IN_MEMORY:
            return Upload(key, lock, file, size, digest.digest())
        file.seek(0)
        body = file.read()
    except BaseException:
        file.close()
        raise
    file.close()
    return Upload(key, lock, body, size, digest.digest())


def _write(key: str, file: "SpooledTemporaryFile[bytes]", chunk: bytes) -> None:
    try:
        file.write(chunk)
    except OSError as error:
        kind = StoreFull if error.errno in {errno.ENOSPC, errno.EDQUOT} else StoreError
        raise kind(
            f"object {key}: its temporary file cannot be written ({os.strerror(error.errno or 0)})"
        ) from error


class Uploader:
    """Puts uploads. Thread-safe."""

    def __init__(self, client: S3Client) -> None:
        self._client = client
        self._looking = client.impatient()

    def put(self, upload: Upload) -> Stored:
        """Create the object; durable on return. Raises AlreadyExists, and StoreError when the outcome stays
        unknown."""
        unknown = False

        def attempt() -> Stored:
            nonlocal unknown
            try:
                return self._attempt(upload)
            except Passing as error:
                unknown = unknown or error.unknown
                raise
            except AlreadyExists:
                ours = self._ours(upload) if unknown else None
                if ours is None:
                    raise
                return ours

        try:
            return self._client.retry.run(attempt)
        except Passing:
            ours = self._last_look(upload) if unknown else None
            if ours is None:
                raise
            return ours

    def _attempt(self, upload: Upload) -> Stored:
        subject = f"object {upload.key}"
        parameters = {
            "IfNoneMatch": "*",
            "ChecksumAlgorithm": "SHA256",  # AWS wants a lock to come with an algorithm named
            "ChecksumSHA256": base64.b64encode(upload.sha256).decode("ascii"),
            **_lock_parameters(upload.lock),
        }
        if isinstance(upload.body, bytes):
            answer = self._client.put(subject, upload.key, upload.body, **parameters)
        else:
            answer = self._put_file(subject, upload, parameters)
        version = answer.get("VersionId")
        if not version or version == "null":
            raise StoreError(f"{subject}: the bucket keeps no versions", code="store.unfit")
        return Stored(upload.key, str(version), upload.size, answered_at(answer) or utc_now())

    def _put_file(self, subject: str, upload: Upload, parameters: dict[str, Any]) -> dict[str, Any]:
        """Large: the server may refuse before the body travels (Expect: 100-continue, by boto3)."""
        assert not isinstance(upload.body, bytes)
        upload.body.seek(0)
        return self._client.once(
            "put_object",
            subject,
            Key=upload.key,
            Body=upload.body,
            ContentLength=upload.size,
            **parameters,
        )

    def _ours(self, upload: Upload) -> Stored | None:
        """The oldest version under the name if it has our bytes; None when another's stands there or none."""
        versions = group_of(self._looking, upload.key).versions
        if not versions or versions[0].size != upload.size:
            return None
        return versions[0] if self._digest(versions[0]) == upload.sha256 else None

    def _last_look(self, upload: Upload) -> Stored | None:
        """After the last try: whether it stands after all. Raises AlreadyExists when another's does."""
        ours = self._ours(upload)
        if ours is None and group_of(self._looking, upload.key).versions:
            raise AlreadyExists(f"object {upload.key}: the name is taken")
        return ours

    def _digest(self, stored: Stored) -> bytes:
        """SHA-256 of a version's bytes as the store gives them back, in flat memory."""
        digest, _ = self._looking.stream(
            f"object {stored.key}", _sha256, Key=stored.key, VersionId=stored.version
        )
        return digest


def _sha256(body: Any) -> bytes:
    digest = hashlib.sha256()
    for chunk in body.iter_chunks(_CHUNK):
        digest.update(chunk)
    return digest.digest()


def _lock_parameters(lock: Lock) -> dict[str, Any]:
    found: dict[str, Any] = {"ObjectLockLegalHoldStatus": "ON"} if lock.hold else {}
    if lock.until is not None:
        found |= {"ObjectLockMode": str(lock.mode), "ObjectLockRetainUntilDate": lock.until}
    return found
