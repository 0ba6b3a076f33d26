"""The contract of what the catalog counts hour by hour, over every back end: by whatever steps captures come."""

import json
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import replace

import pytest

from archive_service.catalog import migrations
from archive_service.catalog.arrivals import kind_of
from archive_service.catalog.base import Changes, LastArrival, Withdrawn
from archive_service.catalog.migrations import Track
from archive_service.catalog.sql import SqlCatalog
from archive_service.catalog.sqlite import SqliteDatabase
from archive_service.model.canaries import canary_message_id
from tests.contracts.test_catalog import capture, catalog, changes, open_catalog, postgres_url

__all__ = ["catalog", "open_catalog", "postgres_url"]  # fixtures

SOURCE = "s0123456789abcdef"
HOUR = 3600
NOON = 474_780  # 2024-02-29T12:00Z, in hours since 1970


def at(order_seq, time, *, sent=None, channel=None, flags=(), source=SOURCE, message_id=None):
    row = capture(order_seq, f"m{order_seq}")
    parsed = row.finding.parsed.model_copy(
        update={"sent_at": sent, "flags": tuple(flags), "message_id": message_id}
    )
    update = {"received_at": time, "channel": channel, "source": source, "parsed": parsed}
    return replace(row, finding=row.finding.model_copy(update=update))


def time(minutes, day=29, hour=12):
    return f"2024-02-{day:02}T{hour + minutes // 60:02}:{minutes % 60:02}:00.000000Z"


def counted(catalog, since=0, below=2**40):
    return {(h.source, h.hour, h.kind): h.count for h in catalog.arrivals(since, below).hours}


def test_captures_are_counted_by_source_hour_and_lag(catalog):
    rows = [
        at(0, time(10), sent=time(9)),
        at(1, time(20), sent=time(19)),
        at(2, time(59), sent=time(58)),
        at(3, time(60), sent=time(0)),
        at(4, time(61), sent=time(60), source="s2"),
    ]
    catalog.apply(changes(*rows, rows=5))
    assert counted(catalog) == {
        (SOURCE, NOON, "60"): 3,
        (SOURCE, NOON + 1, "3600"): 1,
        ("s2", NOON + 1, "60"): 1,
    }
    assert counted(catalog, NOON + 1) == {(SOURCE, NOON + 1, "3600"): 1, ("s2", NOON + 1, "60"): 1}
    assert counted(catalog, 0, NOON) == {}
    assert catalog.arrivals(0, 1).counted_from == 0


def test_the_steps_make_no_difference_and_nothing_counts_twice(open_catalog):
    rows = [at(n, time(n), sent=time(n)) for n in range(12)]
    catalog = open_catalog()
    for end in (1, 2, 5, 5, 12):
        catalog.apply(Changes(rows[:end], (), end, 0))
    again = replace(rows[3], order_seq=12)  # found again after a crash between two appends
    catalog.apply(changes(again, rows=13))
    assert counted(open_catalog()) == {(SOURCE, NOON, "60"): 12}


def test_what_is_erased_did_come(catalog):
    rows = [at(0, time(1)), at(1, time(2))]
    catalog.apply(changes(*rows, rows=2))
    catalog.apply(Changes((), (), 3, 1, withdrawn=[Withdrawn("c0", "log-a", 0, 2)]))
    assert counted(catalog) == {(SOURCE, NOON, "unknown"): 2}
    late = at(3, time(3))
    catalog.apply(Changes([late], (), 4, 1, withdrawn=[Withdrawn("c3", "log-a", 3, 3)]))
    assert counted(catalog) == {(SOURCE, NOON, "unknown"): 2}  # it never had a row


def test_the_last_arrival_is_by_the_route_and_never_of_a_time_to_come(catalog):
    rows = [
        at(0, time(5), sent=time(1)),
        at(1, time(30), sent=time(1)),
        at(2, time(20, hour=14), channel="import"),
        at(3, time(20, hour=15), channel="undeliverable"),
        at(4, "2034-01-01T00:00:00.000000Z"),  # a clock that was ahead
    ]
    catalog.apply(changes(*rows, rows=5))
    seconds = NOON * HOUR + 30 * 60
    imported = (NOON + 2) * HOUR + 20 * 60
    assert catalog.last_arrival(SOURCE, NOON + 100) == LastArrival(seconds, imported)
    assert catalog.last_arrival(SOURCE, NOON) == LastArrival(None, None)
    assert catalog.last_arrival("nobody", 2**40) == LastArrival(None, None)
    assert catalog.last_arrival(SOURCE, 2**40).route > seconds


