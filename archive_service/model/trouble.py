"""A fault that lasts: said when it begins, when it becomes another one and when it has passed, and never in between. A
log that says the same four times a second hides everything else."""

import logging

from archive_service.model.backoff import Backoff
from archive_service.model.errors import ArchiveError

_PATIENCE = Backoff(first_pause=0.5, longest_pause=15.0)


class Trouble:
    """What goes wrong again and again in one place. Not thread-safe. ``patience``: its pauses alone count."""

    def __init__(self, log: logging.Logger, where: str, patience: Backoff = _PATIENCE) -> None:
        self._log = log
        self._where = where
        self._patience = patience
        self._code: str | None = None
        self._times = 0

    def failed(self, error: ArchiveError) -> float:
        """Say it if it is new; how many seconds to wait before the next try: longer from time to time while it is the
        same."""
        if error.code != self._code:
            self._log.warning("%s: %s", self._where, error.code)
            self._code, self._times = error.code, 0
        self._times += 1
        return self._patience.pause(self._times)

    def passed(self) -> None:
        """It works. Says so if it did not before."""
        if self._code is not None:
            self._log.info("%s: %s has passed", self._where, self._code)
            self._code, self._times = None, 0
