"""The report: ``report.pdf``, drawn with ReportLab's canvas from pages laid out beforehand.

Three passes, each flat in memory: ``add`` sets down every message's texts in a spool file and collects the
characters; ``paginate`` cuts the faces and lays out all pages into another; ``draw`` numbers and draws
them. A PDF is built in memory by ReportLab, so a long report goes on in ``report-2.pdf`` and so on.
"""

import io
import re
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

from archive_service.export.evidence import ArchiveKeys, BundleRequest, ExportFailed, MessageEvidence
from archive_service.export.fonts import MONO, Face
from archive_service.export.numbering import Numbering
from archive_service.export.pdf_layout import GREY, HEIGHT, WIDTH, Flow, Page
from archive_service.export.report_pages import Front, ListRow, Running, Totals, lay_message
from archive_service.export.sheet import Sheet, Stated, attachments_of, make_sheet
from archive_service.export.typesetting import Setter, Typecase
from archive_service.export.words import Words

VOLUME_PAGES = 5000
_WIDEST = 10**9
_registry = threading.Lock()  # ReportLab finds fonts by name in one table per process


@dataclass(frozen=True)
class Span:
    """First and last page of a message, counted from 0 over all volumes."""

    first: int
    last: int


class Report:
    """One report in the making. ``folder`` holds its spool files and receives the PDFs."""

    def __init__(
        self, folder: Path, request: BundleRequest, keys: ArchiveKeys, *, volume_pages: int = VOLUME_PAGES
    ) -> None:
        self._folder, self._request, self._volume_pages = folder, request, volume_pages
        self._words = Words(request.lang)
        self._case = Typecase()
        self._front = Front(request, keys, self._words, self._case)
        self._running = Running(request, self._words, self._case)
        self._sheets = folder / "sheets.jsonl"
        self._pages = folder / "pages.jsonl"
        self._front_spool = folder / "front.jsonl"
        self._lengths: list[int] = []
        self._front_pages = 0
        self._faces: dict[str, Face] = {}
        self.totals = Totals()
        self._sheets.write_bytes(b"")

    def add(self, evidence: MessageEvidence) -> None:
        """The next message."""
        sheet = make_sheet(evidence, self._words, self._case)
        with self._sheets.open("ab") as spool:
            spool.write(sheet.dump())
        totals = self.totals
        totals.messages += 1
        totals.captures += len(evidence.captures)
        totals.attachments += len(attachments_of(evidence))
        for capture in evidence.captures:
            totals.checkpoints[Stated.of(capture.proof.checkpoint)] = None
            totals.roots[Stated.of(capture.proof.root.checkpoint)] = None

    def paginate(self) -> int:
        """Lays out everything; the number of pages, none of which is numbered yet."""
        self._faces = self._case.cast()
        with _Spool(self._pages) as spool:
            for number, sheet in enumerate(self._read_sheets(), 1):
                before = spool.pages
                flow = Flow(Setter(self._faces, sheet.han), spool.take)
                lay_message(flow, sheet, self._words, number, self.totals.messages)
                self._lengths.append(spool.pages - before)
        # The widest numbers take the most room: what is printed in the end never takes more.
        self._front_pages = self._lay_front(Numbering(self._request.bates_prefix, _WIDEST, _WIDEST))
        return self._front_pages + sum(self._lengths)

    def spans(self) -> Iterator[Span]:
        """The pages of each message, in order."""
        at = self._front_pages
        for length in self._lengths:
            yield Span(at, at + length - 1)
            at += length

    def draw(self, numbering: Numbering) -> list[Path]:
        """The finished PDFs, in order: report.pdf, report-2.pdf, ..."""
        spare = self._front_pages - self._lay_front(numbering)
        if spare < 0:
            raise ExportFailed("the cover took more pages than were numbered")
        setter = Setter(self._faces, "SC")
        paths: list[Path] = []
        with registered_faces(self._faces) as names:
            pages = enumerate(self._all_pages(spare))
            for first, last in self._volumes():
                volume = _Volume(self._request, self._words, names, first, last)
                for index, page in pages:
                    self._running.put(page, setter, numbering, index)
                    volume.page(page, index)
                    if index == last:
                        break
                name = f"report-{len(paths) + 1}.pdf" if paths else "report.pdf"
                paths.append(volume.save(self._folder / name))
        return paths

    def _lay_front(self, numbering: Numbering) -> int:
        """Lays out cover and list into their spool file; the number of pages."""
        with _Spool(self._front_spool) as spool:
            flow = Flow(Setter(self._faces, "SC"), spool.take)
            self._front.lay(flow, self.totals, numbering, len(self._volumes()), self._rows)
            return spool.pages

    def _rows(self) -> Iterator[ListRow]:
        for sheet, span in zip(self._read_sheets(), self.spans(), strict=True):
            yield ListRow(*sheet.row, page=span.first)

    def _read_sheets(self) -> Iterator[Sheet]:
        with self._sheets.open("rb") as spool:
            for line in spool:
                yield Sheet.load(line)

    def _all_pages(self, spare: int) -> Iterator[Page]:
        """The front, filled up with blank pages to what was numbered, then the messages."""
        yield from _load(self._front_spool)
        yield from (Page() for _ in range(spare))
        yield from _load(self._pages)

    def _volumes(self) -> list[tuple[int, int]]:
        """First and last page of each volume: a new one begins with the first message past the bound."""
        first, end, volumes = 0, self._front_pages, []
        for length in self._lengths:
            if end - first >= self._volume_pages:
                volumes.append((first, end - 1))
                first = end
            end += length
        return [*volumes, (first, end - 1)]


