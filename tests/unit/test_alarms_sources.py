"""What the survey says of sources, of a real embedded archive: silent, slow, late, come back; told for each, by its id,
and never by what a process remembers."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from archive_service.alarms import names
from archive_service.alarms.catalogue import catalogue
from archive_service.alarms.evaluation import Evaluator, Seen
from archive_service.alarms.notices import Notice, State
from archive_service.alarms.state import Memory, state_path
from archive_service.alarms.tally import Sample
from archive_service.ledger.capture_writer import CaptureDraft
from archive_service.model.clock import rfc3339, utc_now
from archive_service.settings import load
from archive_service.source_watching import set_watch
from tests.flow.archive_fixtures import SAMPLES, mail
from tests.unit.test_alarms_survey import Surveyed

HOUR = 3600


class Fed(Surveyed):
    """An archive that gets mail at times of our choosing, and an evaluator over what its survey sees."""

    def __init__(self, data: Path) -> None:
        super().__init__(data)
        self.evaluator = Evaluator(catalogue(load()), Memory(state_path(data)), 24 * HOUR)
        self.base = utc_now()

    @property
    def source(self) -> str:
        return self.archive.source.id

    def at(self, hours: float) -> None:
        """Every clock stands so many hours after the beginning."""
        self.archive.core.clock = lambda: self.base + timedelta(hours=hours)

    def take(self, *mails: bytes, follow: bool = True, channel: str = "smtp") -> None:
        draft = self._draft(channel)
        writer = self.archive.writer()
        try:
            for each in [writer.submit(draft, one) for one in mails]:
                each.result(60)
        finally:
            writer.close()
        if follow:
            self.archive.follow()

    def _draft(self, channel: str) -> CaptureDraft:
        draft = self.archive.draft()
        record = draft.record.model_copy(
            update={"channel": channel, "received_at": rfc3339(self.archive.core.clock())}
        )
        return replace(draft, record=record)

    def notices(self) -> list[Notice]:
        found = self.look()
        at = self.archive.core.clock().timestamp()
        told = self.evaluator.run(Seen(at, found.samples, frozenset(found.missing)))
        wanted = ("source_", "reports_undelivered", "canary")
        return [notice for notice in told if notice.alarm.startswith(wanted)]

    def told(self) -> list[tuple[str, State]]:
        return [(notice.alarm, notice.state) for notice in self.notices()]


@pytest.fixture
def fed(tmp_path: Path) -> Iterator[Fed]:
    made = Fed(tmp_path / "archive")
    yield made
    made.archive.close()


def sent(number: int, hours_before: float, moment: object) -> bytes:
    time = (moment - timedelta(hours=hours_before)).strftime("%a, %d %b %Y %H:%M:%S +0000")  # type: ignore[operator]
    old = mail(number)
    start = old.index(b"Date: ")
    return old[:start] + f"Date: {time}".encode() + old[old.index(b"\r\n", start) :]


def test_a_source_that_nothing_came_from_waits(fed: Fed) -> None:
    fed.at(1000)
    assert fed.value(names.SOURCE_STATE, state="waiting", source=fed.source) == 1
    assert fed.told() == []


def test_silence_is_told_once_with_the_id_and_cleared_by_mail(fed: Fed) -> None:
    fed.take(mail(1))
    assert fed.value(names.SOURCE_STATE, state="learning") == 1
    fed.at(35)  # of Exchange's two days, while the source is young
    assert fed.told() == []
    fed.at(37)
    (raised,) = fed.notices()
    assert (raised.alarm, raised.state, raised.severity) == ("source_silent", State.RAISED, "critical")
    assert raised.series[0]["labels"] == {"owner": fed.archive.tenant.id, "source": fed.source}
    assert "@" not in raised.text()
    assert fed.told() == []
    fed.take(mail(2))
    assert fed.told() == []
    assert fed.told() == [("source_silent", State.CLEARED)]


def test_a_restart_does_not_make_a_silent_source_look_fine(fed: Fed) -> None:
    fed.take(mail(1))
    fed.reopen()
    fed.at(37)
    assert fed.value(names.SOURCE_SEEN_AGE) == pytest.approx(37 * HOUR, abs=120)
    assert fed.told() == [("source_silent", State.RAISED)]


def test_mail_that_is_not_followed_yet_is_not_silence(fed: Fed) -> None:
    """Nobody knows whose it is: that mail is not findable is another alarm."""
    fed.take(mail(1))
    fed.at(30)
    fed.take(mail(2), follow=False)
    fed.at(100)
    assert fed.value(names.SOURCE_SEEN_AGE) == pytest.approx(30 * HOUR, abs=120)
    assert fed.told() == []
    fed.archive.follow()
    assert fed.told() == [("source_silent", State.RAISED)]


def test_what_cannot_be_asked_changes_nothing(fed: Fed) -> None:
    fed.take(mail(1))
    fed.at(37)
    assert fed.told() == [("source_silent", State.RAISED)]
    catalog = fed.data / "projections" / fed.archive.tenant.id / "catalog.sqlite"
    catalog.rename(catalog.with_name("away"))
    catalog.mkdir()
    assert names.SOURCE_SILENCE_USED in fed.look().missing
    for _ in range(3):
        assert fed.told() == []
    catalog.rmdir()
    catalog.with_name("away").rename(catalog)
    fed.take(mail(2))
    assert (fed.told(), fed.told()) == ([], [("source_silent", State.CLEARED)])


def test_what_is_set_for_the_source_counts(fed: Fed) -> None:
    fed.take(mail(1))
    set_watch(fed.archive.tenant, fed.source, {"silence_minutes": 60})
    fed.archive.follow()
    fed.at(1.5)
    assert fed.told() == [("source_silent", State.RAISED)]
    set_watch(fed.archive.tenant, fed.source, {"silence_minutes": 0})
    fed.archive.follow()
    assert fed.value(names.SOURCE_STATE, state="off") == 1
    assert (fed.told(), fed.told()) == ([], [("source_silent", State.CLEARED)])


def test_a_source_that_was_told_to_send_and_never_did_is_silent(fed: Fed) -> None:
    set_watch(fed.archive.tenant, fed.source, {"silence_minutes": 120})
    fed.archive.follow()
    fed.at(3)
    assert fed.told() == [("source_silent", State.RAISED)]


def test_imports_and_what_came_back_do_not_hide_silence(fed: Fed) -> None:
    fed.take(mail(1))
    fed.at(30)
    fed.take(mail(2), channel="import")
    fed.take((SAMPLES / "exchange-undelivered-report.eml").read_bytes())
    fed.at(37)
    told = fed.told()
    assert ("source_silent", State.RAISED) in told
    assert ("reports_undelivered", State.RAISED) in told
    assert fed.value(names.SOURCE_UNDELIVERED, source=fed.source) == 1
    fed.at(70)
    assert ("reports_undelivered", State.CLEARED) in [*fed.told(), *fed.told()]


def test_a_source_of_imports_alone_is_watched_when_it_is_asked_for(fed: Fed) -> None:
    fed.take(mail(1), channel="import")
    fed.at(1000)
    assert fed.told() == []
    set_watch(fed.archive.tenant, fed.source, {"silence_minutes": 60})
    fed.take(mail(2), channel="import")
    fed.at(1000.5)
    assert fed.told() == []
    fed.at(1002)
    assert fed.told() == [("source_silent", State.RAISED)]


def test_a_clock_that_was_ahead_does_not_mute_for_ever(fed: Fed) -> None:
    fed.at(24 * 400)
    fed.take(mail(1))
    fed.at(0)
    fed.take(mail(2))
    fed.at(37)
    assert fed.told() == [("source_silent", State.RAISED)]


def test_lag_is_the_medians_and_one_old_mail_is_none(fed: Fed) -> None:
    fed.take(*(sent(n, 0.001, fed.base) for n in range(12)), sent(99, 24 * 100, fed.base))
    assert fed.value(names.SOURCE_LAG, quantile="0.5") == 60
    assert fed.told() == []
    fed.at(8)
    fed.take(*(sent(100 + n, -8 + 3, fed.base) for n in range(12)))
    assert fed.value(names.SOURCE_LAG, quantile="0.5") == 4 * HOUR
    assert fed.told() == [("source_lagging", State.RAISED)]
    fed.at(10)
    fed.take(*(sent(200 + n, -10, fed.base) for n in range(12)))
    assert (fed.told(), fed.told()) == ([], [("source_lagging", State.CLEARED)])


def used(value: float, source: str) -> Sample:
    return Sample.of(names.SOURCE_SILENCE_USED, value, owner="o", source=source)


def test_the_next_source_that_is_silent_is_news(tmp_path: Path) -> None:
    memory = Memory(state_path(tmp_path), ["mail"])
    evaluator = Evaluator(catalogue(load()), memory, 24 * HOUR)

    def run(at: float, *samples: Sample) -> list[State]:
        notices = evaluator.run(Seen(at, samples))
        memory.post(notices)
        return [notice.state for notice in notices]

    assert run(0, used(2, "a"), used(0, "b")) == [State.RAISED]
    assert run(60, used(2, "a"), used(0, "b")) == []
    assert run(120, used(2, "a"), used(2, "b")) == [State.STILL_ON]
    assert run(180, used(2, "a"), used(0, "b")) == []
    assert run(240, used(2, "a"), used(2, "b")) == []  # it swings around its limit
    again = Evaluator(catalogue(load()), Memory(state_path(tmp_path), ["mail"]), 24 * HOUR)
    assert again.run(Seen(300, [used(2, "a"), used(2, "b")])) == []
    (told,) = again.run(Seen(360, [used(2, "a"), used(2, "b"), used(2, "c")]))
    assert (told.state, told.count) == (State.STILL_ON, 3)
