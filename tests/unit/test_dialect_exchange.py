"""Envelope reports by their grammar ([MS-XJRNL] section 2.1): what unwraps, what does not, and what is then said."""

import base64
import quopri

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archive_service.model.mail import CaptureRecord, Parsed, Recipient, Role, SourceKind
from ingest.dialects import dialect_for
from ingest.dialects.exchange_report import parse_report
from ingest.interpret import interpret

RECORD = CaptureRecord(
    capture="c",
    source="s",
    received_at="2026-03-01T00:00:00.000000Z",
    mail_from="",
    rcpt_to=("a@example.fr",),
)
LINES = "Sender: a@example.fr\nSubject: s\nMessage-Id: <1@example.fr>\n"
INNER = "From: a@example.fr\nTo: b@example.fr\nSubject: s\nMessage-ID: <1@example.fr>\n\nhello"
MARK = "X-MS-Journal-Report:"


def report(
    text: str,
    *inner: str,
    mark: str = MARK,
    part: str = "Content-Type: text/plain",
    message: str = "message/rfc822",
) -> bytes:
    body = f"--B\n{part}\n\n{text}\n"
    body += "".join(f"--B\nContent-Type: {message}\n\n{one}\n" for one in inner)
    head = f"From: j@example.fr\n{mark}\nContent-Type: multipart/mixed; boundary=B\n\n"
    return (head + body + "--B--\n").replace("\n", "\r\n").encode("utf-8")


def read(raw: bytes, kind: SourceKind = SourceKind.EXCHANGE) -> Parsed:
    return interpret(raw, kind, RECORD)


def inner_of(raw: bytes, parsed: Parsed) -> str:
    return raw[parsed.inner_start : parsed.inner_end].decode("utf-8").replace("\r\n", "\n")


@pytest.mark.parametrize(
    "mark",
    [
        "X-MS-Journal-Report:",
        "x-ms-journal-report: yes",
        "X-MS-Exchange-Organization-Journal-Report:",
        "Content-Identifier: ExJournalReport",
        "Content-Identifer: exjournalreport",
    ],
)
@pytest.mark.parametrize("kind", [SourceKind.EXCHANGE, SourceKind.M365])
def test_a_marked_report_is_unwrapped(mark: str, kind: SourceKind) -> None:
    raw = report(LINES + "To: b@example.fr\n", INNER, mark=mark)
    parsed = read(raw, kind)
    assert inner_of(raw, parsed) == INNER
    assert parsed.flags == ("journal_report",)
    assert parsed.dialect == kind.value
    assert parsed.envelope_complete


def test_a_mail_without_mark_is_no_report() -> None:
    raw = report(LINES + "To: b@example.fr\n", INNER, mark="X-Other: 1")
    parsed = read(raw)
    assert (parsed.inner_start, parsed.inner_end) == (0, len(raw))
    assert not {"journal_report", "report_unparsed"} & set(parsed.flags)
    assert not parsed.envelope_complete


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Subject: s\nMessage-Id: <1>\nTo: b@example.fr\n",  # no Sender
        LINES + "To: b@example.fr\nthis is no line of a report\n",
        LINES + "Sender: c@example.fr\nTo: b@example.fr\n",  # a field twice that stands once
        LINES + "Subject: other\nTo: b@example.fr\n",
        LINES + "To:\n",
        " To: b@example.fr\n" + LINES,
    ],
)
def test_a_report_against_the_grammar_is_kept_whole(text: str) -> None:
    raw = report(text, INNER)
    parsed = read(raw)
    assert (parsed.inner_start, parsed.inner_end) == (0, len(raw))
    assert {"journal_report", "report_unparsed"} <= set(parsed.flags)
    assert not parsed.envelope_complete
    assert not any(recipient.on_report for recipient in parsed.recipients)


def test_a_report_without_message_keeps_its_envelope() -> None:
    parsed = read(report(LINES + "To: b@example.fr\n"))
    assert "report_unparsed" in parsed.flags
    assert parsed.recipients == (Recipient(address="b@example.fr", role=Role.TO, on_report=True),)
    assert not parsed.envelope_complete


