"""Files of one suffix under a folder: what importers of single mails have in common."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from archive_service.model.errors import Invalid
from ingest.importers.base import Item, plain_name


class Folder:
    """See ``base.Mailbox``. A single file is a folder of one, whatever it is called. Raises Invalid."""

    suffix: str

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self._files = self._found()

    def count(self) -> int | None:
        """See ``base.Mailbox``."""
        return len(self._files)

    def items(self) -> Iterator[Item]:
        """In the order of their paths."""
        for path in self._files:
            name = path.relative_to(self._folder) if path != self._folder else path.name
            yield Item(plain_name(str(name)), partial(self._read, path))

    def close(self) -> None:
        """Nothing is kept open."""

    def _read(self, path: Path) -> bytes:
        """A file's bytes. Raises ArchiveError for this file alone."""
        raise NotImplementedError

    def _found(self) -> list[Path]:
        if self._folder.is_file():
            return [self._folder]
        if not self._folder.is_dir():
            raise Invalid("no such folder", code="import.folder")
        every = self._folder.rglob("*")
        return sorted(path for path in every if path.suffix.lower() == self.suffix and path.is_file())
