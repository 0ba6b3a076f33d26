"""From when to when a mail is kept: by its class, its facts, and the events that the acts tell of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from archive_service.model.clock import from_rfc3339, rfc3339
from archive_service.model.schedule import (
    CLOSINGS,
    EVENTS,
    RetentionClass,
    Rule,
    Schedule,
    Start,
    after,
    offset,
)
from retention.schedule.facts import Facts
from retention.schedule.rules import Custodians, rules_of


@dataclass(frozen=True)
class Events:
    """What the acts tell: who took part in a mail, when a matter was closed, when somebody left (RFC 3339; None: not
    yet, or nobody knows)."""

    custodians: Custodians
    closed: Callable[[str], str | None]
    left: Callable[[str], str | None]


@dataclass(frozen=True)
class Assessment:
    """What a schedule says of one mail. ``keep_until``: the end of its legal minimum, None without one;
    ``dispose_after``: from then on it goes; never before ``keep_until``. ``open``: the event that its term starts with
    has not happened; the times are then the latest that they can be. All RFC 3339. ``by_hand``: a reviewer gave it its
    class. ``undecided``: its text decides between classes, and is not known; it is then kept as the one of these that
    lasts longest. ``purpose``: whether any class that it may be of asks for a purpose."""

    klass: RetentionClass
    rule: str | None
    start: str
    keep_until: str | None
    dispose_after: str
    open: bool = False
    by_hand: bool = False
    undecided: bool = False
    purpose: bool = False

    def kept(self, now: str) -> bool:
        """Whether its legal minimum runs at ``now``."""
        return self.keep_until is not None and now < self.keep_until

    def past(self, now: str) -> bool:
        """Whether its maximum is over at ``now``. Never while its event is not known to have happened, unless that
        counts as having happened by now."""
        return now >= self.dispose_after


def assess(
    schedule: Schedule, facts: Facts, events: Events, by_hand: str | None = None, extended: str = ""
) -> Assessment:
    """The class of a mail, and its times. ``by_hand``: the class that a reviewer gave it; one that the schedule has no
    more counts for nothing. ``extended``: until when a reviewer keeps it (RFC 3339)."""
    if by_hand is not None and by_hand in {each.id for each in schedule.classes}:
        return replace(_of(schedule.klass(by_hand), None, facts, events, extended), by_hand=True)
    rules = rules_of(schedule, facts, events.custodians)
    found = [
        _of(schedule.klass(schedule.default if rule is None else rule.klass), rule, facts, events, extended)
        for rule in rules
    ]
    return replace(longest(found), undecided=len(found) > 1)


def longest(found: Sequence[Assessment]) -> Assessment:
    """Of several of which any may be true what shortens none: the one that ends last, with the latest minimum of all;
    open where the event of a minimum is."""
    last = max(found, key=lambda each: (each.dispose_after, each.keep_until or ""))
    kept = [each for each in found if each.keep_until is not None]
    return replace(
        last,
        keep_until=max((str(each.keep_until) for each in kept), default=None),
        open=last.open or any(each.open for each in kept),
        purpose=any(each.purpose for each in found),
    )


def _of(klass: RetentionClass, rule: Rule | None, facts: Facts, events: Events, extended: str) -> Assessment:
    start, is_open = _start(klass, rule, facts, events)
    until = after(start, klass.minimum) if klass.minimum is not None else None
    end = after(start, klass.maximum)
    return Assessment(
        klass=klass,
        rule=None if rule is None else rule.id,
        start=rfc3339(start),
        keep_until=None if until is None else rfc3339(until),
        dispose_after=max(extended, rfc3339(end if until is None else max(end, until))),
        open=is_open,
        purpose=klass.purpose,
    )


def _start(klass: RetentionClass, rule: Rule | None, facts: Facts, events: Events) -> tuple[datetime, bool]:
    """When the term starts, and whether that is still open."""
    received = from_rfc3339(facts.received_at)
    if klass.start is Start.CAPTURE:
        return received, False
    if klass.start in EVENTS:
        happened = _event(klass, rule, facts, events)
        latest = after(received, klass.event_by or "P1D")
        if happened is None:
            return latest, True
        return max(received, from_rfc3339(happened)), False
    sent = from_rfc3339(facts.sent_at)
    if klass.start is Start.SENT:
        return sent, False
    ahead = offset(klass.year_offset) if klass.year_offset is not None else timedelta()
    return year_end(sent, klass.year_ends or "12-31", ahead), False


def _event(klass: RetentionClass, rule: Rule | None, facts: Facts, events: Events) -> str | None:
    if klass.start in CLOSINGS:
        return events.closed(klass.matter or "")
    named = events.custodians(facts)
    if rule is not None and rule.custodians:
        named &= frozenset(rule.custodians)
    left = [events.left(each) for each in named]
    days = [each for each in left if each is not None]
    return max(days) if days and len(days) == len(left) else None


def year_end(moment: datetime, ends: str, ahead: timedelta = timedelta()) -> datetime:
    """The moment at which the financial year that holds ``moment`` is over: the midnight behind its last day, by clocks
    that are so far ahead of UTC. A mail of half past midnight in Paris is of the new year, in which UTC is not yet."""
    month, day = map(int, ends.split("-"))
    local = moment + ahead if moment.year > 1 else moment
    for year in (local.year, local.year + 1):
        last_day = day if (month, day) != (2, 29) or _leap(year) else 28
        over = datetime(year, month, last_day, tzinfo=UTC) + timedelta(days=1)
        if local < over:
            return over - ahead
    raise AssertionError("a year has an end")


def _leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
