"""How bytes and names reach a disk and stay there: the one module whose calls decide durability.

A new file:   open(.tmp/x, O_EXCL) write* fsync(x)  link(x, name)    fsync(folder)  unlink(x)
A changed one: open(.tmp/x, O_EXCL) write* fsync(x)  rename(x, name)  fsync(folder)
A new folder: mkdir(folder) fsync(parent)

``fsync`` of a file keeps its bytes, ``fsync`` of a folder keeps the names in it; a name is durable only
after both. A failed fsync is never repeated: the kernel may have dropped the dirty pages and would
answer the second call with success. So the folder it concerned is held doubtful from then on.
"""

import errno
import itertools
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from archive_service.model.errors import StoreDenied, StoreError, StoreFull

# The system calls that change a disk. All writing code calls them through this module, so that a test
# can make any of them fail.
write = os.write
fsync = os.fsync
fdatasync = os.fdatasync
link = os.link
rename = os.replace
unlink = os.unlink
mkdir = os.mkdir
truncate = os.ftruncate

PRIVATE_FOLDER = 0o700
PRIVATE_FILE = 0o600
READ_ONLY_FILE = 0o400

_TEMPORARY = ".tmp"
_LANES = 4
_FULL = {errno.ENOSPC, errno.EDQUOT}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}


def store_error(error: OSError, subject: str) -> StoreError:
    """The store error for an operating system error. ``subject`` names the object, never a machine path."""
    if error.errno in _FULL:
        return StoreFull(f"{subject}: no space or quota left")
    name = errno.errorcode.get(error.errno or 0, "unknown error")
    if error.errno in _REFUSED:
        return StoreDenied(f"{subject}: access refused ({name})")
    return StoreError(f"{subject}: {name}")


@contextmanager
def os_errors(subject: str) -> Iterator[None]:
    """Turns an OSError of the block into StoreFull, StoreDenied or StoreError."""
    try:
        yield
    except OSError as error:
        raise store_error(error, subject) from error


def write_all(fd: int, data: bytes | bytearray | memoryview) -> None:
    """Write every byte (a call may take fewer). Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[write(fd, view) :]


def start_writeback(fd: int) -> None:
    """Ask the kernel to begin writing this file out. With it, the fsyncs of many new files share few
    journal commits of the file system (measured on ext4: a sixth to a third more files a second)."""
    with suppress(OSError):  # only a hint; the fsync that follows reports what goes wrong
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def together(tasks: Sequence[Callable[[], None]]) -> None:
    """Run blocking tasks side by side and return when all have ended; raises the first error.

    It waits for all even when one fails: no file may be closed under a running fsync. A few tasks are
    run here in turn, because handing them to a thread costs more than it saves.
    """
    if len(tasks) < _LANES:
        _in_turn(tasks)
        return
    pool = _pool()
    started: list[Future[None]] = [pool.submit(_in_turn, tasks[lane::_LANES]) for lane in range(1, _LANES)]
    try:
        _in_turn(tasks[0::_LANES])
    finally:
        wait(started)
    for future in started:
        future.result()


def _in_turn(tasks: Iterable[Callable[[], None]]) -> None:
    for task in tasks:
        task()


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=2 * _LANES, thread_name_prefix="durable")


os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork


class Temporaries:
    """Files under ``root/.tmp`` that become objects. Several processes may share the folder."""

    def __init__(self, root: str) -> None:
        self._folder = f"{root}/{_TEMPORARY}"
        self._prefix = secrets.token_hex(8)
        self._numbers = itertools.count()

    def new(self, mode: int) -> tuple[int, str]:
        """A new empty file, open for writing, and its path. Raises OSError."""
        path = f"{self._folder}/{self._prefix}-{next(self._numbers)}"
        return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode), path

    def discard(self, path: str) -> None:
        """Remove a file if it is there. What cannot be removed now waits for ``sweep``."""
        with suppress(OSError):
            unlink(path)

    def sweep(self, older_than: timedelta, now: datetime) -> int:
        """Remove the files last written before ``now - older_than``; returns how many. They are what
        crashed writers left; a younger one may belong to a writer at work."""
        oldest = (now - older_than).timestamp()
        swept = 0
        with os_errors("temporary files"), os.scandir(self._folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # its writer was alive and has removed it
                    if entry.stat(follow_symlinks=False).st_mtime < oldest:
                        unlink(entry.path)
                        swept += 1
        return swept


class Folders:
    """The folders of a store: makes them, opens them, and knows which of them failed to reach the disk."""

    def __init__(self, root: Path) -> None:
        self.root = str(root.absolute())
        self._known = {""}
        self._doubtful: set[str] = set()
        with os_errors("root folder"):
            _make_root(root)

    def path(self, folder: str) -> str:
        """The path of a folder key ("" is the root)."""
        return f"{self.root}/{folder}" if folder else self.root

    def ensure(self, folder: str) -> None:
        """Make the folder and those above it; durable on return. Raises StoreError.

        The parent is synced even if another process made the folder: it may not have done so yet.
        """
        if folder in self._known:
            return
        parent = folder.rpartition("/")[0]
        self.ensure(parent)
        try:
            with suppress(FileExistsError):
                mkdir(self.path(folder), PRIVATE_FOLDER)
        except OSError as error:
            self._known = {""}  # if a folder above vanished, the next call makes it anew
            raise store_error(error, f"folder {folder}") from error
        with self.opened(parent) as fd:
            self.sync(parent, fd)
        self._known.add(folder)

    @contextmanager
    def opened(self, folder: str) -> Iterator[int]:
        """The folder as a file descriptor, opened before anything is written into it: running out of
        descriptors then happens while nothing has been done. Raises FileNotFoundError, StoreError."""
        try:
            fd = os.open(self.path(folder), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            self._known = {""}
            raise
        except OSError as error:
            raise store_error(error, f"folder {folder}") from error
        try:
            yield fd
        finally:
            os.close(fd)

    def sync(self, folder: str, fd: int) -> None:
        """Make the names in the folder durable. Raises StoreError, and the folder is doubtful then."""
        try:
            fsync(fd)
        except OSError as error:
            self.doubt(folder)
            raise store_error(error, f"folder {folder}") from error

    def doubt(self, folder: str) -> None:
        """A sync in this folder failed: what stands in it may be gone after a power cut."""
        self._doubtful.add(folder)

    def check(self, folder: str) -> None:
        """Raises StoreError if the folder is doubtful: this process can no longer tell what is durable
        there, so it neither writes to it nor settles an unknown outcome by looking."""
        if folder in self._doubtful:
            raise StoreError(
                f"folder {folder}: an earlier write did not reach the disk; restart after repair"
            )


def _make_root(root: Path) -> None:
    missing = [folder for folder in (root, *root.parents) if not folder.exists()]
    for folder in reversed(missing):
        with suppress(FileExistsError):
            mkdir(folder, PRIVATE_FOLDER)
        _sync_path(folder.parent)
    with suppress(FileExistsError):
        mkdir(root / _TEMPORARY, PRIVATE_FOLDER)
    _sync_path(root)


def _sync_path(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fsync(fd)
    finally:
        os.close(fd)
