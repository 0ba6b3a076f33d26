"""Each transition is told once; what is not known changes nothing; a restart neither repeats nor forgets."""

from pathlib import Path

import pytest

from archive_service.alarms import names
from archive_service.alarms.catalogue import Alarm, Growth, Level, Severity
from archive_service.alarms.evaluation import Evaluator, Seen
from archive_service.alarms.notices import Notice, State
from archive_service.alarms.state import Memory, state_path
from archive_service.alarms.tally import Sample

HOUR = 3600.0
LEVEL = Alarm("level", Severity.CRITICAL, (Level(names.FOLLOWER_LAG_SECONDS, ">", 10),), "It lags.")
GROWTH = Alarm("growth", Severity.WARNING, (Growth(names.PROCESS_RESTARTS, 3, 600),), "It restarts.")
GAUGE = Alarm("gauge", Severity.WARNING, (Growth(names.REPORTS_UNPARSED, 1, 600),), "It does not parse.")


class Run:
    """An evaluator over a state file, and a clock that moves by hand."""

    def __init__(self, folder: Path, *alarms: Alarm, channels: tuple[str, ...] = ("webhook",)) -> None:
        self.path = state_path(folder)
        self.alarms = alarms or (LEVEL,)
        self.channels = channels
        self.at = 1_000_000.0
        self.restart()

    def restart(self) -> None:
        self.memory = Memory(self.path, self.channels)
        self.evaluator = Evaluator(self.alarms, self.memory, repeat=24 * HOUR)

    def __call__(self, *samples: Sample, missing: tuple[str, ...] = (), after: float = 60) -> list[Notice]:
        self.at += after
        notices = self.evaluator.run(Seen(self.at, samples, frozenset(missing)))
        self.memory.post(notices)
        return notices

    def states(self, *samples: Sample, missing: tuple[str, ...] = (), after: float = 60) -> list[State]:
        return [notice.state for notice in self(*samples, missing=missing, after=after)]


def lag(seconds: float, owner: str = "o1") -> Sample:
    return Sample.of(names.FOLLOWER_LAG_SECONDS, seconds, owner=owner, stage="order")


def restarts(count: float, role: str = "smtp") -> Sample:
    return Sample.of(names.PROCESS_RESTARTS, count, role=role, worker="0")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def test_raised_once_repeated_rarely_cleared_once(run: Run) -> None:
    assert run.states(lag(10)) == []
    (raised,) = run(lag(11))
    assert (raised.state, raised.severity, raised.count) == (State.RAISED, "critical", 1)
    assert raised.series == [
        {"metric": names.FOLLOWER_LAG_SECONDS, "labels": {"owner": "o1", "stage": "order"}, "value": 11.0}
    ]
    assert [run.states(lag(20)) for _ in range(5)] == [[]] * 5
    (again,) = run(lag(30), after=24 * HOUR)
    assert (again.state, again.since) == (State.STILL_ON, raised.since)
    assert run.states(lag(3)) == []
    (cleared,) = run(lag(3))
    assert (cleared.state, cleared.since) == (State.CLEARED, raised.since)
    assert run.states(lag(3)) == []
    assert run.states(lag(11)) == [State.RAISED]


def test_a_value_that_swings_is_not_told_at_every_swing(run: Run) -> None:
    assert run.states(lag(11)) == [State.RAISED]
    assert [run.states(lag(seconds)) for seconds in (9, 11) * 5] == [[]] * 10


def test_what_is_not_known_neither_raises_nor_clears(run: Run) -> None:
    assert run.states() == []
    assert run.states(lag(11)) == [State.RAISED]
    for _ in range(4):
        assert run.states() == []
        assert run.states(lag(0, "o2"), missing=(names.FOLLOWER_LAG_SECONDS,)) == []
    assert [run.states(lag(0)), run.states(lag(0))] == [[], [State.CLEARED]]


def test_the_worst_series_come_first_and_not_too_many(run: Run) -> None:
    (raised,) = run(*(lag(11 + number, f"o{number}") for number in range(30)))
    assert raised.count == 30
    assert [each["value"] for each in raised.series] == [float(40 - number) for number in range(10)]
    assert "and 20 more" in raised.text()


