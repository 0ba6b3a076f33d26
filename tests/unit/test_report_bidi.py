"""Right to left text in the report: brackets turn round, addresses stay readable, nothing steers a line unseen."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archive_service.export.typesetting import Line, Setter, Typecase
from archive_service.export.visual_order import mirror_of, visual
from tests.unit.export_fixtures import Mail
from tests.unit.test_report_pdf import of

ADDRESS = "<lior.cohen@example.org>"


def shown(line: str, *, from_right: bool) -> str:
    """In visual order, every mirror image at hand."""
    return visual(line, from_right, lambda char: True)


def set_line(text: str) -> Line:
    """The one line that the text makes."""
    case = Typecase()
    admitted = case.admit(text)
    (line,) = Setter(case.cast(), "SC").lines(admitted, 10, 2000)
    return line


def drawn(line: Line) -> str:
    """From left to right, over all faces."""
    return "".join(run.text for run in line.runs)


@pytest.mark.parametrize(
    ("line", "from_right", "seen"),
    [
        (f"אבג {ADDRESS}", True, f"{ADDRESS} גבא"),
        (f"אבג {ADDRESS}", False, f"גבא {ADDRESS}"),
        (f"{ADDRESS} אבג", True, f"גבא {ADDRESS}"),
        ("(אבג)", True, "(גבא)"),
        ("(אבג)", False, "(גבא)"),
        ("a (אבג) b", False, "a (גבא) b"),
        ("a (אבג) b", True, "b (גבא) a"),
        ("אב (גד)", False, "(דג) בא"),  # rule N0: the pair takes the direction of what it holds
        ("אב (abc) גד", True, "דג (abc) בא"),
        ("אב [1] {x} «גד»", True, "«דג» {x} [1] בא"),
        ("(مر) x", True, "x (رم)"),
        ("אב (", True, ") בא"),
        ("אב ≤ גד", True, "דג ≥ בא"),
        ("אב ((ג))", True, "((ג)) בא"),
        ("(\u05b0א)", True, "(א\u05b0)"),
        ("plain (a) <b>", False, "plain (a) <b>"),
    ],
)
def test_brackets_turn_round(line: str, from_right: bool, seen: str) -> None:
    assert shown(line, from_right=from_right) == seen


def test_an_address_in_a_right_to_left_line_is_drawn_as_it_reads() -> None:
    line = set_line(f"ליאור כהן {ADDRESS}")
    assert line.from_right and drawn(line) == f"{ADDRESS} ןהכ רואיל"
    assert drawn(set_line(f"to {ADDRESS} (אבג)")) == f"to {ADDRESS} (גבא)"


def test_a_mirror_image_that_the_text_lacks_has_its_glyph() -> None:
    case = Typecase()
    text = case.admit("אב » גד 「ה")
    setter = Setter(faces := case.cast(), "SC")
    (line,) = setter.lines(text, 10, 2000)
    assert "«" in drawn(line) and "」" in drawn(line)
    assert all(ord(char) in faces[run.face].widths for run in line.runs for char in run.text)


def test_a_bracket_without_a_drawable_image_stays() -> None:
    assert visual("אב (", True, lambda char: False) == "( בא"


@settings(max_examples=200)
@given(st.text(st.sampled_from("אבםشم12abc.@ ()[]<>«»\u0301\u05b0,;-≤"), max_size=24), st.booleans())
def test_order_changes_nothing_but_brackets(line: str, from_right: bool) -> None:
    """The same characters but for turned brackets; and without right to left letters, in one piece."""

    def folded(text: str) -> list[str]:
        return sorted(min(char, mirror_of(char) or char) for char in text)

    assert folded(shown(line, from_right=from_right)) == folded(line)
    if not from_right and not any(char in "אבםشم\u05b0" for char in line):
        assert shown(line, from_right=False) == line


@pytest.mark.parametrize(
    "steer", [*"\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"]
)
def test_characters_that_steer_are_named_in_the_remarks(steer: str, tmp_path: Path) -> None:
    said = "invisible characters that steer the direction"
    case = Typecase()
    admitted = case.admit_line(f"invoice{steer}fdp.exe")
    assert case.steered == 1 and steer not in admitted
    assert admitted == (
        f"invoice[U+{ord(steer):04X}]fdp.exe" if steer in "\u202d\u202e" else "invoicefdp.exe"
    )
    if steer in "\u202e\u2067":
        header = f"From: a{steer}b <a@example.org>\r\n\r\n".encode()
        assert said in of(Mail("m1", header, body="plain"), tmp_path)
        assert said in of(Mail("m1", b"\r\n", body=f"a{steer}b"), tmp_path)
        assert said not in of(Mail("m1", b"\r\n", body="déjà (אב)"), tmp_path)
