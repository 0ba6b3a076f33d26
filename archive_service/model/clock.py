"""Time as the archive writes it: UTC, RFC 3339, microseconds, ``Z``."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Returns the present, aware, in UTC. Tests inject their own."""


def utc_now() -> datetime:
    """The system's clock."""
    return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    """``2026-11-23T10:00:00.000000Z``; always 27 characters, so that text order is time order."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def from_rfc3339(text: str) -> datetime:
    """The reverse of ``rfc3339``; also takes any offset that RFC 3339 allows. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without offset")
    return moment.astimezone(UTC)
