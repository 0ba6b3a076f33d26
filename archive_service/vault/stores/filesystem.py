"""Objects and key records as plain files: the back end of an embedded archive.

Key ``a/b/c`` is the file ``root/a/b/c``, byte for byte, so that auditors can run their own tools on it.
How a file becomes durable is in ``durable.py``, how its lock is kept in ``lock_journal.py``; README.md
tells the life of an object and what this back end cannot promise: a file system is not WORM.
"""

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from archive_service.model.clock import Clock, utc_now
from archive_service.model.errors import AlreadyExists, NotFound, StoreError
from archive_service.vault.stores import durable
from archive_service.vault.stores.base import Lock, NewObject, Stored
from archive_service.vault.stores.lock_journal import Act, Line, LockJournals, LockState, require_state
from archive_service.vault.stores.plain_files import is_there, modified_at, read_file, require_plain, walk
from archive_service.vault.stores.rules import (
    check_change,
    check_deletable,
    check_key,
    check_prefix,
    check_span,
    normal,
)

_VERSION = "1"
_MOST_OPEN = 64
_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass
class _Staged:
    """An object on its way: written under a temporary name, not yet linked."""

    key: str
    folder: str
    name: str
    lock: Lock
    fd: int | None
    path: str
    size: int = 0
    modified: datetime = _EPOCH

    def sync(self) -> None:
        if self.fd is not None:
            with durable.os_errors(f"object {self.key}"):
                durable.fsync(self.fd)

    def close(self) -> None:
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def stored(self) -> Stored:
        return Stored(self.key, _VERSION, self.size, self.modified)