class _Spool:
    """Takes pages into a file, a line each, and counts them."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self.pages = 0

    def take(self, page: Page) -> None:
        """The next page."""
        self._file.write(page.dump())
        self.pages += 1

    def __enter__(self) -> "_Spool":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _load(path: Path) -> Iterator[Page]:
    with path.open("rb") as spool:
        for line in spool:
            yield Page.load(line)


class _Font(TTFont):
    """Corrects the map by which readers search and copy: ReportLab writes code points beyond U+FFFF in five
    digits there, where UTF-16 is due (ISO 32000-1 section 9.10.3), and knows joined Arabic letters only."""

    def addObjects(self, doc: Any) -> None:
        """As ReportLab calls it, when the document is written."""
        super().addObjects(doc)
        for name, item in doc.idToObject.items():
            if name.startswith("toUnicodeCMap:"):
                item.content = _MAPPED.sub(_as_utf16, item.content)


_MAPPED = re.compile("(?<=> )<([0-9A-F]{4,6})>(?=\n)")


def _as_utf16(match: re.Match[str]) -> str:
    char = chr(int(match.group(1), 16))
    if "\ufe70" <= char <= "\ufefc":
        char = unicodedata.normalize("NFKC", char)
    return f"<{char.encode('utf-16-be', 'replace').hex().upper()}>"


@contextmanager
def registered_faces(faces: dict[str, Face]) -> Iterator[dict[str, str]]:
    """The faces under ReportLab's names, for as long as the block runs; one report at a time."""
    with _registry:
        fonts: list[_Font] = []
        try:
            names = {MONO: "Courier"}
            for face in faces.values():
                if face.data:
                    names[face.key] = f"archive-{face.key}"
                    fonts.append(_Font(names[face.key], io.BytesIO(face.data)))
                    pdfmetrics.registerFont(fonts[-1])
            yield names
        finally:
            for font in fonts:
                font.unregister()


def draw_page(canvas: Canvas, names: dict[str, str], page: Page) -> None:
    """Hairlines and texts of a page, without its links and outline. ``names``: of the faces, as registered."""
    canvas.setLineWidth(0.5)
    for x1, x2, y, grey in page.rules:
        canvas.setStrokeGray(grey)
        canvas.line(x1, y, x2, y)
    canvas.setStrokeGray(GREY)
    for x, y1, y2 in page.bars:
        canvas.line(x, y1, x, y2)
    drawn, set_in, inked = canvas.beginText(), ("", 0.0), -1.0
    for face, size, grey, x, y, text in page.texts:
        if grey != inked:
            drawn.setFillGray(grey)
        if (face, size) != set_in:
            drawn.setFont(names[face], size)
        set_in, inked = (face, size), grey
        drawn.setTextOrigin(x, y)
        drawn.textOut(text)
    canvas.drawText(drawn)


class _Volume:
    """One PDF. The same request and pages give the same bytes."""

    def __init__(
        self, request: BundleRequest, words: Words, names: dict[str, str], first: int, last: int
    ) -> None:
        self._names, self._first, self._last = names, first, last
        self._data: BinaryIO = io.BytesIO()
        digits = "".join(char for char in request.requested_at[:19] if char.isdigit())
        canvas = Canvas(
            self._data,
            pagesize=(WIDTH, HEIGHT),
            invariant=1,
            pageCompression=1,
            initialFontName=names[MONO],  # type: ignore[arg-type]  # a name, whatever the stubs say
            lang=words.lang,
        )
        canvas.setDateFormatter(lambda *_: f"D:{digits}Z")
        title = " - ".join(filter(None, (words("title"), request.matter, request.export_id)))
        canvas.setTitle(title)
        canvas.setAuthor(words("author", tenant=request.tenant_name))
        canvas.setSubject(request.export_id)
        canvas.setCreator("archive-service")
        canvas.setViewerPreference("DisplayDocTitle", "true")
        self._canvas = canvas

    def page(self, page: Page, index: int) -> None:
        """Draws one page. Links to pages of other volumes are left out."""
        canvas = self._canvas
        if page.starts:
            canvas.bookmarkPage(f"p{index}")
            canvas.addOutlineEntry(page.starts, f"p{index}")
        for x1, y1, x2, y2, target in page.links:
            if self._first <= target <= self._last:
                canvas.linkRect("", f"p{target}", (x1, y1, x2, y2), thickness=0)
        draw_page(canvas, self._names, page)
        canvas.showPage()

    def save(self, path: Path) -> Path:
        """Writes the file."""
        self._canvas.save()
        self._data.seek(0)
        with path.open("wb") as file:
            while chunk := self._data.read(1 << 20):
                file.write(chunk)
        return path
