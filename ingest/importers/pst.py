"""A PST or OST file, through ``readpst`` (Debian: pst-utils), which is run as a program of its own.

Such a file holds properties, not mails: what ``readpst`` makes of them is a reconstruction, and differs in its MIME
boundaries from run to run. So an item's name settles it: the file's SHA-256, the version of ``readpst`` (another one
may number differently), the folder and the number in it. What ``readpst`` says it left out of a folder is a failed item
of that folder. Contacts, appointments and other items that are no mail are left where they are.

While the import runs, the mails lie in clear in a folder below ``scratch``, for its user alone. They go when it ends;
what a killed one left goes with the next.
"""

import fcntl
import hashlib
import logging
import os
import re
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

from archive_service.model.errors import Invalid, StoreError
from ingest.importers.base import Item, MailboxFailed, failing, plain_name, read_file, unreadable

_log = logging.getLogger(__name__)
_VERSION = re.compile(r"LibPST v([0-9A-Za-z.]+)")
_LEFT_OUT = re.compile(rb'^\t"(.*)" - [0-9]+ items done, ([0-9]+) items skipped\.\r?$', re.MULTILINE)
_ROOM = 2  # times the file's size must be free: attachments grow by a third
_MEMORY = 4 << 30  # bytes that readpst may take
_LOCK, _SAID, _MAILS = "lock", "said", "mails"


class Pst:
    """See ``base.Mailbox``. The file has been read whole on return. Raises Invalid, MailboxFailed, StoreError."""

    def __init__(self, path: Path, limit: int, scratch: Path, program: str | None = None) -> None:
        self._limit = limit
        if not path.is_file():
            raise Invalid("no such file", code="import.folder")
        found = program or shutil.which("readpst")
        if found is None:
            raise Invalid("readpst is not installed (Debian: pst-utils)", code="import.readpst")
        _sweep(scratch)
        self._folder, self._lock = _scratch(scratch)
        try:
            _require_room(path, self._folder)
            self._stem = f"{_sha256(path)};readpst={_version(found)}"
            _extract(found, path, self._folder)
            self._left_out = _LEFT_OUT.findall((self._folder / _SAID).read_bytes())
            mails = self._folder / _MAILS
            self._mails = sorted(
                (each.relative_to(mails) for each in mails.rglob("*.eml") if each.is_file()), key=_place
            )
        except BaseException:
            self.close()
            raise

    def count(self) -> int | None:
        """As extracted."""
        return len(self._mails)

    def items(self) -> Iterator[Item]:
        """Folder by folder, in their order there."""
        for mail in self._mails:
            path = self._folder / _MAILS / mail
            name = f"{self._stem}/{plain_name(str(mail))}"
            yield Item(name, partial(read_file, path, self._limit), settled_by_name=True)
        for folder, count in self._left_out:
            if int(count):
                reason = f"readpst left out {int(count)} items of the folder"
                name = f"{self._stem}/{folder.decode('utf-8', 'backslashreplace')}"
                yield failing(name, StoreError(reason, code="import.left_out"))

    def close(self) -> None:
        """Remove what was extracted."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._lock.close()


def _place(mail: Path) -> tuple[str, int, str]:
    number = int(mail.stem) if mail.stem.isdecimal() else 0
    return str(mail.parent), number, mail.name


def _scratch(scratch: Path) -> tuple[Path, BinaryIO]:
    """A folder of this import's own, locked while it lives."""
    try:
        scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = Path(tempfile.mkdtemp(prefix="pst-", dir=scratch))
        lock = (folder / _LOCK).open("wb")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (folder / _MAILS).mkdir()
    except OSError as error:
        raise StoreError(f"no folder for mails ({error.strerror})", code="import.scratch") from error
    return folder, lock


def _sweep(scratch: Path) -> None:
    """Remove what killed imports left: folders that nobody holds the lock of."""
    for folder in scratch.glob("pst-*") if scratch.is_dir() else ():
        try:
            with (folder / _LOCK).open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
        except BlockingIOError:
            continue  # another import is using it
        except OSError as error:
            _log.warning("what an import left cannot be removed: %s", error.strerror)


def _require_room(path: Path, folder: Path) -> None:
    if shutil.disk_usage(folder).free < _ROOM * path.stat().st_size:
        raise StoreError("the work folder has no room for the mails of the file", code="import.room")


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(error) from error


def _version(program: str) -> str:
    said = subprocess.run(  # noqa: S603  (the administrator's own program)
        [program, "-V"], capture_output=True, check=False, env=_environment(), stdin=subprocess.DEVNULL
    )
    found = _VERSION.search(said.stdout.decode("ascii", "replace"))
    if found is None:
        raise Invalid("readpst does not say its version", code="import.readpst")
    return found[1]


def _extract(program: str, path: Path, folder: Path) -> None:
    """``-e``: a file a mail, numbered; ``-D``: deleted items too; ``-j 0``: one process, so that numbers stay the same.
    What it says goes to a file: it names folders."""
    asked = [program, "-e", "-D", "-j", "0", "-o", str(folder / _MAILS), str(path.resolve())]
    with (folder / _SAID).open("wb") as said:
        running = subprocess.Popen(  # noqa: S603  (the administrator's own program)
            asked, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.DEVNULL, env=_environment()
        )
        try:
            resource.prlimit(running.pid, resource.RLIMIT_AS, (_MEMORY, _MEMORY))
            resource.prlimit(running.pid, resource.RLIMIT_CORE, (0, 0))
        except ProcessLookupError:
            _log.debug("readpst has ended already")
        try:
            code = running.wait()
        finally:
            if running.poll() is None:
                running.kill()
                running.wait()
    if code != 0:
        raise MailboxFailed(f"readpst cannot read the file (exit {code})", code="import.pst")


def _environment() -> dict[str, str]:
    """Nothing of ours, secrets least of all; English words, UTF-8 names."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}