def test_an_encoded_message_is_not_claimed_by_offsets() -> None:
    encoded = base64.b64encode(INNER.encode()).decode()
    raw = report(
        LINES + "To: b@example.fr\n", encoded, message="message/rfc822\nContent-Transfer-Encoding: base64"
    )
    parsed = read(raw)
    assert "report_unparsed" in parsed.flags
    assert (parsed.inner_start, parsed.inner_end) == (0, len(raw))
    assert [recipient.address for recipient in parsed.recipients] == ["b@example.fr"]


def test_two_messages_without_a_protected_one_leave_no_choice() -> None:
    parsed = read(report(LINES + "To: b@example.fr\n", INNER, INNER + "!"))
    assert "report_unparsed" in parsed.flags


@pytest.mark.parametrize("order", [0, 1])
def test_the_clear_copy_is_the_message(order: int) -> None:
    protected = "Content-Type: application/x-microsoft-rpmsg-message; name=message.rpmsg\n\nsecret"
    messages = [INNER, protected] if order == 0 else [protected, INNER]
    raw = report(LINES + "To: b@example.fr\n", *messages)
    parsed = read(raw)
    assert inner_of(raw, parsed) == INNER
    assert parsed.flags == ("journal_report", "decrypted_copy")


def test_a_field_of_the_future_unwraps_but_is_not_complete() -> None:
    raw = report(LINES + "To: b@example.fr\nRedirected: c@example.fr\n", INNER)
    parsed = read(raw)
    assert inner_of(raw, parsed) == INNER
    assert parsed.flags == ("journal_report", "report_unknown_field")
    assert not parsed.envelope_complete


def named(role: Role, address: str = "b@example.fr", **extension: str) -> Recipient:
    return Recipient(address=address, role=role, on_report=True, **extension)


EXPANDED = named(Role.TO, expanded_from="dl@example.fr")


@pytest.mark.parametrize(
    ("line", "recipient"),
    [
        ("To: b@example.fr", named(Role.TO)),
        ("cc:b@example.fr", named(Role.CC)),
        ("BCC:   b@example.fr  ", named(Role.BCC)),
        ("Recipient: b@example.fr", named(Role.UNKNOWN)),
        ("To: b@example.fr, Expanded: dl@example.fr", EXPANDED),
        ("To: b@example.fr,\n\tExpanded: dl@example.fr", EXPANDED),
        ("Cc: b@example.fr,  forwarded:  f@example.fr", named(Role.CC, forwarded_from="f@example.fr")),
        (
            "To: b@example.fr, Expanded: dl@example.fr, Forwarded: f@example.fr",
            named(Role.TO, expanded_from="dl@example.fr", forwarded_from="f@example.fr"),
        ),
        ('To: "b, Expanded: c"@example.fr', named(Role.TO, '"b, Expanded: c"@example.fr')),
        ("To: Bob <b@example.fr>", named(Role.TO)),
        ("To: IMCEAEX-_O=A_cn=b+2Ec@example.fr", named(Role.TO, "IMCEAEX-_O=A_cn=b+2Ec@example.fr")),
        ("To: /O=EXEMPLE/OU=FR/CN=B", named(Role.TO, "/O=EXEMPLE/OU=FR/CN=B")),
    ],
)
def test_recipient_lines(line: str, recipient: Recipient) -> None:
    found = parse_report(LINES.replace("\n", "\r\n") + line.replace("\n", "\r\n") + "\r\n")
    assert found is not None
    assert found.recipients == [recipient]


def test_a_subject_may_hold_what_unicode_calls_a_line_end() -> None:
    found = parse_report(
        "Sender: a@example.fr\r\nSubject: un\u2028deux\x0btrois\x85To: x@example.fr\r\nTo: b@example.fr\r\n"
    )
    assert found is not None
    assert [one.address for one in found.recipients] == ["b@example.fr"]


def test_who_stands_in_the_header_alone_is_listed_without_claim() -> None:
    inner = INNER.replace("To: b@example.fr", "To: B@EXAMPLE.fr, dl@example.fr\nCc: c@example.fr")
    parsed = read(report(LINES + "Recipient: b@example.fr\nBcc: x@example.fr\n", inner))
    assert parsed.recipients == (
        Recipient(address="b@example.fr", role=Role.UNKNOWN, on_report=True),
        Recipient(address="x@example.fr", role=Role.BCC, on_report=True),
        Recipient(address="dl@example.fr", role=Role.TO),
        Recipient(address="c@example.fr", role=Role.CC),
    )