class FileSystemStore:
    """An ObjectStore in a folder. One version a name, always "1"; a deleted name is never free again.

    Several processes may share the folder. After a sync failed in a folder, this process refuses to
    write or ``stat`` there (StoreError): what it would see need not be on the disk.
    """

    def __init__(self, root: Path, *, state_key: bytes, clock: Clock = utc_now) -> None:
        """Makes ``root`` if need be. ``state_key`` (at least 32 bytes) authenticates the retention state.
        Raises Invalid, StoreError."""
        self._clock = clock
        self._folders = durable.Folders(root)
        self._temporaries = durable.Temporaries(self._folders.root)
        self._journals = LockJournals(self._folders, state_key)

    def create(self, objects: Sequence[NewObject]) -> list[Stored]:
        """As in ObjectStore. An error raised by a body propagates, and then nothing was created."""
        staged: list[_Staged] = []
        for item in objects:
            check_key(item.key)
            folder, _, name = item.key.rpartition("/")
            staged.append(_Staged(item.key, folder, name, normal(item.lock), None, ""))
        with ExitStack() as stack:
            stack.callback(self._clear, staged)
            for folder in {item.folder for item in staged}:
                self._folders.check(folder)
                self._folders.ensure(folder)
            self._write(staged, [item.body for item in objects])
            folders, journal_syncs = self._record(staged, stack)
            durable.together([*journal_syncs, *(item.sync for item in staged if item.fd is not None)])
            self._link(staged, folders)
            durable.together([partial(self._folders.sync, folder, fd) for folder, fd in folders.items()])
        return [item.stored() for item in staged]

    def _write(self, staged: Sequence[_Staged], bodies: Sequence[bytes | Iterable[bytes]]) -> None:
        """Bring the bodies to temporary files; the last ``_MOST_OPEN`` at most are left open, unsynced."""
        waiting: list[_Staged] = []
        for item, body in zip(staged, bodies, strict=True):
            if len(waiting) == _MOST_OPEN:
                durable.together([earlier.sync for earlier in waiting])
                for earlier in waiting:
                    earlier.close()
                waiting.clear()
            with durable.os_errors(f"object {item.key}"):
                item.fd, item.path = self._temporaries.new(durable.READ_ONLY_FILE)
            waiting.append(item)
            for chunk in (body,) if isinstance(body, bytes | bytearray | memoryview) else body:
                with durable.os_errors(f"object {item.key}"):
                    durable.write_all(item.fd, chunk)
            status = os.fstat(item.fd)
            item.size, item.modified = status.st_size, modified_at(status)
            durable.start_writeback(item.fd)

    def _record(
        self, staged: Sequence[_Staged], stack: ExitStack
    ) -> tuple[dict[str, int], list[Callable[[], None]]]:
        """Append the locks to the journals; gives the open folders and what is still to be synced."""
        folders: dict[str, int] = {}
        syncs: list[Callable[[], None]] = []
        for folder in sorted({item.folder for item in staged}):
            items = [item for item in staged if item.folder == folder]
            fd = folders[folder] = self._open_folder(folder, stack)
            journal = stack.enter_context(self._journals.opened(folder, fd, create=True))
            with journal.locked() as states:
                # Under the lock, and before the line is written: a line about an object that is already
                # there would speak for it.
                self._refuse_taken(items, states, fd)
                journal.append([Line(Act.CREATE, item.name, _VERSION, item.lock) for item in items])
            syncs.append(journal.sync)
        return folders, syncs

    def _open_folder(self, folder: str, stack: ExitStack) -> int:
        try:
            return stack.enter_context(self._folders.opened(folder))
        except FileNotFoundError as error:
            raise StoreError(f"folder {folder}: it vanished") from error

    def _refuse_taken(self, items: Sequence[_Staged], states: Mapping[str, LockState], fd: int) -> None:
        for item in items:
            state = states.get(item.name)
            with durable.os_errors(f"object {item.key}"):
                taken = is_there(item.name, fd)
            if taken or (state is not None and state.deleted):
                self._folders.sync(item.folder, fd)
                raise AlreadyExists(f"object {item.key}: the name is taken")

    def _link(self, staged: Sequence[_Staged], folders: Mapping[str, int]) -> None:
        for item in staged:
            fd = folders[item.folder]
            try:
                with durable.os_errors(f"object {item.key}"):
                    _link_new(item.path, item.name, fd)
            except AlreadyExists:
                self._folders.sync(item.folder, fd)  # who lost must be able to rely on the winner's object
                raise AlreadyExists(f"object {item.key}: the name is taken") from None

    def _clear(self, staged: Sequence[_Staged]) -> None:
        for item in staged:
            item.close()
            if item.path:
                self._temporaries.discard(item.path)

    def read(self, key: str, version: str | None = None, offset: int = 0, length: int | None = None) -> bytes:
        """As in ObjectStore; beyond the end there are no bytes."""
        check_key(key)
        check_span(offset, length)
        if version not in (None, _VERSION):
            raise _not_found(key)
        return read_file(f"{self._folders.root}/{key}", f"object {key}", offset, length)

    def stat(self, key: str) -> list[tuple[Stored, Lock]]:
        """As in ObjectStore: one version. Raises Tampered too if the retention state is missing or the
        object is no plain file."""
        check_key(key)
        folder, _, name = key.rpartition("/")
        self._folders.check(folder)
        stored = self._stored(key)
        if stored is None:
            raise _not_found(key)
        return [(stored, self._journals.state(folder, name).lock)]

    def list(self, prefix: str, after: str = "") -> Iterator[Stored]:
        """As in ObjectStore. A folder whose names all come before ``after`` is not opened."""
        check_prefix(prefix)
        return self._list(prefix, after)

    def _list(self, prefix: str, after: str) -> Iterator[Stored]:
        for key in walk(self._folders.root, prefix, after):
            stored = self._stored(key)
            if stored is not None:  # else deleted since the folder was read
                yield stored

    def _stored(self, key: str) -> Stored | None:
        with durable.os_errors(f"object {key}"):
            try:
                status = os.lstat(f"{self._folders.root}/{key}")
            except (FileNotFoundError, NotADirectoryError):
                return None
        if stat.S_ISDIR(status.st_mode):
            return None
        require_plain(status, f"object {key}")
        return Stored(key, _VERSION, status.st_size, modified_at(status))

    def protect(self, key: str, version: str, lock: Lock) -> None:
        """As in ObjectStore. A GOVERNANCE term is not shortened either. Raises NotFound, Tampered."""
        check_key(key)
        wanted = normal(lock)
        with ExitStack() as stack:
            folder, name, fd = self._open_existing(key, version, stack)
            journal = stack.enter_context(self._journals.opened(folder, fd, create=False))
            with journal.locked() as states:
                state = self._state(key, states, fd)
                check_change(key, state.lock, wanted)
                if wanted != state.lock:
                    journal.append([Line(Act.PROTECT, name, version, wanted)])
            journal.sync()  # also when nothing changed: another process may not have synced its line yet

    def delete(self, key: str, version: str) -> None:
        """As in ObjectStore. Raises Tampered if the retention state does not verify. The journal stays
        locked throughout, so that no hold can be set between the look and the deed."""
        check_key(key)
        with ExitStack() as stack:
            folder, name, fd = self._open_existing(key, version, stack)
            journal = stack.enter_context(self._journals.opened(folder, fd, create=False))
            with journal.locked() as states:
                state = self._state(key, states, fd)
                check_deletable(key, state.lock, self._clock())
                if not state.deleted:  # else an earlier deletion was cut short here
                    journal.append([Line(Act.DELETE, name, version, state.lock)])
                journal.sync()
                with durable.os_errors(f"object {key}"):
                    durable.unlink(name, dir_fd=fd)
            self._folders.sync(folder, fd)

    def _open_existing(self, key: str, version: str, stack: ExitStack) -> tuple[str, str, int]:
        folder, _, name = key.rpartition("/")
        self._folders.check(folder)
        if version != _VERSION or self._stored(key) is None:
            raise _not_found(key)
        return folder, name, self._open_folder(folder, stack)

    def _state(self, key: str, states: Mapping[str, LockState], fd: int) -> LockState:
        folder, _, name = key.rpartition("/")
        with durable.os_errors(f"object {key}"):
            if not is_there(name, fd):
                raise _not_found(key)
        return require_state(folder, name, states.get(name))

    def sweep_temporary(self, older_than: timedelta) -> int:
        """Remove temporary files that were last written longer ago than this; returns how many. Choose
        hours: a younger file may belong to a writer at work."""
        return self._temporaries.sweep(older_than, self._clock())


