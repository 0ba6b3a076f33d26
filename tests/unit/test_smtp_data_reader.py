"""The DATA decoder: what comes out is what was sent, however the network cuts it."""

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingest.smtp.data_reader import DataDecoder

# Octets that matter for the end of data, often; any others, sometimes.
OCTETS = st.one_of(
    st.lists(st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"\r\n.", b"a", b"\0", b"\xff"])).map(b"".join),
    st.binary(max_size=200),
)


def stuff(content: bytes) -> bytes:
    """What a sender makes of whole lines (RFC 5321 section 4.5.2), end of data included."""
    wire = content.replace(b"\r\n.", b"\r\n..")
    return (b"." if wire.startswith(b".") else b"") + wire + b".\r\n"


def decode(wire: bytes, cuts: list[int]) -> tuple[bytes, bytes | None]:
    """The content and what is left after its end, with ``wire`` cut at these places."""
    decoder = DataDecoder()
    content = b""
    places = sorted({min(cut, len(wire)) for cut in cuts} | {0, len(wire)})
    for start, stop in itertools.pairwise(places):
        piece, rest = decoder.feed(wire[start:stop])
        content += piece
        if rest is not None:
            return content, rest + wire[stop:]
    return content, None


def reference(wire: bytes) -> tuple[bytes, bytes | None]:
    """The same, line by line and slowly: a line ends with CRLF and with nothing else."""
    content = b""
    *lines, _ = wire.split(b"\r\n")
    used = 0
    for line in lines:
        used += len(line) + 2
        if line == b".":
            return content, wire[used:]
        content += line.removeprefix(b".") + b"\r\n"
    return content, None


@given(OCTETS, OCTETS, st.lists(st.integers(0, 400)))
@example(b".", b"", [])
@example(b"..\r\n.\r\n", b".\r\n", [1, 2, 3, 4, 5, 6, 7])
def test_any_octets_come_out_identical_and_the_rest_is_kept(
    text: bytes, after: bytes, cuts: list[int]
) -> None:
    content = text if not text or text.endswith(b"\r\n") else text + b"\r\n"
    assert decode(stuff(content) + after, cuts) == (content, after)


@given(OCTETS, st.lists(st.integers(0, 400)))
def test_undisciplined_octets_are_read_as_the_line_by_line_reference_reads_them(
    wire: bytes, cuts: list[int]
) -> None:
    content, rest = decode(wire, cuts)
    expected, expected_rest = reference(wire)
    assert rest == expected_rest
    if rest is not None:
        assert content == expected
    else:  # up to an unfinished line, of which the decoder may have handed out a part
        assert content.startswith(expected[: len(content)])
        assert len(content) >= len(expected) - 4


@given(st.integers(1, 6))
def test_every_cut_of_the_end_of_data_is_found(width: int) -> None:
    wire = stuff(b"first\r\n.second\r\n..third\r\n") + b"QUIT\r\n"
    cuts = list(range(0, len(wire), width))
    assert decode(wire, cuts) == (b"first\r\n.second\r\n..third\r\n", b"QUIT\r\n")


@pytest.mark.parametrize(
    "end",
    [b"\n.\n", b"\r.\r", b"\n.\r\n", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r\n.\r\r\n", b"\r\n\0.\r\n"],
    ids=repr,
)
def test_no_other_sequence_ends_the_data(end: bytes) -> None:
    content, rest = DataDecoder().feed(b"text" + end + b"MAIL FROM:<x>\r\n")
    assert rest is None
    assert content.startswith(b"text")


def test_a_dot_at_once_is_an_empty_message() -> None:
    assert DataDecoder().feed(b".\r\nQUIT\r\n") == (b"", b"QUIT\r\n")


def test_a_first_line_may_be_stuffed() -> None:
    assert DataDecoder().feed(b"..\r\n.\r\n") == (b".\r\n", b"")


def test_a_plain_chunk_is_not_held_back() -> None:
    decoder = DataDecoder()
    assert decoder.feed(b"x" * 1000) == (b"x" * 1000, None)
    assert decoder.feed(b"y" * 1000 + b"\r\n") == (b"y" * 1000, None)
    assert decoder.feed(b".") == (b"", None)
    assert decoder.feed(b"z") == (b"\r\nz", None)
