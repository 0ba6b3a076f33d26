"""The time by which mail goes and locks are set: ours, bounded by the store's own clock.

A clock that runs ahead would have mail destroyed early, and what is destroyed does not come back. So the earlier of the
two counts, and where they disagree nothing is decided at all. An embedded archive has no other clock to ask.
"""

from datetime import datetime, timedelta

from archive_service.bootstrap import Core
from archive_service.model.errors import Refused

BOUND = timedelta(minutes=5)


def bounded_now(core: Core) -> datetime:
    """The earlier of both clocks. Raises as ``behind_ours``."""
    return core.clock() - behind_ours(core)


def behind_ours(core: Core) -> timedelta:
    """How much earlier than ours the time is that counts, for a piece of work that looks at it often. Raises Refused
    (``clock.disagrees``) where both are more than five minutes apart, StoreError where the store's is not known."""
    offset = timedelta(seconds=core.stores.clock_offset() if core.stores is not None else 0.0)
    if abs(offset) > BOUND:
        raise Refused(
            "the store's clock and ours disagree: nothing is disposed of until they are right",
            code="clock.disagrees",
        )
    return max(-offset, timedelta())
