"""The report: what its pages say, in which scripts, and that nothing in a mail can break it."""

import hashlib
import io
import os
import re
import stat
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pypdf import PdfReader

from archive_service.export.bundle import write_bundle
from archive_service.export.collect import Collector
from archive_service.export.evidence import named
from archive_service.export.fonts import family_of, han_of
from archive_service.export.headers import quoted_headers
from archive_service.export.numbering import Numbering
from archive_service.export.pdf_layout import Flow, Page
from archive_service.export.report_pages import lay_message
from archive_service.export.report_pdf import Report
from archive_service.export.sheet import make_sheet
from archive_service.export.text_cleaning import clean
from archive_service.export.typesetting import Setter, Typecase
from archive_service.export.visual_order import mirror_of
from archive_service.export.words import LANGUAGES, Words
from archive_service.model.errors import Invalid, NotFound, Tampered
from archive_service.model.mail import CaptureRecord, Recipient, Role, SourceKind, Text
from ingest.extraction import extract_text
from ingest.interpret import interpret
from tests.unit.export_fixtures import TIME, Archive, Mail, part, request, small_archive


def draw(archive: Archive, folder: Path, **changes: object) -> PdfReader:
    """The report of everything in the archive, one volume."""
    report = Report(folder, request(**changes), archive.keys)
    for evidence in archive.evidence():
        report.add(evidence)
    (path,) = report.draw(Numbering("LEF", 1, report.paginate()))
    return PdfReader(io.BytesIO(path.read_bytes()))


def of(mail: Mail, folder: Path) -> str:
    """All text of a report about one mail, lines joined."""
    archive = Archive()
    archive.receive(mail)
    return "\n".join(page.extract_text() for page in draw(archive, folder).pages)


def test_report_cover_and_list(tmp_path: Path) -> None:
    archive = small_archive()
    reader = draw(archive, tmp_path)
    cover = reader.pages[0].extract_text() + reader.pages[1].extract_text()
    for said in (
        *("Evidence report", "Affaire Dupont c. Lefèvre", "Établissements Lefèvre & Fils"),
        *("c.martin@lefevre.example", "2026-11-23 10:00:00", "contrat AND from:anne@example.org"),
        *(
            "a1a1a1a1a1a1a1a1a1a1/capture-1, 5 entries",
            archive.log.root().hex(),
            archive.root_log.root().hex(),
        ),
        *("python3 verify.py", "Hand-over", f"LEF0000001 \u2013 LEF{len(reader.pages):07d}"),
    ):
        assert said in cover
    for key in (*archive.keys.log, *archive.keys.root):
        assert hashlib.sha256(key.encode()).hexdigest() in cover
    assert "LEF0000004" in reader.pages[2].extract_text()


def test_report_running_lines_are_on_every_page(tmp_path: Path) -> None:
    reader = draw(small_archive(), tmp_path)
    count = len(reader.pages)
    for number, page in enumerate(reader.pages, 1):
        text = page.extract_text()
        assert f"LEF{number:07d}" in text and f"Page {number} of {count}" in text
        assert "Affaire Dupont c. Lefèvre" in text and "0123456789abcdef0123456789abcdef" in text


def test_report_metadata_tells_nothing_of_the_machine(tmp_path: Path) -> None:
    reader = draw(small_archive(), tmp_path)
    data = reader.metadata
    assert data is not None
    assert data.title == "Evidence report - Affaire Dupont c. Lefèvre - 0123456789abcdef0123456789abcdef"
    assert data["/CreationDate"] == data["/ModDate"] == "D:20261123100000Z"
    assert (data.author, data.creator) == ("Archive of Établissements Lefèvre & Fils", "archive-service")
    assert [item.title for item in reader.outline][:3] == ["Evidence report", "Messages", "Message 1 of 3"]
    assert "/home" not in str(data) and "/tmp" not in str(data)


