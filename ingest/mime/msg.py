"""Messages as Outlook saves them, .msg ([MS-OXMSG]): a compound file with a stream a property."""

import re
import struct
from collections.abc import Iterator

from ingest.mime import outlook
from ingest.mime.charsets import clean, decode
from ingest.mime.compound import Storage, read_compound
from ingest.mime.outlook import OutlookFile, OutlookItem

MOST_INSIDE = 5
"""Messages inside each other that are read."""

_PROPERTY = re.compile(r"__substg1\.0_([0-9A-Fa-f]{4})([0-9A-Fa-f]{4})")
_FIXED = "__properties_version1.0"
_FILES, _RECIPIENTS = "__attach_version1.0_", "__recip_version1.0_"
_MESSAGE_INSIDE = f"__substg1.0_{outlook.DATA:04X}{outlook.OBJECT:04X}"
_ENTRY = 16  # bytes of a property of fixed length: tag, flags, value
_LOCALE = 0x3FF1
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
_DISPLAY_NAME, _ADDRESS, _SMTP_ADDRESS = 0x3001, 0x3003, 0x39FE


def read_msg(data: bytes) -> OutlookItem | None:
    """The message in a .msg file; None when it is none. Never raises for what it contains; linear in its size."""
    found = read_compound(data)
    if found is None or _FIXED not in found[0].streams:
        return None
    item = _item(found[0], 1, None)
    item.complete = item.complete and found[1]
    return item


def _item(folder: Storage, depth: int, charset: str | None) -> OutlookItem:
    item = OutlookItem()
    pages = dict(_numbers(folder.streams.get(_FIXED, b"")))
    item.html_charset = outlook.charset_of(pages.get(outlook.HTML_CODE_PAGE, 0))
    charset = (
        outlook.charset_of(pages.get(outlook.CODE_PAGE, 0))
        or _LOCALES.get(pages.get(_LOCALE, 0))
        or _LOCALES.get(pages.get(_LOCALE, 0) & 0x3FF)
        or item.html_charset
        or charset
    )
    for number, kind, value in _properties(folder):
        if number == outlook.SUBJECT:
            item.subject = _text(kind, value, charset)
        elif number == outlook.BODY:
            item.text = _text(kind, value, charset)
        elif number == outlook.SENDER:
            item.people.append(_text(kind, value, charset))
        elif number == outlook.RTF:
            item.rtf = value
        elif number == outlook.HTML:
            item.html = value
            if kind == outlook.TEXT16:
                item.html, item.html_charset = _text(kind, value, charset).encode("utf-8"), "utf-8"
    for name, inner in folder.storages.items():
        if name.startswith(_FILES):
            item.files.append(_file(inner, depth, charset))
        elif name.startswith(_RECIPIENTS):
            item.people.append(_recipient(inner, charset))
    item.complete = all(file.item is None or file.item.complete for file in item.files)
    return item


def _file(folder: Storage, depth: int, charset: str | None) -> OutlookFile:
    file = OutlookFile()
    for number, kind, value in _properties(folder):
        if number == outlook.LONG_NAME:
            file.name = _text(kind, value, charset) or file.name
        elif number in (_DISPLAY_NAME, outlook.SHORT_NAME):
            file.name = file.name or _text(kind, value, charset)
        elif number == outlook.KIND:
            file.kind = _text(kind, value, charset).strip().lower()
        elif number == outlook.DATA:
            file.data = value
    inside = folder.storages.get(_MESSAGE_INSIDE)
    if inside is not None:
        file.item = _item(inside, depth + 1, charset) if depth < MOST_INSIDE else OutlookItem(complete=False)
    return file


def _recipient(folder: Storage, charset: str | None) -> str:
    """Name and addresses, each once."""
    wanted = (_DISPLAY_NAME, _SMTP_ADDRESS, _ADDRESS)
    found = {
        number: _text(kind, value, charset) for number, kind, value in _properties(folder) if number in wanted
    }
    return " ".join(dict.fromkeys(text for number in wanted if (text := found.get(number))))


def _properties(folder: Storage) -> Iterator[tuple[int, int, bytes]]:
    """Identifier, type and value of the properties that have a stream, in the order of their names."""
    for name in sorted(folder.streams):
        found = _PROPERTY.fullmatch(name)
        if found is not None:
            yield int(found.group(1), 16), int(found.group(2), 16), folder.streams[name]


def _numbers(fixed: bytes) -> Iterator[tuple[int, int]]:
    """Identifiers and values of the numbers among the properties of fixed length. What stands before them has another
    length in a message, in one inside it and in a file (32, 24 and 8 bytes): their count says which."""
    start = len(fixed) % _ENTRY  # 24 and 8 leave 8, 32 leaves none
    for at in range(start, len(fixed) - _ENTRY + 1, _ENTRY):
        tag, _, value = struct.unpack_from("<III", fixed, at)
        if tag & 0xFFFF == outlook.LONG:
            yield tag >> 16, value


def _text(kind: int, value: bytes, charset: str | None) -> str:
    if kind == outlook.TEXT16:
        return clean(value.decode("utf-16-le", "replace").rstrip("\x00"))
    return decode(value.rstrip(b"\x00"), charset) if kind == outlook.TEXT8 else ""
