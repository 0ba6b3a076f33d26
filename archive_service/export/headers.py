"""The header lines of a message as the report quotes them (RFC 5322 section 2.2, RFC 2047, RFC 6532)."""

import re
from email.errors import HeaderParseError
from email.header import decode_header

SHOWN = ("From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Date", "Subject", "Message-ID")
_HEAD_LIMIT = 1 << 20
_VALUE_LIMIT = 60_000
_END = re.compile(rb"\r?\n\r?\n|\r\r")
_LINE_END = re.compile(rb"\r\n|\n|\r")


def quoted_headers(inner: bytes) -> list[tuple[str, str]]:
    """Name and decoded value of each shown field, in the order of ``SHOWN``; a field that stands twice is
    there twice. Looks at the first MiB; never fails: what cannot be decoded is shown as it stands."""
    head = inner[:_HEAD_LIMIT]
    end = _END.search(head)
    fields = _unfold(head[: end.start()] if end else head)
    return [
        (name, _decode(value)) for name in SHOWN for field, value in fields if field.lower() == name.lower()
    ]


def _unfold(head: bytes) -> list[tuple[str, str]]:
    """The fields, continuation lines joined (section 2.2.3)."""
    lines: list[bytes] = []
    for line in _LINE_END.split(head):
        if line[:1] in (b" ", b"\t") and lines:
            lines[-1] += b" " + line.strip()
        else:
            lines.append(line)
    pairs = (line.partition(b":") for line in lines if b":" in line)
    return [(name.strip().decode("latin-1"), _text(value.strip())) for name, _, value in pairs]


def _text(value: bytes) -> str:
    value = value[:_VALUE_LIMIT]
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _decode(value: str) -> str:
    """RFC 2047 words decoded; the value itself when that cannot be done."""
    if "=?" not in value:
        return value
    try:
        pieces = decode_header(value)
        return "".join(
            part if isinstance(part, str) else part.decode(charset or "latin-1", "replace")
            for part, charset in pieces
        )
    except (HeaderParseError, LookupError, ValueError):
        return value
