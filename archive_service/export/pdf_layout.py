"""Flows headings, paragraphs, facts and tables down pages of A4. Knows no PDF: a page is a list of marks.

Lengths are points, ``y`` counts from the bottom edge as in PDF. The running header and footer are not laid
out here: they need the page and Bates numbers, which are known when the pages are drawn.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from archive_service.export.typesetting import Line, Setter

WIDTH, HEIGHT = 595.28, 841.89
LEFT, RIGHT, TOP, BOTTOM = 62.0, WIDTH - 62.0, HEIGHT - 78.0, 74.0
ROOM = RIGHT - LEFT
BLACK, GREY, PALE = 0.0, 0.42, 0.82
BODY, SMALL, TINY = 9.5, 8.5, 7.5
_MONO_SIZE = 7.6
_LEADING = 1.42
_HEADING = 30.0  # room that a section heading takes
_TABLE_HEAD = SMALL * _LEADING + 5
_HEAD_NEEDS = 40.0  # room without which a table does not begin
_FIRST_ROW = 120.0  # at most so much of a first row is kept with the headings above it
_QUOTED, _BAR, _DEPTH = 14.0, 4.0, 2.5  # a quote's indent, its rule's place in it, and below a baseline
_LABEL = 118.0  # width of the label column of facts

Text = tuple[str, float, float, float, float, str]
"""Face, size, grey (0 black, 1 white), x, y of the baseline's start, text in visual order."""
Rule = tuple[float, float, float, float]
"""x1, x2, y, grey of a horizontal hairline."""
Bar = tuple[float, float, float]
"""x, y1, y2 of a vertical hairline, grey, beside what the archive only quotes."""
Link = tuple[float, float, float, float, int]
"""x1, y1, x2, y2 of an area, and the page it leads to, counted from 0."""


Row = tuple[Sequence[str], str]
"""Cells of a table's row, and a digest to stand below them, or ""."""


@dataclass
class Page:
    """What stands on one page. ``starts`` names what begins on it, for the outline."""

    texts: list[Text] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    starts: str = ""
    bars: list[Bar] = field(default_factory=list)

    def dump(self) -> bytes:
        """One line of JSON."""
        return json.dumps([self.texts, self.rules, self.links, self.starts, self.bars]).encode() + b"\n"

    @staticmethod
    def load(line: bytes) -> "Page":
        """The reverse of ``dump``."""
        return Page(*json.loads(line))

    def bar(self, x: float, top: float, bottom: float) -> None:
        """A vertical hairline; one that goes on from the last is drawn with it."""
        top, bottom = round(top, 2), round(bottom, 2)
        if self.bars and self.bars[-1][0] == x and self.bars[-1][2] == top:
            top = self.bars.pop()[1]
        self.bars.append((x, top, bottom))

    def put(self, line: Line, size: float, grey: float, x: float, y: float) -> None:
        """Places a line with its left end at ``x``."""
        for run in line.runs:
            self.texts.append((run.face, size, grey, round(x, 2), round(y, 2), run.text))
            x += run.width


@dataclass(frozen=True)
class Column:
    """Of a table: heading, share of the width, and whether cells may wrap (else they are clipped)."""

    heading: str
    share: float
    wraps: bool = True


