"""C2SP chunked encryption against its published vectors, and every way to damage a message."""

import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archive_service.model.errors import Tampered
from archive_service.vault.chunked import CHUNK, HEADER, TAG, decrypt, encrypt, open_bytes, seal_bytes

VECTORS = json.loads((Path(__file__).parent / "vectors_chunked_encryption.json").read_text("ascii"))["tests"]
KEY, CONTEXT = b"k" * 32, b"context"


def fields(vector: dict[str, Any]) -> tuple[bytes, bytes, bytes]:
    key, context, compressed = (bytes.fromhex(vector[name]) for name in ("key", "ctx", "ct"))
    return key, context, zlib.decompress(compressed)


def named(vector: dict[str, Any]) -> str:
    return f"{vector['tcId']}-{vector['comment'].replace(' ', '-')}"


@pytest.mark.parametrize("vector", [v for v in VECTORS if v["result"] == "valid"], ids=named)
def test_published_valid(vector: dict[str, Any]) -> None:
    plain = open_bytes(*fields(vector))
    assert len(plain) == vector["msgLength"]
    assert hashlib.sha512(plain).hexdigest() == vector["msgSha512"]


@pytest.mark.parametrize("vector", [v for v in VECTORS if v["result"] == "invalid"], ids=named)
def test_published_invalid(vector: dict[str, Any]) -> None:
    key, context, sealed = fields(vector)
    # A key of another length is a fault of the program, not of the data.
    with pytest.raises(Tampered if len(key) == 32 else ValueError):
        open_bytes(key, context, sealed)


@given(st.lists(st.sampled_from([0, 1, 100, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK]), max_size=5))
@settings(max_examples=30, deadline=None)
def test_pieces_of_any_size_make_the_same_message(sizes: list[int]) -> None:
    pieces = [bytes([65 + place]) * size for place, size in enumerate(sizes)]
    plain = b"".join(pieces)
    sealed = b"".join(encrypt(KEY, CONTEXT, pieces))
    assert len(sealed) == HEADER + len(plain) + TAG * (len(plain) // CHUNK + 1)
    assert open_bytes(KEY, CONTEXT, sealed) == plain


def test_two_messages_never_look_alike() -> None:
    assert seal_bytes(KEY, CONTEXT, b"same")[HEADER:] != seal_bytes(KEY, CONTEXT, b"same")[HEADER:]


SEALED = seal_bytes(KEY, CONTEXT, b"".join(bytes([n]) * CHUNK for n in range(3)) + b"the end")


@given(st.integers(0, len(SEALED) - 1), st.integers(0, 7))
@settings(max_examples=60, deadline=None)
def test_any_flipped_bit_is_seen(place: int, bit: int) -> None:
    damaged = bytearray(SEALED)
    damaged[place] ^= 1 << bit
    with pytest.raises(Tampered):
        open_bytes(KEY, CONTEXT, bytes(damaged))


@given(st.integers(0, len(SEALED) - 1))
@settings(max_examples=60, deadline=None)
def test_any_truncation_is_seen(length: int) -> None:
    with pytest.raises(Tampered):
        open_bytes(KEY, CONTEXT, SEALED[:length])


@pytest.mark.parametrize("whole", [0, 1, 2, 3])
def test_truncation_at_a_chunk_s_end_is_seen(whole: int) -> None:
    with pytest.raises(Tampered):
        open_bytes(KEY, CONTEXT, SEALED[: HEADER + whole * (CHUNK + TAG)])


@pytest.mark.parametrize("extra", [b"\0", b"\0" * TAG, b"\0" * (CHUNK + TAG)])
def test_what_is_added_is_seen(extra: bytes) -> None:
    with pytest.raises(Tampered):
        open_bytes(KEY, CONTEXT, SEALED + extra)


@pytest.mark.parametrize("order", [(1, 0, 2), (0, 2, 1), (0, 0, 2), (2, 1, 0), (0, 1)])
def test_chunks_out_of_order_are_seen(order: tuple[int, ...]) -> None:
    chunks = [SEALED[HEADER + n * (CHUNK + TAG) :][: CHUNK + TAG] for n in range(3)]
    last = SEALED[HEADER + 3 * (CHUNK + TAG) :]
    with pytest.raises(Tampered):
        open_bytes(KEY, CONTEXT, SEALED[:HEADER] + b"".join(chunks[n] for n in order) + last)


def test_chunks_of_another_message_are_seen() -> None:
    other = seal_bytes(KEY, CONTEXT, b"x" * (3 * CHUNK) + b"the end")
    cut = HEADER + CHUNK + TAG
    with pytest.raises(Tampered):
        open_bytes(KEY, CONTEXT, SEALED[:cut] + other[cut:])


def test_another_key_or_context_does_not_even_begin() -> None:
    for key, context in ((b"K" * 32, CONTEXT), (KEY, b"Context"), (KEY, CONTEXT + b"\0")):
        with pytest.raises(Tampered, match="commit"):
            next(decrypt(key, context, SEALED))
