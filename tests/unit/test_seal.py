"""The sealed object: bound to its name, one pass in flat memory, a commitment that opens in parts."""

import hashlib
import struct
import tracemalloc
from collections.abc import Iterator
from random import Random

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from archive_service.model.errors import Tampered
from archive_service.vault import chunked
from archive_service.vault.chunked import CHUNK, TAG
from archive_service.vault.seal import (
    MAGIC,
    Kind,
    Sealer,
    joint_commit,
    open_object,
    raw_commit,
    record_commit,
    seal_whole,
)

KEY = b"k" * 32
OWNER, OTHER = "a1" * 10, "b2" * 10
BATCH = "018f" * 8
NAME = f"objects/{OWNER}/capture-1/{BATCH[:8]}/{BATCH}-0"
RECORD = b'{"capture":"x"}'
RAW = b"Subject: hello\r\n\r\n" + Random(1).randbytes(3 * CHUNK)
STORED, FACTS = seal_whole(KEY, NAME, RECORD, RAW)


def test_what_was_sealed_opens() -> None:
    opened = open_object(KEY, NAME, STORED)
    assert (opened.kind, opened.record, opened.raw) == (Kind.CAPTURE, RECORD, RAW)
    assert opened.commit() == FACTS.commit


def test_the_facts_are_of_the_stored_bytes() -> None:
    assert len(STORED) == FACTS.size
    assert hashlib.sha256(STORED).hexdigest() == FACTS.sha256
    assert hashlib.sha512(STORED).hexdigest() == FACTS.sha512
    assert len(RAW) == FACTS.raw_size
    assert STORED.startswith(b"\x89ARCOBJ\x01")


