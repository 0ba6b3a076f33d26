"""Every ``.msg`` file under a folder, as Outlook saves single messages, by its path below it.

The file is archived as it is; ``ingest.saved_mail`` reads it later. One that is no message of Outlook is a failed item.
"""

from pathlib import Path

from archive_service.model.errors import StoreError
from ingest.importers.base import read_file
from ingest.importers.folder import Folder
from ingest.mime.msg import is_msg


class MsgFolder(Folder):
    """See ``folder.Folder``. ``import.not_msg``: the item has the name of such a file, and not its form. What is only
    damaged is taken."""

    suffix = ".msg"

    def _read(self, path: Path) -> bytes:
        data = read_file(path, self._limit)
        if not is_msg(data):
            raise StoreError("the file is no message of Outlook", code="import.not_msg")
        return data
