"""Engines: the one place that knows SQLite from other databases, and their errors from ours."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, MetaData, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from archive_service.model.errors import StoreDenied, StoreError, StoreFull

BUSY_SECONDS = 30


def sqlite_url(path: Path) -> str:
    """The URL of a database file; its folder is made."""
    with _store_errors(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{path}"


def open_engine(url: str, metadata: MetaData) -> Engine:
    """An engine with its tables made. Raises StoreError."""
    with translated():
        # Parameters hold addresses and subjects: errors must not show them.
        engine = create_engine(url, hide_parameters=True, json_serializer=json.dumps, pool_pre_ping=True)
        if make_url(url).get_backend_name() == "sqlite":
            _prepare_sqlite(engine)
        try:
            with writing(engine) as connection:
                metadata.create_all(connection)
        except SQLAlchemyError:
            engine.dispose()
            raise
        return engine


def _prepare_sqlite(engine: Engine) -> None:
    """Write-ahead log, fsync on commit, explicit transactions.

    The driver would begin a transaction only before the first write, so a read and the write that rests
    on it could see different states; here every transaction begins at its beginning, and one
    that will write takes the write lock there, waiting its turn instead of failing half way.
    """

    def connected(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}").close()
        _log_ahead(connection)
        connection.execute("PRAGMA synchronous = FULL").close()
        connection.execute("PRAGMA foreign_keys = ON").close()

    def begun(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begun)


def _log_ahead(connection: sqlite3.Connection) -> None:
    """Two processes that turn a new file to write-ahead logging at once would wait for each other; SQLite
    refuses one of them without the busy timeout, so it tries again itself."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").close()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that will write; committed (durably) at its end, rolled back on any error."""
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that only reads, all of it from one state on engines that have snapshots."""
    with engine.connect() as connection, connection.begin():
        yield connection


@contextmanager
def translated() -> Iterator[None]:
    """Database errors as ours."""
    try:
        yield
    except DBAPIError as error:
        raise _store_error(str(error.orig)) from error
    except SQLAlchemyError as error:
        raise StoreError(f"the database failed: {type(error).__name__}", code="catalog.failed") from error


def _store_error(reason: str) -> StoreError:
    """By the words of the engine's own message; which values were at stake is not in it."""
    lowered = reason.lower()
    if "disk is full" in lowered or "no space left" in lowered:
        return StoreFull("the database has no space left")
    if "readonly" in lowered or "unable to open" in lowered or "permission denied" in lowered:
        return StoreDenied("the database cannot be opened or written")
    if "malformed" in lowered or "not a database" in lowered or "no such table" in lowered:
        return StoreError("the database is damaged; rebuild it", code="catalog.unreadable")
    return StoreError("the database refused an operation", code="catalog.failed")


@contextmanager
def _store_errors(*kinds: type[Exception]) -> Iterator[None]:
    try:
        yield
    except kinds as error:
        raise StoreDenied("the folder of the database cannot be made") from error
