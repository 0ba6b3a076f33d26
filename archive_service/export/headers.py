"""The header lines of a message as the report quotes them (RFC 5322 section 2.2, RFC 2047, RFC 6532).

What is a line, a field and the header's end is said by the scanner that also read the message when it
came, so that the report shows the very header that was found: a lone CR, say, ends no line in either.
"""

import base64
import binascii
import codecs
import re

from ingest.mime.scanner import scan_headers

SHOWN = ("From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Date", "Subject", "Message-ID")
_HEAD_LIMIT = 1 << 20
_VALUE_LIMIT = 60_000
_WORD = re.compile(r"=\?([A-Za-z0-9_.:+*-]{1,60})\?([bBqQ])\?([^?\s]*)\?=")
_NO_CHARSETS = {"idna", "mbcs", "oem", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"}
_FOLD = re.compile(rb"\r*\n[ \t]+")
_LINE_ENDS = re.compile("[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_SUBSTITUTE = "\x1a"


def quoted_headers(inner: bytes) -> list[tuple[str, str]]:
    """Name and decoded value of each shown field, in the order of ``SHOWN``; a field that stands twice is
    there twice. Looks at the first MiB; never fails: what cannot be decoded is shown as it stands.

    A value is one line: what would end one inside it (a lone CR, an encoded line end) is given as U+001A,
    which typesetting shows as U+FFFD and counts, as it does every control character."""
    fields = scan_headers(inner, 0, min(len(inner), _HEAD_LIMIT)).fields
    return [(name, _value(value)) for name in SHOWN for found, value in fields if found == name.lower()]


def _value(raw: bytes) -> str:
    """Unfolded (section 2.2.3), decoded, on one line."""
    return _LINE_ENDS.sub(_SUBSTITUTE, _decode(_text(_FOLD.sub(b" ", raw).strip(b" \t\r\n"))))


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
