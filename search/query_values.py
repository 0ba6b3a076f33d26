"""What stands behind a field or alone: words, patterns, dates, sizes. Each a function text -> node."""

import re
from datetime import date
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from archive_service.model.errors import QueryError
from search.indexes import analysis
from search.query_tree import (
    ADDRESS_FIELDS,
    Everything,
    Flag,
    Fuzzy,
    HasAttachment,
    Header,
    Named,
    Node,
    Sent,
    Size,
    Text,
    Wildcard,
)

_FUZZY = re.compile(r"(.*[^\W_].*?)~([0-9]*)", re.DOTALL)
_STAR_IN_QUOTES = re.compile(r"[^\W_][*]|[*][^\W_]")
_DATE = re.compile(r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2}))?)?")
_AMOUNT = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)([a-z]*)", re.IGNORECASE)
_COMPARED = re.compile(r"(>=|<=|>|<)(.*)", re.DOTALL)
_UNITS: dict[str, int] = {"": 1, "b": 1, "o": 1} | {
    prefix + binary + unit: (1024 if binary else 1000) ** power
    for power, prefix in enumerate("kmg", 1)
    for binary in ("", "i")
    for unit in ("b", "o")
}
_FLAG = re.compile(r"[a-z][a-z0-9_]{0,63}")
_LARGEST = 2**53
LEAST_LITERALS = 2
"""A wildcard needs this many other characters: less would read the whole dictionary of an index."""

MOST_WILDCARDS = 8
"""So many ``*`` and ``?`` a wildcard may have: each more multiplies the states of an index's automaton."""


def word(text: str, field: str | None, position: int) -> Node:
    """A bare or field value: ``*``, ``cont*``, ``contrta~1``, or words. Raises QueryError."""
    if text == "*" and field is None:
        return Everything()
    fuzzy = _FUZZY.fullmatch(text)
    if "*" in text or "?" in text:
        if fuzzy:
            raise QueryError("a word is either fuzzy or has wildcards", position)
        return _wildcard(text, field, position)
    if fuzzy:
        return _fuzzy(fuzzy[1], fuzzy[2], field, position)
    return phrase(text, field, position)


def phrase(text: str, field: str | None, position: int) -> Node:
    """Words side by side. Raises QueryError when there are none."""
    if not analysis.words(text):
        raise QueryError("no letter or digit to search for", position)
    return Text(text, field, position)


def quoted(text: str, field: str | None, position: int) -> Node:
    """Words side by side, in quotes. A star that touches a word is refused rather than ignored: who
    writes it means a wildcard, and would take too few results for all. Raises QueryError."""
    if _STAR_IN_QUOTES.search(text):
        message = "a wildcard stands outside quotes only"
        raise QueryError(message, position, code="query.unsupported")
    return phrase(text, field, position)


def _fuzzy(text: str, distance: str, field: str | None, position: int) -> Node:
    if distance not in ("1", "2"):
        raise QueryError("write ~1 or ~2 after the word", position + len(text))
    if len(analysis.words(text)) != 1:
        raise QueryError("a fuzzy search takes a single word", position)
    return Fuzzy(text, int(distance), field, position)


def _wildcard(pattern: str, field: str | None, position: int) -> Node:
    if pattern.count("*") + pattern.count("?") > MOST_WILDCARDS:
        message = f"a word has at most {MOST_WILDCARDS} wildcards"
        raise QueryError(message, position, code="query.too_complex")
    whole_value = field == "filename" or field in ADDRESS_FIELDS
    if whole_value:
        if analysis.literal_count(analysis.keyword(pattern)) < LEAST_LITERALS:
            raise _too_broad(position)
        return Wildcard(pattern, field, position)
    words = analysis.pattern_words(pattern)
    if words is None:
        message = "a wildcard cannot stand here, in a script without spaces or in place of a whole word"
        raise QueryError(message, position, code="query.unsupported")
    wild = [found for found in words if analysis.is_wild(found)]
    if not words or any(analysis.literal_count(found) < LEAST_LITERALS for found in wild):
        raise _too_broad(position)
    return Wildcard(pattern, field, position)