def test_report_message_pages(tmp_path: Path) -> None:
    inner = (
        "From: =?utf-8?q?Anne_Lef=C3=A8vre?= <anne@example.org>\r\nTo: bob@example.org\r\nCc: eve@example.org\r\n"
        "Date: Mon, 23 Nov 2026 11:00:00 +0100\r\nSubject: Été\r\nMessage-ID: <x@example.org>\r\n\r\nBonjour"
    ).encode()
    recipients = (
        Recipient(address="bob@example.org", role=Role.TO, on_report=True, expanded_from="tous@example.org"),
        Recipient(address="secret@example.org", role=Role.BCC, on_report=True),
        Recipient(address="eve@example.org", role=Role.CC, forwarded_from="old@example.org"),
        Recipient(address="who@example.org", role=Role.UNKNOWN),
    )
    text = of(
        Mail(
            "m1",
            inner,
            body="Le contrat\nest signé.",
            recipients=recipients,
            complete=False,
            flags=("journal_report", "report_unparsed", "partly_parsed", "new_flag"),
            parts=(part("facture.pdf"),),
            not_indexed="nested too deeply",
        ),
        tmp_path,
    )
    for said in (
        *("Anne Lefèvre <anne@example.org>", "Mon, 23 Nov 2026 11:00:00 +0100", "<x@example.org>", "Été"),
        *("est signé.", "expanded from tous@example.org", "forwarded from old@example.org", "Bcc", "unknown"),
        *("The envelope may be incomplete", "The journal report could not be read", "read only in part"),
        *(
            "Mark of the archive: new_flag.",
            "Not fully indexed: nested too deeply.",
            "facture.pdf",
            "1234 bytes",
        ),
        *("Chain of custody", "Locked until", "COMPLIANCE", "a1a1a1a1a1a1a1a1a1a1/capture-1, entry 1"),
        *("b2b2b2b2b2b2b2b2b2b2/root, entry 1", "searched and shown", "access-1 #0", "1" * 64),
        part("facture.pdf").sha256,
    ):
        assert said in text, said


def test_report_in_french(tmp_path: Path) -> None:
    text = "\n".join(page.extract_text() for page in draw(small_archive(), tmp_path, lang="fr").pages)
    for said in (
        "Rapport de preuve",
        "Chaîne de conservation",
        "Pièces jointes",
        "Page 1 sur",
        "(Le message n’a pas",
    ):
        assert said in text


def test_words_are_the_same_in_all_languages() -> None:
    fields = {lang: {key: sorted(re.findall(r"{(\w+)}", text)) for key, text in words.items()}
              for lang, words in LANGUAGES.items()}  # fmt: skip
    assert fields["en"] == fields["fr"]
    with pytest.raises(Invalid):
        Words("de")


def test_report_is_the_same_twice(tmp_path: Path) -> None:
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        draw(small_archive(), tmp_path / name)
        made.append((tmp_path / name / "report.pdf").read_bytes())
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("déjà vu, cœur, 12 €", "déjà vu, cœur, 12 €"),
        ("Привет, Ελληνικά", "Привет, Ελληνικά"),
        ("契約書を送ります。", "契約書を送ります。"),
        ("合同已签署", "合同已签署"),
        ("계약서입니다", "계약서입니다"),
        ("שלום", "שלום"),
        ("smile 😀 end", "smile 😀 end"),
        ("👨‍👩‍👧 👍🏽 ❤️", "👨👩👧 👍 ❤"),
        ("สวัสดี", "สวัสดี"),
        ("𝐀\U0001f680", "\U0001f680"),
        ("a\U00013000b", "a\ufffdb"),
        ("bell\x07", "bell\ufffd"),
        ("x\u202egnp.exe", "x[U+202E]gnp.exe"),
    ],
)
def test_report_scripts(text: str, shown: str, tmp_path: Path) -> None:
    assert shown in of(Mail("m1", b"\r\n", body=text, subject=text), tmp_path)


def test_report_says_how_many_characters_it_could_not_show(tmp_path: Path) -> None:
    text = of(Mail("m1", b"\r\n", body="a\U00013000\x07b \ufffd"), tmp_path)
    assert "which appear here as \ufffd: 2." in text


def test_arabic_letters_are_joined_and_stand_at_the_right() -> None:
    case = Typecase()
    text = case.admit("مرحبا بالعالم\nplain")
    assert case.replaced == 0 and "\ufe91" in text, "beh in its initial form"
    arabic, latin = Setter(case.cast(), "SC").lines(text, 10, 400)
    assert arabic.from_right and not latin.from_right
    drawn = "".join(run.text for run in arabic.runs)
    assert drawn[::-1] == text.split("\n")[0], "drawn from the left, last letter first"


def test_wrapping_happens_before_reordering() -> None:
    """The first words of a right to left paragraph must stand on its first line."""
    setter, text = _setter("אחת שתיים שלוש ארבע חמש שש")
    lines = list(setter.lines(text, 10, 80))
    assert len(lines) > 1
    assert "".join(run.text for run in lines[0].runs)[::-1].startswith("אחת")


