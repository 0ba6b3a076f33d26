"""Header field values: unfolding, encoded words (RFC 2047), parameters (RFC 2045, 2231), raw 8-bit (RFC 6532)."""

import binascii
import re
from dataclasses import dataclass, field

from ingest.mime.charsets import clean, codec_for, decode, guess

LONGEST_VALUE = 1 << 22
"""Bytes of one field value that are decoded; what lies beyond stays in the raw message only."""

_FOLD = re.compile(rb"[\r\n]+[ \t]*")
_WORD_START = re.compile(r"=\?([^?\s]{1,80})\?([bBqQ])\?")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_BASE64 = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
_NOT_BASE64 = bytes(sorted(set(range(256)) - _BASE64))


def _without_controls(text: str) -> str:
    """Each control as a space. Most values are printable ASCII, which is soon seen."""
    return text if text.isascii() and text.isprintable() else _CONTROLS.sub(" ", text)


def unfold(value: bytes) -> bytes:
    """One line of a field value (RFC 5322 section 2.2.3), without space at its ends."""
    value = value[:LONGEST_VALUE].strip(b" \t\r\n")
    return _FOLD.sub(b" ", value) if b"\n" in value or b"\r" in value else value


def _as_sent(text: str, charset: str) -> bytes:
    """The bytes of a word that should have been ASCII: in its own charset, though ``guess`` took them for another."""
    codec = codec_for(charset) or "utf-8"
    for name in (codec,) if codec == "utf-8" else ("cp1252", "latin-1", codec):
        try:
            return text.encode(name)
        except UnicodeEncodeError:
            continue
    return text.encode("utf-8", "replace")


def _encoded_bytes(kind: str, text: str, charset: str) -> bytes:
    data = text.encode("ascii") if text.isascii() else _as_sent(text, charset)
    if kind in "qQ":
        return binascii.a2b_qp(data, header=True)
    return base64_bytes(data)


def base64_bytes(data: bytes) -> bytes:
    """Bytes of one run of base64 characters, however padded and whatever stands between them; a last
    character that completes no byte is dropped."""
    try:
        return binascii.a2b_base64(data + b"==")  # skips what is not base64, and padding it has no need of
    except binascii.Error:
        return packed_base64(data)


def packed_base64(data: bytes) -> bytes:
    """Bytes of all that is base64 in ``data``, without padding; a last character that completes no byte is dropped."""
    packed = data.translate(None, _NOT_BASE64)
    return binascii.a2b_base64(packed[: len(packed) - (len(packed) % 4 == 1)] + b"==")


def decode_words(text: str) -> str:
    """``text`` with its encoded words decoded (RFC 2047), adjacent ones joined.

    Neighbours of one charset are joined as bytes, because mailers split characters between words. What is
    not a whole encoded word stays as it stands. Linear: each terminator is looked for once.
    """
    if "=?" not in text:
        return text
    out: list[str] = []
    run: list[bytes] = []
    run_charset = ""
    position = 0
    while (start := _WORD_START.search(text, position)) is not None:
        end = text.find("?=", start.end())
        if end < 0:
            break
        between = text[position : start.start()]
        charset = start.group(1).partition("*")[0]
        if run and (charset.lower() != run_charset.lower() or between.strip()):
            out.append(decode(b"".join(run), run_charset))
            run = []
        if between.strip() or not (out or run):
            out.append(between)
        run.append(_encoded_bytes(start.group(2), text[start.end() : end], charset))
        run_charset = charset
        position = end + 2
    if run:
        out.append(decode(b"".join(run), run_charset))
    out.append(text[position:])
    return "".join(out)


def raw_text(value: bytes) -> str:
    """A field value as text with its encoded words left as they are; controls become spaces."""
    return _without_controls(guess(unfold(value)))


def decode_value(value: bytes) -> str:
    """An unstructured field value as people read it; never raises, on one line, without controls."""
    return _without_controls(clean(decode_words(guess(unfold(value))))).strip()


