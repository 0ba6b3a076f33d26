"""Files that commands are given: text they read, and new files they write."""

import os
from pathlib import Path

from archive_service.model.errors import Invalid


def text_of(path: Path) -> str:
    """What a file says. Raises Invalid (``input.encoding``), OSError."""
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise Invalid("a file is not UTF-8 text", code="input.encoding") from error


def require_new(target: Path | None) -> None:
    """Before the work begins: no command writes over a file. Raises Invalid (``export.output``)."""
    if target is not None and os.path.lexists(target):
        raise Invalid("the output file exists", code="export.output")