def test_east_asian_text_is_drawn_as_its_language_wants() -> None:
    assert [han_of(text) for text in ("漢字かな", "한자 漢字", "ㄅ漢", "汉字", "abc")] == [
        "JP",
        "KR",
        "TC",
        "SC",
        "SC",
    ]
    assert [family_of("直", han) for han in ("JP", "KR", "TC", "SC")] == ["JP", "KR", "TC", "SC"]
    assert family_of("a", "JP") == "Sans" and family_of("\U00013000", "SC") is None


def _setter(text: str) -> tuple[Setter, str]:
    case = Typecase()
    admitted = case.admit(text)
    return Setter(case.cast(), "SC"), admitted


@pytest.mark.parametrize(
    "text",
    [
        "x" * 5000,
        "mot " * 900,
        " " * 300 + "indent",
        "契" * 900,
        "a" * 40 + " " + "b" * 4000,
        "",
        " ",
        "\n\n",
        "e\u0301" * 900,
    ],
)
def test_lines_fit_and_lose_nothing(text: str) -> None:
    setter, admitted = _setter(text)
    lines = list(setter.lines(admitted, 10, 200))
    assert lines and all(line.width <= 200.01 for line in lines)
    assert _letters("".join(run.text for line in lines for run in line.runs)) == _letters(admitted)


def _letters(text: str) -> str:
    return re.sub(r"\s", "", text)


def _folded(text: str) -> list[str]:
    """Brackets may turn round among right to left letters."""
    return sorted(min(char, mirror_of(char) or char) for char in text)


@settings(max_examples=40, deadline=None)
@given(
    st.text(st.characters(blacklist_categories=()), max_size=120), st.integers(min_value=20, max_value=300)
)
def test_any_text_can_be_set(text: str, room: int) -> None:
    """Nothing raises, nothing overflows (but a single character may), no letter is lost."""
    case = Typecase()
    admitted = case.admit(text)
    setter = Setter(case.cast(), "SC")
    lines = list(setter.lines(admitted, 9, room))
    for line in lines:
        if line.width > room + 0.01:
            assert len("".join(run.text for run in line.runs).strip()) <= 2 or room < 40
    shown = "".join(run.text for line in lines for run in line.runs)
    assert _folded(_letters(shown)) == _folded(_letters(admitted))
    assert setter.clip(admitted.replace("\n", " "), 9, room).width <= max(room, 40)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=200), st.text(max_size=60), st.binary(max_size=300))
def test_any_mail_can_be_reported(tmp_path: Path, body: str, subject: str, head: bytes) -> None:
    archive = Archive()
    archive.receive(
        Mail("m1", head, body=body, subject=subject, sender=subject, parts=(part(subject or "x"),))
    )
    assert draw(archive, tmp_path).pages[3].extract_text()


def test_empty_mail(tmp_path: Path) -> None:
    text = of(Mail("m1", b"", body="", subject="", sender=None, recipients=(), events=0), tmp_path)
    assert (
        "(no subject)" in text
        and "(The message has no text.)" in text
        and "Header of the message" not in text
    )


def test_long_bodies_go_over_pages_and_very_long_ones_say_where_they_end(tmp_path: Path) -> None:
    archive = Archive()
    archive.receive(Mail("m1", b"\r\n", body="\n".join(f"ligne {number}" for number in range(400))))
    pages = [page.extract_text() for page in draw(archive, tmp_path).pages]
    assert len(pages) > 10
    seen = re.findall(r"ligne (\d+)", "\n".join(pages))
    assert seen == [str(number) for number in range(400)]


def test_cut_bodies_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archive_service.export.sheet.BODY_LIMIT", 10)
    assert "The text goes on for 5 more characters; see message.eml." in of(
        Mail("m1", b"\r\n", body="0123456789abcde"), tmp_path
    )


def test_three_hundred_recipients(tmp_path: Path) -> None:
    many = tuple(Recipient(address=f"p{number:03d}@example.org", role=Role.BCC) for number in range(300))
    header = b"To: " + b",\r\n ".join(item.address.encode() for item in many) + b"\r\n\r\n"
    text = of(Mail("m1", header, recipients=many), tmp_path)
    for item in many:
        assert text.count(item.address) == 2, "once in the header, once in the envelope"


def test_the_mailbox_that_a_journal_names_is_told(tmp_path: Path) -> None:
    assert "Mailbox it was taken from" in of(Mail("m1", b"\r\n", mailbox="bob@example.org"), tmp_path)
    assert "Mailbox it was taken from" not in of(Mail("m2", b"\r\n"), tmp_path)


