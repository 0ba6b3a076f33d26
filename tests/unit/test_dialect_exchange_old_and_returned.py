"""Exchange 2003's list of recipients, reports that came back undelivered, HTML bodies, hostile ones, huge ones."""

import base64
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archive_service.model.mail import CaptureRecord, Parsed, Recipient, Role, SourceKind
from ingest.dialects import dialect_for
from ingest.dialects.exchange_2003 import parse_report_2003
from ingest.interpret import interpret

RECORD = CaptureRecord(
    capture="c",
    source="s",
    received_at="2026-03-01T00:00:00.000000Z",
    mail_from="",
    rcpt_to=("a@example.fr",),
)
INNER = "From: a@example.fr\nTo: b@example.fr\nSubject: s\nMessage-ID: <1@example.fr>\n\nhello"
OLD = "Content-Identifer: ExJournalReport"
NEW = "X-MS-Journal-Report:"
LIST = (
    'Sender: "Anne Martin" <smtp:anne@example.fr>\n'
    "Message-ID: <1@example.fr>\n"
    "Recipients:\n"
    '"Bob, achats" <smtp:bob@example.fr>,\n'
    '"Un nom qui\ncontinue" <smtp:carl@example.com>\n'
    "\n"
)


def report(text: str | bytes, *inner: str, mark: str = OLD, part: str = "Content-Type: text/plain") -> bytes:
    head = (
        f"From: j@example.fr\n{mark}\nContent-Type: multipart/mixed; boundary=B\n\n--B\n{part}\n\n".encode()
    )
    parts = "".join(f"\n--B\nContent-Type: message/rfc822\n\n{one}" for one in inner)
    body = text if isinstance(text, bytes) else text.encode("utf-8")
    return (head + body + parts.encode("utf-8") + b"\n--B--\n").replace(b"\n", b"\r\n")


def read(raw: bytes, kind: SourceKind = SourceKind.EXCHANGE) -> Parsed:
    return interpret(raw, kind, RECORD)


def inner_of(raw: bytes, parsed: Parsed) -> str:
    return raw[parsed.inner_start : parsed.inner_end].decode("utf-8").replace("\r\n", "\n")


def reported(parsed: Parsed) -> list[str]:
    return [one.address for one in parsed.recipients if one.on_report]


@pytest.mark.parametrize("kind", [SourceKind.EXCHANGE, SourceKind.M365])
def test_the_list_of_exchange_2003_is_read(kind: SourceKind) -> None:
    raw = report(LIST, INNER)
    parsed = read(raw, kind)
    assert inner_of(raw, parsed) == INNER
    assert parsed.flags == ("journal_report",)
    assert parsed.sender == "anne@example.fr"
    assert parsed.envelope_complete
    assert [one for one in parsed.recipients if one.on_report] == [
        Recipient(address="bob@example.fr", role=Role.UNKNOWN, on_report=True),
        Recipient(address="carl@example.com", role=Role.UNKNOWN, on_report=True),
    ]


def test_its_imitators_indent_the_list_and_leave_types_out() -> None:
    raw = report(
        "Sender: Anne <anne@example.fr>\nMessage-ID: <1>\nRecipients:\n\tbob <bob@example.fr>\n\tcarl@example.com\n",
        INNER,
    )
    parsed = read(raw)
    assert reported(parsed) == ["bob@example.fr", "carl@example.com"]
    assert parsed.sender == "anne@example.fr"
    assert inner_of(raw, parsed) == INNER


def test_an_address_of_another_type_keeps_it() -> None:
    found = parse_report_2003(
        'Sender: "A" <smtp:a@example.fr>\nRecipients:\n"B" <X400:C=FR;A= ;P=EX;S=B>,\n"C" <EX:/o=Ex/cn=C>\n'
    )
    assert found is not None
    assert [one.address for one in found.recipients] == ["X400:C=FR;A= ;P=EX;S=B", "EX:/o=Ex/cn=C"]


@pytest.mark.parametrize(
    "text",
    [
        "Message-ID: <1>\nRecipients:\n<smtp:b@example.fr>\n",
        "Sender: <smtp:a@example.fr>\nRecipients:\n",
        "Sender: <smtp:a@example.fr>\nRecipients:\nnobody in particular\n",
        "Sender: <smtp:a@example.fr>\nSender: <smtp:c@example.fr>\nRecipients:\n<smtp:b@example.fr>\n",
        "Sender: <smtp:a@example.fr>\nRecipients:\n<smtp:b@example.fr>\nRecipients:\n<smtp:c@example.fr>\n",
        "hello\nSender: <smtp:a@example.fr>\nRecipients:\n<smtp:b@example.fr>\n",
    ],
)
def test_a_list_against_its_grammar_is_kept_whole(text: str) -> None:
    raw = report(text, INNER)
    parsed = read(raw)
    assert (parsed.inner_start, parsed.inner_end) == (0, len(raw))
    assert {"journal_report", "report_unparsed"} <= set(parsed.flags)
    assert reported(parsed) == []


