"""Transfer encodings of body parts (RFC 2045 section 6), undone tolerantly; never raises, linear."""

import binascii
import re

from ingest.mime.headers import base64_bytes, packed_base64

_ONLY_BASE64 = re.compile(rb"[A-Za-z0-9+/=\s]*")
_SOFT_BREAK_SPACE = re.compile(rb"=[ \t]+(?=\r?\n)")
_UU_BEGIN = re.compile(rb"(?:^|\n)begin(?:-base64)? [0-7]{3,4}[^\n]*\n")


def _base64(raw: bytes, start: int, end: int) -> bytes:
    """Everything up to the padding; beyond it only what is base64 again (blocks encoded one by one),
    for mailing lists append plain footers that must not become noise."""
    padding = raw.find(b"=", start, end)
    if padding < 0 or not raw[padding:end].lstrip(b"= \t\r\n"):
        return _whole_base64(memoryview(raw)[start:end])
    rest = raw[padding:end].lstrip(b"= \t\r\n")
    if _ONLY_BASE64.fullmatch(rest) is None:
        return base64_bytes(raw[start:padding])
    return b"".join(base64_bytes(block) for block in raw[start:end].split(b"=") if block.strip())


def _whole_base64(data: memoryview) -> bytes:
    """One run of base64 with nothing behind its padding: as it stands, if it stands as it should."""
    try:
        return binascii.a2b_base64(data)
    except binascii.Error:  # padding is missing, or there is too much or too little of it
        return packed_base64(bytes(data))


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
        return _base64(raw, start, end)
    if encoding == "quoted-printable":
        return _quoted_printable(raw[start:end])
    if encoding == "uuencode":
        return _uuencode(raw[start:end])
    return memoryview(raw)[start:end]
