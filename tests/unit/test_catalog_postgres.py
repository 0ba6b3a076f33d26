"""What is of PostgreSQL alone: tenants that never meet, catalogs that take each other's place, bounded connections."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest

from archive_service.catalog import postgres
from archive_service.catalog.base import CaptureRow, Changes, Job, Withdrawn
from archive_service.catalog.columns import escaped, unescaped
from archive_service.catalog.jobs import SqlJobs
from archive_service.catalog.postgres import PostgresDatabase
from archive_service.catalog.schemas import Schemas
from archive_service.catalog.sql import SqlCatalog
from archive_service.model.errors import Invalid, StoreError
from archive_service.model.mail import Finding, Parsed, Recipient, Source
from tests.services.postgres import new_owner, postgres_url

__all__ = ["postgres_url"]

ODD = "nul \0 é 😀 \\u0000 \x01"


def capture(order_seq, message, *, name=None, log="log-a", subject="Objet", flags=()):
    name = name or f"c{order_seq}"
    parsed = Parsed(
        parser="1",
        dialect="exchange",
        inner_start=0,
        inner_end=10,
        inner_digest="00",
        subject=subject,
        sender="bob@ex.fr",
        flags=flags,
        recipients=(Recipient(address=f"{subject}@ex.fr", on_report=True),),
    )
    finding = Finding(
        capture=name, message=message, source="s1", received_at="2024-03-01T10:00:00.000000Z", parsed=parsed
    )
    return CaptureRow(name, log, order_seq, order_seq, f"key/{name}", "2024-04-01T00:00:00Z", finding)


def changes(*captures, rows, **more):
    return Changes(captures=captures, sources=(), rows=rows, acts=0, **more)


@pytest.fixture
def opening(postgres_url):
    """Opens what is closed at the end."""
    opened = []

    def keep(thing):
        opened.append(thing)
        return thing

    def open_one(owner, **more):
        return keep(SqlCatalog.postgres(postgres_url, owner, **{"connections": 6, **more}))

    open_one.keep = keep
    yield open_one
    for each in opened:
        each.close()


@pytest.fixture
def schemas(postgres_url, opening):
    return opening.keep(Schemas(postgres_url, connections=6))


STRETCHES = [
    changes(
        capture(0, "m2", subject=ODD, flags=("journal_report",)),
        capture(1, "m10", subject="a"),
        capture(2, "M1", log="Log-b", flags=("no_message_id", "journal_report")),
        rows=3,
        took={"log-a": 3, "Log-b": 1, "log_c": 2},
        unread=[("log-a", 9), ("Log-b", 4)],
    ),
    changes(capture(3, "m2", name="é3"), capture(4, "m10", name="Z4"), rows=5),
    changes(rows=6, withdrawn=[Withdrawn("c1", "log-a", 1, 5), Withdrawn("c77", "log-a", 77, 5)]),
    replace(changes(rows=7), sources=[Source(id="s1", name=ODD, kind="exchange", address="x@a.example")]),
]


def test_postgres_and_sqlite_dump_the_same_rows_in_the_same_order(opening, tmp_path):
    of_postgres = opening(new_owner())
    of_sqlite = opening.keep(SqlCatalog.sqlite(tmp_path / "catalog.sqlite"))
    for stretch in STRETCHES:
        of_postgres.apply(stretch)
        of_sqlite.apply(stretch)
        assert list(of_postgres.dump()) == list(of_sqlite.dump())
    for asked in ("position", "counts", "took", "unread"):
        assert getattr(of_postgres, asked)() == getattr(of_sqlite, asked)()
    assert list(of_postgres.counts()) == list(of_sqlite.counts())
    assert of_postgres.withdrawn(0, 99) == of_sqlite.withdrawn(0, 99)
    assert list(of_postgres.changed(0, 99)) == list(of_sqlite.changed(0, 99))


@pytest.mark.parametrize("text", ["", "a", "\0", "\ud800x", "\x01", "\x01a", "é\x01", "\x01\0", "\\u0000"])
def test_postgres_any_text_is_kept_in_jobs(postgres_url, opening, text):
    assert unescaped(escaped(text)) == text
    jobs = opening.keep(SqlJobs.postgres(postgres_url, new_owner(), connections=2))
    jobs.add(Job(id="j1", kind="k", actor=text, request={text: text}))
    claimed = jobs.claim(["k"])
    jobs.update(replace(claimed, state="failed", error=text, result={"at": [text]}))
    found = jobs.get("j1")
    assert (found.actor, found.request, found.error) == (text, {text: text}, text)
    assert found.result == {"at": [text]}


@pytest.mark.parametrize("asked", ["\0", "c1\0", "\ud800", "x" * 5000, "'; DROP TABLE captures; --"])
def test_postgres_an_id_that_cannot_be_is_not_found(opening, asked):
    catalog = opening(new_owner())
    catalog.apply(changes(capture(1, "m1"), rows=2))
    assert catalog.capture(asked) is None
    assert [row.id for row in catalog.messages([asked, "m1"])] == ["m1"]


def test_postgres_owners_never_meet(opening):
    one, other = opening(new_owner()), opening(new_owner())
    one.apply(changes(capture(0, "m1"), rows=1))
    assert list(other.dump()) == []
    other.apply(changes(capture(0, "m1", subject="another"), rows=1))
    assert one.messages(["m1"])[0].subject == "Objet"
    assert other.messages(["m1"])[0].subject == "another"


@pytest.mark.parametrize("owner", ["", "a_b", 'x"; --', "A", "é", "a" * 41])
def test_postgres_an_owner_that_names_no_schema_is_refused(postgres_url, owner):
    with pytest.raises(Invalid):
        SqlCatalog.postgres(postgres_url, owner, connections=2)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///x",
        "host=x password=geheim",
        "postgresql://u:geheim@h:port:x/d?no=1",
        "postgresql://u:geheim@h/d?sslmod=require",
        "postgresql://u:geheim@h/d\n",  # as a Secret that was made from a file holds it
        " postgresql://u:geheim@h/d",
        "postgresql://u:geheim@h/d\0",
    ],
)
def test_postgres_a_wrong_url_is_refused_without_showing_it(url):
    with pytest.raises(Invalid) as caught:
        SqlCatalog.postgres(url, new_owner(), connections=2)
    assert "geheim" not in str(caught.value)
    assert caught.value.code == "catalog.url"


def test_postgres_two_writers_of_one_stretch_apply_it_once(opening):
    owner = new_owner()
    catalogs = [opening(owner), opening(owner)]
    stretches = [changes(capture(n, f"m{n % 3}", subject=f"s{n}"), rows=n + 1) for n in range(12)]

    def write(catalog):
        for stretch in stretches:
            catalog.apply(stretch)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(write, catalog) for catalog in catalogs]:
            done.result()
    once = opening(new_owner())
    write(once)
    assert list(catalogs[0].dump()) == list(once.dump())


def test_postgres_a_deadlock_is_tried_again(postgres_url, opening):
    owner = new_owner()
    catalog = opening(owner)
    catalog.apply(changes(capture(0, "m1"), rows=1))
    database = catalog._database
    first_lock, tries = threading.Barrier(2, timeout=30), []

    def cross(first, second):
        def work(connection):
            connection.exec_driver_sql(f'LOCK TABLE "{database.schema}".{first} IN EXCLUSIVE MODE')
            tries.append(first)
            if len(tries) <= 2:
                first_lock.wait()
            connection.exec_driver_sql(f'LOCK TABLE "{database.schema}".{second} IN EXCLUSIVE MODE')

        database.write(work)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(cross, "took", "unread"), pool.submit(cross, "unread", "took")]:
            done.result()
    assert len(tries) == 3


def connections_of(postgres_url, name):
    with psycopg.connect(postgres_url) as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
        return connection.execute(query, (name,)).fetchone()[0]


def named(postgres_url):
    name = f"test-{new_owner()}"
    return f"{postgres_url}{'&' if '?' in postgres_url else '?'}application_name={name}", name


def test_postgres_more_threads_than_connections_share_them_between_owners(postgres_url, opening):
    url, name = named(postgres_url)
    catalogs = [opening.keep(SqlCatalog.postgres(url, new_owner(), connections=3)) for _ in range(3)]
    for catalog in catalogs:
        catalog.apply(changes(capture(0, "m1"), rows=1))
    most = 0
    with ThreadPoolExecutor(24) as pool:
        readings = [pool.submit(catalogs[n % 3].messages, ["m1"]) for n in range(240)]
        for reading in readings:
            assert len(reading.result()) == 1
            if not most:
                most = connections_of(postgres_url, name)
    assert 1 <= most <= 3
    assert connections_of(postgres_url, name) <= 3


def test_postgres_when_every_connection_is_in_use_it_says_busy(postgres_url, opening, monkeypatch):
    monkeypatch.setattr(postgres, "POOL_SECONDS", 0.05)
    url, _ = named(postgres_url)
    catalog = opening.keep(SqlCatalog.postgres(url, new_owner(), connections=1))
    catalog.apply(changes(capture(0, "m1"), rows=1))
    held = catalog.dump()
    next(held)
    with pytest.raises(StoreError) as caught:
        catalog.position()
    assert caught.value.code == "catalog.busy"
    held.close()
    assert catalog.position().rows == 1


def test_postgres_connections_end_with_the_last_owner(postgres_url):
    url, name = named(postgres_url)
    one, other = (SqlCatalog.postgres(url, new_owner(), connections=2) for _ in range(2))
    one.close()
    one.close()
    assert other.position().rows == 0
    other.close()
    while connections_of(postgres_url, name):  # the server notices the goodbye in its own time
        pass


# --- a rebuild's catalog takes the place


def test_postgres_a_catalog_beside_is_not_seen_until_it_takes_the_place(postgres_url, opening, schemas):
    owner = new_owner()
    assert not schemas.stands(owner)
    live = opening(owner)
    assert schemas.stands(owner)
    live.apply(changes(capture(0, "old"), rows=1))
    jobs = opening.keep(SqlJobs.postgres(postgres_url, owner, connections=6))
    jobs.add(Job(id="j1", kind="k", actor="a", request={}))
    beside = opening(owner, beside="next")
    beside.apply(changes(capture(0, "new"), capture(1, "new2"), rows=2))
    assert [row.id for row in live.messages(["old", "new"])] == ["old"]
    schemas.adopt(owner, "next")
    assert [row.id for row in live.messages(["old", "new", "new2"])] == ["new", "new2"]
    live.apply(changes(capture(2, "later"), rows=3))
    assert opening(owner).position().rows == 3
    assert jobs.get("j1") is not None
    with pytest.raises(StoreError) as caught:
        schemas.adopt(owner, "next")
    assert caught.value.code == "catalog.nothing_beside"


def test_postgres_what_an_interrupted_rebuild_left_is_taken_up_or_dropped(opening, schemas):
    owner = new_owner()
    opening(owner, beside="next").apply(changes(capture(0, "m1"), rows=1))
    assert opening(owner, beside="next").position().rows == 1
    schemas.drop(owner, "next")
    schemas.drop(owner, "next")
    assert opening(owner, beside="next").position().rows == 0
    assert not schemas.stands(owner)
    schemas.adopt(owner, "next")
    assert schemas.stands(owner)


def test_postgres_a_catalog_of_another_format_is_made_again_beside(opening, schemas):
    owner = new_owner()
    live = opening(owner)
    live._database.write(
        lambda connection: connection.exec_driver_sql(
            f"UPDATE {live._database.schema}.position SET format = 1, rows = 5"
        )
    )
    with pytest.raises(StoreError) as caught:
        opening(owner)
    assert caught.value.code == "catalog.outdated"
    opening(owner, beside="next").apply(changes(capture(0, "m1"), rows=1))
    schemas.adopt(owner, "next")
    assert opening(owner).position().rows == 1


@pytest.mark.parametrize("name", ["", "jobs", "x_y", 'a"b'])
def test_postgres_only_what_stands_beside_can_be_dropped_or_take_the_place(schemas, name):
    for verb in (schemas.drop, schemas.adopt):
        with pytest.raises(Invalid):
            verb(new_owner(), name)


def test_postgres_readers_never_see_half_of_each_catalog(opening, schemas):
    """Generation g has g + 1 captures of m1, each of subject "g"; readers look, open and dump while they change."""
    owner = new_owner()

    def make(generation):
        built = opening(owner, beside="next")
        rows = [capture(n, "m1", subject=str(generation)) for n in range(generation + 1)]
        built.apply(changes(*rows, rows=generation + 1))
        schemas.adopt(owner, "next")

    make(0)
    reader, finished = opening(owner), threading.Event()

    def read():
        seen = set()
        while not finished.is_set():
            (row,) = reader.messages(["m1"])
            assert row.subject == str(len(row.captures) - 1)
            seen.add(row.subject)
        return seen

    def dump():
        while not finished.is_set():
            rows = list(reader.dump())
            assert len(rows) == int(rows[-1]["subject"]) + 2

    def open_again():
        while not finished.is_set():
            again = opening(owner)
            assert again.position().rows >= 1
            again.close()

    with ThreadPoolExecutor(4) as pool:
        looking = [pool.submit(each) for each in (read, read, dump, open_again)]
        try:
            for generation in range(1, 9):
                make(generation)
        finally:
            finished.set()
        for each in looking:
            each.result()
    assert reader.messages(["m1"])[0].subject == "8"


def test_postgres_a_swap_waits_for_a_reader_in_turns_and_gives_up(opening, schemas, monkeypatch):
    monkeypatch.setattr("archive_service.catalog.schemas._TRIES", 2)
    monkeypatch.setattr("archive_service.catalog.schemas._TURN", "50ms")
    owner = new_owner()
    live = opening(owner)
    live.apply(changes(capture(0, "old"), rows=1))
    opening(owner, beside="next")
    reading = live.dump()
    next(reading)
    with pytest.raises(StoreError) as caught:
        schemas.adopt(owner, "next")
    assert caught.value.code == "catalog.busy"
    assert live.position().rows == 1
    reading.close()
    schemas.adopt(owner, "next")
    assert live.position().rows == 0


def test_postgres_a_database_of_another_encoding_is_refused(postgres_url, opening):
    name = f"latin_{new_owner()}"
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
        try:
            with pytest.raises(StoreError) as caught:
                SqlCatalog.postgres(f"{postgres_url}?dbname={name}", new_owner(), connections=1)
            assert caught.value.code == "catalog.encoding"
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_postgres_the_parents_connections_are_not_the_childs(postgres_url, monkeypatch):
    database = PostgresDatabase(postgres_url, new_owner(), "", connections=2)
    monkeypatch.setattr(postgres.os, "getpid", lambda: -1)
    child = PostgresDatabase(postgres_url, new_owner(), "", connections=2)
    assert child.engine.pool is not database.engine.pool
    child.close()
    monkeypatch.undo()
    database.close()


def test_postgres_a_frozen_writer_does_not_keep_the_next_one_waiting(postgres_url, opening, monkeypatch):
    monkeypatch.setattr(postgres, "IDLE_IN_TRANSACTION", "200ms")
    url, _ = named(postgres_url)
    owner, thawed, holding = new_owner(), threading.Event(), threading.Event()
    frozen, standby = (opening.keep(SqlCatalog.postgres(url, owner, connections=n)) for n in (1, 2))

    def freeze(connection):
        schema = frozen._database.schema
        connection.exec_driver_sql(f"SELECT * FROM {schema}.position FOR UPDATE")
        connection.exec_driver_sql(f"UPDATE {schema}.position SET rows = 99")
        holding.set()
        thawed.wait(60)

    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(frozen._database.write, freeze)
        assert holding.wait(60)
        standby.apply(changes(capture(0, "m1"), rows=1))
        thawed.set()
        with pytest.raises(StoreError) as caught:
            late.result()
    assert caught.value.code == "catalog.unavailable"
    assert frozen.position().rows == 1


def test_postgres_a_vanished_client_is_noticed_by_the_server(opening):
    catalog = opening(new_owner())
    with catalog._database.looking() as connection:
        asked = (
            "tcp_keepalives_idle",
            "tcp_keepalives_interval",
            "tcp_keepalives_count",
            "synchronous_commit",
        )
        shown = [connection.exec_driver_sql(f"SHOW {each}").scalar_one() for each in asked]
    assert shown == ["5", "3", "3", "on"]
