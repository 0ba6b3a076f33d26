"""The sealed object, format v1 (FORMAT.md section 3): one pass, flat memory, and a commitment that can be opened
for the mail, the envelope or both."""

import hashlib
import secrets
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

import zstandard

from archive_service.model.errors import Tampered
from archive_service.vault import chunked

MAGIC = b"\x89ARCOBJ\x01"
_OBJECT = b"archive-service/object/v1\x00"
_RAW = b"archive-service/raw/v1\x00"
_RECORD = b"archive-service/record/v1\x00"
_COMMIT = b"archive-service/commit/v1\x00"
_FIXED = 1 + 32 + 32 + 4
_LEVEL = 1  # zstd: higher levels cost more intake than they save storage


class Kind(IntEnum):
    """What an object holds."""

    CAPTURE = 1
    PAYLOAD = 2
    FINDING = 3
    EVIDENCE = 4


def raw_commit(salt: bytes, raw: bytes) -> bytes:
    """R of FORMAT.md section 3."""
    return hashlib.sha256(_RAW + salt + raw + struct.pack(">Q", len(raw))).digest()


def record_commit(salt: bytes, record: bytes) -> bytes:
    """E of FORMAT.md section 3."""
    return hashlib.sha256(_RECORD + salt + record + struct.pack(">Q", len(record))).digest()


def joint_commit(raw_part: bytes, record_part: bytes) -> bytes:
    """``commit`` of an entry, from R and E."""
    return hashlib.sha256(_COMMIT + raw_part + record_part).digest()


@dataclass(frozen=True)
class Seal:
    """What an entry says of a sealed object. ``size`` and digests are of the stored bytes."""

    size: int
    sha256: str
    sha512: str
    commit: str
    raw_size: int


@dataclass(frozen=True)
class Opened:
    """An object opened and checked against its entry."""

    kind: Kind
    salt1: bytes
    salt2: bytes
    record: bytes
    raw: bytes

    def raw_commit(self) -> bytes:
        """R."""
        return raw_commit(self.salt1, self.raw)

    def record_commit(self) -> bytes:
        """E."""
        return record_commit(self.salt2, self.record)

    def commit(self) -> str:
        """The commitment in hex, as an entry has it."""
        return joint_commit(self.raw_commit(), self.record_commit()).hex()


class Sealer:
    """Seals one object in one pass: iterate ``chunks(raw)`` to the end, then ask ``result()``."""

    def __init__(self, key: bytes, object_key: str, record: bytes, kind: Kind = Kind.CAPTURE) -> None:
        self._key = key
        self._context = _OBJECT + object_key.encode("ascii")
        self._record = record
        self._kind = kind
        self._salt1 = secrets.token_bytes(32)
        self._salt2 = secrets.token_bytes(32)
        self._raw_hash = hashlib.sha256(_RAW + self._salt1)
        self._raw_size = 0
        self._sha256 = hashlib.sha256()
        self._sha512 = hashlib.sha512()
        self._size = 0
        self._done = False

    def _plaintext(self, raw: Iterable[bytes]) -> Iterator[bytes]:
        yield bytes([self._kind]) + self._salt1 + self._salt2 + struct.pack(">I", len(self._record))
        yield self._record
        compressor = zstandard.ZstdCompressor(level=_LEVEL).compressobj()
        for piece in raw:
            self._raw_hash.update(piece)
            self._raw_size += len(piece)
            yield compressor.compress(piece)
        yield compressor.flush()

    def chunks(self, raw: Iterable[bytes]) -> Iterator[bytes]:
        """The stored bytes, piece by piece."""
        yield self._count(MAGIC)
        for piece in chunked.encrypt(self._key, self._context, self._plaintext(raw)):
            yield self._count(piece)
        self._done = True

    def _count(self, piece: bytes) -> bytes:
        self._sha256.update(piece)
        self._sha512.update(piece)
        self._size += len(piece)
        return piece

    def result(self) -> Seal:
        """Digests and commitment. Raises RuntimeError before the last chunk was taken."""
        if not self._done:
            raise RuntimeError("the object is not sealed to its end")
        raw_hash = self._raw_hash.copy()
        raw_hash.update(struct.pack(">Q", self._raw_size))
        commit = joint_commit(raw_hash.digest(), record_commit(self._salt2, self._record))
        return Seal(
            self._size, self._sha256.hexdigest(), self._sha512.hexdigest(), commit.hex(), self._raw_size
        )


def seal_whole(
    key: bytes, object_key: str, record: bytes, raw: bytes, kind: Kind = Kind.CAPTURE
) -> tuple[bytes, Seal]:
    """Seal a mail that stands in memory."""
    sealer = Sealer(key, object_key, record, kind)
    stored = b"".join(sealer.chunks([raw]))
    return stored, sealer.result()


def open_object(key: bytes, object_key: str, stored: bytes) -> Opened:
    """Open an object. Raises Tampered when it is not format v1 under this key and name."""
    if stored[: len(MAGIC)] != MAGIC:
        raise Tampered("not a sealed object of format 1")
    context = _OBJECT + object_key.encode("ascii")
    plain = b"".join(chunked.decrypt(key, context, memoryview(stored)[len(MAGIC) :]))
    if len(plain) < _FIXED:
        raise Tampered("a sealed object without its fixed fields")
    (length,) = struct.unpack_from(">I", plain, _FIXED - 4)
    if length > len(plain) - _FIXED:
        raise Tampered("a sealed object whose record is cut short")
    try:
        frame = zstandard.ZstdDecompressor().decompressobj()
        raw = frame.decompress(plain[_FIXED + length :])
        kind = Kind(plain[0])
    except (zstandard.ZstdError, ValueError) as error:
        raise Tampered("a sealed object whose content does not decompress") from error
    if not frame.eof or frame.unused_data:
        raise Tampered("a sealed object whose content is not one whole frame")
    return Opened(kind, plain[1:33], plain[33:65], plain[_FIXED : _FIXED + length], raw)
