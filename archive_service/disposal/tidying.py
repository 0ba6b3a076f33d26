"""Words of removed mail leave the files of an index that only its follower may write.

The follower does it a piece at a time, when nothing else is to be done, and notes the acts it is done up to: a
disposition is over only when that note has passed it. Losing the note costs the work once more.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from archive_service.catalog.base import Catalog
from archive_service.ledger.acts import Acts
from archive_service.model.errors import ArchiveError, StoreError

_log = logging.getLogger(__name__)
_NOTE = "tidied"
_REST = 900.0  # seconds between two runs: each writes anew whatever shares a file with a removed mail


def read_tidied(notes: Path) -> int:
    """The acts-log position up to which removed words have left the index beside these notes; 0 when nobody said."""
    try:
        return int((notes / _NOTE).read_text("ascii"))
    except (FileNotFoundError, ValueError):
        return 0
    except OSError as error:
        raise StoreError("the work folder cannot be read", code="work.failed") from error


class Tidying:
    """One owner's, on one machine. Not thread-safe."""

    def __init__(
        self,
        acts: Acts,
        catalog: Catalog,
        rewrite: Callable[[], bool],
        notes: Path,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._acts = acts
        self._catalog = catalog
        self._rewrite = rewrite
        self._notes = notes
        self._monotonic = monotonic
        self._begun: int | None = None
        self._rest_until = monotonic()

    def __call__(self) -> int:
        """A piece of the run that is due; 0 when none is. A fault stops nothing else: the next run is later, and what
        waits for the note waits on."""
        if self._begun is None and not self._due():
            return 0
        try:
            return self._piece()
        except ArchiveError as error:
            self._begun, self._rest_until = None, self._monotonic() + _REST
            _log.warning("words of removed mail stand in the index's files: %s", error.code)
            return 0

    def _due(self) -> bool:
        last = self._acts.erasures.last
        return last >= 0 and self._monotonic() >= self._rest_until and read_tidied(self._notes) <= last

    def _piece(self) -> int:
        if self._begun is None:
            position = self._catalog.position()
            if position.acts <= self._acts.erasures.last or position.indexed < position.rows:
                return 0
            self._begun = position.acts
        if not self._rewrite():
            return 1
        (self._notes / _NOTE).write_text(str(self._begun), "ascii")
        self._begun, self._rest_until = None, self._monotonic() + _REST
        return 0
