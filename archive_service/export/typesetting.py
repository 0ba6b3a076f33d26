"""From cleaned text to lines of runs: wrapping by measured width, line by line reordering, font fallback.

A paragraph is wrapped in logical order, then each line is put into visual order (Unicode Standard Annex
#9), as that annex demands (section 3.4, rule L1 and following).
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby

from bidi import get_base_level

from archive_service.export.fonts import BOLD, MONO, REGULAR, REPLACEMENT, Face, cut, face_key, family_of
from archive_service.export.text_cleaning import clean, one_line, reads_right_to_left, steers
from archive_service.export.visual_order import mirror_of, visual

_EAST = "\u2e80-\u9fff\uac00-\ud7ff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"
_CLOSING = "\u3001\u3002\u300b\u300d\u300f\u3011\u3015\uff01\uff09\uff0c\uff1a\uff1b\uff1f\u2019\u201d"
_TOKENS = re.compile(f" +|[{_EAST}][{_CLOSING}]*|[^ {_EAST}]+")
_ALWAYS = {chr(code) for code in range(32, 127)} | {REPLACEMENT, "\u2013", "\u2026"}


@dataclass(frozen=True)
class Run:
    """Text in one face, in visual order, with its width at the size it was measured for."""

    face: str
    text: str
    width: float


@dataclass(frozen=True)
class Line:
    """A line ready to draw. ``from_right``: its paragraph reads from the right."""

    runs: tuple[Run, ...]
    width: float
    from_right: bool


@dataclass
class Typecase:
    """Collects the characters that a report needs, then cuts the faces for them.

    First ``admit`` every text; then ``cast``; then a ``Setter`` measures and wraps what was admitted.
    """

    used: dict[str, set[str]] = field(default_factory=dict)
    replaced: int = 0  # characters that gave way to U+FFFD so far: controls, and what no face has
    steered: int = 0  # texts so far with invisible characters that steer the direction

    def admit(self, text: str, han: str = "SC", *, bold: bool = False) -> str:
        """The cleaned text, with U+FFFD for every character that no face has."""
        return self._take(text, clean(text), han, BOLD if bold else REGULAR)

    def admit_line(self, text: str, han: str = "SC", *, bold: bool = False) -> str:
        """The same on one line."""
        return self._take(text, one_line(text), han, BOLD if bold else REGULAR)

    def _take(self, given: str, text: str, han: str, weight: int) -> str:
        self.replaced += text.count(REPLACEMENT) - given.count(REPLACEMENT)
        self.steered += steers(given)
        lost = set()
        for char in self._drawn(text, han):
            family = family_of(char, han)
            if family is None:
                lost.add(char)
            self.used.setdefault(face_key(family or "Sans", weight), set()).add(
                char if family else REPLACEMENT
            )
        if lost:
            self.replaced += sum(text.count(char) for char in lost)
            text = text.translate({ord(char): REPLACEMENT for char in lost})
        return text

    @staticmethod
    def _drawn(text: str, han: str) -> set[str]:
        """The characters that setting the text may draw: its own, and mirrored brackets that a face has."""
        drawn = set(text) - {"\n"}
        if reads_right_to_left(text):
            mirrors = {mirror for mirror in map(mirror_of, drawn) if mirror and family_of(mirror, han)}
            return drawn | mirrors
        return drawn

    def cast(self) -> dict[str, Face]:
        """The faces by key; the fixed-width one, and Noto Sans with ASCII, are always there."""
        for always in (REGULAR, BOLD):
            self.used.setdefault(face_key("Sans", always), set()).update(_ALWAYS)
        faces = {MONO: cut(MONO, REGULAR, ())}
        for key, characters in sorted(self.used.items()):
            family, _, weight = key.partition("-")
            faces[key] = cut(family, int(weight), characters)
        return faces


class _Widths(dict[str, float]):
    """Advance of a character in thousandths, found on first use."""

    def __init__(self, faces: Mapping[str, Face], han: str, weight: int) -> None:
        self._faces, self._han, self._weight = faces, han, weight

    def face(self, char: str) -> str:
        key = face_key(family_of(char, self._han) or "Sans", self._weight)
        return key if key in self._faces else face_key("Sans", self._weight)

    def __missing__(self, char: str) -> float:
        width = self[char] = self._faces[self.face(char)].widths.get(ord(char), 500.0)
        return width


class Setter:
    """Measures, wraps and orders admitted text, for one East Asian drawing (see ``han_of``)."""

    def __init__(self, faces: Mapping[str, Face], han: str) -> None:
        self._mono, self._han = faces[MONO].widths, han
        self._widths = {weight: _Widths(faces, han, weight) for weight in (REGULAR, BOLD)}

    def width(self, text: str, size: float, *, bold: bool = False) -> float:
        """In points."""
        widths = self._widths[BOLD if bold else REGULAR]
        return sum(map(widths.__getitem__, text)) * size / 1000

    def lines(self, text: str, size: float, room: float, *, bold: bool = False) -> Iterator[Line]:
        """The lines of a cleaned text within ``room`` points; an empty paragraph is one empty line."""
        widths = self._widths[BOLD if bold else REGULAR]
        for paragraph in text.split("\n"):
            special = reads_right_to_left(paragraph)
            from_right = special and get_base_level(paragraph) == 1
            for line in _wrap(paragraph, widths, room * 1000 / size):
                shown = visual(line, from_right, self._drawable) if special else line
                yield _runs(shown, widths, size, from_right)

    def _drawable(self, char: str) -> bool:
        return family_of(char, self._han) is not None

    def fixed(self, text: str, size: float) -> Line:
        """A digest or number in the fixed-width face; other characters than ASCII show as ``?``."""
        text = re.sub("[^ -~]", "?", text)
        width = sum(map(self._mono.__getitem__, map(ord, text))) * size / 1000
        return Line((Run(MONO, text, width),), width, False)

    def clip(self, text: str, size: float, room: float) -> Line:
        """One line of at most ``room`` points; what was cut off shows as an ellipsis."""
        if self.width(text, size) > room:
            left = room - self.width("\u2026", size)
            kept = next(_wrap(text, self._widths[REGULAR], left * 1000 / size, hard=True), "")
            text = kept.rstrip() + "\u2026"
        return next(self.lines(text, size, 10 * room))


def _wrap(paragraph: str, widths: _Widths, room: float, *, hard: bool = False) -> Iterator[str]:
    """Greedy lines. ``hard``: break between any two characters."""
    if sum(map(widths.__getitem__, paragraph)) <= room:
        yield paragraph
        return
    line, used = "", 0.0
    for token in paragraph if hard else _TOKENS.findall(paragraph):
        width = sum(map(widths.__getitem__, token))
        if used + width <= room or (token[0] == " " and line.strip()):
            line, used = line + token, used + width
            continue
        if line.strip():
            yield line.rstrip(" ")
        *full, rest = _chop(token, widths, room)
        yield from full
        line, used = rest, sum(map(widths.__getitem__, rest))
    if line.strip() or not paragraph.strip():
        yield line.rstrip(" ")


def _chop(word: str, widths: _Widths, room: float) -> list[str]:
    """A word longer than a line, in pieces; marks stay with their letter."""
    pieces, start, used = [], 0, 0.0
    for at, char in enumerate(word):
        width = widths[char]
        if used + width > room and at > start and not unicodedata.combining(char):
            pieces.append(word[start:at])
            start, used = at, 0.0
        used += width
    return [*pieces, word[start:]]


def _runs(text: str, widths: _Widths, size: float, from_right: bool) -> Line:
    if text.isascii():
        groups = [(widths.face(" "), text)] if text else []
    else:
        groups = [(face, "".join(chars)) for face, chars in groupby(text, widths.face)]
    runs = tuple(Run(face, part, sum(map(widths.__getitem__, part)) * size / 1000) for face, part in groups)
    return Line(runs, sum(run.width for run in runs), from_right)
