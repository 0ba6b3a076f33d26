"""A fault that lasts is said once a change, and asked about less and less often."""

import logging
import threading

import pytest

from archive_service.alarms import names
from archive_service.alarms.tally import Tally
from archive_service.model.backoff import Backoff
from archive_service.model.errors import StoreError
from archive_service.model.trouble import Trouble
from archive_service.serving.scheduler import work

STEADY = Backoff(first_pause=1.0, longest_pause=8.0, random=lambda: 1.0)
AWAY, FULL = StoreError("away", code="catalog.unavailable"), StoreError("full", code="store.full")


def test_it_is_said_when_it_changes_and_when_it_passes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    trouble = Trouble(logging.getLogger("here"), "jobs", STEADY)
    trouble.passed()
    pauses = [trouble.failed(error) for error in (AWAY, AWAY, AWAY, AWAY, AWAY, FULL, FULL)]
    assert pauses == [1, 2, 4, 8, 8, 1, 2]
    trouble.passed()
    trouble.passed()
    assert trouble.failed(FULL) == 1
    assert caplog.messages == [
        "jobs: catalog.unavailable",
        "jobs: store.full",
        "jobs: store.full has passed",
        "jobs: store.full",
    ]


@pytest.mark.parametrize("failures", [1, 2, 5, 1000, 10**6])
def test_pauses_are_jittered_and_bounded(failures: int) -> None:
    policy = Backoff(first_pause=0.5, longest_pause=15.0)
    whole = min(0.5 * 2.0 ** min(failures - 1, 60), 15.0)
    assert whole / 2 <= policy.pause(failures) <= whole


class Stop(threading.Event):
    """Waits for nobody; remembers how long it would have."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waited.append(timeout or 0.0)
        return self.is_set()


def test_the_scheduler_says_once_that_the_catalog_is_away(caplog: pytest.LogCaptureFixture) -> None:
    stop, tally, left = Stop(), Tally(), [*[AWAY] * 20, None]

    def step() -> bool:
        error = left.pop(0)
        if error is not None:
            raise error
        stop.set()
        return True

    work(step, stop, tally)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        "jobs: catalog.unavailable"
    ]
    assert len(stop.waited) == 20
    assert max(stop.waited[:2]) <= 1.0
    assert min(stop.waited[6:]) >= 7.5
    counted = [sample for sample in tally.samples() if sample.metric == names.FAILURES]
    assert [sample.value for sample in counted] == [20]
