"""A source against its own past: what it sends at this hour of the week, how long it is usually silent, how late its
mail comes. Pure; hours are counted since 1970.

The past of an hour is the same hour of the six weeks before: so nights and weekends are what they are. Medians, so
that an outage or a holiday among them does not become what is usual; and the least of an hour and its two neighbours,
for a clock that is put forward moves a whole day's mail by one. An hour that is at least half of what the quietest day
of the week has at that time is not low: a holiday looks like a Sunday.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from archive_service.completeness.windows import Window
from archive_service.model.mail import Watch

WEEK = 168
WEEKS = 6
LEARNED = 2 * WEEK  # hours of past from which on a source is known
_TELLING = 5.0  # mails an hour: of less nobody can say that they lack
_LOW = 0.1
_LIKE_THE_QUIETEST = 0.5
_USUAL_AND_MORE = 1.25
_LOOKED_BACK = 14 * 24
_SAMPLE = 10  # mails of which a median lag is told


@dataclass(frozen=True)
class Past:
    """``counts``: mails by hour, of those that had any. Known are hours [begins, ends)."""

    counts: Mapping[int, int]
    begins: int
    ends: int

    @property
    def known(self) -> bool:
        """Whether there is enough to compare with."""
        return self.ends - self.begins >= LEARNED

    def of(self, hour: int) -> int:
        """Mails of an hour."""
        return self.counts.get(hour, 0)


def expected(past: Past, hour: int) -> float | None:
    """What the past has at this hour of the week; None when it has not two of them."""
    usual = [_usual(past, near) for near in (hour - 1, hour, hour + 1)]
    found = [each for each in usual if each is not None]
    return min(found) if len(found) == len(usual) else None


def _usual(past: Past, hour: int) -> float | None:
    weeks = [then for week in range(1, WEEKS + 1) if (then := hour - week * WEEK) >= past.begins]
    return float(median(past.of(then) for then in weeks)) if len(weeks) > 1 else None


def _quietest(past: Past, hour: int) -> float:
    """What the quietest day of the week has at this time of day."""
    days = (_usual(past, hour - 24 * day) for day in range(7))
    return min((each for each in days if each is not None), default=0.0)


def gap_hours(past: Past) -> int:
    """How many of the last hours had nearly nothing of what they should have; hours of which little is expected, such
    as those of a night, neither count nor end it."""
    low = 0
    for hour in range(past.ends - 1, max(past.begins, past.ends - _LOOKED_BACK) - 1, -1):
        usual = expected(past, hour)
        if usual is None:
            break
        if usual < _TELLING:
            continue
        if not _is_low(past, hour, usual):
            break
        low += 1
    return low


def _is_low(past: Past, hour: int, usual: float) -> bool:
    if past.of(hour) >= _LOW * usual:
        return False
    quietest = _quietest(past, hour)
    return quietest == 0 or past.of(hour) < _LIKE_THE_QUIETEST * quietest


def usual_silence(past: Past) -> float:
    """The longest silence of an ordinary week, in hours: the median of the last weeks' longest. The one that goes on
    now is none of them."""
    weeks = [past.ends - week * WEEK for week in range(WEEKS + 1)]
    longest: list[int] = []
    silences = sorted(_silences(past))
    ends = [end for end, _ in silences]
    for until, since in pairwise(weeks):
        if since < past.begins:
            break
        some = silences[bisect_left(ends, since) : bisect_left(ends, until)]
        longest.append(max((length for _, length in some), default=0))
    return float(median(longest)) if longest else 0.0


def _silences(past: Past) -> Iterator[tuple[int, int]]:
    """Where each silence ended, and how many hours it had."""
    before: int | None = None
    for hour in sorted(hour for hour in past.counts if past.begins <= hour < past.ends):
        if before is not None and hour - before > 1:
            yield hour, hour - before - 1
        before = hour


def silence_limit(window: Window, watch: Watch, past: Past) -> float | None:
    """Seconds of silence that are worth an alarm; None: never. While the past is learned, as long as may be."""
    if watch.silence_minutes is not None:
        return watch.silence_minutes * 60.0 or None
    if not past.known:
        return window.longest * 3600.0
    return (
        min(float(window.longest), max(float(window.silence), _USUAL_AND_MORE * usual_silence(past))) * 3600
    )


def slow_limit(window: Window, watch: Watch) -> int | None:
    """Low hours that are worth an alarm; None: never."""
    return (window.slow if watch.slow_hours is None else watch.slow_hours) or None


def lag_limit(window: Window, watch: Watch) -> float | None:
    """Seconds of the median lag that are worth an alarm; None: never."""
    return (window.lag * 3600.0 if watch.lag_minutes is None else watch.lag_minutes * 60.0) or None


def lags(classes: Iterable[tuple[int, Mapping[int, int]]]) -> Mapping[int, int]:
    """Of hours, the newest first, each (hour, mails by upper bound of their lag): those that together have enough mail
    to tell; none when they all have not."""
    total: dict[int, int] = {}
    for _, hour in classes:
        for bound, count in hour.items():
            total[bound] = total.get(bound, 0) + count
        if sum(total.values()) >= _SAMPLE:
            return total
    return {}


def quantile(counts: Mapping[int, int], part: float) -> int:
    """The bound below which this part of the mails lies; 0 of none."""
    wanted, seen = part * sum(counts.values()), 0
    for bound, count in sorted(counts.items()):
        seen += count
        if seen >= wanted:
            return bound
    return 0
