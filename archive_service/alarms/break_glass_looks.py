"""Break-glass that is open now, or was within the hour: by grant and end, never by person."""

from datetime import timedelta

from archive_service.alarms import names
from archive_service.alarms.tally import Sample
from archive_service.ledger.acts import Acts
from archive_service.model.clock import from_rfc3339, rfc3339

_TOLD = timedelta(
    hours=1
)  # one that was used for seconds, between two looks at the alarms, is told all the same


def open_glass(acts: Acts, now: str) -> list[Sample]:
    """One sample a grant, and one that says none, by the acts at their head. ``now``: RFC 3339. Raises ArchiveError."""
    acts.refresh()
    since = rfc3339(from_rfc3339(now) - _TOLD)
    owner = acts.log.owner
    found = [
        grant
        for grant in acts.grants.all()
        if grant.break_glass and (grant.open(now) or since < grant.begins <= now)
    ]
    return [
        Sample.of(names.BREAK_GLASS_OPEN, 0, owner=owner, grant="none", until="none"),
        *(
            Sample.of(names.BREAK_GLASS_OPEN, 1, owner=owner, grant=grant.id, until=grant.ends)
            for grant in found
        ),
    ]
