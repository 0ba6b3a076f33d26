"""Every ``.eml`` file under a folder, by its path below it."""

from pathlib import Path

from ingest.importers.base import read_file
from ingest.importers.folder import Folder


class EmlFolder(Folder):
    """See ``folder.Folder``. Files are taken as they are."""

    suffix = ".eml"

    def _read(self, path: Path) -> bytes:
        return read_file(path, self._limit)