@given(st.binary(max_size=300), st.binary(max_size=100), st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_any_bytes_in_any_pieces(raw: bytes, record: bytes, step: int) -> None:
    sealer = Sealer(KEY, NAME, record)
    pieces = [raw[place : place + step] for place in range(0, len(raw), step)]
    stored = b"".join(sealer.chunks(pieces))
    opened = open_object(KEY, NAME, stored)
    assert (opened.raw, opened.record) == (raw, record)
    assert opened.commit() == sealer.result().commit


def test_the_result_stays_the_same() -> None:
    sealer = Sealer(KEY, NAME, RECORD)
    with pytest.raises(RuntimeError):
        sealer.result()
    list(sealer.chunks([RAW]))
    assert sealer.result() == sealer.result()


@given(st.integers(0, len(STORED) - 1), st.integers(0, 7))
@settings(max_examples=80, deadline=None)
def test_a_flipped_bit_anywhere_is_seen(place: int, bit: int) -> None:
    damaged = bytearray(STORED)
    damaged[place] ^= 1 << bit
    with pytest.raises(Tampered):
        open_object(KEY, NAME, bytes(damaged))


@given(st.integers(0, len(STORED) - 1))
@settings(max_examples=50, deadline=None)
def test_a_truncated_object_is_seen(length: int) -> None:
    with pytest.raises(Tampered):
        open_object(KEY, NAME, STORED[:length])


def test_reordered_chunks_are_seen() -> None:
    start = len(MAGIC) + chunked.HEADER
    size = CHUNK + TAG
    swapped = (
        STORED[:start] + STORED[start + size : start + 2 * size] + STORED[start : start + size]
    ) + STORED[start + 2 * size :]
    assert len(swapped) == len(STORED)
    with pytest.raises(Tampered):
        open_object(KEY, NAME, swapped)


@pytest.mark.parametrize(
    "name",
    [
        NAME.replace(OWNER, OTHER),
        NAME.replace("capture-1", "capture-2"),
        NAME[:-1] + "1",
        NAME.replace(f"/{BATCH}", f"/{BATCH[::-1]}"),
    ],
    ids=["another-owner", "another-log", "another-place-in-the-batch", "another-batch"],
)
def test_an_object_moved_to_another_name_does_not_open(name: str) -> None:
    assert name != NAME
    with pytest.raises(Tampered, match="commit"):
        open_object(KEY, name, STORED)


def test_two_objects_that_change_places_do_not_open() -> None:
    other_name = NAME[:-1] + "1"
    other, _ = seal_whole(KEY, other_name, RECORD, RAW)
    for name, stored in ((NAME, other), (other_name, STORED)):
        with pytest.raises(Tampered):
            open_object(KEY, name, stored)


def test_another_key_does_not_open() -> None:
    with pytest.raises(Tampered):
        open_object(b"K" * 32, NAME, STORED)


def test_the_magic_is_checked() -> None:
    with pytest.raises(Tampered, match="format 1"):
        open_object(KEY, NAME, b"\x89ARCOBJ\x02" + STORED[8:])


def sealed_plain(plain: bytes) -> bytes:
    """An object whose inside is at the tester's choice."""
    return MAGIC + chunked.seal_bytes(KEY, b"archive-service/object/v1\0" + NAME.encode(), plain)


FRAME = zstandard.ZstdCompressor().compress(b"raw")
FIXED = b"\x01" + bytes(64)


@pytest.mark.parametrize(
    "plain",
    [
        b"",
        FIXED,
        FIXED + struct.pack(">I", 1),
        FIXED + struct.pack(">I", 0),
        FIXED + struct.pack(">I", 0) + b"no frame",
        FIXED + struct.pack(">I", 0) + FRAME[:-1],
        FIXED + struct.pack(">I", 0) + FRAME + b"more",
        b"\x07" + bytes(64) + struct.pack(">I", 0) + FRAME,
    ],
    ids=["empty", "no-length", "record-cut", "no-frame", "foreign", "frame-cut", "trailing", "kind"],
)
def test_an_inside_that_is_not_format_1_is_refused(plain: bytes) -> None:
    with pytest.raises(Tampered):
        open_object(KEY, NAME, sealed_plain(plain))


def test_the_inside_of_the_test_above_opens_when_it_is_right() -> None:
    opened = open_object(KEY, NAME, sealed_plain(FIXED + struct.pack(">I", 2) + b"{}" + FRAME))
    assert (opened.record, opened.raw) == (b"{}", b"raw")


def test_the_commitment_opens_for_the_mail_the_envelope_or_both() -> None:
    """By the formulas of FORMAT.md section 3 alone, as someone who does not trust us would compute them."""
    opened = open_object(KEY, NAME, STORED)

    def part(label: bytes, salt: bytes, data: bytes) -> bytes:
        return hashlib.sha256(label + salt + data + len(data).to_bytes(8, "big")).digest()

    raw = part(b"archive-service/raw/v1\0", opened.salt1, RAW)
    record = part(b"archive-service/record/v1\0", opened.salt2, RECORD)
    both = hashlib.sha256(b"archive-service/commit/v1\0" + raw + record).hexdigest()
    assert both == FACTS.commit
    # The mail alone: raw and salt1 are given, of the envelope only its digest.
    assert joint_commit(raw_commit(opened.salt1, RAW), opened.record_commit()).hex() == FACTS.commit
    # The envelope alone.
    assert joint_commit(opened.raw_commit(), record_commit(opened.salt2, RECORD)).hex() == FACTS.commit
    for wrong in (
        joint_commit(raw_commit(opened.salt1, RAW + b"!"), opened.record_commit()),
        joint_commit(raw_commit(opened.salt2, RAW), opened.record_commit()),
        joint_commit(opened.raw_commit(), record_commit(opened.salt2, RECORD + b" ")),
        joint_commit(opened.record_commit(), opened.raw_commit()),
    ):
        assert wrong.hex() != FACTS.commit


def test_without_the_key_there_is_nothing_to_guess_against() -> None:
    """The salts are nowhere outside, so even the right guess cannot be told from a wrong one."""
    opened = open_object(KEY, NAME, STORED)
    outside = STORED + repr(FACTS).encode()
    for inside in (opened.salt1, opened.salt2):
        assert inside not in outside
        assert inside.hex().encode() not in outside
    assert opened.salt1 != opened.salt2
    again, facts = seal_whole(KEY, NAME, RECORD, RAW)
    assert facts.commit != FACTS.commit
    assert open_object(KEY, NAME, again).salt1 != opened.salt1


def test_a_mail_of_200_mib_is_sealed_in_flat_memory() -> None:
    piece = Random(2).randbytes(1024 * 1024)

    def mail() -> Iterator[bytes]:
        for _ in range(200):
            yield piece

    sealer = Sealer(KEY, NAME, RECORD)
    size = 0
    tracemalloc.start()
    try:
        for chunk in sealer.chunks(mail()):
            size += len(chunk)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sealer.result().raw_size == 200 * 1024 * 1024
    assert size == sealer.result().size
    assert peak < 64 * 1024 * 1024
