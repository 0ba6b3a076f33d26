"""What the survey says of a real embedded archive: each wrong is made, seen, mended, and seen to be mended."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from archive_service.alarms import names
from archive_service.alarms.catalogue import catalogue
from archive_service.alarms.erasure_looks import Erasures
from archive_service.alarms.notices import State
from archive_service.alarms.survey import Found, Remembered, Survey
from archive_service.alarms.tally import Tally
from archive_service.alarms.verify_record import record_verify
from archive_service.alarms.watch import Watch
from archive_service.bootstrap import add_source, open_core
from archive_service.model.clock import utc_now
from archive_service.model.errors import Invalid
from archive_service.model.grounds import KeepGround
from archive_service.model.mail import SourceKind
from archive_service.serving.smtp import certificate_left, counted
from archive_service.settings import Settings, load
from ingest.smtp.limits import SmtpSettings
from ingest.smtp.server import SmtpServer
from retention.keeping import place_keep
from tests.flow.archive_fixtures import SAMPLES, Open, mail, opened, run
from tests.services.alarm_receivers import certificate
from tests.unit.erasure_bench import BASIS, Erasing
from tests.unit.smtp_fakes import FakeIntake

TABLES = ("position", "took")
SCHEDULED = {
    "version": 1,
    "act": "schedule.set",
    "number": 1,
    "effective_from": "2026-01-01T00:00:00.000000Z",
    "schedule": {
        "classes": [{"id": "o", "name": "o", "basis": "b", "article": "a", "maximum": "P1Y"}],
        "rules": [],
        "default": "o",
        "domains": [],
    },
    "by": "rob",
    "at": "2026-01-01T00:00:00.000000Z",
    "approval": "p1",
}


class Surveyed:
    """An archive, and one survey over it. Close it."""

    def __init__(self, data: Path) -> None:
        assert run("init", "--data", data, "--tenant", "acme").code == 0
        core = open_core(Settings(data=data))
        add_source(core.tenant("acme"), "journal", SourceKind.M365, "archive.localhost")
        core.close()
        self.data = data
        self.archive: Open = opened(data)
        self.survey = Survey(self.archive.core, Remembered())
        self.settle()

    def reopen(self) -> None:
        """As a new process has it: nothing cached."""
        self.archive.close()
        self.archive = opened(self.data)
        self.survey = Survey(self.archive.core, Remembered())

    def settle(self) -> None:
        self.archive.follow()
        self.archive.checkpointer.run_once()

    def later(self, **by: float) -> None:
        """Let every clock of the survey be so much ahead from now on."""
        self.archive.core.clock = lambda: utc_now() + timedelta(**by)

    def look(self, *, shared: bool = True) -> Found:
        return self.survey.look(shared=shared)

    def value(self, metric: str, **labels: str) -> float:
        found = self.look()
        assert metric not in found.missing
        series = [
            each
            for each in found.samples
            if each.metric == metric and all(each.label(name) == said for name, said in labels.items())
        ]
        return max(each.value for each in series)


@pytest.fixture
def surveyed(tmp_path: Path) -> Iterator[Surveyed]:
    made = Surveyed(tmp_path / "archive")
    yield made
    made.archive.close()


def test_a_quiet_archive_has_nothing_to_say(surveyed: Surveyed) -> None:
    found = surveyed.look()
    assert found.missing == set()
    assert not found.failed
    values = {each.metric: each.value for each in found.samples}
    quiet = [names.FOLLOWER_LAG_ENTRIES, names.FOLLOWER_LAG_SECONDS, names.CAPTURES_UNREAD]
    quiet += [names.CHECKPOINT_LAG, names.ERASURE_OVERDUE, names.INTAKE_LOCK_USED, names.KEY_PLACES_DIFFER]
    assert {values[metric] for metric in quiet} == {0}
    assert values[names.STORE_OK] == values[names.KEY_SERVICE_OK] == values[names.KEY_PLACE_OK] == 1
    assert 0 < values[names.WORK_FREE] < 1


def test_lag_is_told_stage_by_stage_and_goes_with_its_cause(surveyed: Surveyed) -> None:
    surveyed.archive.write([mail(1), mail(2)])
    surveyed.later(seconds=100)
    assert surveyed.value(names.FOLLOWER_LAG_ENTRIES, stage="order") == 3  # the writer's claim too
    assert 100 <= surveyed.value(names.FOLLOWER_LAG_SECONDS, stage="order") < 160
    assert surveyed.value(names.FOLLOWER_LAG_ENTRIES, stage="catalog") == 0
    surveyed.archive.follow()
    assert surveyed.value(names.FOLLOWER_LAG_ENTRIES) == 0
    assert surveyed.value(names.FOLLOWER_LAG_SECONDS) == 0
    rows = surveyed.archive.catalog.position().rows
    surveyed.archive.catalog.indexed(0)
    assert surveyed.value(names.FOLLOWER_LAG_ENTRIES, stage="index") == rows
    assert surveyed.value(names.FOLLOWER_LAG_SECONDS, stage="index") >= 100


def test_a_catalog_that_is_away_lags_for_as_long_as_it_is(surveyed: Surveyed) -> None:
    surveyed.look()
    catalog = surveyed.data / "projections" / surveyed.archive.tenant.id / "catalog.sqlite"
    catalog.rename(catalog.with_name("away"))
    catalog.mkdir()
    surveyed.later(seconds=1000)
    found = surveyed.look()
    (lag,) = [each for each in found.samples if each.metric == names.FOLLOWER_LAG_SECONDS]
    assert (lag.label("stage"), lag.value) == ("catalog", pytest.approx(1000, abs=60))
    assert names.FOLLOWER_LAG_SECONDS in found.missing  # below the threshold it would neither raise nor clear
    catalog.rmdir()
    catalog.with_name("away").rename(catalog)
    assert surveyed.value(names.FOLLOWER_LAG_SECONDS) == 0


def test_unsigned_entries_age_until_a_checkpoint_covers_them(surveyed: Surveyed) -> None:
    surveyed.archive.write([mail(1)])
    surveyed.later(seconds=1000)
    assert 1000 <= surveyed.value(names.CHECKPOINT_LAG, owner=surveyed.archive.tenant.id) < 1060
    surveyed.settle()
    assert surveyed.value(names.CHECKPOINT_LAG) == 0


def test_half_of_an_intake_lock_without_a_finding_or_a_class(surveyed: Surveyed) -> None:
    surveyed.archive.write([mail(1)])
    surveyed.later(days=16)
    assert surveyed.value(names.INTAKE_LOCK_USED) == pytest.approx(16 / 30, abs=0.01)
    surveyed.archive.follow()
    assert surveyed.value(names.INTAKE_LOCK_USED) == pytest.approx(16 / 30, abs=0.01)
    surveyed.archive.tenant.acts.schedules.take(SCHEDULED, 0)  # until there is one nothing has a class
    surveyed.archive.follow()
    assert surveyed.value(names.INTAKE_LOCK_USED) == 0


def test_a_capture_that_does_not_open_is_counted_with_its_lock(surveyed: Surveyed) -> None:
    surveyed.archive.write([mail(1)])
    records = [
        path
        for path in (surveyed.data / "keys").glob(f"*/{surveyed.archive.tenant.id}/records/capture-1/**/*")
        if path.is_file()
    ]
    assert len(records) == 2
    away = {path: path.read_bytes() for path in records}
    for path in records:
        path.unlink()
    surveyed.reopen()
    surveyed.archive.follow()
    surveyed.later(days=16)
    assert surveyed.value(names.CAPTURES_UNREAD) == 1
    assert surveyed.value(names.INTAKE_LOCK_USED) == pytest.approx(16 / 30, abs=0.01)
    for path, data in away.items():
        path.write_bytes(data)
    surveyed.reopen()
    surveyed.archive.follow()
    assert surveyed.value(names.CAPTURES_UNREAD) == 0


def test_reports_that_do_not_parse_are_counted(surveyed: Surveyed) -> None:
    surveyed.archive.write([(SAMPLES / "exchange-unparsed.eml").read_bytes()])
    surveyed.archive.follow()
    assert surveyed.value(names.REPORTS_UNPARSED) == 1


def test_a_catalog_that_claims_more_than_there_is_lags(surveyed: Surveyed) -> None:
    """Whoever may write to the database could have mail passed over; nothing of it would look late."""
    surveyed.archive.write([mail(1), mail(2)])
    surveyed.archive.follow()
    surveyed.later(seconds=1000)
    assert surveyed.value(names.FOLLOWER_LAG_SECONDS) == 0
    catalog = surveyed.data / "projections" / surveyed.archive.tenant.id / "catalog.sqlite"
    for statement, stage in (
        ("UPDATE took SET next = next + 1000", "order"),
        ("UPDATE position SET acts = acts + 1000", "order"),
        ("UPDATE position SET rows = rows + 1000", "catalog"),
        ("UPDATE position SET indexed = rows + 1000", "index"),
    ):
        with closing(sqlite3.connect(catalog)) as database, database:
            before = {table: database.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES}
            database.execute(statement)
        assert surveyed.value(names.FOLLOWER_LAG_SECONDS, stage=stage) >= 1000, statement
        with closing(sqlite3.connect(catalog)) as database, database:
            for table, rows in before.items():
                database.execute(f"DELETE FROM {table}")
                database.executemany(f"INSERT INTO {table} VALUES ({','.join('?' * len(rows[0]))})", rows)
        assert surveyed.value(names.FOLLOWER_LAG_SECONDS) == 0


def test_an_index_that_lost_what_the_catalog_has(surveyed: Surveyed) -> None:
    surveyed.archive.write([mail(1), mail(2)])
    assert names.INDEX_DIFFERING in surveyed.look().missing or surveyed.value(names.INDEX_DIFFERING) == 0
    surveyed.archive.follow()
    surveyed.later(seconds=1000)
    assert surveyed.value(names.INDEX_DIFFERING) == 0
    gone = surveyed.archive.catalog.changed(0, 1000)
    surveyed.archive.index.remove([next(gone).id])
    assert surveyed.value(names.INDEX_DIFFERING) == 0  # counting costs: not at every look
    surveyed.later(seconds=2000)
    assert surveyed.value(names.INDEX_DIFFERING) == 1
    surveyed.archive.index.clear()
    surveyed.later(seconds=3000)
    assert surveyed.value(names.INDEX_DIFFERING) == 2


def test_an_index_is_not_compared_while_the_follower_is_at_work(surveyed: Surveyed) -> None:
    surveyed.archive.write([mail(1)])
    surveyed.archive.follow()
    surveyed.archive.catalog.indexed(0)
    surveyed.later(seconds=1000)
    found = surveyed.look()
    assert names.INDEX_DIFFERING in found.missing
    assert names.INDEX_DIFFERING not in {each.metric for each in found.samples}
    assert names.REPORTS_UNPARSED not in found.missing


@pytest.mark.parametrize("kind", ["secrets", "table", "generations"])
def test_key_places_that_differ_are_seen_at_the_second_look(surveyed: Surveyed, kind: str) -> None:
    record = next(path for path in (surveyed.data / "keys" / "b").glob(f"*/{kind}/*") if path.is_file())
    kept = record.read_bytes()
    for wrong in (None, kept + b" "):
        record.unlink() if wrong is None else record.write_bytes(wrong)
        assert surveyed.value(names.KEY_PLACES_DIFFER) == 0  # it may be under way
        assert surveyed.value(names.KEY_PLACES_DIFFER) == 1
        record.write_bytes(kept)
        assert surveyed.value(names.KEY_PLACES_DIFFER) == 0


def test_a_key_service_that_is_away_is_said_and_hides_nothing_else(surveyed: Surveyed) -> None:
    (surveyed.data / "kms").rename(surveyed.data / "kms-away")
    found = surveyed.look()
    values = {each.metric: each.value for each in found.samples}
    assert values[names.KEY_SERVICE_OK] == 0
    assert values[names.STORE_OK] == 1
    assert found.failed
    (surveyed.data / "kms-away").rename(surveyed.data / "kms")
    assert surveyed.value(names.KEY_SERVICE_OK) == 1


def test_a_log_that_cannot_be_read_hides_no_other_part(surveyed: Surveyed) -> None:
    surveyed.archive.write([mail(1)])
    found_in = (surveyed.data / "ledger" / surveyed.archive.tenant.id / "capture-1" / "batch").glob("*/*")
    batch = min(path for path in found_in if path.name.isdecimal())
    batch.chmod(0o600)
    batch.write_bytes(b"no entry")
    found = surveyed.look()
    assert {names.CHECKPOINT_LAG, names.FOLLOWER_LAG_ENTRIES} <= found.missing
    assert names.ERASURE_OVERDUE not in found.missing
    assert names.KEY_PLACE_OK in {each.metric for each in found.samples}


def test_another_machines_turn_leaves_the_shared_part_to_it(surveyed: Surveyed) -> None:
    found = surveyed.look(shared=False)
    told = {each.metric for each in found.samples}
    assert names.FOLLOWER_LAG_SECONDS not in told
    assert names.FOLLOWER_LAG_SECONDS in found.missing
    assert {names.WORK_FREE, names.KEY_PLACE_OK} <= told


def test_the_last_verify_is_remembered(surveyed: Surveyed) -> None:
    record_verify(surveyed.data, 3)
    record_verify(surveyed.data, 0, whole=False)  # a sample may just have missed it
    assert surveyed.value(names.VERIFY_DAMAGE) == 3
    record_verify(surveyed.data, 0)
    assert surveyed.value(names.VERIFY_DAMAGE) == 0
    assert surveyed.value(names.VERIFY_AGE) < 60


# --- erasures ---------------------------------------------------------------------------------------------


@pytest.fixture
def erasing() -> Iterator[Erasing]:
    made = Erasing()
    yield made
    made.archive.world.close()


def overdue(erasing: Erasing) -> float:
    world = erasing.archive.world
    (_, late) = Erasures(world.store, erasing.acts(), world.clock).look()
    assert late.metric == names.ERASURE_OVERDUE
    return late.value


def test_gdpr_article_17_a_request_that_waits_too_long_is_overdue_unless_something_keeps_it(
    erasing: Erasing,
) -> None:
    victim, other = erasing.send(b"one", b"two")
    erasing.ask(victim)
    erasing.next_day(2)
    assert overdue(erasing) == 0
    erasing.archive.world.clock.now += timedelta(hours=1)
    assert overdue(erasing) == 3600
    place_keep(erasing.acts(), [victim.capture], KeepGround.HOLD, BASIS, "legal")
    assert overdue(erasing) == 0
    erasing.ask(other)
    erasing.next_day(3)
    assert overdue(erasing) == 86400


def test_gdpr_article_17_a_key_version_that_outlives_its_grace_is_overdue(erasing: Erasing) -> None:
    erasing.ask(*erasing.send(b"one"))
    erasing.next_day()
    assert erasing.run(grace=timedelta(hours=1)).erased == 1
    erasing.archive.world.clock.now += timedelta(hours=7)
    assert overdue(erasing) == 0
    erasing.archive.world.clock.now += timedelta(hours=1)
    assert overdue(erasing) == 3600
    assert erasing.run().destroyed
    assert overdue(erasing) == 0


# --- the watch and the endpoint's counts ------------------------------------------------------------------


def test_an_archive_that_does_not_open_rings_and_is_seen_to_be_back(tmp_path: Path) -> None:
    data = tmp_path / "archive"
    run("init", "--data", data, "--tenant", "acme")
    watch = Watch(load(data=data), Tally())
    assert [notice.alarm for notice in watch.once()] == []
    for folder, alarm in (("ledger", "store_unreachable"), ("kms", "key_service_unreachable")):
        watch._close_core()  # as at the next start of the service
        (data / folder).rename(data / "away")
        (raised,) = watch.once()
        assert (raised.alarm, raised.state) == (alarm, State.RAISED)
        assert watch.once() == []
        (data / "away").rename(data / folder)
        told = [notice for _ in range(3) for notice in watch.once()]
        assert [(notice.alarm, notice.state) for notice in told] == [(alarm, State.CLEARED)]
    watch._close_core()


def test_a_watch_with_half_a_channel_does_not_begin(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="alarm_mail_from"):
        Watch(load(data=tmp_path, alarm_mail_server="localhost:25"), Tally())


def test_the_endpoints_counts_have_their_class() -> None:
    server = SmtpServer(FakeIntake(), SmtpSettings())
    server.counters.rejected["overloaded"] += 2
    server.counters.rejected["unknown_recipient"] += 1
    server.counters.accepted += 5
    found = {(each.metric, each.label("class"), each.label("reason")): each.value for each in counted(server)}
    assert found[names.SMTP_REFUSED, "4xx", "overloaded"] == 2
    assert found[names.SMTP_REFUSED, "5xx", "unknown_recipient"] == 1
    assert found[names.SMTP_REFUSED, "4xx", "store_full"] == 0  # a rise from nothing is seen only from a zero
    assert found[names.SMTP_ACCEPTED, None, None] == 5
    assert found[names.SMTP_IN_FLIGHT_LIMIT, None, None] == 256 * 1024 * 1024


def test_every_reason_of_the_catalogue_is_one_of_the_endpoint() -> None:
    known = {each.label("reason") for each in counted(SmtpServer(FakeIntake(), SmtpSettings()))}
    for alarm in catalogue(load()):
        for condition in alarm.when:
            assert set(condition.labels.get("reason", ())) <= known


def test_the_time_left_of_a_certificate(tmp_path: Path) -> None:
    pem, key = certificate(tmp_path, days=10)
    (left,) = certificate_left(load(smtp_tls_certificate=pem, smtp_tls_key=key))
    assert 9.9 * 86400 < left.value <= 10 * 86400 + 60
    assert list(certificate_left(load())) == []
    assert list(certificate_left(load(smtp_tls_certificate=tmp_path / "gone.pem"))) == []
