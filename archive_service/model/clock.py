"""Time as the archive writes it: UTC, RFC 3339, microseconds, ``Z``."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

Clock = Callable[[], datetime]
"""Returns the present, aware, in UTC. Tests inject their own."""


def utc_now() -> datetime:
    """The system's clock."""
    return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    """``2026-11-23T10:00:00.000000Z``; always 27 characters, so that text order is time order; ``strftime``
    writes a year before 1000 with fewer."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def require_day_gone_by(text: str, now: datetime) -> None:
    """That it is a day, ``2026-11-28``, and that it has begun somewhere on earth: what a paper is dated by. Raises
    ValueError."""
    day = date.fromisoformat(text)
    if day.isoformat() != text:
        raise ValueError("a day is written YYYY-MM-DD")
    if day > (now.astimezone(UTC) + timedelta(hours=14)).date():
        raise ValueError("a day to come")


def from_rfc3339(text: str) -> datetime:
    """The reverse of ``rfc3339``; also takes any offset that RFC 3339 allows. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without offset")
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:  # the first or last day of all, in a zone beyond
        raise ValueError("a time before year 1 or after year 9999") from error