class Flow:
    """Lays blocks one below the other; hands each full page to ``sink``. Finish with ``end``."""

    def __init__(self, setter: Setter, sink: Callable[[Page], None]) -> None:
        self.setter = setter
        self._sink = sink
        self._page = Page()
        self._y = TOP

    def end(self) -> None:
        """Hands over the last page."""
        self._sink(self._page)
        self._page, self._y = Page(), TOP

    def name(self, text: str) -> None:
        """What begins on the present page."""
        self._page.starts = text

    def space(self, points: float) -> None:
        """A gap; none at the top of a page."""
        if self._y < TOP:
            self._y -= points

    def need(self, points: float) -> None:
        """Begins a new page unless so much room is left."""
        if self._y - points < BOTTOM:
            self.end()

    def heading(self, text: str, keep: float = 34) -> None:
        """A section heading, kept with the first ``keep`` points of what follows."""
        self.space(14)
        self.need(_HEADING + keep)
        self.text(text, 11.5, bold=True)
        self.rule(PALE)
        self._y -= 5

    def rule(self, grey: float) -> None:
        """A hairline across."""
        self._y -= 3
        self._page.rules.append((LEFT, RIGHT, self._y, grey))
        self._y -= 2

    def text(
        self, text: str, size: float = BODY, *, bold: bool = False, grey: float = BLACK, indent: float = 0
    ) -> None:
        """A paragraph over as many lines and pages as it takes; right to left text stands at the right."""
        for line in self.setter.lines(text, size, ROOM - indent, bold=bold):
            self.need(size * _LEADING)
            self._y -= size * _LEADING
            self._draw(line, LEFT + indent, ROOM - indent, size, grey)

    def quote(self, text: str) -> None:
        """A paragraph of the mail's own, set in, with a rule all along its left: whatever it says, it cannot
        pass for a statement of the archive."""
        height = BODY * _LEADING
        for line in self.setter.lines(text, BODY, ROOM - _QUOTED):
            self.need(height)
            top = self._y
            self._y -= height
            self._draw(line, LEFT + _QUOTED, ROOM - _QUOTED, BODY, BLACK)
            self._page.bar(LEFT + _BAR, top - _DEPTH, self._y - _DEPTH)

    def fact(self, label: str, value: str, *, mono: bool = False) -> None:
        """A label and its value beside it. A value may run over pages; the label is not repeated."""
        lines = (
            [self.setter.fixed(value, _MONO_SIZE)] if mono else self.setter.lines(value, BODY, ROOM - _LABEL)
        )
        size = _MONO_SIZE if mono else BODY
        labels = list(self.setter.lines(label, SMALL, _LABEL - 8))
        self.need(max(len(labels), 1) * BODY * _LEADING)
        top, page = self._y, self._page
        for number, line in enumerate(labels, 1):  # first: a page that is full is gone
            page.put(line, SMALL, GREY, LEFT, top - number * BODY * _LEADING)
        for line in lines:
            self.need(BODY * _LEADING)
            self._y -= BODY * _LEADING
            self._draw(line, LEFT + _LABEL, ROOM - _LABEL, size, BLACK)
        if page is self._page:
            self._y = min(self._y, top - len(labels) * BODY * _LEADING)
        self._y -= 1.5

    def blank(self, label: str, count: int = 1) -> None:
        """A label with lines to write on."""
        for number in range(count):
            self.need(24)
            self._y -= 22
            if not number:
                self._draw(next(self.setter.lines(label, SMALL, ROOM)), LEFT, _LABEL, SMALL, GREY)
            self._page.rules.append((LEFT + _LABEL, RIGHT, self._y - 2, GREY))

    def table(
        self, columns: Sequence[Column], rows: Sequence[Row], *, title: str = "", whole: float = 0
    ) -> None:
        """A table of at least one row, under its title. Title, headings and first row stay on one page, and so
        do the last two rows; all of the rows, when they are at most ``whole`` points high together."""
        heights = [self._row_height(columns, row) for row in rows]
        capped = [min(height, _FIRST_ROW) for height in heights]
        first = sum(capped) if len(rows) == 2 else capped[0]  # the last two include the first
        kept = sum(heights) if sum(heights) <= whole else first
        keep = max(_TABLE_HEAD + kept, _HEAD_NEEDS)
        if title:
            self.heading(title, keep)
        self.need(keep)
        self.table_head(columns)
        for number, (cells, digest) in enumerate(rows):
            last_two = number == len(rows) - 2
            self.table_row(columns, cells, digest, keep=capped[-1] if last_two else 0)

    def _row_height(self, columns: Sequence[Column], row: Row) -> float:
        cells, digest = row
        most = max(len(self._cell(column, cell)) for column, cell in zip(columns, cells, strict=True))
        return _height(most, digest)

    def table_head(self, columns: Sequence[Column]) -> None:
        """The headings of a table."""
        self.need(_HEAD_NEEDS)
        self._y -= SMALL * _LEADING
        x = LEFT
        for column in columns:
            line = next(self.setter.lines(column.heading, TINY, 10 * ROOM))
            self._draw(line, x, ROOM, TINY, GREY)
            x += column.share * ROOM
        self.rule(PALE)

    def table_row(
        self,
        columns: Sequence[Column],
        cells: Sequence[str],
        digest: str = "",
        link: int | None = None,
        keep: float = 0,
    ) -> None:
        """One row, kept on one page unless it is longer than one, with ``keep`` points of what follows;
        ``digest`` in fixed width below it, ``link`` to a page. The headings stand again on a new page."""
        wrapped = [self._cell(column, cell) for column, cell in zip(columns, cells, strict=True)]
        height = _height(max(map(len, wrapped)), digest)
        if self._y - height - keep < BOTTOM and self._y < TOP - 30:
            self.end()
            self.table_head(columns)
        top, page = self._y, self._page
        for number in range(max(map(len, wrapped))):
            if self._y - SMALL * _LEADING < BOTTOM:
                self.end()
                self.table_head(columns)
            self._y -= SMALL * _LEADING
            x = LEFT
            for column, lines in zip(columns, wrapped, strict=True):
                room = column.share * ROOM - 6
                if number < len(lines):
                    self._draw(lines[number], x, room, SMALL, BLACK)
                x += column.share * ROOM
        if digest:
            self.need(SMALL * _LEADING)
            self._y -= SMALL * _LEADING
            self._draw(self.setter.fixed(digest, TINY), LEFT, ROOM, TINY, GREY)
        if link is not None and page is self._page:
            page.links.append((LEFT, self._y - 3, RIGHT, top, link))
        self._y -= 3

    def _cell(self, column: Column, text: str) -> list[Line]:
        room = column.share * ROOM - 6
        if not column.wraps:
            return [self.setter.clip(text, SMALL, room)]
        return list(self.setter.lines(text, SMALL, room))

    def _draw(self, line: Line, left: float, room: float, size: float, grey: float) -> None:
        x = left + room - line.width if line.from_right else left
        self._page.put(line, size, grey, x, self._y)


def _height(lines: int, digest: str) -> float:
    """Of a table's row."""
    return (lines + (1 if digest else 0)) * SMALL * _LEADING + 3
