"""The contract of Catalog and Dump, over every back end."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import create_engine, delete, literal_column, text, update

from archive_service.catalog import tables, text_marks
from archive_service.catalog.base import Backlog, CaptureRow, Changes, EvidenceRow, Mark, Position, Withdrawn
from archive_service.catalog.sql import SqlCatalog
from archive_service.model.errors import StoreDenied, StoreError
from archive_service.model.evidence import Evidence, Look, Malware
from archive_service.model.mail import Finding, Parsed, Recipient, Source
from tests.services.postgres import new_owner, postgres_url

__all__ = ["postgres_url"]


@pytest.fixture(params=["sqlite", "postgres"])
def open_catalog(request, tmp_path):
    """Opens the same catalog at each call."""
    opened = []
    owner = new_owner()

    def open_one():
        if request.param == "sqlite":
            opened.append(SqlCatalog.sqlite(tmp_path / "projections" / "catalog.sqlite"))
        else:
            url = request.getfixturevalue("postgres_url")
            opened.append(SqlCatalog.postgres(url, owner, connections=4))
        return opened[-1]

    yield open_one
    for catalog in opened:
        catalog.close()


@pytest.fixture
def catalog(open_catalog):
    return open_catalog()


def capture(order_seq, message, *addresses, name=None, log="log-a", subject="Objet"):
    name = name or f"c{order_seq}"
    parsed = Parsed(
        parser="1",
        dialect="exchange",
        inner_start=0,
        inner_end=10,
        inner_digest="00",
        subject=subject,
        sender="bob@ex.fr",
        recipients=tuple(Recipient(address=address, on_report=True) for address in addresses),
    )
    finding = Finding(
        capture=name, message=message, source="s1", received_at="2024-03-01T10:00:00.000000Z", parsed=parsed
    )
    return CaptureRow(name, log, int(name[1:]), order_seq, f"key/{name}", "2024-04-01T00:00:00Z", finding)


def source(name="Exchange"):
    return Source(id="s1", name=name, kind="exchange", address="secret@archive.example")


def changes(*captures, rows, acts=0, sources=()):
    return Changes(captures=captures, sources=sources, rows=rows, acts=acts)


def addresses(row):
    return [recipient.address for recipient in row.recipients]


def test_an_empty_catalog_stands_at_the_beginning(catalog):
    assert catalog.position() == Position(rows=0, indexed=0, acts=0)
    assert catalog.messages(["m1"]) == []
    assert catalog.capture("c1") is None
    assert list(catalog.changed(0, 100)) == []
    assert list(catalog.dump()) == []


def test_captures_become_messages_and_stand_after_reopening(open_catalog):
    catalog = open_catalog()
    catalog.apply(changes(capture(0, "m1", "a@ex.fr"), capture(1, "m2"), rows=2, acts=1, sources=[source()]))
    catalog.apply(changes(capture(5, "m1", "c@ex.fr", "A@ex.fr"), rows=6, acts=3))
    again = open_catalog()
    assert again.position() == Position(rows=6, indexed=0, acts=3)
    one, two = again.messages(["m1", "nobody", "m2"])
    assert (one.id, one.version, addresses(one)) == ("m1", 5, ["a@ex.fr", "c@ex.fr"])
    assert one.captures == (capture(0, "m1", "a@ex.fr"), capture(5, "m1", "c@ex.fr", "A@ex.fr"))
    assert two.captures == (capture(1, "m2"),)
    assert again.capture("c5") == capture(5, "m1", "c@ex.fr", "A@ex.fr")


def test_messages_come_in_the_order_asked(catalog):
    catalog.apply(changes(*[capture(n, f"m{n}") for n in range(1200)], rows=1200))
    ids = [f"m{n}" for n in reversed(range(1200))]
    assert [row.id for row in catalog.messages([*ids, "m3"])] == [*ids, "m3"]


def test_applying_again_changes_nothing(catalog):
    stretch = changes(capture(0, "m1", "a@ex.fr"), capture(1, "m1"), rows=2, acts=1, sources=[source()])
    catalog.apply(stretch)
    before = list(catalog.dump())
    catalog.apply(stretch)
    catalog.apply(changes(capture(0, "m1", "other@ex.fr"), rows=1, acts=9, sources=[source("other")]))
    assert list(catalog.dump()) == before
    assert catalog.position() == Position(rows=2, indexed=0, acts=1)


def test_of_an_overlapping_stretch_only_the_new_part_counts(catalog):
    catalog.apply(changes(capture(0, "m1", "a@ex.fr"), rows=1))
    catalog.apply(changes(capture(0, "m1", "z@ex.fr"), capture(1, "m1", "b@ex.fr"), rows=2))
    (row,) = catalog.messages(["m1"])
    assert addresses(row) == ["a@ex.fr", "b@ex.fr"]


def test_a_capture_found_again_replaces_its_row_and_may_change_message(catalog):
    catalog.apply(changes(capture(0, "m1", "a@ex.fr"), capture(1, "m2"), rows=2))
    catalog.apply(changes(capture(2, "m2", "b@ex.fr", name="c0"), rows=3))
    assert catalog.messages(["m1"]) == []
    (row,) = catalog.messages(["m2"])
    assert [one.id for one in row.captures] == ["c1", "c0"]


def test_a_failed_stretch_leaves_no_trace(catalog):
    catalog.apply(changes(capture(0, "m1"), rows=1))
    before = list(catalog.dump())
    twice = [capture(1, "m2", name="c7"), capture(2, "m3", name="c8", log="log-b")]
    clash = capture(2, "m4", name="c9")
    with pytest.raises(StoreError):
        catalog.apply(changes(*twice, clash, rows=4, sources=[source()]))
    assert list(catalog.dump()) == before
    assert catalog.position().rows == 1


def test_indexed_moves_alone(catalog):
    catalog.apply(changes(capture(0, "m1"), rows=1, acts=1))
    catalog.indexed(1)
    assert catalog.position() == Position(rows=1, indexed=1, acts=1)
    catalog.indexed(0)  # an index that was cleared
    assert catalog.position().indexed == 0


def test_changed_gives_each_message_of_the_stretch_once(catalog):
    rows = [capture(n, f"m{n % 700}") for n in range(1500)]
    catalog.apply(changes(*rows, rows=1500))
    everything = [row.id for row in catalog.changed(0, 1500)]
    assert everything == [f"m{n}" for n in range(700)]
    some = list(catalog.changed(650, 1360))
    assert sorted(row.id for row in some) == sorted({f"m{n % 700}" for n in range(650, 1360)})
    assert len(some) == 700
    assert len(some[0].captures) == 2
    assert [row.id for row in catalog.changed(10, 12)] == ["m10", "m11"]
    assert list(catalog.changed(1500, 2000)) == []


def test_changed_may_be_left_and_the_catalog_written_meanwhile(catalog):
    catalog.apply(changes(capture(0, "m1"), capture(1, "m2"), rows=2))
    for row in catalog.changed(0, 2):
        catalog.indexed(row.version)
    assert catalog.position().indexed == 1


def test_dump_is_ordered_and_plain(catalog):
    rows = [capture(0, "m2", log="log-b"), capture(1, "m1", "a@ex.fr", log="log-a")]
    catalog.apply(changes(*rows, rows=2, sources=[source()]))
    dumped = list(catalog.dump())
    assert [(row["table"], row["id"]) for row in dumped] == [
        ("captures", "c1"),
        ("captures", "c0"),
        ("messages", "m1"),
        ("messages", "m2"),
        ("sources", "s1"),
    ]
    assert dumped[0]["finding"] == rows[1].finding.plain()
    assert dumped[2]["recipients"] == [{"address": "a@ex.fr", "role": "unknown", "on_report": True}]
    assert dumped[4]["address"] == "secret@archive.example"


def test_any_text_survives(catalog):
    subject = "nul \x00, emoji 😀, « é », \u2028, \x01, \\u0000"
    catalog.apply(changes(capture(0, "m1", subject=subject), rows=1))
    assert catalog.messages(["m1"])[0].subject == subject


def test_a_source_is_replaced_by_its_newest_state(catalog):
    catalog.apply(changes(rows=1, sources=[source("old"), source("new")]))
    catalog.apply(changes(rows=2, sources=[source("newest")]))
    assert [row["name"] for row in catalog.dump()] == ["newest"]


def test_readers_see_whole_stretches_while_one_writes(open_catalog):
    """Each stretch gives m1 one more capture and recipient; a reader never sees one without the other."""
    writer, reader = open_catalog(), open_catalog()
    written = threading.Event()

    def read():
        seen = []
        while not written.is_set():
            seen += [(len(row.captures), len(row.recipients), row.version) for row in reader.messages(["m1"])]
        return seen

    with ThreadPoolExecutor(2) as pool:
        readings = [pool.submit(read) for _ in range(2)]
        try:
            for n in range(30):
                writer.apply(changes(capture(n, "m1", f"r{n}@ex.fr"), rows=n + 1))
        finally:
            written.set()
        for captures, recipients, version in [one for reading in readings for one in reading.result()]:
            assert captures == recipients == version + 1


# of the SQLite back end alone


def test_sqlite_commits_are_synced_and_logged_ahead(tmp_path):
    catalog = SqlCatalog.sqlite(tmp_path / "catalog.sqlite")
    with catalog._database.engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    catalog.close()
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_sqlite_a_killed_writer_leaves_its_last_commit(tmp_path):
    path = tmp_path / "catalog.sqlite"
    program = (
        "import os, sys, pathlib\n"
        "from archive_service.catalog.base import Changes\n"
        "from archive_service.catalog.sql import SqlCatalog\n"
        "catalog = SqlCatalog.sqlite(pathlib.Path(sys.argv[1]))\n"
        "catalog.apply(Changes([], [], 7, 3))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert ended.returncode == -9
    catalog = SqlCatalog.sqlite(path)
    assert catalog.position() == Position(rows=7, indexed=0, acts=3)
    catalog.close()


def test_sqlite_many_may_open_a_new_catalog_at_once(tmp_path):
    for attempt in range(20):
        together = threading.Barrier(4)

        def open_one(path=tmp_path / str(attempt) / "catalog.sqlite", together=together):
            together.wait()
            catalog = SqlCatalog.sqlite(path)
            catalog.close()

        with ThreadPoolExecutor(4) as pool:
            for opened in [pool.submit(open_one) for _ in range(4)]:
                opened.result()


def test_sqlite_damage_is_a_clear_error(tmp_path):
    path = tmp_path / "catalog.sqlite"
    path.write_bytes(b"this is no database at all, " * 100)
    with pytest.raises(StoreError) as caught:
        SqlCatalog.sqlite(path)
    assert caught.value.code == "catalog.unreadable"


@pytest.mark.parametrize("value", ["'abc'", "-1", "1.5", "x'00'"])
@pytest.mark.parametrize("column", ["rows", "indexed", "acts"])
def test_sqlite_a_position_that_is_no_number_is_damage(tmp_path, column, value):
    catalog = SqlCatalog.sqlite(tmp_path / "catalog.sqlite")
    _run_on(tmp_path / "catalog.sqlite", f"UPDATE position SET {column} = {value}")
    with pytest.raises(StoreError) as caught:
        catalog.position()
    assert caught.value.code == "catalog.unreadable"
    with pytest.raises(StoreError):
        catalog.apply(Changes(rows=1, captures=(), sources=(), took={}, acts=0))
    catalog.close()


@pytest.mark.parametrize("value", ["'abc'", "-1", "1.5"])
def test_sqlite_a_log_taken_up_to_no_number_is_damage(tmp_path, value):
    catalog = SqlCatalog.sqlite(tmp_path / "catalog.sqlite")
    _run_on(tmp_path / "catalog.sqlite", f"INSERT INTO took VALUES ('log-a', {value})")
    with pytest.raises(StoreError) as caught:
        catalog.took()
    assert caught.value.code == "catalog.unreadable"
    catalog.close()


def _run_on(path, statement):
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


def test_sqlite_another_format_is_to_be_rebuilt(tmp_path):
    SqlCatalog.sqlite(tmp_path / "catalog.sqlite").close()
    engine = create_engine(f"sqlite:///{tmp_path / 'catalog.sqlite'}")
    with engine.begin() as connection:
        connection.execute(text("UPDATE position SET format = 0"))
    engine.dispose()
    with pytest.raises(StoreError) as caught:
        SqlCatalog.sqlite(tmp_path / "catalog.sqlite")
    assert caught.value.code == "catalog.outdated"


def test_sqlite_a_folder_that_cannot_be_made_is_denied(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreDenied):
        SqlCatalog.sqlite(tmp_path / "file" / "catalog.sqlite")


# --- what an act bars


def withdrawn(order_seq, name, log="log-a"):
    return Withdrawn(name, log, int(name[1:]), order_seq)


def test_gdpr_article_17_a_withdrawn_capture_leaves_its_message(open_catalog):
    catalog = open_catalog()
    catalog.apply(changes(capture(0, "m1", "a@ex.fr"), capture(1, "m1", "b@ex.fr"), capture(2, "m2"), rows=3))
    gone = replace(changes(rows=5), withdrawn=[withdrawn(4, "c1"), withdrawn(4, "c2")])
    catalog.apply(gone)
    again = open_catalog()
    (left,) = again.messages(["m1", "m2"])
    assert (left.id, addresses(left), left.version) == ("m1", ["a@ex.fr"], 0)
    assert again.capture("c1") is None and again.capture("c2") is None
    assert again.withdrawn(0, 4) == [] and again.withdrawn(4, 5) == ["m1", "m2"]
    assert again.counts()["captures"] == 1
    rows = [row for row in again.dump() if row["table"] == "withdrawn"]
    assert rows == [{"table": "withdrawn", "id": name, "order_seq": 4} for name in ("c1", "c2")]


def test_what_was_withdrawn_before_it_was_found_gets_no_row_later(catalog):
    unread = replace(changes(rows=1), unread=[("log-a", 7)])
    catalog.apply(unread)
    catalog.apply(replace(changes(rows=2), withdrawn=[withdrawn(1, "c7")]))
    assert catalog.unread() == []
    catalog.apply(changes(capture(5, "m1", name="c7"), rows=6))
    assert catalog.capture("c7") is None
    assert catalog.messages(["m1"]) == []
    assert catalog.withdrawn(0, 100) == []


def test_found_and_withdrawn_in_one_stretch(catalog):
    both = replace(changes(capture(0, "m1"), rows=3), withdrawn=[withdrawn(2, "c0")])
    catalog.apply(both)
    assert catalog.messages(["m1"]) == []
    catalog.apply(both)
    assert catalog.position().rows == 3


@pytest.mark.parametrize(
    ("table", "wrong"),
    [
        ("messages", {"content": literal_column("'{'")}),
        ("messages", {"content": {"subject": "no more than that"}}),
        ("messages", {"content": ["a", "list"]}),
        ("messages", {"month": literal_column("'\x01'")}),
        ("captures", {"finding": {"capture": "c0"}}),
        ("captures", {"finding": literal_column("'null'")}),
        ("captures", None),
    ],
    ids=[
        "content_cut_short",
        "content_without_fields",
        "content_a_list",
        "month_no_month",
        "finding_without_fields",
        "finding_null",
        "no_capture",
    ],
)
def test_tamper_a_row_that_nobody_of_us_wrote_is_said_to_be_unreadable(catalog, table, wrong):
    """And not a fault that ends whoever reads it."""
    catalog.apply(changes(capture(0, "m1"), capture(1, "m2"), rows=2))
    of = getattr(tables, table)
    mine = of.c.message == "m1" if table == "captures" else of.c.id == "m1"
    change = delete(of).where(mine) if wrong is None else update(of).where(mine).values(**wrong)
    catalog._database.write(lambda connection: connection.execute(change))
    looks = [lambda: catalog.messages(["m2", "m1"])]
    if wrong is not None:
        looks.append(lambda: list(catalog.changed(0, 9)))
    if table == "captures" and wrong is not None:
        looks.append(lambda: catalog.capture("c0"))
    for look in looks:
        with pytest.raises(StoreError) as caught:
            look()
        assert caught.value.code == "catalog.unreadable"
        assert "no more than that" not in str(caught.value)
    assert [row.id for row in catalog.messages(["m2"])] == ["m2"]


# --- what was seen after the 250


def seen(order_seq, name, look="malware", at="2024-03-02T10:00:00.000000Z", again=None, mark=None):
    result = {"result": "found", "name": mark} if mark else {"result": "clean"}
    evidence = Evidence(
        capture=name,
        look=look,
        at=at,
        program="test",
        again=again,
        malware=Malware(size=1, **result) if look == "malware" else None,
    )
    return EvidenceRow(order_seq, evidence)


def look_changes(*evidence, rows, captures=(), withdrawn=()):
    return Changes(captures=captures, sources=(), rows=rows, acts=0, evidence=evidence, withdrawn=withdrawn)


NOW = 1_709_373_600 + 86400  # 2024-03-03T10:00:00Z


def due(catalog, look=Look.MALWARE, now=NOW, limit=10, **more):
    return [row.id for row in catalog.due(look, now, limit, **more)]


def test_what_nobody_looked_at_is_due_oldest_or_newest_first(catalog):
    assert due(catalog) == [] and catalog.backlog(Look.MALWARE, NOW) == Backlog(0, None)
    catalog.apply(changes(*[capture(n, f"m{n}") for n in range(5)], rows=5))
    assert due(catalog) == ["c0", "c1", "c2", "c3", "c4"]
    assert due(catalog, newest=True, limit=2) == ["c4", "c3"]
    assert catalog.backlog(Look.MALWARE, NOW) == Backlog(5, 1_709_287_200)  # since the oldest was received
    catalog.apply(look_changes(seen(5, "c0"), seen(6, "c4"), rows=7))
    assert due(catalog) == ["c1", "c2", "c3"] and len(due(catalog, Look.ORIGIN)) == 5
    assert catalog.backlog(Look.MALWARE, NOW).waiting == 3


def test_another_look_is_due_when_the_last_one_says_so(catalog):
    catalog.apply(changes(capture(0, "m0"), capture(1, "m1"), rows=2))
    catalog.apply(look_changes(seen(2, "c0", again="2024-03-03T09:00:00.000000Z"), seen(3, "c1"), rows=4))
    assert due(catalog, now=NOW - 3601) == [] and due(catalog) == ["c0"]
    assert catalog.backlog(Look.MALWARE, NOW) == Backlog(1, NOW - 3600)
    catalog.apply(look_changes(seen(4, "c0"), rows=5))
    assert due(catalog) == []
    assert [row.order_seq for row in catalog.evidence(["c0", "nobody"])["c0"]] == [2, 4]


def test_evidence_stands_after_reopening_and_is_dumped(open_catalog):
    catalog = open_catalog()
    rows = [seen(1, "c0", mark="Test.A"), seen(2, "c0", look="origin")]
    catalog.apply(look_changes(*rows, captures=[capture(0, "m0")], rows=3))
    again = open_catalog()
    assert again.evidence(["c0"]) == {"c0": rows}
    dumped = [row for row in again.dump() if row["table"] == "evidence"]
    assert [(row["order_seq"], row["capture"], row["mark"]) for row in dumped] == [
        (1, "c0", "Test.A"),
        (2, "c0", None),
    ]
    catalog.apply(look_changes(seen(1, "c0", mark="Other"), rows=2))  # behind the position
    assert again.evidence(["c0"]) == {"c0": rows}


def test_marks_are_counted_by_captures_since_a_time(catalog):
    catalog.apply(changes(capture(0, "m0"), capture(1, "m1"), rows=2))
    late = "2024-03-05T10:00:00.000000Z"
    marked = [seen(2, "c0", mark="A"), seen(3, "c0", mark="B", at=late), seen(4, "c1", mark="A")]
    catalog.apply(look_changes(*marked, rows=5))
    assert catalog.found_since("2024-03-01T00:00:00.000000Z") == 2
    assert catalog.found_since(late) == 1 and catalog.found_since("2024-04-01T00:00:00.000000Z") == 0


def test_evidence_of_a_barred_capture_goes_and_does_not_come_back(catalog):
    catalog.apply(look_changes(seen(1, "c0"), captures=[capture(0, "m0")], rows=2))
    catalog.apply(look_changes(rows=3, withdrawn=[Withdrawn("c0", "log-a", 0, 2)]))
    assert catalog.evidence(["c0"]) == {} and due(catalog) == []
    catalog.apply(look_changes(seen(3, "c0"), rows=4))
    assert catalog.evidence(["c0"]) == {}


def test_a_capture_found_again_keeps_its_evidence(catalog):
    catalog.apply(look_changes(seen(1, "c0"), captures=[capture(0, "m0")], rows=2))
    catalog.apply(changes(capture(2, "m1", name="c0"), rows=3))
    assert due(catalog) == [] and len(catalog.evidence(["c0"])["c0"]) == 1


def test_what_a_text_says_stays_with_its_capture_and_goes_with_it(catalog):
    catalog.apply(changes(capture(0, "m1"), capture(1, "m1"), rows=2))
    catalog.mark("c0", {"k1": Mark(True, "s1"), "k2": Mark(None, "s2")})
    catalog.mark("c0", {"k1": Mark(False, "s3")})
    catalog.mark("c9", {"k1": Mark(True, "s1")})
    known = {"k1": Mark(False, "s3"), "k2": Mark(None, "s2")}
    assert catalog.capture("c0").marks == known
    (row,) = catalog.messages(["m1"])
    assert [each.marks for each in row.captures] == [known, {}]
    catalog.apply(changes(capture(2, "m1", name="c0"), rows=3))
    assert catalog.capture("c0").marks == known
    catalog.apply(Changes([], [], rows=4, acts=1, withdrawn=[Withdrawn("c0", "log-a", 0, 3)]))
    catalog.mark("c0", {"k1": Mark(True, "s1")})
    catalog.apply(changes(capture(4, "m2", name="c9"), rows=5))
    assert catalog.capture("c9").marks == {}
    with catalog._database.reading() as connection:
        assert text_marks.marks_of(connection, ["c0", "c1", "c9"]) == {}


def test_a_catalog_that_was_made_anew_is_another_one(open_catalog, tmp_path):
    first = open_catalog()
    assert first.born() == open_catalog().born() != ""
    assert SqlCatalog.sqlite(tmp_path / "anew.sqlite").born() != first.born()


def test_what_is_barred_no_more_waits_to_be_read_and_then_has_a_row_again(catalog):
    catalog.apply(changes(capture(0, "m1"), capture(1, "m1"), rows=2))
    barred = [Withdrawn("c0", "log-a", 0, 2)]
    catalog.apply(Changes([], [], rows=3, acts=1, withdrawn=barred))
    back = [("c0", "log-a", 0), ("c1", "log-a", 1)]  # one was never barred
    catalog.apply(Changes([], [], rows=4, acts=2, restored=back))
    assert (catalog.unread(), catalog.capture("c0")) == ([("log-a", 0)], None)
    catalog.apply(changes(capture(4, "m1", name="c0"), rows=5))
    assert (catalog.unread(), catalog.capture("c0").order_seq) == ([], 4)
    assert [row["id"] for row in catalog.dump() if row["table"] == "withdrawn"] == []
    catalog.apply(Changes([], [], rows=6, acts=3, withdrawn=[Withdrawn("c0", "log-a", 0, 5)], restored=[]))
    assert catalog.capture("c0") is None


def test_barred_and_given_back_in_one_stretch_is_given_back(catalog):
    catalog.apply(changes(capture(0, "m1"), rows=1))
    barred = [Withdrawn("c0", "log-a", 0, 1)]
    catalog.apply(Changes([], [], rows=3, acts=2, withdrawn=barred, restored=[("c0", "log-a", 0)]))
    assert catalog.unread() == [("log-a", 0)]
