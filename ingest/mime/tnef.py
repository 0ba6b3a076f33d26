"""Outlook's own envelope for a message and its attachments, winmail.dat ([MS-OXTNEF]), read for its words and files.

An own reader: what is needed of the format is small, hostile input has to be bounded anyway, and the library that reads
it in Python (tnefparse) is under the LGPL. Linear in the size of the data; never raises: what is damaged ends the
reading, and ``complete`` says so. Checksums are not looked at, for they protect nothing here.
"""

import struct
from collections.abc import Callable, Iterator

from ingest.mime import outlook
from ingest.mime.charsets import clean, decode
from ingest.mime.outlook import OutlookFile, OutlookItem

TNEF_NAME = "winmail.dat"
"""The name that such an envelope has, in lower case, whatever kind its part claims."""

_SIGNATURE = b"\x78\x9f\x3e\x22"
_ATTRIBUTE = struct.Struct("<BII")  # level, identity, length; behind the data a checksum of two bytes
_U32 = struct.Struct("<I")
_MOST_ITEMS = 100_000  # attributes, properties and values of one envelope

_BODY, _SUBJECT, _CODE_PAGE, _PROPERTIES = 0x2800C, 0x18004, 0x69007, 0x69003
_FILE_BEGINS, _FILE_TITLE, _FILE_DATA, _FILE_PROPERTIES = 0x69002, 0x18010, 0x6800F, 0x69005

_VARIABLE = frozenset((outlook.TEXT8, outlook.TEXT16, outlook.OBJECT, outlook.BINARY))
_SIZES = {
    **dict.fromkeys((0x02, 0x03, 0x04, 0x0A, 0x0B), 4),
    **dict.fromkeys((0x05, 0x06, 0x07, 0x14, 0x40), 8),
    0x48: 16,
}
_MANY = 0x1000
_NAMED = 0x8000
_INTERFACE = 16  # bytes before the data of an object: the identity of its interface
_Take = Callable[[int, int, bytes], None]


class _Short(Exception):
    """The data ends before what it announces."""


class _Properties:
    """A list of MAPI properties ([MS-OXTNEF] section 2.1.3.4), value by value."""

    def __init__(self, data: bytes, most: int) -> None:
        self.data = data
        self.position = 0
        self.left = most

    def number(self) -> int:
        return _U32.unpack(self.take(4))[0]  # type: ignore[no-any-return]

    def take(self, size: int) -> bytes:
        """The next bytes; values are padded to four."""
        end = self.position + size
        if end > len(self.data):
            raise _Short
        value = self.data[self.position : end]
        self.position = end + -size % 4
        return value

    def read(self) -> Iterator[tuple[int, int, bytes]]:
        """Identifier, type and first value of each property that has one."""
        for _ in range(self.number()):
            tag = self.number()
            identifier, kind = tag >> 16, tag & 0xFFFF
            if identifier >= _NAMED:
                self._name()
            values = self._values(kind)
            if values:
                yield identifier, kind & ~_MANY, values[0]

    def _name(self) -> None:
        self.take(16)
        if self.number():
            self.take(self.number())
        else:
            self.take(4)

    def _values(self, kind: int) -> list[bytes]:
        single = kind & ~_MANY
        variable = single in _VARIABLE
        count = self.number() if variable or kind & _MANY else 1
        self.left -= 1 + count
        if self.left < 0 or not (variable or single in _SIZES):
            raise _Short
        return [self.take(self.number() if variable else _SIZES[single]) for _ in range(count)]


def _attributes(data: bytes, found: OutlookItem) -> Iterator[tuple[int, bytes]]:
    position = len(_SIGNATURE) + 2
    for _ in range(_MOST_ITEMS):
        if position >= len(data):
            return
        if position + _ATTRIBUTE.size > len(data):
            break
        _, identity, length = _ATTRIBUTE.unpack_from(data, position)
        start = position + _ATTRIBUTE.size
        position = start + length + 2
        if start + length > len(data):
            break
        yield identity, data[start : start + length]
    found.complete = False


