"""Reading a folder of plain files as objects: one file, a span of it, the keys in order."""

import errno
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from archive_service.model.errors import NotFound, Tampered
from archive_service.vault.stores.durable import os_errors
from archive_service.vault.stores.rules import is_segment

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # neither a link nor a pipe can catch us


def read_file(path: str, subject: str, offset: int = 0, length: int | None = None) -> bytes:
    """The bytes of a span. Raises NotFound, StoreError, and Tampered for what is no plain file."""
    with os_errors(subject):
        fd = _open(path, subject)
        try:
            status = os.fstat(fd)
            if stat.S_ISDIR(status.st_mode):
                raise NotFound(f"{subject}: not found")
            require_plain(status, subject)
            end = status.st_size if length is None else min(status.st_size, offset + length)
            return _read_span(fd, offset, end)
        finally:
            os.close(fd)


def _open(path: str, subject: str) -> int:
    try:
        return os.open(path, _READ)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"{subject}: not found") from error
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a symbolic link, a socket
            raise Tampered(f"{subject}: not a plain file") from error
        raise


def _read_span(fd: int, offset: int, end: int) -> bytes:
    """The bytes from offset to end; one call may give fewer than asked for."""
    parts = []
    while offset < end:
        part = os.pread(fd, end - offset, offset)
        if not part:
            break
        parts.append(part)
        offset += len(part)
    return b"".join(parts)


def require_plain(status: os.stat_result, subject: str) -> None:
    """Raises Tampered unless it is a regular file: the archive makes no others."""
    if not stat.S_ISREG(status.st_mode):
        raise Tampered(f"{subject}: not a plain file")


def is_there(name: str, folder_fd: int) -> bool:
    """Whether an open folder has an entry of this name, of any kind. Raises OSError."""
    try:
        os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def modified_at(status: os.stat_result) -> datetime:
    """When the content was last written, in UTC; exact, without the rounding of a float."""
    seconds, nanoseconds = divmod(status.st_mtime_ns, 10**9)
    return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=nanoseconds // 1000)


def walk(root: str, prefix: str, after: str) -> Iterator[str]:
    """The keys under a prefix, greater than ``after``, in order. A folder sorts as its name with "/",
    which is how keys compare. Foreign files (names that are no key segments) are not listed.
    Raises StoreError."""
    labels = []
    with os_errors(f"folder {prefix}"):
        try:
            with os.scandir(f"{root}/{prefix}") as entries:
                for entry in entries:
                    if not is_segment(entry.name):
                        continue
                    label = f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name
                    key = prefix + label
                    if key > after or (label[-1] == "/" and after.startswith(key)):
                        labels.append(label)
        except (FileNotFoundError, NotADirectoryError):
            return
    labels.sort()
    for label in labels:
        if label[-1] == "/":
            yield from walk(root, prefix + label, after)
        else:
            yield prefix + label
