"""Canonical JSON against the reference library of RFC 8785, and what is refused."""

import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from archive_service.model.canonical import canonical, parse_canonical

KEYS = st.text(st.characters(max_codepoint=127), max_size=8)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALARS = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_the_bytes_are_those_of_the_reference_library(value: Any) -> None:
    data = canonical(value)
    assert data == rfc8785.dumps(value)
    assert parse_canonical(data) == value


@given(VALUES)
def test_the_pretty_form_is_refused_unless_it_is_the_canonical_one(value: Any) -> None:
    pretty = json.dumps(value, indent=1).encode()
    if pretty == canonical(value):
        assert parse_canonical(pretty) == value
    else:
        with pytest.raises(ValueError, match="canonical"):
            parse_canonical(pretty)


@pytest.mark.parametrize(
    "value",
    [1.0, float("nan"), 2**53, -(2**53), {"é": 1}, {1: 2}, b"x", {"a": [1.5]}, object(), {1, 2}],
    ids=lambda value: repr(value).partition(" at ")[0],
)
def test_what_has_no_place_in_the_archive_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        canonical(value)


def test_lone_surrogates_are_refused() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        canonical("\ud800")


@pytest.mark.parametrize(
    "data",
    [
        b'{"b":1,"a":2}',
        b'{"a": 1}',
        b'{"a":1}\n',
        b'{"a":1,"a":1}',
        b'"\\u0041"',
        b'"\\u00e9"',
        b'"\\/"',
        b'"\\ud800"',
        b"1.0",
        b"1e3",
        b"-0",
        b"01",
        b"NaN",
        b"Infinity",
        b"9007199254740992",
        b'{"\xc3\xa9":1}',
        b"\xef\xbb\xbf{}",
        '{"a":1}'.encode("utf-16"),
        b'"\xff"',
        b"",
        b"{",
        b"9" * 5000,
    ],
    ids=lambda data: repr(data[:24]),
)
def test_only_the_one_encoding_of_a_value_is_read(data: bytes) -> None:
    with pytest.raises(ValueError):
        parse_canonical(data)


@given(
    VALUES,
    st.integers(0, 200),
    st.sampled_from([b"", b"0", b".", b"e", b"-", b" ", b"\\u0041", b'"', b",", b"\xc3\xa9"]),
)
def test_what_is_parsed_is_what_would_be_written(value: Any, at: int, put: bytes) -> None:
    """Said the slow way: the bytes are exactly those of their own value."""
    data = canonical(value)
    damaged = data[:at] + put + data[at + 1 :]
    try:
        expected = canonical(json.loads(damaged)) == damaged
    except (TypeError, ValueError):
        expected = False
    if expected:
        assert canonical(parse_canonical(damaged)) == damaged
    else:
        with pytest.raises(ValueError, match=r"\w"):
            parse_canonical(damaged)
