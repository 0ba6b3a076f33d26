"""The year that a pack is of."""

from dataclasses import dataclass
from datetime import UTC, datetime

from archive_service.model.clock import from_rfc3339, rfc3339
from archive_service.model.errors import Invalid


@dataclass(frozen=True)
class Span:
    """From ``begins`` on and before ``ends`` (RFC 3339): the year in UTC, or what has gone by of it. ``over``: whether
    it was all of it."""

    year: int
    begins: str
    ends: str
    over: bool

    @staticmethod
    def of(year: int, now: datetime) -> "Span":
        """Raises Invalid (``pack.year``) for a year that has not begun."""
        if not 1970 <= year <= now.year:
            raise Invalid("a year that has begun", code="pack.year")
        end = datetime(year + 1, 1, 1, tzinfo=UTC)
        return Span(year, rfc3339(datetime(year, 1, 1, tzinfo=UTC)), rfc3339(min(end, now)), end <= now)

    def seconds_from(self, time: str) -> int:
        """How much of it is left from a time on; all of it from one before."""
        since = from_rfc3339(max(time, self.begins))
        return max(0, int((from_rfc3339(self.ends) - since).total_seconds()))

    def holds(self, time: str | None) -> bool:
        """Whether a time (RFC 3339) lies in it."""
        return time is not None and self.begins <= time < self.ends