def test_a_list_counts_only_under_the_mark_of_2003() -> None:
    """In a report of a later Exchange a line ``Recipients:`` is no list, whoever got it in there."""
    raw = report("Sender: a@example.fr\nTo: b@example.fr\nRecipients:\nevil@example.com\n", INNER, mark=NEW)
    assert "report_unparsed" in read(raw).flags


@given(
    st.lists(
        st.tuples(
            st.from_regex(r"[a-z]{1,8}@example\.fr", fullmatch=True),
            st.text(alphabet='abé ,<>"@\\', max_size=12),
            st.booleans(),
        ),
        min_size=1,
        max_size=6,
        unique_by=lambda one: one[0],
    )
)
@settings(max_examples=150)
def test_every_recipient_of_a_list_is_found(entries: list[tuple[str, str, bool]]) -> None:
    lines = [
        '"{}"{}<smtp:{}>'.format(name.replace('"', ""), "\n" if wrap else " ", to)
        for to, name, wrap in entries
    ]
    # A wrapped name that ends like an address would be one: Exchange does not wrap there.
    lines = [line.replace('>"\n', '>" ') for line in lines]
    found = parse_report_2003("Sender: <smtp:a@example.fr>\nRecipients:\n" + ",\n".join(lines) + "\n\n")
    assert found is not None
    assert [one.address for one in found.recipients] == [to for to, _, _ in entries]


REPORT = report("Sender: a@example.fr\nMessage-Id: <1>\nBcc: c@example.fr\n", INNER, mark=NEW)


def returned(content: bytes, kind: str = "message/rfc822", top: str = "multipart/report") -> bytes:
    head = (
        "From: postmaster@example.fr\nSubject: Undeliverable\n"
        f"Content-Type: {top}; report-type=delivery-status; boundary=N\n\n"
        "--N\nContent-Type: text/plain\n\nIt did not work.\n"
        "--N\nContent-Type: message/delivery-status\n\nAction: failed\n"
        f"--N\nContent-Type: {kind}\n\n"
    )
    return head.replace("\n", "\r\n").encode() + content + b"\r\n--N--\r\n"


def test_a_returned_report_is_unwrapped_to_the_message() -> None:
    raw = returned(REPORT)
    parsed = read(raw)
    assert inner_of(raw, parsed) == INNER
    assert parsed.flags == ("undelivered_report", "journal_report")
    assert parsed.recipients[0] == Recipient(address="c@example.fr", role=Role.BCC, on_report=True)
    assert parsed.envelope_complete
    assert parsed.inner_digest == read(REPORT).inner_digest


def test_a_returned_report_that_does_not_parse_is_kept_whole() -> None:
    raw = returned(report("no report\n", INNER, mark=NEW))
    parsed = read(raw)
    assert (parsed.inner_start, parsed.inner_end) == (0, len(raw))
    assert {"undelivered_report", "report_unparsed"} <= set(parsed.flags)


def test_a_report_of_which_only_the_header_came_back_is_seen() -> None:
    raw = returned(REPORT.partition(b"\r\n\r\n")[0] + b"\r\n", "text/rfc822-headers")
    parsed = read(raw)
    assert {"undelivered_report", "report_unparsed"} <= set(parsed.flags)
    assert (parsed.inner_start, parsed.inner_end) == (0, len(raw))


@pytest.mark.parametrize(
    "raw",
    [
        returned(INNER.replace("\n", "\r\n").encode()),
        returned(REPORT, top="multipart/mixed"),
        returned(base64.b64encode(REPORT), "message/rfc822\r\nContent-Transfer-Encoding: base64"),
    ],
)
def test_what_returns_no_report_is_mail(raw: bytes) -> None:
    parsed = read(raw)
    assert (parsed.inner_start, parsed.inner_end) == (0, len(raw))
    assert not {"journal_report", "undelivered_report"} & set(parsed.flags)


@pytest.mark.parametrize("kind", [kind for kind in SourceKind if kind not in ("exchange", "m365")])
def test_no_other_source_unwraps_what_was_returned(kind: SourceKind) -> None:
    raw = returned(REPORT)
    parsed = read(raw, kind)
    assert (parsed.inner_start, parsed.inner_end) == (0, len(raw))
    assert reported(parsed) == []


def test_a_report_that_somebody_mailed_is_unwrapped_once_and_flagged() -> None:
    forged = report(
        "Sender: ceo@example.fr\nTo: evil@example.com\n", "From: ceo@example.fr\n\nforged", mark=NEW
    )
    mailed = forged.decode().replace("\r\n", "\n").replace("boundary=B", "boundary=C").replace("--B", "--C")
    raw = report("Sender: evil@example.com\nTo: b@example.fr\n", mailed, mark=NEW)
    parsed = read(raw)
    assert parsed.flags[:2] == ("journal_report", "forged_report")
    assert reported(parsed) == ["b@example.fr"]
    assert parsed.sender == "evil@example.com"
    assert raw[parsed.inner_start : parsed.inner_end].startswith(b"From: j@example.fr")


