"""What the active follower does for holds, after the projections: see who is covered, then lock what is."""

import logging
import time
from collections.abc import Callable

from archive_service.holds.covering import Covering
from archive_service.holds.objects import ObjectHolds
from archive_service.model.errors import ArchiveError
from archive_service.model.trouble import Trouble

_log = logging.getLogger(__name__)


class HoldsStep:
    """See ``search.follower.HoldsStep``. Not thread-safe."""

    def __init__(
        self, covering: Covering, objects: ObjectHolds, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._covering = covering
        self._objects = objects
        self._monotonic = monotonic
        self._trouble = Trouble(_log, "holds in the store")
        self._again_at = 0.0

    def __call__(self) -> int:
        """How much was done; 0 when nothing is left, or when the store does not take holds now: that is said, tried
        again, and stops no mail from being found. Raises ArchiveError when covering fails; the next call goes on."""
        done = self._covering.step()
        if self._monotonic() < self._again_at:
            return done
        try:
            done += self._objects.step()
        except ArchiveError as error:
            self._again_at = self._monotonic() + self._trouble.failed(error)
            return done
        self._trouble.passed()
        return done
