"""The certificate of a disposition on paper: what ``certificate`` says, and the signed note over it, set in words."""

import io
from collections.abc import Mapping
from typing import Any

from reportlab.pdfgen.canvas import Canvas

from archive_service.export.fonts import MONO
from archive_service.export.pdf_layout import HEIGHT, WIDTH, Column, Flow, Page
from archive_service.export.report_pdf import draw_page, registered_faces
from archive_service.export.typesetting import Setter, Typecase

_COLUMNS = (
    Column("Class", 0.24),
    Column("Legal basis", 0.46),
    Column("Term", 0.18),
    Column("Captures", 0.12),
)
_TITLE = "Certificate of destruction"


def certificate_pdf(whole: Mapping[str, Any]) -> bytes:
    """The PDF of what ``certificate.certificate`` made; the same gives the same bytes."""
    said = whole["certificate"]
    case = Typecase()
    facts = [(case.admit_line(label), case.admit_line(value)) for label, value in _facts(said)]
    rows = [(tuple(map(case.admit_line, row)), "") for row in _rows(said)]
    texts = [case.admit(text) for text in (_TITLE, _means(said), *(each.heading for each in _COLUMNS))]
    note = [case.admit_line(line) for line in str(whole["note"]).splitlines()]
    signed = case.admit_line("Signed note (C2SP)")
    faces = case.cast()
    pages: list[Page] = []
    flow = Flow(Setter(faces, "SC"), pages.append)
    flow.text(texts[0], 18, bold=True)
    flow.space(10)
    flow.text(texts[1])
    flow.space(10)
    for label, value in facts:
        flow.fact(label, value)
    flow.space(10)
    if rows:
        flow.table(_COLUMNS, rows)
    flow.heading(signed)
    for line in note:
        flow.fact("", line)  # set in the proportional face, which breaks long lines and has the note's dash
    flow.end()
    with registered_faces(faces) as names:
        name = str(said.get("order") or said["disposition"])
        return _drawn(pages, names, name, str(said["said_at"] or said["made_unreadable_on"]))


def _drawn(pages: list[Page], names: dict[str, str], disposition: str, at: str) -> bytes:
    data = io.BytesIO()
    canvas = Canvas(
        data,
        pagesize=(WIDTH, HEIGHT),
        invariant=1,
        initialFontName=names[MONO],  # type: ignore[arg-type]  # a name, whatever the stubs say
    )
    canvas.setTitle(f"{_TITLE} {disposition}")
    canvas.setSubject(f"{disposition} {at}")
    canvas.setCreator("archive-service")
    for page in pages:
        draw_page(canvas, names, page)
        canvas.showPage()
    canvas.save()
    return data.getvalue()


def _means(said: Mapping[str, Any]) -> str:
    why = "under an order" if "order" in said else "at the end of their retention term"
    deleted = said["ciphertext_deleted_on"]
    gone = (
        f"was deleted on {_day(deleted)}"
        if deleted
        else "lies under a lock of the store, and goes when it ends"
    )
    return (
        f"{said['captures']} captures of the archive were destroyed {why}. They were "
        f"made unreadable on {_day(said['made_unreadable_on'])}: from then on no copy of the archive's keys, backups "
        f"included, opens them. Their ciphertext {gone}."
    )


def _facts(said: Mapping[str, Any]) -> list[tuple[str, str]]:
    if "order" in said:
        return _of_order(said)
    return [
        ("Disposition", str(said["disposition"])),
        ("Archive owner", str(said["owner"])),
        ("Decided", f"{_day(said['decided_at'])}, by two people, approval {said['approval']}"),
        ("Schedule", f"version {said['schedule_version']}"),
        *_visa(said),
        ("Made unreadable on", str(said["made_unreadable_on"])),
        ("Ciphertext deleted on", str(said["ciphertext_deleted_on"])),
    ]


def _visa(said: Mapping[str, Any]) -> list[tuple[str, str]]:
    visa = said.get("visa")
    if not visa or "reference" not in visa:
        return []
    words = f"{visa['reference']} of {visa['issuer']}, dated {visa['dated']}"
    return [("Visa (Code du patrimoine, R212-14)", words), ("List (SHA-256)", str(visa["list_sha256"]))]


def _of_order(said: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("Order", f"{said['order']}: {said['reference']} of {said['issuer']}, dated {said['dated']}"),
        ("Document (SHA-256)", str(said["document_sha256"] or "none")),
        ("Archive owner", str(said["owner"])),
        ("Decided", f"{_day(said['decided_at'])}, by two people, approval {said['approval']}"),
        ("Made unreadable on", str(said["made_unreadable_on"])),
        ("Ciphertext deleted on", str(said["ciphertext_deleted_on"] or "not yet")),
    ]


def _rows(said: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    return [
        (
            each["class"],
            each["article"],
            f"{each['maximum']} from {each['starts_with']}",
            str(each["captures"]),
        )
        for each in said.get("classes", ())
    ]


def _day(time: str) -> str:
    return time[:19].replace("T", " ") + " UTC"
