"""Fragments of a found text with its matches marked. Works on the original text, for any index."""

import html
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from search.indexes import analysis
from search.query_language import And, Fuzzy, Near, Node, Or, Text, Wildcard
from search.query_tree import WORD_FIELDS

FRAGMENTS = 3
WIDTH = 160
_LEAD = 60  # characters shown before a match
_FIELDS = ("body", "attachment", "subject", "filename")

_PATTERN_WORK = 2_000_000
"""Comparisons of patterns and fuzzy words that the snippets of one search may take (about a second);
after them only plain words are marked. The finding of messages itself does not rest on this."""

_Matcher = str | Callable[[str], bool]  # a word, or what says whether a word is meant


@dataclass(frozen=True)
class _Sequence:
    """Words to find side by side, in one field or in any."""

    words: tuple[_Matcher, ...]
    field: str | None


class Snippets:
    """Makes the snippets of one query; one for each search, because it remembers what it compared."""

    def __init__(self, query: Node) -> None:
        self._sequences = list(_sequences(query))
        self._work = _Work(_PATTERN_WORK)

    def of(self, original: Mapping[str, str]) -> tuple[str, ...]:
        """At most three fragments of about 160 characters: HTML-escaped text, matches within <b></b>.

        ``original`` maps "subject", "body", "attachment", "filename" to their text as it was. Parts of
        the query under NOT, and those that are not words, mark nothing; a query of such parts gives ().
        """
        found: list[str] = []
        for field in _FIELDS:
            here = [s for s in self._sequences if s.field in (None, field)]
            text = original.get(field, "")
            if here and text and len(found) < FRAGMENTS:
                fragments = _fragments(_spans(text, here, self._work), text, FRAGMENTS - len(found))
                found += [_marked(text, fragment) for fragment in fragments]
        return tuple(found)


@dataclass
class _Work:
    """What is left of the comparisons that one search may take."""

    left: int

    def take(self, units: int) -> bool:
        """Whether so many may still be done; then they count as done."""
        if units > self.left:
            return False
        self.left -= units
        return True


def _sequences(node: Node) -> Iterator[_Sequence]:
    match node:
        case And(parts) | Or(parts):
            for part in parts:
                yield from _sequences(part)
        case Near(left, right):
            yield from _sequences(left)
            yield from _sequences(right)
        case Text() | Wildcard() | Fuzzy():
            matchers = tuple(_matchers(node))
            if matchers and (node.field is None or node.field in WORD_FIELDS):
                yield _Sequence(matchers, node.field)


def _matchers(node: Text | Wildcard | Fuzzy) -> list[_Matcher]:
    if isinstance(node, Text):
        return [*analysis.words(node.text)]
    if isinstance(node, Fuzzy):
        wanted, distance = analysis.words(node.word)[0], node.distance
        return [_remembered(lambda word: within_distance(wanted, word, distance))]
    return [
        _wild(word) if analysis.is_wild(word) else word for word in analysis.pattern_words(node.pattern) or []
    ]


def _wild(word: str) -> _Matcher:
    return _remembered(lambda other: analysis.matches_pattern(word, other))


def _remembered(matches: Callable[[str], bool]) -> Callable[[str], bool]:
    """Text repeats its words; a pattern is tried on each of them once."""
    return lru_cache(maxsize=10_000)(matches)


def within_distance(one: str, other: str, limit: int) -> bool:
    """Whether at most ``limit`` insertions, deletions, changes or swaps of neighbours lead from ``one`` to
    ``other`` (optimal string alignment)."""
    if abs(len(one) - len(other)) > limit:
        return False
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        earlier, before, row = before, row, [i]
        for j, b in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                cost = min(cost, earlier[j - 2] + 1)
            row.append(cost)
        if min(row) > limit:
            return False
    return row[-1] <= limit


def _spans(text: str, sequences: list[_Sequence], work: _Work) -> Iterator[tuple[int, int]]:
    """[start, end) of each match, by its end."""
    by_last_word: dict[str, list[_Sequence]] = {}
    others: list[_Sequence] = []
    for sequence in sequences:
        last = sequence.words[-1]
        (by_last_word.setdefault(last, []) if isinstance(last, str) else others).append(sequence)
    recent: deque[tuple[str, int, int]] = deque(maxlen=max(len(sequence.words) for sequence in sequences))
    seen: set[str] = set()
    for located in analysis.located_words(text):
        recent.append(located)
        word = located[0]
        # A pattern's first look at a word costs by the word's length, a further one next to nothing.
        units = len(others) * (1 if word in seen else 1 + len(word))
        seen.add(word)
        if others and not work.take(units):
            others = []
        for sequence in (*by_last_word.get(word, ()), *others):
            length = len(sequence.words)
            if length <= len(recent) and _matches(sequence, recent):
                first = recent[-length]
                yield first[1], min(located[2], first[1] + WIDTH)
                break


def _matches(sequence: _Sequence, recent: deque[tuple[str, int, int]]) -> bool:
    """Whether the words end with the sequence; from the last back, where most differ."""
    for back, wanted in enumerate(reversed(sequence.words), 1):
        word = recent[-back][0]
        if not (wanted == word if isinstance(wanted, str) else wanted(word)):
            return False
    return True


@dataclass
class _Fragment:
    start: int
    end: int
    marks: list[tuple[int, int]]


def _fragments(spans: Iterator[tuple[int, int]], text: str, most: int) -> list[_Fragment]:
    fragments: list[_Fragment] = []
    for start, end in spans:
        current = fragments[-1] if fragments else None
        if current and end <= current.end:
            if start >= current.marks[-1][1]:
                current.marks.append((start, end))
            continue
        if len(fragments) == most:
            break
        floor = current.end if current else 0
        if start < floor:
            continue  # half inside the fragment before
        opening = _word_start(text, max(floor, start - _LEAD), start)
        closing = _word_end(text, min(len(text), max(opening + WIDTH, end)), end)
        fragments.append(_Fragment(opening, closing, [(start, end)]))
    return fragments


def _word_start(text: str, at: int, limit: int) -> int:
    """Move on to the beginning of a word, but not past ``limit``."""
    if at == 0:
        return 0
    space = re.compile(r"\s").search(text, at, limit)
    return space.end() if space else at


def _word_end(text: str, at: int, limit: int) -> int:
    """Move back to the end of a word, but not before ``limit``."""
    if at == len(text):
        return at
    spaces = [found.start() for found in re.compile(r"\s").finditer(text, limit, at)]
    return spaces[-1] if spaces else at


def _marked(text: str, fragment: _Fragment) -> str:
    pieces, at = [], fragment.start
    for start, end in fragment.marks:
        pieces.append(html.escape(text[at:start], quote=False))
        pieces.append(f"<b>{html.escape(text[start:end], quote=False)}</b>")
        at = end
    pieces.append(html.escape(text[at : fragment.end], quote=False))
    return " ".join("".join(pieces).split())
