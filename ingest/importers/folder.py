"""Files of one suffix under a folder: what importers of single mails have in common."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from archive_service.model.errors import Invalid
from ingest.importers.base import Item, plain_name
from ingest.importers.walking import Walked


class Folder:
    """See ``base.Mailbox``. A single file is a folder of one, whatever it is called. Raises Invalid."""

    suffix: str

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self._walked = None if folder.is_file() else self._walk()
        self._files = self._found()

    def count(self) -> int | None:
        """See ``base.Mailbox``."""
        return len(self._files) + (len(self._walked.closed) if self._walked is not None else 0)

    def items(self) -> Iterator[Item]:
        """In the order of their paths; then folders that cannot be read."""
        for path in self._files:
            name = path.relative_to(self._folder) if path != self._folder else path.name
            yield Item(plain_name(str(name)), partial(self._read, path))
        if self._walked is not None:
            yield from self._walked.failures()

    def close(self) -> None:
        """Nothing is kept open."""

    def _read(self, path: Path) -> bytes:
        """A file's bytes. Raises ArchiveError for this file alone."""
        raise NotImplementedError

    def _walk(self) -> Walked:
        if not self._folder.is_dir():
            raise Invalid("no such folder", code="import.folder")
        return Walked(self._folder)

    def _found(self) -> list[Path]:
        if self._walked is None:
            return [self._folder]
        return [path for path in self._walked.files if path.suffix.lower() == self.suffix]