def test_a_null_sender_falls_back_on_the_header() -> None:
    parsed = read(report("Sender: <>\nMessage-Id: <1>\nTo: b@example.fr\n", INNER))
    assert parsed.flags == ("journal_report",)
    assert parsed.sender == "a@example.fr"


@pytest.mark.parametrize(
    ("charset", "encoding"), [("utf-8", "base64"), ("iso-8859-1", "quoted-printable"), ("utf-16", "base64")]
)
def test_the_text_is_decoded_by_encoding_and_charset(charset: str, encoding: str) -> None:
    text = (
        LINES.replace("Subject: s", "Subject: été") + "Label: Confidentialité\nTo: b@example.fr\n"
    ).encode(charset)
    encoded = base64.encodebytes(text) if encoding == "base64" else quopri.encodestring(text)
    part = f"Content-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: {encoding}"
    parsed = read(report(encoded.decode("ascii"), INNER, part=part))
    assert parsed.label == "Confidentialité"
    assert parsed.envelope_complete


def test_sent_time_and_delegation() -> None:
    text = (
        LINES
        + "On-Behalf-Of: p@example.fr\nSentUtc: 3/3/2026 8:01:10 PM\nReceivedUtc: x\nMailbox: m\nTo: b@example.fr\n"
    )
    parsed = read(report(text, INNER))
    assert parsed.sent_at == "2026-03-03T20:01:10.000000Z"
    assert parsed.on_behalf_of == "p@example.fr"
    assert parsed.envelope_complete


ADDRESS = st.from_regex(r"[a-z][a-z0-9.+]{0,8}[a-z]@example\.fr", fullmatch=True)
LINE = st.tuples(
    st.sampled_from(["To", "Cc", "Bcc", "Recipient"]),
    ADDRESS,
    st.sampled_from(["", "Expanded", "Forwarded"]),
    ADDRESS,
)


@given(st.lists(LINE, min_size=1, max_size=8, unique=True), st.booleans())
@settings(max_examples=100)
def test_every_recipient_of_a_report_is_found(lines: list[tuple[str, str, str, str]], bare_lf: bool) -> None:
    text = LINES + "".join(
        f"{name}: {address}" + (f", {extension}: {other}" if extension else "") + "\n"
        for name, address, extension, other in lines
    )
    raw = report(text, INNER)
    parsed = read(raw.replace(b"\r\n", b"\n") if bare_lf else raw)
    wanted = {
        (
            address,
            name.lower() if name != "Recipient" else "unknown",
            other if extension == "Expanded" else None,
        )
        for name, address, extension, other in lines
    }
    found = {(one.address, one.role.value, one.expanded_from) for one in parsed.recipients if one.on_report}
    assert found == wanted
    assert parsed.envelope_complete


@pytest.mark.parametrize("kind", SourceKind)
def test_every_kind_has_a_dialect_of_its_name(kind: SourceKind) -> None:
    assert dialect_for(kind).name == kind.value


@pytest.mark.parametrize("tail", ['"', '"\\"', '"\\', '"a\\"b'])
def test_an_open_quote_costs_no_time_and_hides_nothing(tail: str) -> None:
    """Tried again from every quote, 400,000 of them would take hours."""
    found = parse_report(f"Sender: a@b.fr\nTo: c@d.fr, Expanded: l@d.fr {tail}" + '\\"' * 400_000)
    assert found is not None
    assert [one.address for one in found.recipients] == ["c@d.fr"]
    found = parse_report(f"Sender: a@b.fr\nTo: {tail} <c@d.fr>, Expanded: l@d.fr")
    assert found is None or all(one.expanded_from in (None, "l@d.fr") for one in found.recipients)


def test_closed_quotes_hide_what_looks_like_an_extension() -> None:
    found = parse_report('Sender: a@b.fr\nTo: "x, Expanded: \\" y" <c@d.fr>, Forwarded: e@d.fr')
    assert found is not None
    assert [(one.address, one.expanded_from, one.forwarded_from) for one in found.recipients] == [
        ("c@d.fr", None, "e@d.fr")
    ]