class FileSystemKeyPlace:
    """A KeyPlace in a folder: record ``a/b`` is the file ``root/a/b``, replaced by rename.

    After a sync failed in a folder, this process refuses to write there (StoreError).
    """

    def __init__(self, root: Path, *, clock: Clock = utc_now) -> None:
        """Makes ``root`` if need be. Raises StoreError."""
        self._clock = clock
        self._folders = durable.Folders(root)
        self._temporaries = durable.Temporaries(self._folders.root)

    def create(self, name: str, data: bytes) -> None:
        """As in KeyPlace."""
        self._place(name, data, _link_new)

    def put(self, name: str, data: bytes) -> None:
        """As in KeyPlace."""
        self._place(name, data, _replace)

    def _place(self, name: str, data: bytes, give_name: Callable[[str, str, int], None]) -> None:
        check_key(name)
        folder, _, last = name.rpartition("/")
        self._folders.check(folder)
        self._folders.ensure(folder)
        with ExitStack() as stack, durable.os_errors(f"record {name}"):
            temporary = self._write(data, stack)
            fd = stack.enter_context(self._folders.opened(folder))
            try:
                give_name(temporary, last, fd)
            except AlreadyExists:
                self._folders.sync(folder, fd)  # who lost must be able to rely on the winner's record
                raise AlreadyExists(f"record {name}: the name is taken") from None
            self._folders.sync(folder, fd)

    def _write(self, data: bytes, stack: ExitStack) -> str:
        fd, path = self._temporaries.new(durable.PRIVATE_FILE)
        stack.callback(self._temporaries.discard, path)
        try:
            durable.write_all(fd, data)
            durable.fsync(fd)
        finally:
            os.close(fd)
        return path

    def get(self, name: str) -> bytes:
        """As in KeyPlace."""
        check_key(name)
        return read_file(f"{self._folders.root}/{name}", f"record {name}")

    def list(self, prefix: str) -> Iterator[str]:
        """As in KeyPlace."""
        check_prefix(prefix)
        return walk(self._folders.root, prefix, "")

    def delete(self, name: str) -> None:
        """As in KeyPlace: unlinked. What the medium still holds of it afterwards is in README.md."""
        check_key(name)
        folder, _, last = name.rpartition("/")
        self._folders.check(folder)
        with ExitStack() as stack, durable.os_errors(f"record {name}"):
            try:
                fd = stack.enter_context(self._folders.opened(folder))
            except FileNotFoundError:
                return
            with suppress(FileNotFoundError, IsADirectoryError):
                durable.unlink(last, dir_fd=fd)
            self._folders.sync(folder, fd)  # also when absent: another process may not have synced yet

    def sweep_temporary(self, older_than: timedelta) -> int:
        """As in FileSystemStore."""
        return self._temporaries.sweep(older_than, self._clock())


def _link_new(temporary: str, name: str, folder_fd: int) -> None:
    try:
        durable.link(temporary, name, dst_dir_fd=folder_fd)
    except FileExistsError as error:
        raise AlreadyExists("the name is taken") from error


def _replace(temporary: str, name: str, folder_fd: int) -> None:
    durable.rename(temporary, name, dst_dir_fd=folder_fd)


def _not_found(key: str) -> NotFound:
    return NotFound(f"object {key}: not found")
