"""The properties of a storage of a .msg file ([MS-OXMSG] section 2.4): numbers and times stand in one stream, whatever
has a length of its own in a stream a property. Nothing here raises for what a file contains."""

import re
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from archive_service.model.clock import rfc3339
from ingest.mime import outlook
from ingest.mime.charsets import clean, decode
from ingest.mime.compound import Storage

FIXED = "__properties_version1.0"
FILES, RECIPIENTS = "__attach_version1.0_", "__recip_version1.0_"

_PROPERTY = re.compile(r"__substg1\.0_([0-9A-Fa-f]{4})([0-9A-Fa-f]{4})")
_ENTRY = 16  # bytes of a property of fixed length: tag, flags, value
_LOCALE = 0x3FF1
_EPOCH = datetime(
    1601, 1, 1, tzinfo=UTC
)  # from which times count, in units of 100 ns ([MS-DTYP] section 2.3.3)
_FIRST_YEAR, _LAST_YEAR = 1970, 2100
# The code pages of languages ([MS-LCID], primary identifiers, and whole ones of Chinese in traditional characters)
# where Windows-1252 is not it.
_LOCALES = {
    **dict.fromkeys((0x05, 0x0E, 0x15, 0x18, 0x1A, 0x1B, 0x24), "cp1250"),  # Central European
    **dict.fromkeys((0x02, 0x19, 0x22, 0x23), "cp1251"),  # Cyrillic
    0x01: "cp1256",
    0x04: "gb18030",
    0x08: "cp1253",
    0x0D: "cp1255",
    0x11: "cp932",
    0x12: "cp949",
    0x1E: "cp874",
    **dict.fromkeys((0x1F, 0x2C), "cp1254"),
    **dict.fromkeys((0x25, 0x26, 0x27), "cp1257"),
    0x2A: "cp1258",
    **dict.fromkeys((0x0404, 0x0C04, 0x1404), "big5"),
}


def streams(folder: Storage) -> Iterator[tuple[int, int, bytes]]:
    """Identifier, type and value of the properties that have a stream, in the order of their names."""
    for name in sorted(folder.streams):
        found = _PROPERTY.fullmatch(name)
        if found is not None:
            yield int(found.group(1), 16), int(found.group(2), 16), folder.streams[name]


def numbers(folder: Storage) -> dict[int, int]:
    """Identifiers and values of the numbers among the properties of fixed length."""
    return {tag >> 16: value & 0xFFFFFFFF for tag, value in _fixed(folder) if tag & 0xFFFF == outlook.LONG}


def times(folder: Storage) -> dict[int, str]:
    """Identifiers and values of the times, RFC 3339 UTC; one that makes no sense is left out."""
    found = {}
    for tag, value in _fixed(folder):
        if tag & 0xFFFF == outlook.TIME:
            moment = _moment(value)
            if moment is not None:
                found[tag >> 16] = moment
    return found


def _fixed(folder: Storage) -> Iterator[tuple[int, int]]:
    """Tags and values of eight bytes. What stands before them has another length in a message, in one inside it and in
    a file or recipient (32, 24 and 8 bytes): their count says which."""
    fixed = folder.streams.get(FIXED, b"")
    start = len(fixed) % _ENTRY  # 24 and 8 leave 8, 32 leaves none
    for at in range(start, len(fixed) - _ENTRY + 1, _ENTRY):
        tag, _, value = struct.unpack_from("<IIQ", fixed, at)
        yield tag, value


def _moment(ticks: int) -> str | None:
    try:
        moment = _EPOCH + timedelta(microseconds=ticks // 10)
    except OverflowError:
        return None
    return rfc3339(moment) if _FIRST_YEAR <= moment.year <= _LAST_YEAR else None


def charset(pages: dict[int, int], inherited: str | None) -> str | None:
    """Of the 8-bit texts of a message whose numbers are ``pages``, inside one whose charset is ``inherited``."""
    return (
        outlook.charset_of(pages.get(outlook.CODE_PAGE, 0))
        or _LOCALES.get(pages.get(_LOCALE, 0))
        or _LOCALES.get(pages.get(_LOCALE, 0) & 0x3FF)
        or outlook.charset_of(pages.get(outlook.HTML_CODE_PAGE, 0))
        or inherited
    )


def text(kind: int, value: bytes, charset: str | None) -> str:
    """A property's text; "" when its type is none of text."""
    if kind == outlook.TEXT16:
        return clean(value.decode("utf-16-le", "replace").rstrip("\x00"))
    return decode(value.rstrip(b"\x00"), charset) if kind == outlook.TEXT8 else ""


def texts(folder: Storage, charset: str | None) -> dict[int, str]:
    """Identifiers and texts of the properties that are text, without those that are blank."""
    found = ((number, text(kind, value, charset)) for number, kind, value in streams(folder))
    return {number: each for number, each in found if each.strip()}
