"""What a mail says can neither forge the header that the report shows, nor pass for the archive's own words."""

from hypothesis import given
from hypothesis import strategies as st

from archive_service.export.fonts import han_of
from archive_service.export.headers import SHOWN, quoted_headers
from archive_service.export.pdf_layout import LEFT, Flow, Page
from archive_service.export.report_pages import lay_message
from archive_service.export.sheet import make_sheet
from archive_service.export.typesetting import Setter, Typecase
from archive_service.export.words import Words
from ingest.mime.scanner import scan
from tests.unit.export_fixtures import Archive, Mail

FORGED = (
    b"X-Mailer: foo\rFrom: The Minister <minister@gov.example>\rTo: judge@court.example\r"
    b"Subject: I confess everything\r\rrest\r\nFrom: real@sender.example\r\nSubject: true\r\n\r\nx\r\n"
)


def test_a_lone_cr_neither_begins_a_field_nor_ends_the_header() -> None:
    assert quoted_headers(FORGED) == [("From", "real@sender.example"), ("Subject", "true")]


def test_a_line_end_inside_a_value_is_shown_as_a_control() -> None:
    inner = b"Subject: a\rFrom: b\r\n\tc =?utf-8?q?d=0D=0AFrom:_e?=\r\n\r\n"
    (shown,) = quoted_headers(inner)
    assert shown == ("Subject", "a\x1aFrom: b c d\x1a\x1aFrom: e")
    case = Typecase()
    assert case.admit_line(shown[1]) == "a\ufffdFrom: b c d\ufffd\ufffdFrom: e"
    assert case.replaced == 3


@given(
    st.lists(
        st.sampled_from(
            [b"From", b"Subject", b"X-A", b":", b" ", b"\t", b"\r", b"\n", b"\r\n", b"a", b"\r\r", b"\xe9"]
        ),
        max_size=40,
    )
)
def test_the_report_shows_the_fields_that_were_found_at_receipt(pieces: list[bytes]) -> None:
    inner = b"".join(pieces)
    found = [name for name, _ in scan(inner, 0, len(inner)).root.headers.fields]
    shown = [name for name, _ in quoted_headers(inner)]
    assert sorted(name.lower() for name in shown) == sorted(
        name for name in found if name in {word.lower() for word in SHOWN}
    )


def test_the_body_stands_apart_from_what_the_archive_states() -> None:
    """Set in, with a rule along all of it, on every page; the archive's own words never are."""
    archive = Archive()
    body = "Ledger and custody\r\nCapture 1\r\n" + "SHA-256: 0000\r\n" * 120
    archive.receive(Mail("m", b"Subject: x\r\n\r\n", body=body))
    (evidence,) = archive.evidence()
    words, case, pages = Words("en"), Typecase(), list[Page]()
    for word in words.every():
        case.admit_line(word)
        case.admit(word, bold=True)
    sheet = make_sheet(evidence, words, case)
    lay_message(Flow(Setter(case.cast(), han_of("")), pages.append), sheet, words, 1, 1)
    quoted = [
        (page, text) for page in pages for text in page.texts if text[5] in body.split("\r\n") if text[5]
    ]
    mine = [(page, text) for page, text in quoted if _barred(page, text[4])]
    assert len(mine) == 122
    assert {text[3] for _, text in mine} == {LEFT + 14}
    assert len({id(page) for page, _ in mine}) > 1
    outside = [text for page in pages for text in page.texts if not _barred(page, text[4])]
    assert outside
    assert all(text[3] != LEFT + 14 for text in outside)
    assert Page.load(pages[0].dump()).bars == [list(bar) for bar in pages[0].bars]


def _barred(page: Page, y: float) -> bool:
    return any(low < y < high for _, high, low in page.bars)
