"""mbox files: one, or every one under a folder (RFC 4155 appendix A, and the dialects that it leaves open).

A message begins with a ``From `` line at the file's beginning or after an empty line, and ends before the empty line
that precedes the next one. Lines of a message that begin like that are quoted when the file is written, in one of four
ways, and unquoted here; no other byte is changed, line ends least of all.

    mboxo     ``From `` was quoted to ``>From ``; which of these were so before cannot be known: every one is unquoted
    mboxrd    each line of ``>``s and ``From `` got one ``>`` more: one is taken off
    mboxcl    Content-Length says how long the body is; quoted as mboxo
    mboxcl2   Content-Length says how long the body is; nothing is quoted
    auto      by message: a Content-Length that is consistent is used, as in mboxcl2; else as mboxrd

A Content-Length is consistent when the body that it gives ends before an empty line and a ``From `` line, or at the
file's end. Where it is not, the message ends as in the other two, whatever the variant. An item's name is
``FILE:OFFSET``, the offset being that of its ``From `` line. A file is read in blocks, a message when it is asked for.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import BinaryIO

from archive_service.model.errors import Invalid, StoreError
from ingest.importers.base import Item, failing, plain_name, too_large, unreadable
from ingest.importers.walking import Walked

_FROM = b"From "
_BLOCK = 1 << 20
_LONGEST_HEADER = 1 << 20  # bytes in which a Content-Length is looked for
_NEXT = re.compile(rb"\n\r?\nFrom ")
_OVERLAP = 7  # one less than the longest of these
_HEADER_END = re.compile(rb"\n\r?\n")
_LENGTH = re.compile(rb"^content-length[ \t]*:[ \t]*([0-9]{1,18})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_EMPTY_LINE_AND_NEXT = re.compile(rb"\n(\r?\n)From ")
_UNENDED_AND_NEXT = re.compile(rb"[^\n](\r?\n\r?\n)From ")
_LINE_ENDS = re.compile(rb"(?:\r?\n)*\Z")
_QUOTED_ONCE = re.compile(rb"^>From ", re.MULTILINE)
_QUOTED = re.compile(rb"^>(>*From )", re.MULTILINE)
_NO_MAILBOX = (".msf", ".dat", ".json", ".sqlite", ".html")  # what mail programs keep beside their mailboxes


class Variant(StrEnum):
    """How a file was written."""

    AUTO = "auto"
    MBOXO = "mboxo"
    MBOXRD = "mboxrd"
    MBOXCL = "mboxcl"
    MBOXCL2 = "mboxcl2"


@dataclass(frozen=True)
class Message:
    """Where a message lies: its ``From `` line, its bytes [start, end), and whether its own length was used."""

    line: int
    start: int
    end: int
    counted: bool


class Mbox:
    """See ``base.Mailbox``. Under a folder every file is taken but hidden ones and those that mail programs keep beside
    their mailboxes; one that is no mailbox is a failed item. Raises Invalid."""

    def __init__(self, path: Path, limit: int, variant: Variant = Variant.AUTO) -> None:
        self._top = path
        self._limit = limit
        self._variant = variant
        self._walked = _walked(path)
        self._files = [path] if self._walked is None else _mailboxes(self._walked, path)

    def count(self) -> int | None:
        """Not known before everything is read."""
        return None

    def items(self) -> Iterator[Item]:
        """File by file, in the order of their paths; then folders that cannot be read."""
        for path in self._files:
            name = path.name if path == self._top else str(path.relative_to(self._top))
            yield from self._file(path, plain_name(name))
        if self._walked is not None:
            yield from self._walked.failures()

    def _file(self, path: Path, name: str) -> Iterator[Item]:
        try:
            with path.open("rb", buffering=0) as file:
                if not _is_mailbox(file):
                    yield failing(name, StoreError("the file is no mbox", code="import.not_mbox"))
                    return
                for message in messages(file, self._variant):
                    yield Item(f"{name}:{message.line}", partial(self._read, file, message))
        except OSError as error:
            yield failing(name, unreadable(error))

    def _read(self, file: BinaryIO, message: Message) -> bytes:
        size = message.end - message.start
        if size > self._limit:
            raise too_large(self._limit)
        try:
            raw = _at(file, message.start, size)
        except OSError as error:
            raise unreadable(error) from error
        if len(raw) < size:
            raise StoreError("the file has become shorter while it was read", code="import.unreadable")
        return unquoted(raw, self._variant, counted=message.counted)

    def close(self) -> None:
        """Nothing is kept open."""


def _walked(path: Path) -> Walked | None:
    """None when ``path`` is one file."""
    if path.is_file():
        return None
    if not path.is_dir():
        raise Invalid("no such file or folder", code="import.folder")
    return Walked(path)


def _mailboxes(walked: Walked, top: Path) -> list[Path]:
    return [each for each in walked.files if _may_be_mailbox(each, top)]


def _may_be_mailbox(path: Path, top: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(top).parts)
    return not hidden and path.suffix.lower() not in _NO_MAILBOX


def _is_mailbox(file: BinaryIO) -> bool:
    """An empty one is one."""
    beginning = _at(file, 0, _BLOCK).lstrip(b"\r\n")
    return not beginning or beginning.startswith(_FROM)


def _at(file: BinaryIO, place: int, size: int) -> bytes:
    """Up to ``size`` bytes from ``place``; fewer only at the file's end."""
    pieces = []
    while size > 0 and (piece := os.pread(file.fileno(), min(size, 1 << 30), place)):
        pieces.append(piece)
        place += len(piece)
        size -= len(piece)
    return b"".join(pieces)


