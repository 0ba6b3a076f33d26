"""What stands under a folder that was handed over: nothing that cannot be read is passed over in silence."""

import os
from collections.abc import Iterator
from pathlib import Path

from ingest.importers.base import Item, failing, plain_name, unreadable


class Walked:
    """Every file under ``top``, by its path, links to nothing too (reading one fails). Links to folders are not
    followed. What is no file (a pipe, a socket) is no mail. ``closed``: folders that could not be listed, and why."""

    def __init__(self, top: Path) -> None:
        self._top = top
        self.closed: list[OSError] = []
        self.files = sorted(
            path
            for folder, _, names in os.walk(top, onerror=self.closed.append)
            for path in (Path(folder, name) for name in names)
            if path.is_file() or (path.is_symlink() and not path.exists())
        )

    def failures(self) -> Iterator[Item]:
        """A failed item for each folder that could not be listed."""
        for error in self.closed:
            name = os.path.relpath(error.filename or self._top, self._top)
            yield failing(plain_name(name), unreadable(error, "folder"))