@dataclass(frozen=True, slots=True)
class Media:
    """A Content-Type or Content-Disposition: lower-case ``value`` and its decoded parameters.

    ``boundary`` is that parameter as bytes: delimiters are found by bytes, whatever they spell.
    """

    value: str
    parameters: dict[str, str] = field(default_factory=dict)
    boundary: bytes = b""


_HEAD = re.compile(r"\s*([^\s;(]*)", re.ASCII)
_SEPARATOR = re.compile(r"[;\s]*", re.ASCII)
_PARAMETER = re.compile(r"([^\s=;*]+)(?:\*(\d{1,3}))?(\*)?\s*=\s*", re.ASCII)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPED = re.compile(r'\\(["\\])')
_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")
_LONGEST_MEDIA = 1 << 18


@dataclass(slots=True)
class _Pieces:
    """One parameter as found: its plain value, or its numbered stretches (RFC 2231 section 3)."""

    plain: str | None = None
    stretches: dict[int, tuple[str, bool]] = field(default_factory=dict)

    def raw(self) -> bytes:
        """The value with no charset or encoded word undone."""
        return self.plain.encode("latin-1") if self.plain is not None else self.joined().encode("utf-8")

    def joined(self) -> str:
        if not self.stretches:
            return decode_words(guess((self.plain or "").encode("latin-1")))
        charset = ""
        parts: list[bytes] = []
        for place, (_, (text, encoded)) in enumerate(sorted(self.stretches.items())):
            value = text
            if encoded and place == 0 and text.count("'") >= 2:
                charset, _, value = text.split("'", 2)
            data = value.encode("latin-1")
            parts.append(_PERCENT.sub(_unpercent, data) if encoded else data)
        if charset:
            return decode(b"".join(parts), charset)
        return decode_words(guess(b"".join(parts)))


def _unpercent(found: re.Match[bytes]) -> bytes:
    return bytes([int(found.group(1), 16)])


def _parameter_value(text: str, position: int) -> tuple[str, int]:
    """The value that starts at ``position`` and where it ends; without quotes it runs to the semicolon."""
    quoted = _QUOTED.match(text, position)
    if quoted is not None:
        return _ESCAPED.sub(r"\1", quoted.group(1)), quoted.end()
    end = text.find(";", position)
    end = len(text) if end < 0 else end
    return text[position:end].strip().strip('"'), end


def _parameters(text: str, position: int) -> dict[str, _Pieces]:
    found: dict[str, _Pieces] = {}
    while (position := _after_separator(text, position)) < len(text):
        start = _PARAMETER.match(text, position)
        if start is None:  # no parameter here: go on at the next semicolon
            position = text.find(";", position)
            if position < 0:
                break
            continue
        value, position = _parameter_value(text, start.end())
        pieces = found.setdefault(start.group(1).lower(), _Pieces())
        if start.group(2) or start.group(3):
            pieces.stretches.setdefault(int(start.group(2) or 0), (value, start.group(3) is not None))
        elif pieces.plain is None:
            pieces.plain = value
    return found


def _after_separator(text: str, position: int) -> int:
    found = _SEPARATOR.match(text, position)
    return found.end() if found is not None else position


def parse_media(value: bytes) -> Media:
    """Read ``type/subtype; name=value ...`` tolerantly (RFC 2045 section 5.1, RFC 2231): unquoted spaces,
    missing quotes and semicolons, raw 8-bit, encoded words and continuations all have a reading. The first
    of two parameters of one name counts. Never raises."""
    text = unfold(value[:_LONGEST_MEDIA]).decode("latin-1")
    head = _HEAD.match(text)
    kind, position = (head.group(1).lower(), head.end()) if head is not None else ("", 0)
    found = _parameters(text, position)
    boundary = found.get("boundary")
    return Media(
        kind,
        {name: _without_controls(clean(pieces.joined())) for name, pieces in found.items()},
        boundary.raw().rstrip() if boundary is not None else b"",
    )
