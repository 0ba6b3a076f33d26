"""What the active follower does for holds, after the projections: see who is covered, then lock what is."""

from archive_service.holds.covering import Covering
from archive_service.holds.objects import ObjectHolds


class HoldsStep:
    """See ``search.follower.HoldsStep``. Not thread-safe."""

    def __init__(self, covering: Covering, objects: ObjectHolds) -> None:
        self._covering = covering
        self._objects = objects

    def __call__(self) -> int:
        """How much was done; 0 when nothing is left. Raises ArchiveError; the next call goes on."""
        return self._covering.step() + self._objects.step()
