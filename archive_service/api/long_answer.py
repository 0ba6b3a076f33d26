"""Answers that are long in leaving: what let them begin is asked again on the way, and where it holds no more the
connection is cut. Whoever reads slowly keeps no door open that was shut meanwhile."""

import time
from collections.abc import Callable, Iterator

from archive_service.api.middleware import AnswerBrokenOff
from archive_service.model.errors import ArchiveError

EVERY = 5.0  # seconds between two questions


class Still:
    """Asks ``require`` again, every few seconds; what it raises is what let the answer begin and holds no more.
    ``refused``: told why, before the connection is cut. For one answer, one thread at a time."""

    def __init__(self, require: Callable[[], None], refused: Callable[[str], None]) -> None:
        self._require = require
        self._refused = refused
        self._asked = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time to ask."""
        return time.monotonic() - self._asked >= EVERY

    def ask(self) -> None:
        """Raises AnswerBrokenOff."""
        try:
            self._require()
        except ArchiveError as error:
            self._refused(error.code)
            raise AnswerBrokenOff(error.code) from error
        self._asked = time.monotonic()


def while_still(parts: Iterator[bytes], still: Still) -> Iterator[bytes]:
    """The parts of an answer, as long as it may leave. Raises AnswerBrokenOff."""
    for part in parts:
        if still.due:
            still.ask()
        yield part
