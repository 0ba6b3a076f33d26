"""What is no longer a hold's. What orders of a court or authority took: such an order stands above it, and the hold
says so. What was withdrawn: a stray's holds have moved along, and nothing here tells that it was one."""

from collections import Counter

from archive_service.ledger.acts import Acts
from archive_service.ledger.holds import Hold


def taken_by(acts: Acts, capture: str) -> str | None:
    """The order under which a capture's key has gone, or is going; by the acts as read."""
    run = acts.dispositions.of(capture)
    return run.id if run is not None and run.order and acts.erasures.begun(capture) else None


def taken_from(acts: Acts, hold: Hold) -> dict[str, int]:
    """By order, how many of the captures that a hold covers it took."""
    taken = (order for capture in list(hold.covered) if (order := taken_by(acts, capture)))
    return dict(sorted(Counter(taken).items()))


def standing(acts: Acts, hold: Hold, first: int | None = None) -> list[str]:
    """Of the captures that a hold covers, or of the first so many, those that were not withdrawn; by the acts as read.
    An order to keep stands above that and keeps its own too: what it names is told, and what it finds there is not."""
    covered = list(hold.covered)[:first]
    if hold.order and not hold.searched:
        return covered
    return [each for each in covered if not acts.erasures.withdrew(each)]
