"""How many captures of which source came in which hour, and how long after they were sent: sums that are kept with the
rows, so that nobody counts captures to know whether a source is silent.

A row counts captures of one source, hour (since 1970, of receipt) and kind. ``kind`` is, first that fits: ``import``,
``undeliverable`` (it came back, or to the address for what does), ``canary``; or, for mail that came by the source's
own route, its lag, see ``lag_class``. A capture that is erased stays counted: it did come. A rebuild counts what it
can read.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, case, delete, insert, select, update

from archive_service.catalog import tables
from archive_service.catalog.base import Arrivals, HourOfSource, LastArrival
from archive_service.model.canaries import parse_canary
from archive_service.model.clock import from_rfc3339
from archive_service.model.mail import Finding

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR = 3600
LAGS = (60, 300, 900, 3600, 4 * 3600, 12 * 3600, 86400, 2 * 86400, 4 * 86400, 8 * 86400)
"""Upper bounds of lag classes, seconds; the longest window of any source is eight days."""

_SKEW = 300  # seconds that a sender's clock may be ahead
OTHER_WAYS = ("import", "undeliverable", "canary")
NO_LAG = ("older", "ahead", "unknown")
"""Kinds of mail whose lag says nothing: sent before the longest window, by a clock far ahead, or without a time."""


@dataclass(frozen=True)
class _Key:
    source: str
    hour: int
    kind: str


def seconds_of(time: str) -> int | None:
    """Of an RFC 3339 time, since 1970; None for what is none."""
    try:
        return (from_rfc3339(time) - _EPOCH) // timedelta(seconds=1)
    except (ValueError, OverflowError):
        return None


def lag_class(finding: Finding) -> str:
    """The least of ``LAGS`` that holds the time from sending to receipt, or a word of ``NO_LAG``."""
    sent = seconds_of(finding.parsed.sent_at) if finding.parsed.sent_at is not None else None
    received = seconds_of(finding.received_at)
    if sent is None or received is None:
        return "unknown"
    lag = received - sent
    if lag < -_SKEW:
        return "ahead"
    return next((str(bound) for bound in LAGS if lag <= bound), "older")


def kind_of(finding: Finding) -> str:
    """See the module's text."""
    flags = finding.parsed.flags
    if finding.channel == "undeliverable" or "undelivered_report" in flags:
        return "undeliverable"
    if finding.channel is not None:
        return finding.channel
    return "canary" if "canary" in flags else lag_class(finding)


def count(connection: Connection, findings: Iterable[Finding]) -> None:
    """Add captures that have not been counted."""
    counts: Counter[_Key] = Counter()
    last: dict[_Key, int] = {}
    for finding in findings:
        received = seconds_of(finding.received_at)
        if received is None:
            continue
        key = _Key(finding.source, received // _HOUR, kind_of(finding))
        counts[key] += 1
        last[key] = max(last.get(key, received), received)
        if key.kind == "canary":
            _arrived(connection, finding)
    for key, more in counts.items():
        _add(connection, key, more, last[key])


def _add(connection: Connection, key: _Key, more: int, last: int) -> None:
    t = tables.arrivals
    values = {"count": t.c.count + more, "last": case((t.c.last < last, last), else_=t.c.last)}
    place = (t.c.source == key.source, t.c.hour == key.hour, t.c.kind == key.kind)
    if connection.execute(update(t).where(*place).values(values)).rowcount == 0:
        row = {"source": key.source, "hour": key.hour, "kind": key.kind, "count": more, "last": last}
        connection.execute(insert(t).values(row))


def _arrived(connection: Connection, finding: Finding) -> None:
    """The first of several counts: a canary that comes twice was back when it first came."""
    name = parse_canary(finding.parsed.message_id or "")
    t = tables.canaries
    if name is None:
        return
    place = (t.c.source == finding.source, t.c.number == name.number)
    known = connection.execute(select(t.c.received_at).where(*place)).scalar()
    if known is None or finding.received_at < known:
        connection.execute(delete(t).where(*place))
        row = {"source": finding.source, "number": name.number, "received_at": finding.received_at}
        connection.execute(insert(t).values(row))


def between(connection: Connection, since: int, below: int) -> Arrivals:
    """What came in hours [since, below)."""
    t = tables.arrivals
    query = select(t.c.source, t.c.hour, t.c.kind, t.c.count).where(t.c.hour >= since, t.c.hour < below)
    rows = [HourOfSource(*row) for row in connection.execute(query)]
    counted_from = connection.execute(select(tables.position.c.counted_from)).scalar_one()
    return Arrivals(counted_from, rows)


def last_of(connection: Connection, source: str, below: int) -> LastArrival:
    """When something of a source last came before an hour: the rows of its newest hour, by the key."""
    t = tables.arrivals
    query = select(t.c.last).where(t.c.source == source, t.c.hour < below).order_by(t.c.hour.desc())
    imported = connection.execute(query.where(t.c.kind == "import").limit(1)).scalar()
    route = query.where(t.c.kind.not_in(("import", "undeliverable"))).limit(len(LAGS) + len(NO_LAG) + 1)
    return LastArrival(
        route=max(connection.execute(route).scalars().all(), default=None),
        imported=imported,
    )


def canaries(connection: Connection, source: str, numbers: Sequence[int]) -> dict[int, str]:
    """When those canaries that came did, by number."""
    t = tables.canaries
    query = select(t.c.number, t.c.received_at).where(t.c.source == source, t.c.number.in_(numbers))
    return {row.number: row.received_at for row in connection.execute(query)}
