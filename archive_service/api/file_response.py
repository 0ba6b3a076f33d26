"""A finished export as a download that can be resumed."""

import re
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse
from starlette.types import Message, Receive, Scope, Send

from archive_service.api.errors import Gone
from archive_service.api.long_answer import Still

_RANGE = re.compile(rb"bytes=(\d{1,15})-(\d{0,15})")


class ResumableFile(FileResponse):
    """Obeys a single range that lies in the file and ignores every other Range field, as RFC 9110 section
    14.2 allows; so no answer but the file ever comes from here. ``still``: asked again on the way."""

    still: Still

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [each for each in scope["headers"] if each[0] != b"range" or self._obeyed(each[1])]

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.body" and self.still.due:
                await run_in_threadpool(self.still.ask)
            await send(message)

        await super().__call__({**scope, "headers": headers}, receive, sending)

    def _obeyed(self, value: bytes) -> bool:
        match = _RANGE.fullmatch(value)
        if match is None or self.stat_result is None:
            return False
        first, last = int(match[1]), match[2]
        return first < self.stat_result.st_size and (not last or int(last) >= first)


def resumable_zip(path: Path, name: str, still: Still) -> ResumableFile:
    """``name``: a well-formed id. ``still``: whether it may go on leaving. Raises Gone (``export.gone``) when the file
    is no more."""
    try:
        stat_result = path.stat()
    except FileNotFoundError as error:
        raise Gone("the export's file is gone; ask for it again", code="export.gone") from error
    made = ResumableFile(path, media_type="application/zip", filename=f"{name}.zip", stat_result=stat_result)
    made.still = still
    return made