def test_facts_that_run_over_a_page_keep_their_label(tmp_path: Path) -> None:
    text = of(Mail("m1", b"To: " + b"word " * 3000 + b"\r\nSubject: s\r\n\r\n"), tmp_path)
    assert len(re.findall(r"^To\b", text, re.MULTILINE)) == 1


def test_links_lead_from_the_list_to_the_messages(tmp_path: Path) -> None:
    reader = draw(small_archive(), tmp_path)
    assert len(reader.pages[2]["/Annots"]) == 3  # type: ignore[arg-type]


def test_two_reports_at_once_do_not_mix_their_faces(tmp_path: Path) -> None:
    def one(number: int) -> str:
        folder = tmp_path / str(number)
        folder.mkdir()
        return of(Mail("m1", b"\r\n", body=["déjà", "契約", "Привет", "👍"][number]), folder)

    with ThreadPoolExecutor(4) as pool:
        for word, text in zip(["déjà", "契約", "Привет", "👍"], pool.map(one, range(4)), strict=True):
            assert word in text


def test_html_that_says_more_is_told_from_the_plain_text(tmp_path: Path) -> None:
    said = "The HTML part has words that the plain text lacks; its text follows."
    archive = Archive()
    archive.receive(Mail("m1", b"\r\n"))
    (evidence,) = archive.evidence()

    def shown(text: Text, name: str) -> str:
        (tmp_path / name).mkdir()
        report = Report(tmp_path / name, request(), archive.keys)
        report.add(replace(evidence, text=text))
        (path,) = report.draw(Numbering("LEF", 1, report.paginate()))
        return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(path.read_bytes())).pages)

    both = shown(Text(body="100 EUR\n900 EUR", html_from=8), "both")
    assert re.search(rf"100 EUR\s+{re.escape(said)}\s+900 EUR", both)
    assert said not in shown(Text(body="100 EUR\n900 EUR"), "plain")
    assert said not in shown(Text(body="\n\n900 EUR", html_from=2), "blank"), "nothing stands before it"


def test_extraction_says_where_html_begins() -> None:
    def text_of(plain: str) -> Text:
        raw = (
            "Content-Type: multipart/alternative; boundary=B\n\n"
            f"--B\nContent-Type: text/plain\n\n{plain}\n--B\nContent-Type: text/html\n\n<p>900 EUR</p>\n--B--\n"
        ).encode()
        record = CaptureRecord(capture="c", source="s", received_at=TIME, mail_from="", rcpt_to=("a@b.fr",))
        return extract_text(raw, interpret(raw, SourceKind.GENERIC, record))

    found = text_of("100 EUR")
    assert found.html_from is not None
    assert (found.body[: found.html_from], found.body[found.html_from :]) == ("100 EUR\n", "900 EUR")
    assert text_of("Total: 900 EUR").html_from is None


@pytest.mark.parametrize(
    ("lang", "said"),
    [
        ("en", ["received, sealed, chained", "sealed object SHA-256 77", "log checkpoint of 12 entries"]),
        ("fr", ["reçu, scellé, chaîné", "objet scellé, SHA-256 77", "du journal, 12 entrées"]),
    ],
)
def test_custody_is_told_in_the_report_s_language(lang: str, said: list[str]) -> None:
    words = Words(lang)
    told = [*words.event("captured", "77"), *words.event("anchored", "12"), *words.event("identified", "c")]
    for phrase in said:
        assert any(phrase in text for text in told), phrase
    assert "capture c" in told
    assert words.event("searched and shown", "matter") == ("searched and shown", "matter")


def test_headings_stay_with_what_they_head() -> None:
    """Wherever the pages break: no heading without its first rows, no last row alone."""
    many = tuple(Recipient(address=f"p{number}@example.org", role=Role.TO) for number in range(5))
    archive = Archive()
    archive.receive(Mail("m1", b"\r\n", recipients=many, parts=(part("a.pdf"), part("b.pdf")), events=3))
    words, case = Words("en"), Typecase()
    for word in words.every():
        case.admit(word)
        case.admit(word, bold=True)
    sheet = make_sheet(archive.evidence()[0], words, case)
    setter = Setter(case.cast(), "SC")
    for count in range(60):
        pages: list[Page] = []
        body = "\n".join(["Bonjour"] * count)
        lay_message(Flow(setter, pages.append), replace(sheet, body=body), words, 1, 1)
        texts = ["\n".join(text[-1] for text in page.texts) for page in pages]
        for heading, first in (
            ("Attachments", "a.pdf"),
            ("Envelope", "anne@example.org"),
            ("Recipient\n", "p0@example.org"),
            ("Chain of custody", "capture-1.eml, 2 bytes"),
            ("Capture 1", "message.eml, SHA-256"),
            ("Events", "access-1 #0"),
        ):
            begins = next(text for text in texts if heading in text)
            assert first in begins.partition(heading)[2], (count, heading)
        for together in (("p3@", "p4@"), ("access-1 #0", "access-1 #2"), ("Checkpoint", "Anchored in")):
            assert any(all(word in text for word in together) for text in texts), (count, together)


