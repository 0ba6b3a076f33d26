"""What commands print: text for people, one JSON object for programs; progress on a terminal's standard error."""

import json
import sys
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

from archive_service.model.errors import ArchiveError, QueryError


class Output:
    """Where a command's answer goes."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def answer(self, value: dict[str, Any], text: str) -> None:
        """The command's result."""
        sys.stdout.write((json.dumps(value, ensure_ascii=False) if self.as_json else text) + "\n")
        sys.stdout.flush()

    def line(self, text: str) -> None:
        """A line for people only."""
        if not self.as_json:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()

    def error(self, error: ArchiveError) -> None:
        """Why the answer is no."""
        if self.as_json:
            sys.stdout.write(json.dumps({"error": {"code": error.code, "message": str(error)}}) + "\n")
        where = f" at character {error.position}" if isinstance(error, QueryError) else ""
        sys.stderr.write(f"archive-service: {error}{where} ({error.code})\n")

    def progress(self, total: int | None, unit: str) -> tuple[Callable[[int], None], Callable[[], None]]:
        """A bar on a terminal: how to move it to a place, and how to end it."""
        bar: tqdm[Any] = tqdm(
            total=total, unit=unit, file=sys.stderr, disable=not sys.stderr.isatty(), leave=False
        )

        def move(place: int) -> None:
            bar.update(place - bar.n)

        return move, bar.close
