"""What the acts say of captures that somebody has looked at before they go: an end or a class of their own.

retention.extend   {captures: [id], until: TIME, reason, by, at}                no run takes them before then
retention.relabel  {captures: [id], class, reason, by, at, approval}           of this class, whatever the rules say

Each takes the place of what was said before. To relabel needs two people: it may shorten.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Reviews:
    """One owner's reviews as state; see ``Erasures`` for who writes and reads it. ``count``: of the acts."""

    until: dict[str, str] = field(default_factory=dict)
    classes: dict[str, str] = field(default_factory=dict)
    count: int = 0

    def take(self, act: dict[str, Any], position: int) -> bool:
        """Apply an act, if it is one of these. Raises KeyError, TypeError or ValueError for a malformed one."""
        if act["act"] == "retention.extend":
            self.until.update(dict.fromkeys(map(str, act["captures"]), str(act["until"])))
        elif act["act"] == "retention.relabel":
            self.classes.update(dict.fromkeys(map(str, act["captures"]), str(act["class"])))
        else:
            return False
        self.count += 1
        return True
