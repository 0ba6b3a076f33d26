"""Opens a bundle, ZIP or folder, and trusts nothing in it.

The archive writes ZIPs of one narrow form: plain files with safe ASCII names, each once, stored, back to
back from byte 0, then the directory, then the end records, and nothing else. Only that form is read,
by this module's own parser (APPNOTE.TXT 6.3.9 sections 4.3.7, 4.3.12, 4.3.14 to 4.3.16), so that no
reader's leniency can show one content here and another elsewhere.
"""

import os
import re
import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from archive_service.export.manifest import MANIFEST, SAFE_NAME, SEAL

_CHUNK = 1 << 20
_LIMITS = {MANIFEST: 512 << 20, SEAL: 64 << 10}
_JSON_LIMIT = 64 << 20
_SAFE = re.compile(SAFE_NAME.removesuffix("$") + r"\Z")
_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_LARGE = 0xFFFFFFFF


@dataclass(frozen=True)
class Flaw:
    """What is wrong: a stable ``kind``, the file (or "end of file") it is about, the reason."""

    kind: str
    where: str
    reason: str

    def __str__(self) -> str:
        line = f"{self.kind} {self.where[:300]}: {self.reason[:200]}"
        return re.sub("[^ -~]", lambda match: f"\\u{ord(match.group()):04x}", line)


class Unreadable(Exception):
    """One of a bundle's files cannot be read, or not within the bound of its kind."""


@dataclass(frozen=True)
class Place:
    """Where a member's bytes start in the ZIP, and the CRC-32 that it claims for them."""

    start: int
    crc: int


@dataclass
class Bundle:
    """The regular files of a bundle by name, with their sizes, and the flaws of what contains them."""

    path: Path
    sizes: dict[str, int] = field(default_factory=dict)
    flaws: list[Flaw] = field(default_factory=list)
    places: dict[str, Place] | None = None  # None: a folder

    def chunks(self, name: str) -> Iterator[bytes]:
        """The file's bytes, as many as ``sizes`` says. Raises Unreadable."""
        left, crc = self.sizes[name], 0
        try:
            with self._open(name) as file:
                while left:
                    chunk = file.read(min(_CHUNK, left))
                    if not chunk:
                        raise Unreadable("ends early")
                    left -= len(chunk)
                    crc = zlib.crc32(chunk, crc)
                    if not left and self.places is not None and self.places[name].crc != crc:
                        raise Unreadable("its CRC-32 is wrong")
                    yield chunk
        except OSError as error:
            raise Unreadable("cannot be read") from error

    def read(self, name: str) -> bytes:
        """A whole record. Raises Unreadable, also when it is larger than any that the archive writes."""
        if self.sizes[name] > _LIMITS.get(name, _JSON_LIMIT):
            raise Unreadable("larger than any that the archive writes")
        return b"".join(self.chunks(name))

    def _open(self, name: str) -> BinaryIO:
        if self.places is None:
            return self.path.joinpath(*name.split("/")).open("rb")
        file = self.path.open("rb")
        file.seek(self.places[name].start)
        return file


def open_bundle(path: Path) -> Bundle:
    """Lists a folder or a ZIP. What is wrong with it stands in ``flaws``; never raises for content."""
    bundle = Bundle(path)
    try:
        if path.is_dir():
            _list_folder(bundle)
        else:
            with path.open("rb") as file:
                _list_zip(bundle, file)
    except (OSError, _Broken, struct.error):
        bundle.flaws.append(Flaw("unreadable", path.name, "not a bundle"))
    return bundle


class _Broken(Exception):
    """Not a ZIP at all."""


def _list_folder(bundle: Bundle) -> None:
    def unreadable(error: OSError) -> None:
        bundle.flaws.append(Flaw("unreadable", str(error.filename), "a folder that cannot be listed"))

    for base, folders, files in os.walk(bundle.path, onerror=unreadable):
        for name in sorted(folders + files):
            full = Path(base) / name
            status, shown = full.lstat(), full.relative_to(bundle.path).as_posix()
            if stat.S_ISDIR(status.st_mode):
                continue
            if not stat.S_ISREG(status.st_mode):
                bundle.flaws.append(Flaw("not-a-file", shown, "a link or special file"))
            elif not _SAFE.match(shown):
                bundle.flaws.append(Flaw("unsafe-name", shown, "not a name that the archive writes"))
            else:
                bundle.sizes[shown] = status.st_size


@dataclass(frozen=True)
class _Member:
    name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int
    mode: int

    @property
    def shown(self) -> str:
        return self.name.decode("ascii", "backslashreplace")


