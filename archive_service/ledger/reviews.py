"""What the acts say of captures that somebody has looked at before they go: an end or a class of their own.

retention.extend   {captures: [id], until: TIME, reason, by, at}                no run takes them before then
retention.relabel  {captures: [id], class, reason, by, at, approval}           of this class, whatever the rules say

stray.take         {capture, until?, class?, ...}      both, as they were said before it was moved into a compartment

Each takes the place of what was said before. To relabel needs two people: it may shorten. A class that was given
before a capture was moved counts where it says the same (``by_hand``).
"""

from dataclasses import dataclass, field
from typing import Any

from archive_service.model.schedule import RetentionClass, Schedule


@dataclass
class Reviews:
    """One owner's reviews as state; see ``Erasures`` for who writes and reads it. ``count``: of the acts."""

    until: dict[str, str] = field(default_factory=dict)
    classes: dict[str, str] = field(default_factory=dict)
    count: int = 0
    carried: dict[str, RetentionClass] = field(default_factory=dict)
    """Of captures that were moved here: the class that they had by hand, as it was there."""

    def by_hand(self, capture: str, schedule: Schedule) -> str | None:
        """The class that a capture has by hand. One that was given before it was moved here counts while the schedule
        has it with the same term, and nobody has given it another one here: it was decided of that term alone."""
        carried = self.carried.get(capture)
        if capture in self.classes or carried is None:
            return self.classes.get(capture)
        same = any(each.id == carried.id and each.term == carried.term for each in schedule.classes)
        return carried.id if same else None

    def take(self, act: dict[str, Any], position: int) -> bool:
        """Apply an act, if it is one of these. Raises KeyError, TypeError or ValueError for a malformed one."""
        if act["act"] == "retention.extend":
            self.until.update(dict.fromkeys(map(str, act["captures"]), str(act["until"])))
        elif act["act"] == "retention.relabel":
            self.classes.update(dict.fromkeys(map(str, act["captures"]), str(act["class"])))
        elif act["act"] == "stray.take":
            self._carry(str(act["capture"]), act)
            return False  # it is the strays' own act
        else:
            return False
        self.count += 1
        return True

    def _carry(self, capture: str, act: dict[str, Any]) -> None:
        if "until" in act:
            self.until[capture] = max(str(act["until"]), self.until.get(capture, ""))
        if "class" in act:
            self.carried[capture] = RetentionClass.model_validate(act["class"])
        else:
            self.carried.pop(capture, None)
        self.count += "until" in act or "class" in act
