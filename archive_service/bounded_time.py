"""The time by which mail goes and locks are set: ours, bounded by the store's own clock.

A clock that runs ahead would have mail destroyed early, and what is destroyed does not come back. So the earlier of the
two counts, and where they disagree nothing is decided at all. An embedded archive has no other clock to ask.
"""

from datetime import datetime, timedelta

from archive_service.bootstrap import Core
from archive_service.model.errors import Refused

BOUND = timedelta(minutes=5)


def bounded_now(core: Core) -> datetime:
    """The earlier of both clocks. Raises Refused (``clock.disagrees``) where they are more than five minutes apart,
    StoreError where the store's is not known."""
    offset = timedelta(seconds=core.stores.clock_offset() if core.stores is not None else 0.0)
    if abs(offset) > BOUND:
        raise Refused(
            "the store's clock and ours disagree: nothing is disposed of until they are right",
            code="clock.disagrees",
        )
    return core.clock() + min(offset, timedelta())
