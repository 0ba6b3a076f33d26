"""Elasticsearch away for a long time under the watch: mail goes on being answered 250, people are told of the lag once,
and of its end; afterwards all of it is found, and nothing twice.

Ten minutes with the thresholds that are set where nobody sets any, with ARCHIVE_TEST_FULL=1; else until it was told.
"""

import json
import os
import queue
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.services.alarm_receivers import Webhook, hook
from tests.services.s3 import s3_service
from tests.system.engines import Engines, clean, engines, site
from tests.system.machines import PATIENCE, Machine, Site, mail, start

__all__ = ["engines", "hook", "s3_service", "site"]  # fixtures
FULL = os.environ.get("ARCHIVE_TEST_FULL") == "1"
AWAY = 600.0 if FULL else 0.0  # seconds, at least; and until it was told
QUICK = {} if FULL else {"ARCHIVE_ALARM_SECONDS": "0.3", "ARCHIVE_ALARM_LAG_SECONDS": "10"}
WATCHED = PATIENCE + (360 if FULL else 0)  # seconds until a notice that never comes fails the test


@pytest.fixture
def watched(site: Site, hook: Webhook) -> Iterator[Machine]:
    """A machine that is yet to serve, and tells its alarms to the hook. The disk is none of the test's business."""
    site.settings |= {"ARCHIVE_ALARM_WEBHOOK_URL": hook.url(), "ARCHIVE_ALARM_DISK_PERCENT": "0", **QUICK}
    yield site.machine("watched")


class Told:
    """What the hook heard of ``follower_lag``; of no other alarm may it hear."""

    def __init__(self, hook: Webhook) -> None:
        self._hook = hook
        self.notices: list[dict[str, Any]] = []

    @property
    def states(self) -> list[str]:
        return [notice["state"] for notice in self.notices]

    def hear(self, seconds: float) -> None:
        """Wait so long for the next one."""
        try:
            notice = self._hook.posted.get(timeout=seconds).notice()
        except queue.Empty:
            return
        assert notice["alarm"] == "follower_lag", notice
        self.notices.append(notice)

    def until(self, *states: str) -> None:
        deadline = time.monotonic() + WATCHED
        while self.states != list(states):
            assert time.monotonic() < deadline, self.notices
            self.hear(1.0)


def mail_while_away(machine: Machine, address: str, told: Told, first: int) -> int:
    """Send from this number on for as long as it is to be away, and until that was told; the next number."""
    begun = time.monotonic()
    number = first
    while (gone := time.monotonic() - begun) < AWAY or not told.notices:
        assert gone < AWAY + WATCHED, machine.log()
        assert machine.send(address, mail(number)) == 250
        number += 1
        told.hear(0.5)
    return number


def found_once(machine: Machine, token: str, total: int) -> None:
    """So many messages, each with its own subject, each from one capture."""
    machine.found(token, "*", total)
    subjects = []
    cursor: str | None = None
    while True:
        body = {"query": "*", "limit": 100} | ({"cursor": cursor} if cursor else {})
        status, answer = machine.http("POST", "/v1/search", token, body)
        assert status == 200, answer
        page = json.loads(answer)
        for hit in page["hits"]:
            subjects.append(hit["subject"])
            status, answer = machine.http("GET", f"/v1/messages/{hit['id']}", token)
            assert status == 200 and len(json.loads(answer)["captures"]) == 1
        cursor = page["next"]
        if cursor is None:
            break
    assert sorted(subjects) == sorted(f"numero{number}" for number in range(total))


def test_elasticsearch_away_is_told_and_costs_no_mail(
    watched: Machine, hook: Webhook, engines: Engines, site: Site
) -> None:
    one, address, token = start(site)
    watched.serve()
    told = Told(hook)
    assert watched.send(address, mail(0)) == 250
    watched.found(token, "*", 1)
    engines.elasticsearch.kill()
    try:
        total = mail_while_away(watched, address, told, 1)
        assert told.states == ["raised"]
        series = told.notices[0]["series"]
        print(f"away: {[(each['labels']['stage'], round(each['value'], 1)) for each in series]}")
        assert {each["metric"] for each in series} == {"archive_follower_lag_seconds"}
        if FULL:  # a short lag may show at an earlier stage: a follower waits for its index for half a minute
            assert {each["labels"]["stage"] for each in series} == {"index"}
    finally:
        engines.elasticsearch.start()
    assert watched.send(address, mail(total)) == 250
    told.until("raised", "cleared")
    assert told.notices[1]["since"] == told.notices[0]["since"]
    found_once(watched, token, total + 1)
    print(f"away: {total} mails sent, told {told.states}")
    if (
        FULL
    ):  # a short threshold may be passed once more on a busy machine, while the server is still warming up
        log = watched.log()
        assert log.count("alarm follower_lag (critical) raised") == 1
        assert log.count("alarm follower_lag (critical) cleared") == 1
    watched.stop()
    assert one.command("rebuild", "--drill")["same"] is True
    clean(one, total + 1)
