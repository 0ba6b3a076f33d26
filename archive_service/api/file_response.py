"""A finished export as a download that can be resumed."""

import re
from pathlib import Path

from starlette.responses import FileResponse
from starlette.types import Receive, Scope, Send

from archive_service.api.errors import Gone

_RANGE = re.compile(rb"bytes=(\d{1,15})-(\d{0,15})")


class ResumableFile(FileResponse):
    """Obeys a single range that lies in the file and ignores every other Range field, as RFC 9110 section
    14.2 allows; so no answer but the file ever comes from here."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [each for each in scope["headers"] if each[0] != b"range" or self._obeyed(each[1])]
        await super().__call__({**scope, "headers": headers}, receive, send)

    def _obeyed(self, value: bytes) -> bool:
        match = _RANGE.fullmatch(value)
        if match is None or self.stat_result is None:
            return False
        first, last = int(match[1]), match[2]
        return first < self.stat_result.st_size and (not last or int(last) >= first)


def resumable_zip(path: Path, name: str) -> ResumableFile:
    """``name``: a well-formed id. Raises Gone (``export.gone``) when the file is no more."""
    try:
        stat_result = path.stat()
    except FileNotFoundError as error:
        raise Gone("the export's file is gone; ask for it again", code="export.gone") from error
    return ResumableFile(path, media_type="application/zip", filename=f"{name}.zip", stat_result=stat_result)
