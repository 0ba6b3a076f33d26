"""Settings, memory budget and the session's timer."""

from collections.abc import Callable
from typing import Any

import pytest

from archive_service.model.errors import Invalid
from ingest.smtp.idle_timer import IdleTimer
from ingest.smtp.limits import Charge, MemoryBudget, SmtpSettings


@pytest.mark.parametrize(
    "change",
    [
        {"max_size": 0},
        {"max_in_flight": -1},
        {"max_connections": 0},
        {"max_recipients": 0},
        {"max_errors": 0},
        {"command_timeout": 0.0},
        {"data_timeout": 0.0},
        {"commit_timeout": -1.0},
        {"closing_timeout": 0.0},
        {"hostname": ""},
        {"hostname": "two words"},
        {"hostname": "line\r\nend"},
        {"hostname": "société.test"},
    ],
    ids=str,
)
def test_settings_that_cannot_work_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as error:
        SmtpSettings(**change)
    assert error.value.code == "smtp.settings"


def test_the_defaults_are_those_of_the_design() -> None:
    settings = SmtpSettings()
    assert settings.max_size == 200 << 20
    assert settings.max_in_flight == 256 << 20
    assert settings.commit_timeout == 60


def test_a_budget_without_room_makes_no_sense() -> None:
    with pytest.raises(Invalid):
        MemoryBudget(0)


def test_the_budget_is_shared_and_given_back() -> None:
    budget = MemoryBudget(100)
    one, two = Charge(budget), Charge(budget)
    one.add(60)
    assert not budget.full
    two.add(40)
    assert budget.full
    assert not budget.exhausted
    two.add(100)
    assert budget.exhausted
    one.drop(10)
    assert not budget.exhausted
    assert (one.held, two.held, budget.used) == (50, 140, 190)
    one.clear()
    two.clear()
    two.clear()
    assert (budget.used, budget.peak) == (0, 200)


class FakeLoop:
    """A clock and the timers set on it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[FakeHandle] = []
        self.made = 0

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, call: Callable[[], None]) -> "FakeHandle":
        self.made += 1
        handle = FakeHandle(self, when, call)
        self.timers.append(handle)
        return handle

    def advance(self, seconds: float) -> None:
        self.now += seconds
        for handle in [timer for timer in self.timers if timer.when <= self.now]:
            self.timers.remove(handle)
            handle.call()


class FakeHandle:
    def __init__(self, loop: FakeLoop, when: float, call: Callable[[], None]) -> None:
        self.loop, self.when, self.call = loop, when, call

    def cancel(self) -> None:
        if self in self.loop.timers:
            self.loop.timers.remove(self)


def new_timer() -> tuple[IdleTimer, FakeLoop, list[float]]:
    loop = FakeLoop()
    calls: list[float] = []
    return IdleTimer(loop, lambda: calls.append(loop.now)), loop, calls  # type: ignore[arg-type]


def test_the_timer_fires_once_at_its_deadline() -> None:
    timer, loop, calls = new_timer()
    timer.start(10)
    loop.advance(9.5)
    assert calls == []
    loop.advance(0.5)
    loop.advance(100)
    assert calls == [10.0]


def test_moving_the_deadline_back_makes_no_new_timer() -> None:
    timer, loop, calls = new_timer()
    for _ in range(9):
        timer.start(10)
        loop.advance(1)
    assert loop.made == 1
    loop.advance(1)  # the loop's timer fires, and is set anew for what is left
    assert (calls, loop.made) == ([], 2)
    loop.advance(8)
    assert calls == [18.0]


def test_a_shorter_deadline_counts_at_once() -> None:
    timer, loop, calls = new_timer()
    timer.start(300)
    timer.start(5)
    loop.advance(5)
    assert calls == [5.0]


def test_pause_and_cancel() -> None:
    timer, loop, calls = new_timer()
    timer.start(5)
    timer.pause()
    loop.advance(10)
    timer.start(5)
    timer.cancel()
    loop.advance(10)
    assert calls == []
    assert loop.timers == []