def test_a_damaged_capture_is_named() -> None:
    with pytest.raises(Tampered) as caught, named("m" * 8):
        raise Tampered("the object is not what was sealed", code="integrity.other")
    assert str(caught.value) == "message mmmmmmmm: the object is not what was sealed"
    assert type(caught.value) is Tampered and caught.value.code == "integrity.other"


def test_a_collector_names_the_message_that_it_fails_at() -> None:
    archive = small_archive()
    rows = {item.message.id: item.message for item in archive.evidence()}

    def damaged(row: object) -> None:
        raise Tampered("the object is not what was sealed")

    parts: dict[str, Any] = {
        "vault": None,
        "catalog": SimpleNamespace(
            messages=lambda ids: [rows[name] for name in ids if name in rows], evidence=lambda ids: {}
        ),
        "contents": SimpleNamespace(check=lambda message: None, opened=damaged),
        "proofs": None,
        "extract": None,
    }
    collector = Collector(**parts)
    with pytest.raises(Tampered, match=r"^message m2: the object"):
        next(collector.messages(["m2"]))
    with pytest.raises(NotFound, match=r"^message gone: "):
        next(collector.messages(["gone"]))


def test_bundle_and_spool_are_for_this_user_only(tmp_path: Path) -> None:
    archive = small_archive()
    modes: list[int] = []

    def look(done: int) -> None:
        modes.extend(stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir())

    before = os.umask(0)
    try:
        result = write_bundle(
            request(),
            archive.evidence(),
            archive.keys,
            archive.root_key.sign_text,
            tmp_path / "bundle.zip",
            progress=look,
        )
    finally:
        os.umask(before)
    assert set(modes) == {0o700}, "the spool folder"
    assert stat.S_IMODE(result.path.stat().st_mode) == 0o600


# ---------------------------------------------------------------- header fields


def test_headers_are_quoted_in_order_and_each_time() -> None:
    inner = (
        b"Subject: two\r\nFROM: a@b\r\n\tand more\r\nX-Other: no\r\nfrom: c@d\r\n\r\nTo: body@not.header\r\n"
    )
    assert quoted_headers(inner) == [("From", "a@b and more"), ("From", "c@d"), ("Subject", "two")]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("=?iso-8859-1?Q?d=E9j=E0?=", "déjà"),
        ("=?utf-8?b?w6k=?= =?utf-8?b?w6k=?=", "éé"),
        ("=?nonsense?Q?x?=", "=?nonsense?Q?x?="),
        ("=?utf-8?b?!?=", "=?utf-8?b?!?="),
        ("=?utf-8?q?=C3?= =?UTF-8?q?=A9?=", "é"),
        ("=?utf-8*fr?q?a_b?= and =?us-ascii?q?c?=", "a b and c"),
        ("=?rot13?q?abc?=", "=?rot13?q?abc?="),
        ("=?unicode_escape?q?=5Cd?=", "=?unicode_escape?q?=5Cd?="),
        ("=?hex?q?61?=", "=?hex?q?61?="),
        ("=?utf-16?b?/v8A6Q==?=", "é"),
        ("=?utf-8?q?=FF?=", "\ufffd"),
        ("r\u00e9", "ré"),
    ],
)
def test_header_values(value: str, shown: str) -> None:
    assert quoted_headers(f"Subject: {value}\n\nx".encode()) == [("Subject", shown)]


@given(st.binary(max_size=400))
def test_any_bytes_have_headers(head: bytes) -> None:
    quoted_headers(b"Subject: =?utf-8?q?" + head)


@given(st.text(st.characters(blacklist_categories=()), max_size=60))
def test_cleaned_text_has_nothing_invisible(text: str) -> None:
    cleaned = clean(text)
    for char in cleaned:
        assert char == "\n" or unicodedata.category(char) not in ("Cc", "Cs"), ascii(char)
    assert not re.search("[\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]", cleaned)
