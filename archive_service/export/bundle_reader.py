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
_NARROW = (1 << 31) - 1  # what is larger goes to a ZIP64 field; the writer's bound
_MAY_BE_WIDE = 1 << 30  # a local header may have one from here on: it was written before the size was sure
_MADE_BY = 3 << 8  # Unix, and the version needed
_VERSION, _VERSION64 = 20, 45
_ATTRIBUTES = 0o100644 << 16


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
    made: int
    needed: int
    moment: tuple[int, int]  # time and date as they stand
    extra: bytes
    attributes: tuple[int, int, int]  # disk, internal, external

    @property
    def mode(self) -> int:
        """Of the file, as Unix has it."""
        return self.attributes[2] >> 16

    def as_written(self, local_version: int) -> bool:
        """Whether all that says nothing of the content is what the archive writes, so that it cannot
        carry anything: extra fields, versions, attributes."""
        wide = [self.size, self.packed] if max(self.size, self.packed) > _NARROW else []
        wide += [self.offset] if self.offset > _NARROW else []
        extra = struct.pack(f"<2H{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
        version = _VERSION64 if wide else local_version
        return (
            (self.extra, self.needed, self.made) == (extra, version, _MADE_BY | version)
            and not (self.flags or self.method)
            and self.attributes == (0, 0, _ATTRIBUTES)
        )

    @property
    def shown(self) -> str:
        return self.name.decode("ascii", "backslashreplace")


def _list_zip(bundle: Bundle, file: BinaryIO) -> None:
    length = file.seek(0, os.SEEK_END)
    start, end, count = _find_directory(file, length)
    members = _read_directory(file, start, end)
    if len(members) != count:
        raise _Broken
    bundle.places = {}
    position = 0
    for member in members:
        local = _check_local(file, member) if member.offset == position else None
        if local is None:
            bundle.flaws.append(Flaw("zip", member.shown, "bytes before it, or its header differs"))
            break
        if not local.as_written or member.moment != members[0].moment:
            reason = "fields of its headers that the archive does not write so"
            bundle.flaws.append(Flaw("zip", member.shown, reason))
            break
        position = local.start + member.packed
    else:
        if position != start:
            bundle.flaws.append(Flaw("zip", "end of file", "bytes between members and directory"))
    for member in members:
        _take(bundle, file, member)


def _find_directory(file: BinaryIO, length: int) -> tuple[int, int, int]:
    """Where the central directory starts and ends, and how many members it has. The end records must
    close the file, and have the ZIP64 ones before them exactly when a value needs them."""
    if length < _END.size:
        raise _Broken
    file.seek(length - _END.size)
    magic, disk, first, here, total, size, start, comment = _END.unpack(file.read(_END.size))
    end = length - _END.size
    if magic != b"PK\x05\x06" or comment or disk or first or here != total:
        raise _Broken
    narrow = (total, size, start)
    record = _find_end64(file, end - _END64.size - _LOCATOR64.size)
    if record is not None:
        end -= _END64.size + _LOCATOR64.size
        total, size, start = record
    needed = total > 0xFFFF or size > _NARROW or start > _NARROW
    if needed != (record is not None) or start + size != end:
        raise _Broken
    if narrow != (min(total, 0xFFFF), min(size, _LARGE), min(start, _LARGE)):
        raise _Broken
    return start, end, total


def _find_end64(file: BinaryIO, at: int) -> tuple[int, int, int] | None:
    """Members, directory's size and its start by the ZIP64 end record at ``at``, if one stands there."""
    if at < 0:
        return None
    file.seek(at)
    record = _END64.unpack(file.read(_END64.size))
    locator = _LOCATOR64.unpack(file.read(_LOCATOR64.size))
    if record[0] != b"PK\x06\x06" or locator[0] != b"PK\x06\x07":
        return None
    if record[1:6] != (44, _VERSION64, _VERSION64, 0, 0) or record[6] != record[7]:
        raise _Broken
    if locator[1:] != (0, at, 1):
        raise _Broken
    return record[7], record[8], record[9]


def _read_directory(file: BinaryIO, start: int, end: int) -> list[_Member]:
    file.seek(start)
    directory, at = file.read(end - start), 0
    members = []
    while at < len(directory):
        fields = _CENTRAL.unpack_from(directory, at)
        magic, made, needed, flags, method, time, date = fields[:7]
        crc, packed, size, named, extra, comment, disk, internal, external, offset = fields[7:]
        if magic != b"PK\x01\x02" or comment:
            raise _Broken
        at += _CENTRAL.size
        name = directory[at : at + named]
        more = directory[at + named : at + named + extra]
        size, packed, offset = _widen(more, size, packed, offset)
        attributes = (disk, internal, external)
        members.append(
            _Member(
                name, flags, method, crc, packed, size, offset, made, needed, (time, date), more, attributes
            )
        )
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


@dataclass(frozen=True)
class _Local:
    """Where a member's bytes start; whether both its headers are otherwise what the archive writes."""

    start: int
    as_written: bool


def _check_local(file: BinaryIO, member: _Member) -> _Local | None:
    """The member's local header, if it says what the directory says of the content."""
    file.seek(member.offset)
    head = file.read(_LOCAL.size)
    if len(head) != _LOCAL.size:
        return None
    magic, needed, flags, method, time, date, crc, packed, size, named, extra = _LOCAL.unpack(head)
    same = (flags, method, crc) == (member.flags, member.method, member.crc)
    sized = (packed, size) in ((member.packed, member.size), (_LARGE, _LARGE))
    if magic != b"PK\x03\x04" or not same or not sized or file.read(named) != member.name:
        return None
    more, form = file.read(extra), b""
    if size == _LARGE and member.size >= _MAY_BE_WIDE:
        form = struct.pack("<2H2Q", 1, 16, member.size, member.packed)
    version = _VERSION64 if form else _VERSION
    honest = more == form and (size == _LARGE) == bool(form) and needed == version
    same_moment = (time, date) == member.moment
    start = member.offset + _LOCAL.size + int(named) + int(extra)
    return _Local(start, honest and same_moment and member.as_written(version))


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
        local = _check_local(file, member)
        if local is not None and bundle.places is not None:
            bundle.sizes[name], bundle.places[name] = member.size, Place(local.start, member.crc)
