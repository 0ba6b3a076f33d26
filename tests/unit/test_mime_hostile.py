"""Whatever bytes come, the parser answers, within bounds, in values that can be stored."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archive_service.model.canonical import canonical
from archive_service.model.mail import CaptureRecord, Parsed, SourceKind
from ingest.extraction import extract_text
from ingest.interpret import interpret, unread

SAMPLES = [path.read_bytes() for path in sorted((Path(__file__).parents[1] / "samples").glob("*.eml"))]
RECORD = CaptureRecord(
    capture="c",
    source="s",
    received_at="2026-03-01T00:00:00.000000Z",
    mail_from="",
    rcpt_to=("a@example.fr",),
)
KINDS = st.sampled_from([SourceKind.GENERIC, SourceKind.EXCHANGE, SourceKind.M365])
SNIPPETS = st.sampled_from(
    [
        b"\r\n",
        b"\n--",
        b"\r",
        b"\x00",
        b"=?utf-8?b?",
        b'"',
        b"(",
        b"<",
        b";",
        b"\n\n",
        b"Sender: a@example.fr\r\n",
        b"Content-Type: message/rfc822\r\n\r\n",
        b"\r\nContent-Transfer-Encoding: base64\r\n",
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n",
        b"\xff\xfe\xed\xa0\x80",
    ]
)


def judge(raw: bytes, kind: SourceKind) -> Parsed:
    parsed = interpret(raw, kind, RECORD)
    assert 0 <= parsed.inner_start <= parsed.inner_end <= len(raw)
    for part in parsed.parts:
        assert parsed.inner_start <= part.start <= part.end <= parsed.inner_end
    canonical(parsed.plain())
    text = extract_text(raw, parsed, limit=2000)
    canonical(text.plain())
    assert len(text.body) + len(text.attachments) < 4100
    assert Parsed.model_validate_json(parsed.model_dump_json()) == parsed
    assert interpret(raw, kind, RECORD) == parsed
    return parsed


@given(st.binary(max_size=400), KINDS)
@settings(max_examples=200)
def test_any_bytes(raw: bytes, kind: SourceKind) -> None:
    judge(raw, kind)


@given(st.lists(st.one_of(SNIPPETS, st.binary(max_size=20)), max_size=25), KINDS)
@settings(max_examples=200)
def test_pieces_of_mail_in_any_order(pieces: list[bytes], kind: SourceKind) -> None:
    judge(b"".join(pieces), kind)


@given(st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.data_too_large])
def test_damaged_mail(data: st.DataObject) -> None:
    raw = data.draw(st.sampled_from(SAMPLES))
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(raw)))
        gone = data.draw(st.integers(0, 60))
        raw = raw[:at] + data.draw(SNIPPETS) + raw[at + gone :]
    judge(raw, data.draw(KINDS))


MIXED = b"Message-ID: <1>\nContent-Type: multipart/mixed; boundary=x\n\n"
N = 60_000  # quadratic work on this many repetitions would take minutes
BLOWN_UP = {
    "fields": b"a:b\n" * N,
    "no_fields": b"junk\n" * N,
    "folds": b"To: a" + b"\n b" * N,
    "commas": b"To: " + b"a," * N,
    "comments": b"To: " + b"(" * N,
    "angles": b"To: " + b"<" * N,
    "quotes": b"To: " + b'"a\\' * N,
    "spaces": b"To: a@b" + b" " * N + b"c",
    "colons": b"To: " + b"=" * N + b"@" + b":" * N,
    "words": b"Subject: " + b"=?utf-8?q?a?= " * N,
    "open_words": b"Subject: " + b"=?utf-8?q?x" * N,
    "parameters": b"Content-Type: text/plain" + b'; a="x' * N,
    "semicolons": b"Content-Type: text/plain" + b";" * N,
    "parts": MIXED + b"--x\n\n" * N,
    "near_boundaries": MIXED + b"--xy\n" * N,
    "same_boundary": b"Content-Type: multipart/mixed; boundary=x\n\n--x\n" * N,
    "messages": b"Content-Type: message/rfc822\n\n" * N,
    "padding": b"Content-Transfer-Encoding: base64\n\n" + b"QQ==" * N,
    "soft_breaks": b"Content-Transfer-Encoding: quoted-printable\n\n" + b"= " * N,
    "last_line_ends": b"Message-ID: <1>\n\nx" + b"\n" * N,
    "last_carriage_returns": b"Message-ID: <1>\n\nx" + b"\r" * N + b"\n",
    "tags": b"Content-Type: text/html\n\n" + b"<" * N,
    "deep_tags": b"Content-Type: text/html\n\n" + b"<div>" * N,
    "header_lines": b"Message-ID: <1>\n" + b"a:\nx-gm-:\n" * N,
    "attributes": b"Content-Type: text/html\n\n<a " + b" ".join(b"a%d" % n for n in range(N)) + b">x",
    "quoted_attributes": b"Content-Type: text/html\n\n<!-- <a x=' --><a "
    + b" ".join(b'a%d=">"' % n for n in range(N))
    + b">x",
    "many_open_tags": b"Content-Type: text/html\n\n" + b"<a" * N,
    "open_values": b"Content-Type: text/html\n\n" + b"<a b=\"<a b='" * N,
    "alts": b"Content-Type: text/html\n\n" + b"<img alt=" * N,
    "conditions": b"Content-Type: text/html\n\n" + b"<!--[if a]>b" * N,
    "conditional_comments": b"Content-Type: text/html\n\n" + b"<!--[if a]><b>c-->" * N,
    "html_spaces": b"Content-Type: text/html\n\n" + b" \t" * N,
}


@pytest.mark.parametrize("name", BLOWN_UP)
def test_work_grows_with_size_alone(name: str) -> None:
    judge(BLOWN_UP[name], SourceKind.M365)


def test_what_was_cut_short_says_so() -> None:
    parsed = judge(b"Content-Type: message/rfc822\n\n" * 40, SourceKind.GENERIC)
    assert "partly_parsed" in parsed.flags
    reason = extract_text(b"Content-Type: message/rfc822\n\n" * 40, parsed).not_fully_indexed
    assert reason is not None
    assert "partly parsed" in reason


def test_a_field_too_long_to_decode_is_no_silent_loss() -> None:
    raw = b"To: " + b"a@example.fr,\n " * 400_000 + b"last@example.fr\n\nx"
    assert "partly_parsed" in interpret(raw, SourceKind.GENERIC, RECORD).flags


def test_a_mail_nobody_could_read_is_whole() -> None:
    raw = b"Received: y\nMessage-ID: <1>\nSubject: x\n\ny\n"
    parsed = unread(raw, SourceKind.M365)
    assert (parsed.inner_start, parsed.inner_end, parsed.flags) == (0, len(raw), ("partly_parsed",))
    assert parsed.inner_digest == hashlib.sha256(raw.replace(b"\n", b"\r\n")).hexdigest()
