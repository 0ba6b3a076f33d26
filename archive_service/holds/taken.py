"""What orders of a court or authority took from a hold: such an order stands above it, and the hold says so."""

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