def is_tnef(data: bytes) -> bool:
    """Whether the data begins as such an envelope does."""
    return data.startswith(_SIGNATURE)


def read_tnef(data: bytes) -> OutlookItem | None:
    """The message and files of an envelope; None when it is none."""
    if not is_tnef(data):
        return None
    reader = _Reader()
    for identity, value in _attributes(data, reader.found):
        reader.attribute(identity, value)
    return reader.found


class _Reader:
    """Attributes to a ``OutlookItem``. Properties come after the older attributes and say more: they win."""

    def __init__(self) -> None:
        self.found = OutlookItem()
        self.charset: str | None = None
        self.items_left = _MOST_ITEMS

    def attribute(self, identity: int, value: bytes) -> None:
        found = self.found
        if identity == _CODE_PAGE and len(value) >= 4:
            self.charset = outlook.charset_of(_U32.unpack_from(value)[0])
        elif identity == _SUBJECT:
            found.subject = self._text(value)
        elif identity == _BODY:
            found.text = self._text(value)
        elif identity == _PROPERTIES:
            self._properties(value, self._message_property)
        elif identity == _FILE_BEGINS:
            found.files.append(OutlookFile())
        elif identity in (_FILE_TITLE, _FILE_DATA, _FILE_PROPERTIES):
            self._file(identity, value)

    def _file(self, identity: int, value: bytes) -> None:
        if not self.found.files:  # its beginning was lost
            self.found.files.append(OutlookFile())
        if identity == _FILE_TITLE:
            self.found.files[-1].name = self._text(value)
        elif identity == _FILE_DATA:
            self.found.files[-1].data = value
        else:
            self._properties(value, self._file_property)

    def _properties(self, data: bytes, take: _Take) -> None:
        properties = _Properties(data, self.items_left)
        try:
            for identifier, kind, value in properties.read():
                take(identifier, kind, value)
        except _Short:
            self.found.complete = False
        self.items_left = max(0, properties.left)

    def _message_property(self, identifier: int, kind: int, value: bytes) -> None:
        found = self.found
        if identifier == outlook.SUBJECT:
            found.subject = self._string(kind, value) or found.subject
        elif identifier == outlook.BODY:
            found.text = self._string(kind, value) or found.text
        elif identifier in (outlook.SENDER, outlook.TO, outlook.CC):
            found.people.append(self._string(kind, value))
        elif identifier == outlook.RTF:
            found.rtf = value
        elif identifier == outlook.HTML:
            if kind == outlook.TEXT16:
                value, found.html_charset = self._string(kind, value).encode("utf-8"), "utf-8"
            found.html = value
        elif identifier == outlook.HTML_CODE_PAGE and kind == outlook.LONG and found.html_charset is None:
            found.html_charset = outlook.charset_of(_U32.unpack(value)[0])

    def _file_property(self, identifier: int, kind: int, value: bytes) -> None:
        file = self.found.files[-1]
        if identifier == outlook.LONG_NAME:
            file.name = self._string(kind, value) or file.name
        elif identifier == outlook.SHORT_NAME:
            file.name = file.name or self._string(kind, value)
        elif identifier == outlook.KIND:
            file.kind = self._string(kind, value).strip().lower()
        elif identifier == outlook.DATA:
            inner = value[_INTERFACE:] if kind == outlook.OBJECT else value
            file.data, file.message = inner, kind == outlook.OBJECT and is_tnef(inner)

    def _string(self, kind: int, value: bytes) -> str:
        if kind == outlook.TEXT16:
            return clean(value.decode("utf-16-le", "replace").rstrip("\x00"))
        return self._text(value) if kind == outlook.TEXT8 else ""

    def _text(self, value: bytes) -> str:
        return decode(value.rstrip(b"\x00"), self.charset)
