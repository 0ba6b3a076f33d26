"""The header lines of a message as the report quotes them (RFC 5322 section 2.2, RFC 2047, RFC 6532)."""

import base64
import binascii
import codecs
import re

SHOWN = ("From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Date", "Subject", "Message-ID")
_HEAD_LIMIT = 1 << 20
_VALUE_LIMIT = 60_000
_END = re.compile(rb"\r?\n\r?\n|\r\r")
_WORD = re.compile(r"=\?([A-Za-z0-9_.:+*-]{1,60})\?([bBqQ])\?([^?\s]*)\?=")
_NO_CHARSETS = {"idna", "mbcs", "oem", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"}
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
    """RFC 2047 words decoded, neighbours of one charset together (a character may be cut between them)."""
    pieces: list[tuple[str, bytes] | str] = []
    at = 0
    for match in _WORD.finditer(value):
        between = value[at : match.start()]
        at = match.end()
        word = _word(*match.groups())
        if word is None:
            pieces.append(between + match.group())
            continue
        last = pieces[-1] if pieces else ""
        adjacent = not between.strip() and isinstance(last, tuple)
        if not adjacent:
            pieces.append(between)
        if adjacent and isinstance(last, tuple) and last[0] == word[0]:
            pieces[-1] = (word[0], last[1] + word[1])
        else:
            pieces.append(word)
    shown = (piece if isinstance(piece, str) else piece[1].decode(piece[0], "replace") for piece in pieces)
    return "".join(shown) + value[at:]


def _word(charset: str, encoding: str, text: str) -> tuple[str, bytes] | None:
    """Charset and bytes of an encoded word; None if it does not follow its encoding."""
    try:
        codec = codecs.lookup(charset.partition("*")[0]).name
        if codec in _NO_CHARSETS:
            return None
        b"x".decode(codec, "replace")  # refuses Python's codecs that are none of text
        if encoding in "qQ":
            return codec, binascii.a2b_qp(text.encode("ascii"), header=True)
        return codec, base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (LookupError, ValueError):
        return None
