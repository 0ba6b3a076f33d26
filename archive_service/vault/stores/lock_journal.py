"""Retention state beside the objects of a folder: an append-only journal that shows every edit.

The file ``.locks`` of a folder holds one line an act, canonical JSON:

    {"a":"create","h":false,"m":"COMPLIANCE","n":name,"p":x of the line before,"u":RFC 3339 or null,
     "v":"1","x":hex HMAC-SHA256(state key, folder key || the line without x)}

The first ``p`` is 64 zeros. A line is durable before the object it speaks of gets its name, so a line
may speak of an object that never came; that is harmless, and an object without a line is an alarm.
The last line of a name wins, except that a further "create" only adds to what stands: a creator that
loses the race for a name can thus never loosen the winner's lock. After "delete" a name is never free again.

A crash may tear the end of the file: bytes after the last line feed are no line, and the next append
cuts them off. Whatever else does not verify is Tampered. So is a journal that has lost lines which this
process has seen in it. What only a fresh look at the acts log can show (a journal put back whole to an
older state before this process started) is said in README.md.
"""

import fcntl
import hmac
import json
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from enum import StrEnum

from archive_service.model.canonical import canonical
from archive_service.model.clock import from_rfc3339, rfc3339
from archive_service.model.errors import Invalid, Tampered
from archive_service.vault.stores import durable
from archive_service.vault.stores.base import Lock, LockMode
from archive_service.vault.stores.rules import strictest

_JOURNAL = ".locks"
_SAFELY = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe in its place must not keep us waiting
_APPEND = os.O_RDWR | os.O_APPEND | _SAFELY
_GENESIS = "0" * 64
_MAC_LENGTH = len(',"x":""}') + 64
_READ_SIZE = 1 << 20
_LONGEST_LINE = 1 << 16  # far above what any line can need: a name has at most 512 bytes
_MOST_NAMES_CACHED = 200_000  # about 200 bytes each
_MOST_FOLDERS_CACHED = 1_000


class Act(StrEnum):
    """What a line records."""

    CREATE = "create"
    PROTECT = "protect"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Line:
    """One act on one object version, with the lock that stands after it."""

    act: Act
    name: str
    version: str
    lock: Lock


@dataclass(frozen=True, slots=True)
class LockState:
    """What the journal says of a name. ``deleted``: its removal was decided; the name is never free again."""

    lock: Lock
    deleted: bool = False


class _Chain:
    """The verified lines of one journal, as far as they were read."""

    def __init__(self, folder: str, key: bytes) -> None:
        self.folder = folder
        self._key = key
        self._context = folder.encode("ascii")
        self.states: dict[str, LockState] = {}
        self.head = _GENESIS
        self.length = 0  # bytes of whole, verified lines
        self.last = b""  # the last of them
        self._latest_lock = Lock()

    def feed(self, raw: bytes) -> None:
        """Verify and apply the next line, line feed included. Raises Tampered."""
        try:
            line = self._decode(raw)
        except ValueError as error:
            where = f"folder {self.folder or '/'}, byte {self.length}"
            raise Tampered(f"retention journal of {where}: a line does not verify") from error
        self.follow(raw, line)

    def follow(self, raw: bytes, line: Line) -> None:
        """Apply a line that is known to be good, and its bytes."""
        self._apply(line)
        self.head = raw[-67:-3].decode("ascii")
        self.length += len(raw)
        self.last = raw

    def encode(self, lines: Sequence[Line]) -> list[bytes]:
        """The bytes of lines that are to follow the head."""
        encoded, head = [], self.head
        for line in lines:
            until = None if line.lock.until is None else rfc3339(line.lock.until)
            plain = {"a": line.act, "n": line.name, "v": line.version, "u": until}
            body = canonical(plain | {"m": line.lock.mode, "h": line.lock.hold, "p": head})
            head = self._mac(body)
            encoded.append(body[:-1] + b',"x":"' + head.encode("ascii") + b'"}\n')
        return encoded

    def _mac(self, body: bytes) -> str:
        return hmac.digest(self._key, self._context + body, "sha256").hex()

    def _decode(self, raw: bytes) -> Line:
        text = raw[:-1]
        body, mac = text[:-_MAC_LENGTH] + b"}", text[-_MAC_LENGTH:]
        if not hmac.compare_digest(mac, b',"x":"' + self._mac(body).encode("ascii") + b'"}'):
            raise ValueError("not under our key, or of another folder")
        # From here on the line is known to be one that this program wrote.
        value = json.loads(body)
        if value["p"] != self.head:
            raise ValueError("does not follow the line before")
        until = None if value["u"] is None else from_rfc3339(value["u"])
        lock = Lock(mode=LockMode(value["m"]), until=until, hold=value["h"])
        if lock == self._latest_lock:
            lock = self._latest_lock  # neighbours mostly share a lock; so they share the memory
        self._latest_lock = lock
        return Line(Act(value["a"]), value["n"], value["v"], lock)

    def _apply(self, line: Line) -> None:
        before = self.states.get(line.name)
        if before is None:
            self.states[line.name] = LockState(line.lock, deleted=line.act is Act.DELETE)
        elif line.act is Act.CREATE:
            self.states[line.name] = replace(before, lock=strictest(before.lock, line.lock))
        else:
            self.states[line.name] = LockState(line.lock, before.deleted or line.act is Act.DELETE)