def _list_zip(bundle: Bundle, file: BinaryIO) -> None:
    length = file.seek(0, os.SEEK_END)
    start, end = _find_directory(file, length)
    members = _read_directory(file, start, end)
    bundle.places = {}
    position = 0
    for member in sorted(members, key=lambda m: m.offset):
        data = _check_local(file, member) if member.offset == position else None
        if data is None:
            bundle.flaws.append(Flaw("zip", member.shown, "bytes before it, or its header differs"))
            break
        position = data + member.packed
    else:
        if position != start:
            bundle.flaws.append(Flaw("zip", "end of file", "bytes between members and directory"))
    for member in members:
        _take(bundle, file, member)


def _find_directory(file: BinaryIO, length: int) -> tuple[int, int]:
    """Where the central directory starts and ends. The end records must close the file."""
    if length < _END.size:
        raise _Broken
    file.seek(length - _END.size)
    magic, disk, first, here, total, size, start, comment = _END.unpack(file.read(_END.size))
    end = length - _END.size
    if magic != b"PK\x05\x06" or comment or disk or first or here != total:
        raise _Broken
    if 0xFFFF in (total,) or _LARGE in (size, start):
        end -= _END64.size + _LOCATOR64.size
        if end < 0:
            raise _Broken
        file.seek(end)
        record = _END64.unpack(file.read(_END64.size))
        locator = _LOCATOR64.unpack(file.read(_LOCATOR64.size))
        if record[0] != b"PK\x06\x06" or locator[0] != b"PK\x06\x07" or locator[2] != end:
            raise _Broken
        size, start = record[8], record[9]
    if start + size != end:
        raise _Broken
    return start, end


def _read_directory(file: BinaryIO, start: int, end: int) -> list[_Member]:
    file.seek(start)
    directory, at = file.read(end - start), 0
    members = []
    while at < len(directory):
        fields = _CENTRAL.unpack_from(directory, at)
        magic, flags, method = fields[0], fields[3], fields[4]
        crc, packed, size, named, extra, comment, attributes, offset = (*fields[7:13], *fields[15:17])
        if magic != b"PK\x01\x02" or comment:
            raise _Broken
        at += _CENTRAL.size
        name = directory[at : at + named]
        sizes = _widen(directory[at + named : at + named + extra], size, packed, offset)
        members.append(_Member(name, flags, method, crc, sizes[1], sizes[0], sizes[2], attributes >> 16))
        at += named + extra
    if at != len(directory):
        raise _Broken
    return members


def _widen(extra: bytes, size: int, packed: int, offset: int) -> tuple[int, int, int]:
    """The true 64-bit values of those that say 0xFFFFFFFF (section 4.5.3)."""
    values = [size, packed, offset]
    wide = [index for index, value in enumerate(values) if value == _LARGE]
    if wide:
        if len(extra) < 4 + 8 * len(wide) or extra[:2] != b"\x01\x00":
            raise _Broken
        for place, index in enumerate(wide):
            (values[index],) = struct.unpack_from("<Q", extra, 4 + 8 * place)
    return values[0], values[1], values[2]


def _check_local(file: BinaryIO, member: _Member) -> int | None:
    """Where the member's bytes start, if its local header says what the directory says."""
    file.seek(member.offset)
    head = file.read(_LOCAL.size)
    if len(head) != _LOCAL.size:
        return None
    magic, _, flags, method, _, _, crc, packed, size, named, extra = _LOCAL.unpack(head)
    same = (flags, method, crc) == (member.flags, member.method, member.crc)
    sized = (packed, size) in ((member.packed, member.size), (_LARGE, _LARGE))
    if magic != b"PK\x03\x04" or not same or not sized or file.read(named) != member.name:
        return None
    return member.offset + _LOCAL.size + int(named) + int(extra)


def _take(bundle: Bundle, file: BinaryIO, member: _Member) -> None:
    """Admits a member, or says why not."""
    name = member.shown
    if not _SAFE.match(name) or not member.name.isascii():
        bundle.flaws.append(Flaw("unsafe-name", name, "not a name that the archive writes"))
    elif name in bundle.sizes:
        bundle.flaws.append(Flaw("duplicate", name, "the ZIP holds this name twice"))
    elif not stat.S_ISREG(member.mode):
        bundle.flaws.append(Flaw("not-a-file", name, "a link or special file"))
    elif member.flags or member.method or member.packed != member.size:
        bundle.flaws.append(Flaw("unreadable", name, "encrypted, streamed or compressed"))
    else:
        start = _check_local(file, member)
        if start is not None and bundle.places is not None:
            bundle.sizes[name], bundle.places[name] = member.size, Place(start, member.crc)
