"""A canary goes the whole way: archive, a real Postfix that journals, archive; and is missed where that breaks."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from archive_service.alarms import names
from archive_service.alarms.notices import Notice, State
from archive_service.alarms.tally import Tally
from archive_service.alarms.watch import Watch
from archive_service.settings import Settings
from tests.services.postfix import Postfix, postfix
from tests.services.tools import free_port
from tests.system.test_service import Running, command, make, start

PATIENCE = 60.0
HOUR = 3600.0
QUIET = {"ARCHIVE_ALARM_SECONDS": "3600"}  # the canaries here are sent by the test's own watch


class Clock:
    """The clock that nobody sets, moved by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Route:
    """An archive, its Postfix, and who sends canaries."""

    def __init__(self, data: Path, server: Postfix, source: dict, where: str) -> None:
        self.data, self.server, self.source, self.where = data, server, source, where
        self.clock = Clock()
        self.tally = Tally()
        self.watch = Watch(Settings(data=data), self.tally, monotonic=self.clock)
        self.running: Running | None = None
        self.told: list[Notice] = []

    def up(self) -> None:
        self.running = start(self.data, self.source, "--smtp", self.where, **QUIET)

    def down(self) -> None:
        assert self.running is not None
        assert self.running.stop() == 0
        self.running = None

    def once(self, after: float = 60) -> None:
        """One evaluation; what it tells of canaries."""
        self.clock.now += after
        self.told += [notice for notice in self.watch.once() if notice.alarm == "canary_missing"]

    def value(self, metric: str) -> float | None:
        found = [each.value for each in self.tally.samples() if each.metric == metric]
        return found[0] if found else None

    def until(self, true: Callable[[], bool]) -> None:
        """Look without letting any time pass, until it is so."""
        deadline = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < deadline, self.server.log()
            time.sleep(0.1)
            self.once(0)

    def states(self) -> list[State]:
        return [notice.state for notice in self.told]


@pytest.fixture
def route(tmp_path: Path) -> Iterator[Route]:
    data, where = tmp_path / "archive", f"127.0.0.1:{free_port()}"
    source = make(data, "postfix")
    domain = source["address"].rpartition("@")[2]
    with postfix(where, domain, f"always_bcc = {source['address']}") as server:
        words = ("--server", f"127.0.0.1:{server.port}", "--security", "none")
        addresses = ("--from", "canary@example.fr", "--to", "bob@example.fr")
        which = ("--data", data, "--tenant", "acme", "--source", "feed")
        command("source", "canary", *which, *words, *addresses)
        made = Route(data, server, source, where)
        try:
            yield made
        finally:
            made.watch.close() if made.watch._thread.is_alive() else made.watch._canaries.close()
            if made.running is not None:
                made.down()


def test_a_canary_comes_back_marked_and_is_mail_like_any_other(route: Route) -> None:
    route.up()
    route.once()
    route.until(lambda: route.value(names.CANARY_ROUND) is not None)
    assert route.value(names.CANARY_WAITING) == 0
    assert route.told == []
    assert route.running is not None
    (hit,) = route.running.found("subject:canary")["hits"]
    assert hit["from"] == "canary@example.fr"
    counts = json.loads(route.running.http("GET", "/v1/integrity", "auditor")[1])["counts"]
    assert (counts["captures"], counts["flag:canary"]) == (1, 1)
    for _ in range(3):
        route.once()
    assert route.value(names.CANARY_WAITING) == 0  # the next one is due in an hour
    route.once(HOUR)
    route.until(
        lambda: route.value(names.CANARY_WAITING) == 0 and bool(route.running.found("subject:canary", 2))
    )


def test_a_server_that_takes_nothing_is_alarmed_and_the_same_canary_clears_it(route: Route) -> None:
    route.up()
    route.server.run("postfix", "stop")
    route.once()
    route.until(lambda: route.value(names.CANARY_FAILURES) is not None)
    route.once(14 * 60)
    assert route.told == []
    route.once(2 * 60)
    route.once()
    assert route.states() == [State.RAISED]
    assert route.told[0].series[0]["labels"]["source"] == route.source["id"]
    assert "@" not in route.told[0].text()
    route.server.run("postfix", "start")
    route.until(lambda: State.CLEARED in route.states())
    assert route.states() == [State.RAISED, State.CLEARED]
    assert route.running is not None
    assert route.running.found("subject:canary")["total"] == 1  # tried again and again, it is one


def test_one_that_waits_in_a_queue_is_missed_and_clears_it_however_late(route: Route) -> None:
    route.up()
    route.once()
    route.until(lambda: route.value(names.CANARY_ROUND) is not None)
    route.down()
    route.once(HOUR)
    route.until(lambda: route.server.waiting() == 1)
    route.once(16 * 60)
    assert route.states() == [State.RAISED]
    route.up()
    route.until(lambda: State.CLEARED in route.states())
    assert route.states() == [State.RAISED, State.CLEARED]