def test_a_restart_neither_repeats_nor_forgets(run: Run) -> None:
    (raised,) = run(lag(11))
    run.restart()
    assert run.states(lag(11)) == []
    assert run.memory.first("webhook") == raised
    run.restart()
    run.states(lag(0))
    (cleared,) = run(lag(0))
    assert cleared.since == raised.since
    run.memory.delivered("webhook", raised)
    run.restart()
    assert run.memory.first("webhook") == cleared


def test_what_a_channel_took_is_never_written_without_the_judgement_that_made_it(run: Run) -> None:
    """A delivery saves the file in the middle of an evaluation: a crash then must not lose what that one is to tell."""
    (raised,) = run(lag(11))
    run.evaluator.run(Seen(run.at + 1, [lag(0)]))
    (told,) = run.evaluator.run(Seen(run.at + 2, [lag(0)]))
    assert told.state is State.CLEARED  # not posted: the process dies here, while a channel
    run.memory.delivered("webhook", raised)
    run.restart()
    assert [run.states(lag(0)), run.states(lag(0))] == [[], [State.CLEARED]]


def test_growth_within_a_window_over_restarts_of_what_counts(tmp_path: Path) -> None:
    run = Run(tmp_path, GROWTH)
    assert run.states(restarts(1)) == []
    assert run.states(restarts(1), restarts(1, "api")) == []
    assert run.states(restarts(0), restarts(1, "api")) == []  # its parent began anew
    (raised,) = run(restarts(1), restarts(1, "api"))
    assert raised.state is State.RAISED
    run.restart()
    assert run.states(restarts(1), restarts(1, "api")) == []
    assert [run.states(restarts(1), after=400) for _ in range(3)] == [[], [State.CLEARED], []]


def test_growth_of_a_gauge_begins_where_it_is_first_seen(tmp_path: Path) -> None:
    run = Run(tmp_path, GAUGE)
    unparsed = [Sample.of(names.REPORTS_UNPARSED, count, owner="o1") for count in (500, 500, 501)]
    assert [run.states(sample) for sample in unparsed] == [[], [], [State.RAISED]]


def test_an_alarm_of_several_conditions_is_on_when_any_holds(tmp_path: Path) -> None:
    both = Alarm("both", Severity.WARNING, (*GROWTH.when, *LEVEL.when), "Either.")
    run = Run(tmp_path, both)
    assert run.states(lag(11)) == [State.RAISED]
    assert [run.states(lag(0), restarts(0)) for _ in range(2)] == [[], [State.CLEARED]]
    assert run.states(lag(0), restarts(3)) == [State.RAISED]


def test_a_state_file_that_cannot_be_read_or_written_stops_no_alarm(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    run.path.parent.mkdir(parents=True)
    run.path.write_text('{"standing": [1]}')
    run.restart()
    assert "cannot be read" in caplog.text
    assert run.states(lag(11)) == [State.RAISED]
    run.path.unlink()
    run.path.mkdir()
    (run.path / "in the way").touch()
    run.states(lag(0))
    assert run.states(lag(0)) == [State.CLEARED]
    assert "cannot be written" in caplog.text


def test_a_channel_that_takes_nothing_for_long_keeps_the_newest(run: Run) -> None:
    told = [notice for _ in range(80) for value in (11, 0, 0) for notice in run(lag(value))]
    told += [notice for _ in range(40) for value in (11, 0, 0) for notice in run(lag(value))]
    assert run.memory.waiting() == {"webhook": 200}
    assert run.memory.first("webhook") == told[-200]


def test_the_state_forgets_what_no_catalogue_has_and_channels_that_are_not_set(tmp_path: Path) -> None:
    run = Run(tmp_path, LEVEL, channels=("webhook", "mail"))
    run(lag(11))
    run.alarms, run.channels = (GROWTH,), ("mail",)
    run.restart()
    run()
    assert run.memory.standing == {}
    assert run.memory.waiting() == {"mail": 1}


def test_a_notice_survives_its_file_and_says_what_people_need(run: Run) -> None:
    (raised,) = run(lag(11))
    assert Notice.parse(raised.plain()) == raised
    text = raised.text()
    assert "Alarm:    level" in text
    assert "It lags." in text
    assert "archive_follower_lag_seconds owner=o1 stage=order = 11" in text
