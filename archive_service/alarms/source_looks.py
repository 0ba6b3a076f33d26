"""Whether each source sends what it should: by the sums that the catalog keeps, never by what a process remembers."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from archive_service.alarms import names
from archive_service.alarms.tally import Sample
from archive_service.catalog.arrivals import NO_LAG, OTHER_WAYS
from archive_service.catalog.base import Arrivals, Catalog, LastArrival
from archive_service.completeness import history
from archive_service.completeness.history import Past
from archive_service.completeness.windows import Window, window_of
from archive_service.model.clock import from_rfc3339
from archive_service.model.mail import Source

_HOUR = 3600
_PAST = (history.WEEKS + 1) * history.WEEK + 2
_RECENT = 24
_AGAIN = 300.0  # seconds
OF_SOURCES = (
    names.SOURCE_STATE,
    names.SOURCE_SEEN_AGE,
    names.SOURCE_SILENCE_USED,
    names.SOURCE_HOUR,
    names.SOURCE_HOUR_EXPECTED,
    names.SOURCE_GAP,
    names.SOURCE_GAP_USED,
    names.SOURCE_LAG,
    names.SOURCE_LAG_USED,
    names.SOURCE_UNDELIVERED,
)


@dataclass
class _Counted:
    """One source's sums. ``mails``: by hour, of its own route; ``lags``: by hour, of those whose lag tells something;
    ``undelivered``: by hour."""

    mails: dict[int, int] = field(default_factory=dict)
    lags: dict[int, dict[int, int]] = field(default_factory=dict)
    undelivered: dict[int, int] = field(default_factory=dict)


def _counted(arrivals: Arrivals) -> Mapping[str, _Counted]:
    found: dict[str, _Counted] = {}
    for each in arrivals.hours:
        of = found.setdefault(each.source, _Counted())
        if each.kind == "undeliverable":
            of.undelivered[each.hour] = each.count
        elif each.kind not in OTHER_WAYS:
            of.mails[each.hour] = of.mails.get(each.hour, 0) + each.count
            if each.kind not in NO_LAG:
                of.lags.setdefault(each.hour, {})[int(each.kind)] = each.count
    return found


class SourceLooks:
    """Looks at one owner's sources. What ended before an hour is read once in it, and every few minutes at most. Not
    thread-safe."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._read: tuple[float, int, Arrivals] | None = None

    def look(self, catalog: Catalog, sources: Iterable[Source], now: float, behind: float) -> list[Sample]:
        """Of every source. ``behind``: seconds for which the catalog lags; of these nothing is known, and nothing is
        said. Raises StoreError."""
        known_to = now - behind
        arrivals = self._arrivals(catalog, now, int(known_to) // _HOUR)
        return source_samples(catalog, arrivals, self._owner, sources, known_to)

    def _arrivals(self, catalog: Catalog, now: float, hour: int) -> Arrivals:
        if self._read is not None:
            at, then, arrivals = self._read
            if then == hour and abs(now - at) < _AGAIN:
                return arrivals
        arrivals = catalog.arrivals(hour - _PAST, hour + 2)
        self._read = now, hour, arrivals
        return arrivals


def source_samples(
    catalog: Catalog, arrivals: Arrivals, owner: str, sources: Iterable[Source], known_to: float
) -> list[Sample]:
    """What there is to say at a moment to which everything is known. Raises StoreError."""
    hour = int(known_to) // _HOUR
    counted = _counted(arrivals)
    found: list[Sample] = []
    for source in sources:
        look = _Look(source, window_of(source), counted.get(source.id, _Counted()), arrivals, hour)
        last = catalog.last_arrival(source.id, hour + 2)
        for sample in (*look.seen(last, known_to), *look.rate(), *look.lag(), *look.undelivered()):
            found.append(sample.under(owner=owner, source=source.id))
    return found


@dataclass(frozen=True)
class _Look:
    """One source at an hour, which has not ended yet."""

    source: Source
    window: Window
    counted: _Counted
    arrivals: Arrivals
    hour: int

    @property
    def past(self) -> Past:
        """From the first hour with mail; or from where everything is counted, if that is later."""
        first = min(self.counted.mails, default=self.hour)
        return Past(self.counted.mails, max(first, self.arrivals.counted_from), self.hour)

    def seen(self, last: LastArrival, now: float) -> Iterator[Sample]:
        limit = history.silence_limit(self.window, self.source.watch, self.past)
        since = self._silent_since(last)
        state = "known" if self.past.known else "learning"
        if since is None:
            state = "waiting"
        elif limit is None:
            state = "off"
        yield Sample.of(names.SOURCE_STATE, 1, state=state)
        silent = max(0.0, now - since) if since is not None else 0.0
        if since is not None:
            yield Sample.of(names.SOURCE_SEEN_AGE, silent)
        yield Sample.of(names.SOURCE_SILENCE_USED, silent / limit if limit is not None else 0.0)

    def _silent_since(self, last: LastArrival) -> float | None:
        """When mail last came; of a source whose watch was set, no earlier than nothing is known: since then. Imports
        count for a source that has nothing else and whose watch was set."""
        if last.route is not None:
            return float(last.route)
        watch = self.source.watch
        if not watch.silence_minutes or watch.at is None:
            return None
        return max(from_rfc3339(watch.at).timestamp(), float(last.imported or 0))

    def rate(self) -> Iterator[Sample]:
        past, limit = self.past, history.slow_limit(self.window, self.source.watch)
        gap = history.gap_hours(past)
        yield Sample.of(names.SOURCE_HOUR, past.of(past.ends - 1))
        usual = history.expected(past, past.ends - 1)
        if usual is not None:
            yield Sample.of(names.SOURCE_HOUR_EXPECTED, usual)
        yield Sample.of(names.SOURCE_GAP, gap)
        yield Sample.of(names.SOURCE_GAP_USED, gap / limit if limit is not None else 0.0)

    def lag(self) -> Iterator[Sample]:
        hours = range(self.hour + 1, self.hour - _RECENT, -1)
        counts = history.lags((hour, self.counted.lags.get(hour, {})) for hour in hours)
        limit = history.lag_limit(self.window, self.source.watch)
        half = history.quantile(counts, 0.5)
        if counts:
            yield Sample.of(names.SOURCE_LAG, half, quantile="0.5")
            yield Sample.of(names.SOURCE_LAG, history.quantile(counts, 0.9), quantile="0.9")
        yield Sample.of(names.SOURCE_LAG_USED, half / limit if limit is not None else 0.0)

    def undelivered(self) -> Iterator[Sample]:
        recent = range(self.hour - _RECENT, self.hour + 2)
        count = sum(self.counted.undelivered.get(hour, 0) for hour in recent)
        yield Sample.of(names.SOURCE_UNDELIVERED, count)