@dataclass(frozen=True, slots=True)
class _Stamp:
    """Which state of the file was read. ``changed`` is the inode's ctime, which no one can set back."""

    inode: int
    size: int
    modified: int
    changed: int

    @classmethod
    def of(cls, status: os.stat_result) -> "_Stamp":
        return cls(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class _View:
    """One folder's journal as this process knows it. Its users hold ``mutex``."""

    def __init__(self, folder: str, key: bytes) -> None:
        self._key = key
        self.mutex = threading.Lock()
        self.chain = _Chain(folder, key)
        self.stamp: _Stamp | None = None

    def refresh(self, fd: int) -> None:
        """Read what is new in the file, or all of it if it is not simply longer. Raises Tampered, OSError."""
        stamp = _Stamp.of(os.fstat(fd))
        if stamp == self.stamp:
            return
        if self._is_longer(stamp) and self._still_ends_as_known(fd):
            _read_lines(fd, self.chain)
        else:
            self._read_afresh(fd)
        self.stamp = stamp

    def missing(self) -> Tampered:
        """The alarm for a journal that is not there."""
        return Tampered(f"retention journal of folder {self.chain.folder or '/'}: missing")

    def _is_longer(self, stamp: _Stamp) -> bool:
        known = self.stamp
        if known is None or stamp.inode != known.inode:
            return False
        return stamp.size > self.chain.length and stamp.size != known.size

    def _still_ends_as_known(self, fd: int) -> bool:
        last = self.chain.last
        return os.pread(fd, len(last), self.chain.length - len(last)) == last

    def _read_afresh(self, fd: int) -> None:
        fresh = _Chain(self.chain.folder, self._key)
        if not _read_lines(fd, fresh, until=self.chain) and self.chain.length:
            where = f"folder {fresh.folder or '/'}"
            raise Tampered(f"retention journal of {where}: lines that stood there are gone")
        self.chain = fresh


def _read_lines(fd: int, chain: _Chain, until: _Chain | None = None) -> bool:
    """Feed the chain all whole lines behind what it has; a torn tail is left alone. Returns whether it
    passed the head of ``until`` at the same length."""
    rest, offset, passed = b"", chain.length, False
    while block := os.pread(fd, _READ_SIZE, offset):
        offset += len(block)
        *lines, rest = (rest + block).split(b"\n")
        if len(rest) > _LONGEST_LINE:
            lines.append(rest)  # no torn tail of ours; it will not verify
        for line in lines:
            chain.feed(line + b"\n")
            if until is not None and chain.length == until.length and chain.head == until.head:
                passed = True
    return passed


class OpenJournal:
    """A folder's journal, open for appending. Made by ``LockJournals.opened``."""

    def __init__(self, view: _View, fd: int, folders: durable.Folders) -> None:
        self._view = view
        self._fd = fd
        self._folders = folders

    @contextmanager
    def locked(self) -> Iterator[Mapping[str, LockState]]:
        """Alone with the journal, among all threads and processes; gives the state of every name.
        Raises Tampered, StoreError. Cuts off a torn tail."""
        folder = self._view.chain.folder
        with self._view.mutex:
            with durable.os_errors(f"retention journal of folder {folder}"):
                fcntl.flock(self._fd, fcntl.LOCK_EX)
            try:
                with durable.os_errors(f"retention journal of folder {folder}"):
                    self._view.refresh(self._fd)
                    if os.fstat(self._fd).st_size > self._view.chain.length:
                        durable.truncate(self._fd, self._view.chain.length)
                yield self._view.chain.states
            finally:
                fcntl.flock(self._fd, fcntl.LOCK_UN)

    def append(self, lines: Sequence[Line]) -> None:
        """Write lines in one call; only within ``locked``. Durable after ``sync``. Raises StoreError."""
        chain = self._view.chain
        encoded = chain.encode(lines)
        try:
            durable.write_all(self._fd, b"".join(encoded))
        except OSError as error:
            with suppress(OSError):  # else the half-written tail is cut off by the next append
                durable.truncate(self._fd, chain.length)
            raise durable.store_error(error, f"retention journal of folder {chain.folder}") from error
        for raw, line in zip(encoded, lines, strict=True):
            chain.follow(raw, line)
        self._view.stamp = _Stamp.of(os.fstat(self._fd))
        durable.start_writeback(self._fd)

    def sync(self) -> None:
        """Make the journal durable. Raises StoreError, and the folder is doubtful then."""
        folder = self._view.chain.folder
        try:
            durable.fdatasync(self._fd)
        except OSError as error:
            self._folders.doubt(folder)
            raise durable.store_error(error, f"retention journal of folder {folder}") from error


class LockJournals:
    """The journals of a store, with what was read of them. Thread-safe; other processes may write too."""

    def __init__(self, folders: durable.Folders, state_key: bytes) -> None:
        """``state_key``: at least 32 secret bytes, kept apart from the store. Raises Invalid."""
        if len(state_key) < 32:
            raise Invalid("the key of the retention state has at least 32 bytes")
        self._folders = folders
        self._key = state_key
        self._views: OrderedDict[str, _View] = OrderedDict()
        self._mutex = threading.Lock()

    def state(self, folder: str, name: str) -> LockState:
        """What the journal says of an object that is there. Raises Tampered (also when it says nothing),
        StoreError."""
        view = self._view(folder)
        path = f"{self._folders.path(folder)}/{_JOURNAL}"
        with view.mutex, durable.os_errors(f"retention journal of folder {folder}"):
            try:
                if _Stamp.of(os.lstat(path)) != view.stamp:
                    _read_settled(view, path)
            except FileNotFoundError:
                raise view.missing() from None
            state = view.chain.states.get(name)
        return require_state(folder, name, state)

    @contextmanager
    def opened(self, folder: str, folder_fd: int, *, create: bool) -> Iterator[OpenJournal]:
        """The journal, for appending. Raises Tampered if it is missing although it should be there:
        when not ``create``, or when this process has seen it."""
        view = self._view(folder)
        known = view.chain.length  # before the look: another thread may make the journal right after it
        with durable.os_errors(f"retention journal of folder {folder}"):
            try:
                fd = os.open(_JOURNAL, _APPEND, dir_fd=folder_fd)
            except FileNotFoundError:
                if known or not create:
                    raise view.missing() from None
                fd = os.open(_JOURNAL, _APPEND | os.O_CREAT, durable.PRIVATE_FILE, dir_fd=folder_fd)
            except IsADirectoryError:
                raise _not_plain(folder) from None
        try:
            _require_plain(fd, folder)
            if os.fstat(fd).st_size == 0:  # new: its name must be durable before any object's name is
                self._folders.sync(folder, folder_fd)
            yield OpenJournal(view, fd, self._folders)
        finally:
            os.close(fd)

    def _view(self, folder: str) -> _View:
        with self._mutex:
            view = self._views.get(folder)
            if view is None:
                self._forget_oldest()
                view = self._views[folder] = _View(folder, self._key)
            self._views.move_to_end(folder)
            return view

    def _forget_oldest(self) -> None:
        """Two views of one folder do no harm (files are locked among all openers), so a view in use may go."""
        names = sum(1 + len(view.chain.states) for view in self._views.values())
        while names > _MOST_NAMES_CACHED or len(self._views) >= _MOST_FOLDERS_CACHED:
            names -= 1 + len(self._views.popitem(last=False)[1].chain.states)


def require_state(folder: str, name: str, state: LockState | None) -> LockState:
    """Raises Tampered for an object of which the journal says nothing."""
    if state is None:
        key = f"{folder}/{name}" if folder else name
        raise Tampered(f"object {key}: retention state missing")
    return state


def _require_plain(fd: int, folder: str) -> None:
    """Raises Tampered for a journal that is no plain file: a pipe, a folder, a device."""
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise _not_plain(folder)


def _not_plain(folder: str) -> Tampered:
    return Tampered(f"retention journal of folder {folder or '/'}: not a plain file")


def _read_settled(view: _View, path: str) -> None:
    """Refresh from the path. A writer at work may show half an append, so no alarm is rung before a
    second look that excludes writers."""
    fd = os.open(path, os.O_RDONLY | _SAFELY)
    try:
        _require_plain(fd, view.chain.folder)
        try:
            view.refresh(fd)
        except Tampered:
            fcntl.flock(fd, fcntl.LOCK_SH)
            view.refresh(fd)
    finally:
        os.close(fd)