def test_canaries_are_known_by_number_and_back_when_they_first_came(catalog):
    names = [canary_message_id(b"k" * 32, SOURCE, number, "ex.fr") for number in (7, 8)]
    rows = [
        at(0, time(9), flags=["canary"], message_id=names[0]),
        at(1, time(3), flags=["canary"], message_id=names[0]),
        at(2, time(5), flags=["canary"], message_id=names[1]),
        at(3, time(5), flags=[], message_id=canary_message_id(b"x" * 32, SOURCE, 9, "ex.fr")),
    ]
    catalog.apply(changes(*rows, rows=4))
    assert catalog.canaries(SOURCE, [7, 8, 9, 10]) == {7: time(3), 8: time(5)}
    assert catalog.canaries("s2", [7]) == {}
    assert counted(catalog) == {(SOURCE, NOON, "canary"): 3, (SOURCE, NOON, "unknown"): 1}
    assert catalog.last_arrival(SOURCE, NOON + 1).route == NOON * HOUR + 9 * 60


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("60", {"sent": time(0)}),
        ("60", {"sent": time(1)}),  # a clock a little ahead
        ("ahead", {"sent": time(6)}),
        ("300", {"sent": "2024-02-29T11:57:00.000000Z"}),
        ("86400", {"sent": time(0, day=28)}),
        ("691200", {"sent": time(0, day=21)}),
        ("older", {"sent": time(0, day=20)}),
        ("unknown", {"sent": None}),
        ("unknown", {"sent": "yesterday"}),
        ("import", {"sent": time(0), "channel": "import", "flags": ["canary"]}),
        ("undeliverable", {"channel": "import", "flags": ["undelivered_report"]}),
        ("undeliverable", {"channel": "undeliverable"}),
        ("canary", {"flags": ["canary"]}),
    ],
)
def test_one_kind_for_each_capture(kind, given):
    assert kind_of(at(0, time(0), **given).finding) == kind


FIRST = Track(migrations.CATALOG.name, migrations.CATALOG.first, "catalog_0001")


def older(path, rows):
    """A catalog as the first migration made it, with these captures."""
    database = SqliteDatabase(path)
    migrations.bring_up(database, FIRST)
    database.close()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO position VALUES (1, 2, ?, 0, 0)", (len(rows),))
        for row in rows:
            finding = json.dumps(row.finding.plain())
            db.execute(
                "INSERT INTO messages VALUES (?, ?, 0, '2024-02', '{}')", (row.finding.message, row.seq)
            )
            values = (row.id, row.log, row.seq, row.order_seq, row.object_key, row.lock_until)
            place = "id, log, seq, order_seq, object_key, lock_until, message, finding"
            marks = ", ".join("?" * 8)
            db.execute(
                f"INSERT INTO captures ({place}) VALUES ({marks})", (*values, row.finding.message, finding)
            )


def test_sqlite_an_older_catalog_is_counted_when_it_is_opened(tmp_path):
    path = tmp_path / "catalog.sqlite"
    older(path, [at(n, time(n), sent=time(n)) for n in range(70)])
    catalog = SqlCatalog.sqlite(path)
    assert counted(catalog) == {(SOURCE, NOON, "60"): 60, (SOURCE, NOON + 1, "60"): 10}
    assert catalog.arrivals(0, 1).counted_from == 0
    catalog.close()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT version_num FROM alembic_version").fetchall() == [
            (migrations.CATALOG.head,)
        ]


def test_sqlite_of_a_large_one_the_newest_and_it_says_from_when(tmp_path, monkeypatch):
    path = tmp_path / "catalog.sqlite"
    older(path, [at(n, time(0, day=1 + n // 10, hour=n % 10), sent=time(0, day=1)) for n in range(100)])
    source = migrations._FOLDER / "catalog" / "catalog_0002.py"
    text = source.read_text("utf-8")
    small = tmp_path / "few" / "catalog"
    small.mkdir(parents=True)
    for other in source.parent.glob("*.py"):
        (small / other.name).write_text(other.read_text("utf-8"), "utf-8")
    (small / source.name).write_text(text.replace("_MOST = 50_000", "_MOST = 30"), "utf-8")
    (small.parent / "env.py").write_text((migrations._FOLDER / "env.py").read_text("utf-8"), "utf-8")
    monkeypatch.setattr(migrations, "_FOLDER", small.parent)
    catalog = SqlCatalog.sqlite(path)
    first = NOON - 12 - 21 * 24
    assert sum(counted(catalog).values()) == 30
    assert catalog.arrivals(0, 1).counted_from == first + 1
    assert Counter(hour // 24 for _, hour, _ in counted(catalog)) == Counter(
        {first // 24: 10, first // 24 + 1: 10, first // 24 + 2: 10}
    )
    catalog.close()
