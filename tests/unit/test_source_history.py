"""A source against its own past: weekends, holidays, a clock put forward and an outage last week are no alarm, and a
feed that breaks is one, inside its window."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_service.completeness.history import (
    WEEK,
    Past,
    expected,
    gap_hours,
    lag_limit,
    lags,
    quantile,
    silence_limit,
    slow_limit,
    usual_silence,
)
from archive_service.completeness.windows import WINDOWS, Window
from archive_service.model.mail import SourceKind, Watch

MONDAY = 2_000 * WEEK  # an hour that begins a week, for these tests
Rate = Callable[[int], int]


def office(hour: int) -> int:
    """Mail on working days from seven to seven, nothing else: a small firm."""
    day, time = divmod(hour % WEEK, 24)
    return 40 if day < 5 and 7 <= time < 19 else 0


def company(hour: int) -> int:
    """The same with machines that write all day and on Sundays."""
    day, time = divmod(hour % WEEK, 24)
    return 200 if day < 5 and 7 <= time < 19 else 12


def past(rate: Rate, ends: int, weeks: int = 7) -> Past:
    begins = ends - weeks * WEEK
    return Past({hour: rate(hour) for hour in range(begins, ends) if rate(hour)}, begins, ends)


def broken(rate: Rate, since: int, until: int = 2**60) -> Rate:
    return lambda hour: 0 if since <= hour < until else rate(hour)


@pytest.mark.parametrize("rate", [office, company])
@pytest.mark.parametrize("ends", range(MONDAY, MONDAY + WEEK, 5))
def test_an_ordinary_week_has_no_gap_at_any_hour(rate: Rate, ends: int) -> None:
    assert gap_hours(past(rate, ends)) == 0


@pytest.mark.parametrize("rate", [office, company])
def test_a_feed_that_breaks_on_tuesday_morning_is_seen_by_its_hours(rate: Rate) -> None:
    since = MONDAY + 24 + 9
    for hours in (1, 3, 8):
        assert gap_hours(past(broken(rate, since), since + hours)) == hours
    next_day = MONDAY + 48 + 9
    found = gap_hours(past(broken(rate, since), next_day))
    assert (
        found == (8 if rate is office else 24) + 0 * found or found >= 8
    )  # a night neither counts nor ends it


def test_a_gap_ends_with_the_mail() -> None:
    since = MONDAY + 24 + 9
    assert gap_hours(past(broken(company, since, since + 4), since + 5)) == 0


@pytest.mark.parametrize("weeks_ago", [1, 2])
@pytest.mark.parametrize("rate", [office, company])
def test_an_outage_of_a_week_before_does_not_become_usual(rate: Rate, weeks_ago: int) -> None:
    then = MONDAY + 24 - weeks_ago * WEEK
    dented = broken(rate, then, then + 24)
    noon = MONDAY + 24 + 12
    assert expected(past(dented, noon), noon) == rate(noon)
    assert gap_hours(past(broken(dented, noon - 3), noon)) == 3


def test_a_holiday_of_a_company_looks_like_its_sunday() -> None:
    """Only machines write: no alarm; and when these stop as well, one."""
    morning = MONDAY + 24

    def holiday(hour: int) -> int:
        return 12 if morning <= hour < morning + 24 else company(hour)

    for time in range(24):
        assert gap_hours(past(holiday, morning + time)) == 0
    assert gap_hours(past(broken(holiday, morning + 8), morning + 12)) == 4


@pytest.mark.parametrize("moved", [-1, 1])
def test_a_clock_put_forward_or_back_is_no_gap(moved: int) -> None:
    since = MONDAY - 24  # on a Sunday, as clocks are

    def shifted(hour: int) -> int:
        return office(hour + moved) if hour >= since else office(hour)

    for ends in range(MONDAY, MONDAY + 5 * 24):
        assert gap_hours(past(shifted, ends)) <= 1


def test_of_a_young_source_nothing_is_said() -> None:
    young = past(broken(company, MONDAY), MONDAY + 12, weeks=2)
    assert young.known
    assert not past(company, MONDAY, weeks=1).known
    assert gap_hours(past(broken(company, MONDAY + 7), MONDAY + 12, weeks=1)) == 0


def test_little_mail_tells_nothing_hour_by_hour() -> None:
    assert gap_hours(past(broken(lambda hour: 4, MONDAY), MONDAY + 12)) == 0


def test_silence_is_judged_by_what_is_usual_and_inside_the_window() -> None:
    exchange = WINDOWS[SourceKind.EXCHANGE]
    busy, firm = past(company, MONDAY), past(office, MONDAY)
    assert usual_silence(busy) == 0
    assert usual_silence(firm) == 60  # from Friday evening to Monday morning
    assert silence_limit(exchange, Watch(), busy) == 12 * 3600
    assert silence_limit(exchange, Watch(), firm) == 36 * 3600  # it would be 75 hours
    assert silence_limit(WINDOWS[SourceKind.GOOGLE], Watch(), firm) == 75 * 3600
    assert silence_limit(exchange, Watch(), past(company, MONDAY, weeks=1)) == 36 * 3600


def test_one_long_silence_is_not_usual() -> None:
    then = MONDAY - 2 * WEEK
    assert usual_silence(past(broken(company, then, then + 100), MONDAY)) == 0
    assert usual_silence(past(broken(company, MONDAY - 30), MONDAY)) == 0  # nor is the one that goes on


@pytest.mark.parametrize("kind", SourceKind)
def test_every_kind_is_told_in_its_window_with_time_left(kind: SourceKind) -> None:
    window = WINDOWS[kind]
    assert window.silence <= window.longest <= 0.75 * window.loss
    assert window.lag < window.silence


def test_what_is_set_goes_before_and_nought_is_off() -> None:
    window, some = Window(48, 12, 36), past(office, MONDAY)
    assert silence_limit(window, Watch(silence_minutes=30), some) == 1800
    assert silence_limit(window, Watch(silence_minutes=0), some) is None
    assert (slow_limit(window, Watch()), slow_limit(window, Watch(slow_hours=0))) == (6, None)
    assert (lag_limit(window, Watch()), lag_limit(window, Watch(lag_minutes=5))) == (3600, 300)
    assert lag_limit(window, Watch(lag_minutes=0)) is None


def test_a_median_lag_needs_enough_mail_and_takes_the_newest() -> None:
    late = [(9, {60: 4}), (8, {3600: 7}), (7, {86400: 100})]
    assert lags(late) == {60: 4, 3600: 7}
    assert quantile(lags(late), 0.5) == 3600
    assert quantile(lags(late), 0.3) == 60
    assert lags([(9, {60: 9})]) == {}
    assert quantile({}, 0.5) == 0


@given(st.lists(st.integers(0, 30), min_size=1, max_size=WEEK * 4), st.integers(0, 500))
def test_no_history_is_too_strange(counts: list[int], shift: int) -> None:
    made = Past({MONDAY + n: count for n, count in enumerate(counts) if count}, MONDAY, MONDAY + len(counts))
    assert 0 <= gap_hours(made) <= len(counts)
    assert 0 <= usual_silence(made) <= len(counts)
    limit = silence_limit(WINDOWS[SourceKind.M365], Watch(), made)
    assert limit is not None
    assert 12 * 3600 <= limit <= 36 * 3600
    assert expected(made, MONDAY + shift) is None or expected(made, MONDAY + shift) >= 0