HTML = (
    "<html><body>Sender: a@example.fr<br>Message-Id: &lt;1&gt;<br>"
    "To: b@example.fr, Expanded: l@example.fr<br></body></html>"
)


def test_a_report_in_html_is_read() -> None:
    parsed = read(report(HTML, INNER, mark=NEW, part="Content-Type: text/html; charset=utf-8"))
    assert reported(parsed) == ["b@example.fr"]
    assert parsed.envelope_complete


def test_the_plain_text_of_an_alternative_is_read() -> None:
    text = (
        "--A\nContent-Type: text/html\n\n<p>pretty</p>\n"
        "--A\nContent-Type: text/plain\n\nSender: a@example.fr\nTo: b@example.fr\n--A--\n"
    )
    parsed = read(report(text, INNER, mark=NEW, part="Content-Type: multipart/alternative; boundary=A"))
    assert reported(parsed) == ["b@example.fr"]


@pytest.mark.parametrize(
    ("charset", "subject"),
    [
        ("koi8-r", "отчёт"),
        ("iso-2022-jp", "報告書"),
        ("gb2312", "报告"),
        ("windows-1256", "تقرير"),
        ("big5", "報告"),
        ("utf-7", "été"),
        ("iso-8859-15", "10 €"),
    ],
)
@pytest.mark.parametrize("encoding", ["base64", "8bit"])
def test_legacy_charsets_of_the_report(charset: str, subject: str, encoding: str) -> None:
    text = f"Sender: a@example.fr\nSubject: {subject}\nMessage-Id: <1>\nTo: b@example.fr\n".encode(charset)
    body = base64.encodebytes(text) if encoding == "base64" else text
    part = f"Content-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: {encoding}"
    parsed = read(report(body, INNER.replace("Subject: s\n", ""), mark=NEW, part=part))
    assert parsed.subject == subject
    assert reported(parsed) == ["b@example.fr"]


@given(
    st.binary(max_size=200),
    st.text(max_size=20),
    st.sampled_from(["base64", "quoted-printable", "8bit", "x-uuencode", "rot13"]),
    st.sampled_from([OLD, NEW]),
    st.sampled_from(["text/plain", "text/html"]),
)
@settings(max_examples=300)
def test_hostile_reports_never_raise(body: bytes, charset: str, encoding: str, mark: str, kind: str) -> None:
    name = charset.encode("utf-8", "replace").decode("utf-8").replace("\n", "")
    part = f'Content-Type: {kind}; charset="{name}"\nContent-Transfer-Encoding: {encoding}'
    raw = report(b"Sender: a@example.fr\nTo: " + body, INNER, mark=mark, part=part)
    parsed = read(raw)
    assert 0 <= parsed.inner_start <= parsed.inner_end <= len(raw)
    assert "journal_report" in parsed.flags


@pytest.mark.parametrize("unit", ["<", '"', ",", "<smtp:", "a@b ", "\t\n", "Recipients:", "\\"])
def test_long_lists_of_nothing_end(unit: str) -> None:
    text = "Sender: <smtp:a@example.fr>\nRecipients:\n" + unit * 200_000
    parse_report_2003(text)
    read(report(text, INNER))


def calls_of(work: Callable[[], Any]) -> int:
    """How many functions run, of Python and of C: the same on every machine, however busy."""
    count = 0

    def seen(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(seen)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def many(number: int, mark: str) -> bytes:
    if mark == OLD:
        lines = ",\n".join(f'"U {n}" <smtp:u{n}@example.fr>' for n in range(number))
        return report(f"Sender: <smtp:a@example.fr>\nRecipients:\n{lines}\n\n", INNER, mark=OLD)
    lines = "".join(f"To: u{n}@example.fr,\n\tExpanded: tous@example.fr\n" for n in range(number))
    return report(f"Sender: a@example.fr\nMessage-Id: <1>\n{lines}", INNER, mark=NEW)


@pytest.mark.parametrize("mark", [OLD, NEW])
def test_the_work_grows_with_the_recipients_and_no_faster(mark: str) -> None:
    dialect = dialect_for(SourceKind.EXCHANGE)
    few, more = many(2_000, mark), many(8_000, mark)
    dialect.unwrap(few, RECORD)  # caches are filled
    ratio = calls_of(lambda: dialect.unwrap(more, RECORD)) / calls_of(lambda: dialect.unwrap(few, RECORD))
    assert ratio < 4.2


@pytest.mark.parametrize("mark", [OLD, NEW])
def test_a_hundred_thousand_recipients(mark: str) -> None:
    parsed = read(many(100_000, mark))
    assert len(reported(parsed)) == 100_000
    assert parsed.envelope_complete
    assert parsed.flags == ("journal_report",)
