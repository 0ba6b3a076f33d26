"""What the law and the promise say of each mail, in few lines of their own: nothing here is taken from the program.

Order of a court > legal hold > legal minimum > request to erase > maximum. What nobody asked to erase stays until its
maximum, or until the time that a reviewer has set; a hold or an order to keep stays until it is released.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

YEARS = {"law": (3, 3), "short": (0, 1), "plain": (0, 2)}
"""By kind of mail, its minimum and maximum in years from the day it was sent, as the schedule begins."""


@dataclass
class Mail:
    """One message. ``captures``: how often it was taken; ``keeping``: by order, the captures that it names; ``by_hand``
    and ``until``: what a reviewer said of a capture; ``going``: barred when its term was over by the schedule then in
    force, which a later one does not change."""

    kind: str
    number: int
    sent: datetime
    captures: list[str] = field(default_factory=list)
    holds: set[str] = field(default_factory=set)
    keeping: dict[str, set[str]] = field(default_factory=dict)
    requested: set[str] = field(default_factory=set)
    erased_by_order: set[str] = field(default_factory=set)
    by_hand: dict[str, str] = field(default_factory=dict)
    until: dict[str, datetime] = field(default_factory=dict)
    going: set[str] = field(default_factory=set)

    @property
    def subject(self) -> str:
        """One word that no other mail has, and one of its kind."""
        return f"{self.kind} unique{self.number}word"

    def _after(self, years: int) -> datetime:
        return self.sent.replace(year=self.sent.year + years)

    def must_stay(self, capture: str, now: datetime, years: Mapping[str, tuple[int, int]] = YEARS) -> bool:
        """Whether nobody may destroy this capture at ``now``, by the ``years`` of the schedule in force."""
        if any(capture in named for named in self.keeping.values()):
            return True
        if capture in self.erased_by_order:
            return False
        minimum, maximum = years[self.by_hand.get(capture, self.kind)]
        if self.holds or (minimum and now < self._after(minimum)):
            return True
        return capture not in self.requested | self.going and now < max(
            self._after(maximum), self.until.get(capture, now)
        )
