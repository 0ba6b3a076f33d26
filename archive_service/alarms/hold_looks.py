"""Whether every hold was looked at again in time."""

from archive_service.alarms import names
from archive_service.alarms.tally import Sample
from archive_service.ledger.acts import Acts
from archive_service.model.clock import Clock, rfc3339


def holds_overdue(acts: Acts, clock: Clock) -> Sample:
    """How many holds in force should have been reviewed by now, by the acts as read."""
    now = rfc3339(clock())
    overdue = sum(hold.review < now for hold in acts.holds.in_force())
    return Sample.of(names.HOLD_REVIEWS_OVERDUE, overdue, owner=acts.log.owner)
