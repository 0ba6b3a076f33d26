"""The tree that a query parses to, and its rendering back to text. Knows no index."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field as described
from datetime import date

WORD_FIELDS = ("subject", "body", "attachment", "filename")
"""Fields of running text. A part without a field searches all four."""

ADDRESS_FIELDS = ("from", "to", "cc", "bcc", "participants")
"""Fields of mail addresses; ``participants`` is all of them and recipients of unknown role."""


class Node:
    """A query tree's node. ``position`` (where a node has one) is its 0-based offset in the query; it
    takes no part in equality."""


@dataclass(frozen=True)
class Everything(Node):
    """``*``."""


@dataclass(frozen=True)
class Text(Node):
    """A word or a phrase: its words must stand side by side, in order, within one field."""

    text: str
    field: str | None = None
    position: int = described(default=0, compare=False)


@dataclass(frozen=True)
class Wildcard(Node):
    """A word with ``*`` (any characters, or none) or ``?`` (exactly one)."""

    pattern: str
    field: str | None = None
    position: int = described(default=0, compare=False)


@dataclass(frozen=True)
class Fuzzy(Node):
    """A word with at most ``distance`` (1 or 2) letters inserted, dropped, changed or swapped."""

    word: str
    distance: int
    field: str | None = None
    position: int = described(default=0, compare=False)


@dataclass(frozen=True)
class Near(Node):
    """``left`` and ``right`` within one field, at most ``distance`` positions from the last word of the
    one to the first of the other; ``ordered``: left first (PRE). Each side is a Text, a Wildcard, a
    Fuzzy or an Or of these, all of one field."""

    left: Node
    right: Node
    distance: int
    ordered: bool = False
    position: int = described(default=0, compare=False)


@dataclass(frozen=True)
class Sent(Node):
    """Sent on a day, month or year, or from one to another, both included, in UTC. None is open."""

    first: str | None
    last: str | None

    def bounds(self) -> tuple[int | None, int | None]:
        """[start, end) in seconds since 1970."""
        return (
            None if self.first is None else _start_of(self.first),
            None if self.last is None else _end_of(self.last),
        )


@dataclass(frozen=True)
class Size(Node):
    """Size of the message in bytes, both bounds included. None is open."""

    least: int | None
    most: int | None


@dataclass(frozen=True)
class HasAttachment(Node):
    """``has:attachment``."""


@dataclass(frozen=True)
class Flag(Node):
    """``flag:draft``: a mark that findings give, as the message bears it (``catalog.merge.flags_of``)."""

    word: str


@dataclass(frozen=True)
class Header(Node):
    """``header:Name:text``: words of one header field."""

    name: str
    text: str
    position: int = described(default=0, compare=False)


@dataclass(frozen=True)
class Ids(Node):
    """The messages with these ids. No query text means it: it bounds what a policy lets somebody see."""

    ids: tuple[str, ...]


@dataclass(frozen=True)
class Named(Node):
    """``custodian:ID``, an address or a name: mail of a person. No index knows people: whoever has the directory puts
    his addresses in its place first."""

    who: str
    position: int = described(default=0, compare=False)


@dataclass(frozen=True)
class And(Node):
    """All of two or more parts, anywhere in the message."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Or(Node):
    """At least one of two or more parts."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Not(Node):
    """Everything but."""

    part: Node


def days_of(node: Node) -> tuple[Sent, ...]:
    """The spans of days that a search asks for, each once."""
    return tuple(dict.fromkeys(each for each in walk(node) if isinstance(each, Sent)))


def walk(node: Node) -> Iterator[Node]:
    """The node and all below it."""
    yield node
    match node:
        case And(parts) | Or(parts):
            for part in parts:
                yield from walk(part)
        case Not(part):
            yield from walk(part)
        case Near(left, right):
            yield from walk(left)
            yield from walk(right)


def _day(text: str) -> tuple[int, int, int]:
    """Year, month and day of "2024", "2024-01" or "2024-01-31"; 0 for what is missing."""
    numbers = [int(number) for number in text.split("-")]
    year, month, day = (*numbers, 0, 0)[:3]
    return year, month, day


_EPOCH = date(1970, 1, 1).toordinal()


def _start_of(text: str) -> int:
    year, month, day = _day(text)
    return (date(year, month or 1, day or 1).toordinal() - _EPOCH) * 86_400


def _end_of(text: str) -> int:
    """The first second after; by ordinals, so that the last year of the calendar has an end too."""
    year, month, day = _day(text)
    if not day:
        month = month or 12
        day = 31 if month == 12 else (date(year, month + 1, 1) - date(year, month, 1)).days
    return (date(year, month, day).toordinal() + 1 - _EPOCH) * 86_400


_PLAIN = re.compile(r"[^\W_]+")
_OPERATORS = ("AND", "OR", "NOT", "NEAR", "PRE")


def render(node: Node) -> str:
    """Query text that parses to an equal tree."""
    match node:
        case Everything():
            return "*"
        case HasAttachment():
            return "has:attachment"
        case Flag(word):
            return f"flag:{word}"
        case Text(text, name):
            return _prefix(name) + _quoted(text)
        case Wildcard(pattern, name):
            return _prefix(name) + pattern
        case Fuzzy(word, distance, name):
            return f"{_prefix(name)}{word}~{distance}"
        case Header(name, text):
            return f"header:{name}:{_quoted(text)}"
        case Named(who):
            return f"custodian:{_quoted(who)}"
        case Sent() | Size():
            return _render_range(node)
    return _render_operator(node)


def _render_operator(node: Node) -> str:
    match node:
        case Near(left, right, distance, ordered):
            word = "PRE" if ordered else "NEAR"
            return f"{_wrapped(left, Or)} {word}/{distance} {_wrapped(right, Or)}"
        case And(parts):
            return " AND ".join(_wrapped(part, And, Or) for part in parts)
        case Or(parts):
            return " OR ".join(_wrapped(part, Or) for part in parts)
        case Not(part):
            return "NOT " + _wrapped(part, And, Or, Near)
    raise TypeError(f"not a query node: {type(node).__name__}")


def _render_range(node: Sent | Size) -> str:
    if isinstance(node, Sent):
        alone = node.first is not None and node.first == node.last
        return f"sent:{node.first}" if alone else f"sent:{node.first or ''}..{node.last or ''}"
    if node.least is None:
        return f"size:<={node.most}"
    return f"size:>={node.least}" if node.most is None else f"size:{node.least}..{node.most}"


def _prefix(name: str | None) -> str:
    return "" if name is None else f"{name}:"


def _quoted(text: str) -> str:
    if _PLAIN.fullmatch(text) and text not in _OPERATORS:
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _wrapped(node: Node, *kinds: type[Node]) -> str:
    """In parentheses when the node binds less tightly than what it stands in."""
    return f"({render(node)})" if isinstance(node, kinds) else render(node)
