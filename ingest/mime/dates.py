"""Dates as mail writes them (RFC 5322 section 3.3 and what passes for it) to RFC 3339 in UTC."""

import re
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_tz

from archive_service.model.clock import from_rfc3339, rfc3339

_LONGEST = 200
_FIRST_YEAR, _LAST_YEAR = 1970, 2100
_FRACTION = re.compile(r"(:\d\d)\.\d+")
_INVARIANT = re.compile(
    r"(\d{1,2})/(\d{1,2})/(\d{4})[ ,T]+(\d{1,2}):(\d{2})(?::(\d{2}))?\s*([AP]M)?(?:\s*(?:UTC|GMT|Z))?",
    re.IGNORECASE,
)


def _within(moment: datetime) -> str | None:
    return rfc3339(moment) if _FIRST_YEAR <= moment.year <= _LAST_YEAR else None


def parse_date(text: str) -> str | None:
    """RFC 3339 UTC of a Date field; None if it makes no sense or lies outside the years 1970 to 2100.

    A date without an offset is taken as UTC. Never raises.
    """
    text = text[:_LONGEST].strip()
    try:
        parts = parsedate_tz(_FRACTION.sub(r"\1", text))
        if parts is None:
            return _iso(text)
        year, month, day, hour, minute, second = parts[:6]
        zone = timezone(timedelta(seconds=parts[9] or 0))
        return _within(datetime(year, month, day, hour, minute, min(second, 59), tzinfo=zone).astimezone(UTC))
    except (ValueError, TypeError, IndexError, OverflowError):
        return _iso(text)


def _iso(text: str) -> str | None:
    try:
        moment = datetime.fromisoformat(text)
        return _within(from_rfc3339(text) if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return None


def parse_report_date(text: str) -> str | None:
    """A journal report's ``SentUtc``: month/day/year with AM or PM (the invariant culture of its writer), or
    any form that ``parse_date`` takes; always UTC."""
    found = _INVARIANT.fullmatch(text.strip()[:_LONGEST])
    if found is None:
        return parse_date(text)
    month, day, year, hour, minute = (int(found.group(n)) for n in range(1, 6))
    if found.group(7):
        hour = hour % 12 + (12 if found.group(7).upper() == "PM" else 0)
    try:
        return _within(datetime(year, month, day, hour, minute, int(found.group(6) or 0), tzinfo=UTC))
    except ValueError:
        return None
