"""Files that commands are given: text they read, and new files they write."""

import os
from pathlib import Path

from archive_service.model.errors import Invalid


def text_of(path: Path) -> str:
    """What a file says. Raises Invalid (``input.encoding``; as ``bytes_of``)."""
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise Invalid("a file is not UTF-8 text", code="input.encoding") from error
    except OSError as error:
        raise _not_there(error, path) from error


def bytes_of(path: Path) -> bytes:
    """What is in a file that the command was given. Raises Invalid (``input.file``): none, or none that we may read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise _not_there(error, path) from error


def _not_there(error: OSError, path: Path) -> Invalid:
    return Invalid(f"{error.strerror}: {path}", code="input.file")


def require_new(target: Path | None) -> None:
    """Before the work begins: no command writes over a file. Raises Invalid (``export.output``)."""
    if target is not None and os.path.lexists(target):
        raise Invalid("the output file exists", code="export.output")
