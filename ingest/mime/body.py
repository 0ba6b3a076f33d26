"""Transfer encodings of body parts (RFC 2045 section 6), undone tolerantly; never raises, linear."""

import binascii
import re

from ingest.mime.headers import base64_bytes

_ONLY_BASE64 = re.compile(rb"[A-Za-z0-9+/=\s]*")
_SOFT_BREAK_SPACE = re.compile(rb"=[ \t]+(?=\r?\n)")
_UU_BEGIN = re.compile(rb"(?:^|\n)begin(?:-base64)? [0-7]{3,4}[^\n]*\n")


def _base64(data: bytes) -> bytes:
    """Everything up to the padding; beyond it only what is base64 again (blocks encoded one by one),
    for mailing lists append plain footers that must not become noise."""
    padding = data.find(b"=")
    if padding < 0:
        return base64_bytes(data)
    rest = data[padding:].lstrip(b"= \t\r\n")
    if not rest or _ONLY_BASE64.fullmatch(rest) is None:
        return base64_bytes(data[:padding])
    return b"".join(base64_bytes(block) for block in data.split(b"=") if block.strip())


def _quoted_printable(data: bytes) -> bytes:
    if b"= " in data or b"=\t" in data:
        data = _SOFT_BREAK_SPACE.sub(b"=", data)
    return binascii.a2b_qp(data)


def _uuencode(data: bytes) -> bytes:
    """The first uuencoded file in ``data``; ``data`` itself when there is none."""
    begin = _UU_BEGIN.search(data)
    if begin is None:
        return data
    out: list[bytes] = []
    position = begin.end()
    while position < len(data):
        end = data.find(b"\n", position)
        end = len(data) if end < 0 else end
        line = data[position:end].rstrip(b"\r")
        if line in (b"end", b"`", b""):
            break
        out.append(_uu_line(line))
        position = end + 1
    return b"".join(out)


def _uu_line(line: bytes) -> bytes:
    try:
        return binascii.a2b_uu(line)
    except binascii.Error:  # trailing junk: take just as many characters as the line announces
        wanted = (((line[0] - 32) & 63) * 4 + 5) // 3
        try:
            return binascii.a2b_uu(line[:wanted])
        except binascii.Error:
            return b""


def decode_body(raw: bytes, start: int, end: int, encoding: str) -> bytes | memoryview:
    """The decoded bytes of ``raw[start:end]``; a view, not a copy, when ``encoding`` changes nothing.

    An unknown encoding changes nothing. Damaged input gives what can be had of it.
    """
    if encoding == "base64":
        return _base64(raw[start:end])
    if encoding == "quoted-printable":
        return _quoted_printable(raw[start:end])
    if encoding == "uuencode":
        return _uuencode(raw[start:end])
    return memoryview(raw)[start:end]
