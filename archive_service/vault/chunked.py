"""C2SP chunked-encryption with AES-256-GCM and HKDF-Expand over SHA-512 (FORMAT.md section 2).

Written here because no library on the shelf offers it; checked against its published vectors in
``tests/unit/test_chunked.py``. Flat memory: one 16 KiB chunk at a time.
"""

import secrets
from collections.abc import Iterable, Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.constant_time import bytes_eq
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from archive_service.model.errors import Tampered

CHUNK = 16 * 1024
TAG = 16
HEADER = 24 + 32  # salt, commitment
KEY_SIZE = 32
_LABEL = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00"


def expand(key: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand (RFC 5869 section 2.3) over SHA-512; ``key`` is uniformly random."""
    return HKDFExpand(SHA512(), length, info).derive(key)


def _derive(key: bytes, salt: bytes, context: bytes) -> tuple[AESGCM, int, bytes]:
    """The message's cipher, its base nonce as an integer, and its commitment."""
    if len(key) != KEY_SIZE:
        raise ValueError("the input key is 32 bytes")
    stream = expand(key, _LABEL + salt + context, 32 + 12 + 32)
    return AESGCM(stream[:32]), int.from_bytes(stream[32:44], "big"), stream[44:]


def _nonce(base: int, counter: int) -> bytes:
    return (base ^ counter).to_bytes(12, "big")


def encrypt(key: bytes, context: bytes, plaintext: Iterable[bytes]) -> Iterator[bytes]:
    """The message's ciphertext piece by piece. ``key`` must be used for few messages, best for one."""
    salt = secrets.token_bytes(24)
    cipher, base, commitment = _derive(key, salt, context)
    yield salt + commitment
    pending = bytearray()
    counter = 0
    for piece in plaintext:
        pending += piece
        if len(pending) < CHUNK:
            continue
        sealed = []
        whole = len(pending) - len(pending) % CHUNK
        view = bytes(pending[:whole])
        del pending[:whole]
        for start in range(0, whole, CHUNK):
            sealed.append(cipher.encrypt(_nonce(base, counter), view[start : start + CHUNK], None))
            counter += 1
        yield b"".join(sealed)
    yield cipher.encrypt(_nonce(base, counter), bytes(pending), None)


def decrypt(key: bytes, context: bytes, ciphertext: bytes | memoryview) -> Iterator[bytes]:
    """The plaintext chunk by chunk; whoever consumes it must go to the end before trusting the whole.

    Raises Tampered when key, context, order, length or any bit is wrong.
    """
    view = memoryview(ciphertext)
    if len(view) < HEADER + TAG:
        raise Tampered("sealed data is cut short")
    cipher, base, commitment = _derive(key, bytes(view[:24]), context)
    if not bytes_eq(commitment, bytes(view[24:HEADER])):
        raise Tampered("sealed data does not commit to this key and name")
    full, rest = divmod(len(view) - HEADER, CHUNK + TAG)
    if rest < TAG:  # the last chunk is always short, so every length has one chunking
        raise Tampered("sealed data is cut short")
    for counter in range(full + 1):
        start = HEADER + counter * (CHUNK + TAG)
        try:
            yield cipher.decrypt(_nonce(base, counter), view[start : start + CHUNK + TAG], None)
        except InvalidTag as error:
            raise Tampered(f"sealed data fails authentication in chunk {counter}") from error


def seal_bytes(key: bytes, context: bytes, plaintext: bytes) -> bytes:
    """A small message in one piece."""
    return b"".join(encrypt(key, context, [plaintext]))


def open_bytes(key: bytes, context: bytes, ciphertext: bytes) -> bytes:
    """The reverse of ``seal_bytes``. Raises Tampered."""
    return b"".join(decrypt(key, context, ciphertext))
