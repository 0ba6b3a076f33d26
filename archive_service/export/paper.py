"""A signed statement on paper: a title, what it means, parts of facts and tables, and the note that signs it."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

from reportlab.pdfgen.canvas import Canvas

from archive_service.export.fonts import MONO
from archive_service.export.pdf_layout import HEIGHT, WIDTH, Column, Flow, Page
from archive_service.export.report_pdf import draw_page, registered_faces
from archive_service.export.typesetting import Setter, Typecase


@dataclass(frozen=True)
class Part:
    """Facts (label, value), then a table if it has rows, under a heading if it has one. ``blanks``: labels of lines
    to write on."""

    facts: Sequence[tuple[str, str]] = ()
    columns: Sequence[Column] = ()
    rows: Sequence[Sequence[str]] = ()
    heading: str = ""
    blanks: Sequence[str] = ()


@dataclass(frozen=True)
class Paper:
    """``note``: the signed note over the statement, set line by line; ``name`` and ``at`` go into the PDF's title and
    subject."""

    title: str
    means: str
    parts: Sequence[Part]
    note: str
    name: str
    at: str


_SIGNED = "Signed note (C2SP)"


def paper_pdf(paper: Paper) -> bytes:
    """The PDF; the same paper gives the same bytes."""
    case = Typecase()
    title, means, signed = (case.admit(text) for text in (paper.title, paper.means, _SIGNED))
    parts = [_admitted(part, case) for part in paper.parts]
    note = [case.admit_line(line) for line in paper.note.splitlines()]
    faces = case.cast()
    pages: list[Page] = []
    flow = Flow(Setter(faces, "SC"), pages.append)
    flow.text(title, 18, bold=True)
    flow.space(10)
    flow.text(means)
    flow.space(10)
    for part in parts:
        _lay(flow, part)
    flow.heading(signed)
    for line in note:
        flow.fact("", line)  # set in the proportional face, which breaks long lines and has the note's dash
    flow.end()
    with registered_faces(faces) as names:
        return _drawn(pages, names, paper)


def _admitted(part: Part, case: Typecase) -> Part:
    """The part with its texts as the faces can set them."""
    return Part(
        [(case.admit_line(label), case.admit_line(value)) for label, value in part.facts],
        [Column(case.admit_line(each.heading), each.share, each.wraps) for each in part.columns],
        [tuple(map(case.admit_line, row)) for row in part.rows],
        case.admit_line(part.heading),
        [case.admit_line(label) for label in part.blanks],
    )


def _lay(flow: Flow, part: Part) -> None:
    if part.heading:
        flow.heading(part.heading)
    for label, value in part.facts:
        flow.fact(label, value)
    if part.facts:
        flow.space(10)
    if part.rows:
        flow.table(part.columns, [(row, "") for row in part.rows])
    for label in part.blanks:
        flow.blank(label)


def _drawn(pages: Sequence[Page], names: dict[str, str], paper: Paper) -> bytes:
    data = io.BytesIO()
    canvas = Canvas(
        data,
        pagesize=(WIDTH, HEIGHT),
        invariant=1,
        initialFontName=names[MONO],  # type: ignore[arg-type]  # a name, whatever the stubs say
    )
    canvas.setTitle(f"{paper.title} {paper.name}")
    canvas.setSubject(f"{paper.name} {paper.at}")
    canvas.setCreator("archive-service")
    for page in pages:
        draw_page(canvas, names, page)
        canvas.showPage()
    canvas.save()
    return data.getvalue()