def _too_broad(position: int) -> QueryError:
    message = f"a wildcard needs at least {LEAST_LITERALS} other characters in its word"
    return QueryError(message, position, code="query.too_broad")


def header(name: str, text: str, position: int) -> Node:
    """``header:Name:text``. Raises QueryError."""
    phrase(text, None, position)
    return Header(name, text, position)


def named(text: str, position: int) -> Node:
    """``custodian:ID``, ``custodian:anne@ex.fr`` or ``custodian:"Anne Martin"``. Raises QueryError."""
    if not text.strip():
        raise QueryError("write custodian: and an id, an address or a name", position)
    return Named(text, position)


def has(text: str, position: int) -> Node:
    """``has:attachment``. Raises QueryError."""
    if text.lower() not in ("attachment", "attachments"):
        raise QueryError("only has:attachment is known", position)
    return HasAttachment()


def flag(text: str, position: int) -> Node:
    """``flag:draft``; whether anything bears that mark, the archive tells. Raises QueryError."""
    word = text.lower()
    if _FLAG.fullmatch(word) is None:
        raise QueryError("write flag: and one mark, like flag:draft", position)
    return Flag(word)


def sent(text: str, position: int) -> Node:
    """A day, month, year or ``a..b``. Raises QueryError."""
    first, dots, last = text.partition("..")
    last_at = position + len(first) + len(dots)
    if not dots:
        first = last = _date(text, position)
        return Sent(first, last)
    if not first and not last:
        raise QueryError("a range of dates needs a first or a last one", position)
    node = Sent(_date(first, position) if first else None, _date(last, last_at) if last else None)
    start, end = node.bounds()
    if start is not None and end is not None and start >= end:
        raise QueryError("the range ends before it begins", last_at)
    return node


def _date(text: str, position: int) -> str:
    found = _DATE.fullmatch(text)
    if found:
        try:
            date(int(found[1]), int(found[2] or 1), int(found[3] or 1))
        except ValueError:
            found = None
    if not found:
        raise QueryError("write a date as 2024, 2024-01 or 2024-01-31", position)
    return text


def size(text: str, position: int) -> Node:
    """``>5MB``, ``<=100KB`` or ``1MB..5MB``; a KB is 1000 bytes, a KiB 1024. Raises QueryError."""
    if compared := _COMPARED.fullmatch(text):
        sign, amount = compared[1], _amount(compared[2], position + len(compared[1]))
        up = amount.to_integral_value(ROUND_CEILING)
        down = amount.to_integral_value(ROUND_FLOOR)
        bounds = {">": (down + 1, None), ">=": (up, None), "<": (None, up - 1), "<=": (None, down)}[sign]
        least, most = (None if bound is None else int(bound) for bound in bounds)
        if most is not None and most < 0:
            raise QueryError("no message is smaller than nothing", position)
        return Size(least, most)
    first, dots, last = text.partition("..")
    if not dots:
        raise QueryError("write size:>5MB, size:<5MB or size:1MB..5MB", position)
    last_at = position + len(first) + len(dots)
    smallest = int(_amount(first, position).to_integral_value(ROUND_CEILING))
    largest = int(_amount(last, last_at).to_integral_value(ROUND_FLOOR))
    if smallest > largest:
        raise QueryError("the range ends before it begins", last_at)
    return Size(smallest, largest)


def _amount(text: str, position: int) -> Decimal:
    found = _AMOUNT.fullmatch(text)
    if not found or found[2].lower() not in _UNITS:
        raise QueryError("write a size as 100, 100KB, 5MB or 1GB", position)
    amount = Decimal(found[1]) * _UNITS[found[2].lower()]
    if amount > _LARGEST:
        raise QueryError("a size this large is not kept", position)
    return amount
