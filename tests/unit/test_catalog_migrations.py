"""Migrations on both engines: from nothing, from files older than they are, many at once, and from a newer program."""

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect

from archive_service.catalog import migrations, tables
from archive_service.catalog.base import Changes, Job, Position
from archive_service.catalog.jobs import SqlJobs
from archive_service.catalog.postgres import PostgresDatabase
from archive_service.catalog.sql import SqlCatalog
from archive_service.catalog.sqlite import SqliteDatabase
from archive_service.model.errors import StoreError
from tests.services.postgres import new_owner, postgres_url

__all__ = ["postgres_url"]

CATALOG_OF_FORMAT_2 = """
CREATE TABLE position (id INTEGER NOT NULL CHECK (id = 1), format INTEGER NOT NULL, rows BIGINT NOT NULL,
    "indexed" BIGINT NOT NULL, acts BIGINT NOT NULL, PRIMARY KEY (id));
CREATE TABLE messages (id VARCHAR NOT NULL, rank BIGINT NOT NULL, version BIGINT NOT NULL,
    month VARCHAR(7) NOT NULL, content JSON NOT NULL, PRIMARY KEY (id));
CREATE INDEX messages_by_rank ON messages (rank);
CREATE TABLE sources (id VARCHAR NOT NULL, content JSON NOT NULL, PRIMARY KEY (id));
CREATE TABLE flags (capture VARCHAR NOT NULL, flag VARCHAR NOT NULL, PRIMARY KEY (capture, flag));
CREATE INDEX flags_by_flag ON flags (flag);
CREATE TABLE unread (log VARCHAR NOT NULL, seq BIGINT NOT NULL, PRIMARY KEY (log, seq));
CREATE TABLE withdrawn (id VARCHAR NOT NULL, order_seq BIGINT NOT NULL, message VARCHAR, PRIMARY KEY (id));
CREATE INDEX ix_withdrawn_order_seq ON withdrawn (order_seq);
CREATE TABLE took (id VARCHAR NOT NULL, next BIGINT NOT NULL, PRIMARY KEY (id));
CREATE TABLE captures (id VARCHAR NOT NULL, log VARCHAR NOT NULL, seq BIGINT NOT NULL, order_seq BIGINT NOT NULL,
    object_key TEXT NOT NULL, lock_until VARCHAR NOT NULL, message VARCHAR NOT NULL, finding JSON NOT NULL,
    PRIMARY KEY (id), UNIQUE (log, seq), UNIQUE (order_seq),
    FOREIGN KEY(message) REFERENCES messages (id) DEFERRABLE INITIALLY DEFERRED);
CREATE INDEX ix_captures_message ON captures (message);
INSERT INTO position VALUES (1, 2, 7, 5, 3);
INSERT INTO sources VALUES ('s1', '{"id": "s1", "name": "\\u00e9", "kind": "exchange", "address": "x@a.example"}');
INSERT INTO took VALUES ('log-a', 4);
"""

JOBS_OF_THAT_TIME = """
CREATE TABLE jobs (number INTEGER NOT NULL, id VARCHAR NOT NULL, kind VARCHAR NOT NULL, actor VARCHAR NOT NULL,
    request JSON NOT NULL, state VARCHAR NOT NULL, done BIGINT NOT NULL, total BIGINT NOT NULL, error TEXT,
    result JSON, created_at VARCHAR NOT NULL, lease VARCHAR, PRIMARY KEY (number), UNIQUE (id));
CREATE INDEX ix_jobs_state ON jobs (state);
INSERT INTO jobs VALUES (1, 'j1', 'export', 'anne', '{"query": "*"}', 'done', 3, 3, NULL, '{"size": 1}', '2024', NULL);
"""


def file_with(path, script):
    with closing(sqlite3.connect(path)) as db:
        db.executescript(script)
    return path


def stamp_of(path):
    with closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT version_num FROM alembic_version").fetchall()


@pytest.fixture(params=["sqlite", "postgres"])
def open_database(request, tmp_path):
    """Opens a database for a track, without tables; the same at each call."""
    owner, opened = new_owner(), []

    def open_one(track):
        if request.param == "sqlite":
            opened.append(SqliteDatabase(tmp_path / f"{track.name}.sqlite"))
        else:
            url = request.getfixturevalue("postgres_url")
            use = "" if track is migrations.CATALOG else "jobs"
            opened.append(PostgresDatabase(url, owner, use, connections=8))
        return opened[-1]

    yield open_one
    for database in opened:
        database.close()


TRACKS = [migrations.CATALOG, migrations.JOBS]


def shape(connection, schema):
    """Tables, columns, keys and indexes as the engine tells them."""
    found = inspect(connection)
    shown = {}
    for table in sorted(set(found.get_table_names(schema=schema)) - {"alembic_version"}):
        columns = found.get_columns(table, schema=schema)
        shown[table] = (
            [(each["name"], str(each["type"]), each["nullable"]) for each in columns],
            found.get_pk_constraint(table, schema=schema)["constrained_columns"],
            sorted((each["name"], each["column_names"]) for each in found.get_indexes(table, schema=schema)),
            sorted(each["column_names"] for each in found.get_unique_constraints(table, schema=schema)),
            [each["options"] for each in found.get_foreign_keys(table, schema=schema)],
        )
    return shown