def messages(file: BinaryIO, variant: Variant) -> Iterator[Message]:
    """Where the messages of a mailbox lie. Linear in its size, in bounded memory."""
    first = _at(file, 0, _BLOCK)
    line: int | None = len(first) - len(first.lstrip(b"\r\n"))
    if len(first) == line:
        return
    while line is not None:
        start = _line_end(file, line)
        end = following = None
        if variant not in (Variant.MBOXO, Variant.MBOXRD):
            end, following = _by_length(file, start)
        counted = end is not None
        if end is None:
            end, following = _by_lines(file, start)
        yield Message(line, start, end, counted)
        line = following


def _line_end(file: BinaryIO, place: int) -> int:
    """Behind the line at ``place``."""
    while block := _at(file, place, _BLOCK):
        found = block.find(b"\n")
        if found >= 0:
            return place + found + 1
        place += len(block)
    return place


def _by_lines(file: BinaryIO, start: int) -> tuple[int, int | None]:
    """Where the message ends, and the next ``From `` line; the line end of its own is looked at too, for a message may
    be empty."""
    place = start - 1
    while block := _at(file, place, _BLOCK):
        found = _NEXT.search(block)
        if found is not None:
            return place + found.start() + 1, place + found.end() - len(_FROM)
        if len(block) < _BLOCK:
            return _last_end(file, start, place + len(block)), None
        place += len(block) - _OVERLAP
    return max(start, place), None


def _last_end(file: BinaryIO, start: int, end: int) -> int:
    """The end of the file's last message: the empty line behind it is the mailbox's."""
    tail = _at(file, max(start - 1, end - 3), end - max(start - 1, end - 3))
    for ending in (b"\n\r\n", b"\n\n"):
        if tail.endswith(ending):
            return end - len(ending) + 1
    return end


def _by_length(file: BinaryIO, start: int) -> tuple[int | None, int | None]:
    """The same by the message's own Content-Length; None twice where there is none that is consistent."""
    header = _header(file, start)
    if header is None:
        return None, None
    lengths = _LENGTH.findall(header)
    if len(lengths) != 1:
        return None, None
    end = start + len(header) + int(lengths[0])
    around = _at(
        file, end - 1, _OVERLAP + 3
    )  # the body's last byte, and what may stand before the next message
    found = _EMPTY_LINE_AND_NEXT.match(around) or _UNENDED_AND_NEXT.match(around)
    if found is not None:
        return end, end + found.end(1) - 1
    size = os.fstat(file.fileno()).st_size
    at_end = end <= size and size - end < len(around) and _LINE_ENDS.match(around, 1) is not None
    return (end, None) if at_end else (None, None)


def _header(file: BinaryIO, start: int) -> bytes | None:
    """The header with the empty line behind it."""
    size = 8192
    while True:
        block = _at(file, start, size)
        found = _HEADER_END.search(block)
        if found is not None:
            return block[: found.end()]
        if len(block) < size or size >= _LONGEST_HEADER:
            return None
        size *= 8


def unquoted(raw: bytes, variant: Variant, *, counted: bool) -> bytes:
    """A message's bytes as they were before the mailbox was written, as far as that can be told."""
    if variant in (Variant.MBOXO, Variant.MBOXCL):
        return _QUOTED_ONCE.sub(_FROM, raw)
    if variant is Variant.MBOXCL2 or counted:
        return raw
    return _QUOTED.sub(rb"\1", raw)
