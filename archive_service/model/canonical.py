"""Canonical JSON (RFC 8785) for what the archive itself writes: no floats, integers within 2**53.

Within these bounds the standard encoder gives the bytes of RFC 8785, except for keys outside the
ASCII range, which are refused. ``tests/unit/test_canonical.py`` holds it against a reference library.
"""

import json
from typing import Any

_LARGEST = 2**53


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _integer(text: str) -> int:
    value = int(text)
    if not -_LARGEST < value < _LARGEST:
        raise ValueError("canonical JSON holds integers within 2**53")
    return value


def _no_number(text: str) -> float:
    raise ValueError("canonical JSON holds no floats")


_DECODER = json.JSONDecoder(parse_int=_integer, parse_float=_no_number, parse_constant=_no_number)


def _check(value: Any) -> None:
    # strings are most of what there is, so they are let through before a call: this runs over every entry ever read
    if isinstance(value, dict):
        for key, item in value.items():
            if not (isinstance(key, str) and key.isascii()):
                raise TypeError("canonical JSON keys are ASCII strings")
            if type(item) is not str:
                _check(item)
    elif isinstance(value, list | tuple):
        for item in value:
            if type(item) is not str:
                _check(item)
    elif isinstance(value, bool) or value is None or isinstance(value, str):
        return
    elif not (isinstance(value, int) and -_LARGEST < value < _LARGEST):
        raise TypeError("canonical JSON holds strings, integers within 2**53, booleans, null")


def canonical(value: Any) -> bytes:
    """UTF-8 bytes of ``value`` under RFC 8785. Raises TypeError on floats and the like, ValueError on
    lone surrogates (they have no UTF-8 form)."""
    _check(value)
    return _ENCODER.encode(value).encode("utf-8")


def parse_canonical(data: bytes) -> Any:
    """The value of canonical bytes. Raises ValueError if they are not exactly canonical, so that one
    value has one encoding and a hash says everything."""
    text = data.decode("utf-8")
    value = _DECODER.decode(text)  # strings, bounded integers, booleans, null: what ``_check`` lets through
    if not text.isascii():
        _check_keys(value)
    if _ENCODER.encode(value) != text:  # a key outside ASCII would not be escaped, so the text would show it
        raise ValueError("not canonical JSON (RFC 8785)")
    return value


def _check_keys(value: Any) -> None:
    try:
        _check(value)
    except TypeError as error:
        raise ValueError(str(error)) from error
