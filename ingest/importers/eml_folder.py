"""Every ``.eml`` file under a folder, by its path below it."""

from collections.abc import Iterator
from pathlib import Path

from archive_service.model.errors import Invalid
from ingest.importers.base import Item, plain_name, read_file


class EmlFolder:
    """See ``base.Mailbox``. A single file is a folder of one, whatever it is called. Raises Invalid."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self._files = _files(folder)

    def count(self) -> int | None:
        """See ``base.Mailbox``."""
        return len(self._files)

    def items(self) -> Iterator[Item]:
        """In the order of their paths."""
        for path in self._files:
            name = path.relative_to(self._folder) if path != self._folder else path.name
            yield Item(plain_name(str(name)), lambda path=path: read_file(path, self._limit))  # type: ignore[misc]

    def close(self) -> None:
        """Nothing is kept open."""


def _files(folder: Path) -> list[Path]:
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise Invalid("no such folder", code="import.folder")
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".eml" and path.is_file())