@pytest.mark.parametrize("track", TRACKS, ids=lambda track: track.name)
def test_migrations_end_where_the_tables_are(open_database, track):
    database = open_database(track)
    migrations.bring_up(database, track)
    with database.looking() as connection:
        migrated = shape(connection, database.schema)
    metadata = tables.metadata if track is migrations.CATALOG else tables.job_metadata

    def make(connection):
        for table in reversed(metadata.sorted_tables):
            table.drop(connection)
        metadata.create_all(connection)

    database.write(make)
    with database.looking() as connection:
        assert shape(connection, database.schema) == migrated
    assert set(migrated) == set(metadata.tables)


@pytest.mark.parametrize("track", TRACKS, ids=lambda track: track.name)
def test_the_named_head_is_the_newest_migration(track):
    folder = migrations._FOLDER
    config = Config()
    config.set_main_option("path_separator", "newline")
    config.set_main_option("script_location", str(folder))
    config.set_main_option("version_locations", str(folder / track.name))
    assert ScriptDirectory.from_config(config).get_heads() == [track.head]


@pytest.mark.parametrize("track", TRACKS, ids=lambda track: track.name)
def test_many_may_make_the_tables_at_once(open_database, track):
    databases = [open_database(track) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(migrations.bring_up, each, track) for each in databases]:
            done.result()
    with databases[0].looking() as connection:
        assert migrations._version(connection, track, databases[0].schema) == track.head


OPEN_BOTH = """
import sys
from pathlib import Path
from archive_service.catalog.jobs import SqlJobs
from archive_service.catalog.sql import SqlCatalog
from archive_service.model.errors import StoreError
where, owner = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
if owner:
    for _ in range(10):  # a server that has much to do may be away for a while: whoever opens asks again
        try:
            opened = (
                SqlCatalog.postgres(where, owner, connections=2),
                SqlJobs.postgres(where, owner, connections=2),
            )
            break
        except StoreError as error:
            if error.code not in ("catalog.unavailable", "catalog.busy"):
                raise
else:
    opened = SqlCatalog.sqlite(Path(where) / "catalog.sqlite"), SqlJobs.sqlite(Path(where) / "jobs.sqlite")
print(opened[0].position().rows, len(opened[1].list(9)))
for each in opened:
    each.close()
"""


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_processes_may_make_the_tables_at_once(engine, request, tmp_path):
    where = str(tmp_path) if engine == "sqlite" else request.getfixturevalue("postgres_url")
    owner = "" if engine == "sqlite" else new_owner()
    command = [sys.executable, "-c", OPEN_BOTH, where, owner]
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    for process in running:
        assert process.stdout.readline() == "ready\n"
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate()[0] for process in running] == ["0 0\n"] * 4
    assert [process.returncode for process in running] == [0] * 4


@pytest.mark.parametrize("track", TRACKS, ids=lambda track: track.name)
def test_tables_of_a_newer_program_are_left_alone(open_database, track):
    database = open_database(track)
    migrations.bring_up(database, track)
    name = f'"{database.schema}".alembic_version' if database.schema else "alembic_version"
    database.write(lambda connection: connection.exec_driver_sql(f"UPDATE {name} SET version_num = 'x_9999'"))
    with pytest.raises(StoreError) as caught:
        migrations.bring_up(database, track)
    assert caught.value.code == "catalog.outdated"


def test_sqlite_a_catalog_older_than_migrations_goes_on(tmp_path):
    path = file_with(tmp_path / "catalog.sqlite", CATALOG_OF_FORMAT_2)
    catalog = SqlCatalog.sqlite(path)
    assert catalog.position() == Position(rows=7, indexed=5, acts=3)
    assert catalog.took() == {"log-a": 4}
    assert [row["name"] for row in catalog.dump()] == ["é"]
    catalog.apply(Changes(captures=(), sources=(), rows=8, acts=4))
    catalog.close()
    assert stamp_of(path) == [(migrations.CATALOG.head,)]


def test_sqlite_jobs_older_than_migrations_go_on(tmp_path):
    path = file_with(tmp_path / "jobs.sqlite", JOBS_OF_THAT_TIME)
    jobs = SqlJobs.sqlite(path)
    jobs.add(Job(id="j2", kind="export", actor="bob", request={}))
    assert [(job.id, job.actor) for job in jobs.list(9)] == [("j2", "bob"), ("j1", "anne")]
    old = jobs.get("j1")
    assert old is not None
    assert old.result == {"size": 1}
    jobs.close()
    assert stamp_of(path) == [(migrations.JOBS.head,)]


def test_sqlite_another_format_is_not_migrated(tmp_path):
    script = CATALOG_OF_FORMAT_2.replace("(1, 2, 7, 5, 3)", "(1, 1, 7, 5, 3)")
    path = file_with(tmp_path / "catalog.sqlite", script)
    with pytest.raises(StoreError) as caught:
        SqlCatalog.sqlite(path)
    assert caught.value.code == "catalog.outdated"
    engine = create_engine(f"sqlite:///{path}")
    assert "alembic_version" not in inspect(engine).get_table_names()
    engine.dispose()


def test_sqlite_a_folder_with_a_percent_sign_is_a_folder(tmp_path):
    SqlCatalog.sqlite(tmp_path / "50%(here)s" / "catalog.sqlite").close()
    assert (tmp_path / "50%(here)s" / "catalog.sqlite").exists()
