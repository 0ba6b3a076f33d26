"""The form of an entry: canonical, chained, in its place, under 32 KiB."""

import hashlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archive_service.ledger.entry import GENESIS, LIMIT, TYPES, Entry, first_prev, join, make, parse, split
from archive_service.model.canonical import canonical, parse_canonical
from archive_service.model.errors import Tampered
from archive_service.vault.key_layout import LogId

LOG = LogId("a1" * 10, "capture-1")
TIME = "2026-11-23T10:00:00.000000Z"


def chain(count: int, start: int = 0, prev: str = GENESIS) -> list[Entry]:
    made: list[Entry] = []
    for seq in range(start, start + count):
        made.append(make(LOG, seq, prev, TIME, "claim", {"writer": f"{seq:016x}"}))
        prev = made[-1].digest()
    return made


ONE = chain(1)[0]


def test_an_entry_by_its_parts() -> None:
    assert parse_canonical(ONE.line) == {
        "version": 1,
        "log": str(LOG),
        "seq": 0,
        "prev": "0" * 64,
        "time": TIME,
        "type": "claim",
        "writer": "0" * 16,
    }
    assert ONE.digest() == hashlib.sha256(ONE.line).hexdigest()
    assert (ONE.seq, ONE.type, ONE.time) == (0, "claim", TIME)


def test_the_head_of_an_entry_cannot_be_overridden() -> None:
    forged = make(LOG, 5, GENESIS, TIME, "claim", {"seq": 9, "prev": "x", "log": "y", "version": 2})
    assert (forged.fields["seq"], forged.fields["prev"], forged.fields["version"]) == (5, GENESIS, 1)


@given(st.integers(1, 12), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_batches_read_back(count: int, start: int) -> None:
    batch = chain(count, start)
    data = join(batch)
    assert list(split(data, LOG, start, GENESIS)) == batch
    assert first_prev(data) == GENESIS
    assert data.count(b"\n") == count


def test_the_limit_is_32_kib() -> None:
    empty = make(LOG, 0, GENESIS, TIME, "act", {"x": ""})
    room = LIMIT - 1 - len(empty.line)
    largest = make(LOG, 0, GENESIS, TIME, "act", {"x": "x" * room})
    assert len(largest.line) == 32 * 1024 - 1
    assert parse(largest.line, LOG, 0, GENESIS).line == largest.line
    with pytest.raises(ValueError, match="32 KiB"):
        make(LOG, 0, GENESIS, TIME, "act", {"x": "x" * (room + 1)})
    with pytest.raises(Tampered, match="32 KiB"):
        parse(canonical({**largest.fields, "x": "x" * (room + 1)}), LOG, 0, GENESIS)


def changed(**fields: Any) -> bytes:
    everything = {**ONE.fields, **fields}
    return canonical({key: value for key, value in everything.items() if value is not ...})


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (changed(version=2), "version"),
        (changed(version=True), "version"),
        (changed(version="1"), "version"),
        (changed(version=...), "version"),
        (changed(log=f"{'b2' * 10}/capture-1"), "another log"),
        (changed(log=...), "another log"),
        (changed(seq=1), "sequence"),
        (changed(seq=False), "sequence"),
        (changed(seq="0"), "sequence"),
        (changed(seq=...), "sequence"),
        (changed(prev="1" * 64), "chain"),
        (changed(prev=...), "chain"),
        (changed(type="other"), "type"),
        (changed(type=...), "type"),
        (changed(time=...), "time"),
        (changed(time=0), "time"),
        (b"[]", "version"),
        (b"null", "version"),
        (b"", "canonical"),
        (b"{", "canonical"),
        (ONE.line + b" ", "canonical"),
        (ONE.line.replace(b'{"', b'{ "', 1), "canonical"),
        (b"[" * 20_000, "canonical"),
        (b"\xff" + ONE.line[1:], "canonical"),
        (ONE.line.replace(b'"claim"', b'"cl\\u0061im"'), "canonical"),
    ],
    ids=lambda value: value if isinstance(value, str) else repr(value[:12]),
)
def test_what_is_no_entry_at_this_place(line: bytes, said: str) -> None:
    with pytest.raises(Tampered, match=said):
        parse(line, LOG, 0, GENESIS)


def test_true_is_not_1() -> None:
    second = chain(2)[1]
    line = canonical({**second.fields, "seq": True})
    with pytest.raises(Tampered, match="sequence"):
        parse(line, LOG, 1, second.fields["prev"])


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_every_type_has_a_place(kind: str) -> None:
    line = make(LOG, 0, GENESIS, TIME, kind, {}).line
    assert parse(line, LOG, 0, GENESIS).type == kind


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_any_damage_to_a_batch_but_its_last_line_s_own_fields_is_seen(data: st.DataObject) -> None:
    """Up to the last entry the chain sees every bit; what the last line says is what checkpoints are for."""
    batch = chain(4)
    lines = join(batch)
    damaged = bytearray(lines)
    place = data.draw(st.integers(0, len(lines) - 1))
    damaged[place] ^= 1 << data.draw(st.integers(0, 7))
    try:
        read = list(split(bytes(damaged), LOG, 0, GENESIS))
    except Tampered:
        return
    assert [entry.line for entry in read[:3]] == [entry.line for entry in batch[:3]]
    assert read[3].line != batch[3].line


@pytest.mark.parametrize("order", [(1, 0, 2), (0, 2), (0, 0, 1, 2), (0, 1, 1, 2)])
def test_entries_out_of_order_are_seen(order: tuple[int, ...]) -> None:
    batch = chain(3)
    with pytest.raises(Tampered):
        list(split(join([batch[n] for n in order]), LOG, 0, GENESIS))


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"\n\n", ONE.line, ONE.line + b"\n\n", b"\n" + ONE.line + b"\n"]
)
def test_what_is_no_batch(data: bytes) -> None:
    with pytest.raises(Tampered):
        list(split(data, LOG, 0, GENESIS))


@pytest.mark.parametrize("data", [b"", b"\n", b"{}\n", b"[]\n", b"null\n", b"[" * 20_000, b"\xff\n"])
def test_a_batch_without_a_readable_first_entry(data: bytes) -> None:
    with pytest.raises(Tampered):
        first_prev(data)
