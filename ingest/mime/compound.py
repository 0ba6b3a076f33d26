"""Compound files ([MS-CFB]): the folders and streams inside of Outlook's .msg, and nothing more.

An own reader, for what is needed is small. Damaged or hostile files never raise and take linear time: each chain of
sectors is followed no longer than the file, and all streams together are no longer than it either.
"""

import struct
from array import array
from dataclasses import dataclass, field

SIGNATURE = bytes.fromhex("d0cf11e0a1b11ae1")
_HEADER_SIZE, _ENTRY_SIZE = 512, 128
_LAST_SECTOR = 0xFFFFFFFA  # greater numbers are marks
_NONE = 0xFFFFFFFF
_HEADER_TABLES = 109  # numbers of table sectors that the header has room for
_STORAGE, _STREAM, _ROOT = 1, 2, 5
_ENTRY = struct.Struct("<64sHBBIII16sIQQIQ")


@dataclass(slots=True)
class Storage:
    """A folder: streams and storages by their names."""

    streams: dict[str, bytes] = field(default_factory=dict)
    storages: dict[str, "Storage"] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    kind: int
    left: int
    right: int
    child: int
    start: int
    size: int


class _File:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.left = len(data)  # bytes that streams may still have
        self.complete = True
        shift, mini_shift = struct.unpack_from("<HH", data, 30)
        self.sector = 1 << (shift if shift in (9, 12) else 9)
        self.mini_sector = 1 << (mini_shift if mini_shift <= 9 else 6)
        directory, _, self.cutoff, mini_table = struct.unpack_from("<IIII", data, 48)
        self.table = self._table()
        self.entries = self._entries(self._chain(directory, len(data)))
        self.mini_table = _numbers(self._chain(mini_table, len(data)))
        root = self.entries[0] if self.entries else None
        self.mini = self._chain(root.start, root.size) if root is not None else b""

    def _at(self, number: int) -> bytes:
        start = (number + 1) * self.sector
        return self.data[start : start + self.sector]

    def _table(self) -> "array[int]":
        """Which sector follows which: the header names the first sectors of this table, a chain the others."""
        numbers = list(struct.unpack_from(f"<{_HEADER_TABLES}I", self.data, 76))
        (more,) = struct.unpack_from("<I", self.data, 68)
        sectors = len(self.data) // self.sector
        for _ in range(sectors):
            found = _numbers(self._at(more)) if more <= _LAST_SECTOR else array("I")
            if not found or len(numbers) > sectors + _HEADER_TABLES:
                break
            numbers.extend(found[:-1])
            more = found[-1]
        used = dict.fromkeys(number for number in numbers if number <= _LAST_SECTOR)
        return _numbers(b"".join(map(self._at, used)))

    def _chain(self, start: int, size: int) -> bytes:
        """At most ``size`` bytes of the sectors that begin with ``start``."""
        pieces: list[bytes] = []
        number, length = start, 0
        while number < len(self.table) and length < min(size, len(self.data)):
            pieces.append(self._at(number))
            length += self.sector
            number = self.table[number]
        return b"".join(pieces)[:size]

    def _mini_chain(self, start: int, size: int) -> bytes:
        pieces: list[bytes] = []
        number, length = start, 0
        while number < len(self.mini_table) and length < size:
            pieces.append(self.mini[number * self.mini_sector : (number + 1) * self.mini_sector])
            length += self.mini_sector
            number = self.mini_table[number]
        return b"".join(pieces)[:size]

    @staticmethod
    def _entries(directory: bytes) -> list[_Entry]:
        found = []
        for values in _ENTRY.iter_unpack(directory[: len(directory) // _ENTRY_SIZE * _ENTRY_SIZE]):
            name, length, kind, _, left, right, child, *_, start, size = values
            text = name[: max(0, min(length, 64) - 2)].decode("utf-16-le", "replace")
            found.append(_Entry(text, kind, left, right, child, start, size & 0xFFFFFFFF))
        return found

    def _stream(self, entry: _Entry) -> bytes:
        if entry.size > self.left:
            self.complete = False
            return b""
        read = self._mini_chain if entry.size < self.cutoff else self._chain
        content = read(entry.start, entry.size)
        self.left -= entry.size
        self.complete = self.complete and len(content) == entry.size
        return content

    def storages(self) -> Storage:
        """The whole tree; each entry stands in it once, wherever it is named first."""
        root = Storage()
        seen: set[int] = set()
        waiting = [(self.entries[0].child, root)] if self.entries else []
        while waiting:
            number, folder = waiting.pop()
            if number >= len(self.entries) or number in seen:
                self.complete = self.complete and number == _NONE
                continue
            seen.add(number)
            entry = self.entries[number]
            waiting += [(entry.left, folder), (entry.right, folder)]
            if entry.kind == _STREAM:
                folder.streams.setdefault(entry.name, self._stream(entry))
            elif entry.kind == _STORAGE:
                waiting.append((entry.child, folder.storages.setdefault(entry.name, Storage())))
        return root


def _numbers(data: bytes) -> "array[int]":
    return array("I", struct.unpack(f"<{len(data) // 4}I", data[: len(data) // 4 * 4]))


def read_compound(data: bytes) -> tuple[Storage, bool] | None:
    """The root folder, and whether all of it could be read; None when this is no compound file."""
    if len(data) < _HEADER_SIZE or not data.startswith(SIGNATURE):
        return None
    file = _File(data)
    root = file.storages()
    return root, file.complete
