"""SQLite: a file, a write-ahead log, fsync at every commit."""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import DBAPIError

from archive_service.catalog.engines import Database
from archive_service.model.errors import StoreDenied, StoreError, StoreFull

BUSY_SECONDS = 30

_Found = TypeVar("_Found")


class SqliteDatabase(Database):
    """A file; its folder is made. Writers wait for each other up to ``BUSY_SECONDS``, readers for nobody."""

    def __init__(self, path: Path) -> None:
        """Raises StoreDenied."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreDenied("the folder of the database cannot be made") from error
        # Parameters hold addresses and subjects: errors must not show them.
        super().__init__(create_engine(f"sqlite:///{path}", hide_parameters=True, pool_pre_ping=True))
        event.listen(self.engine, "connect", _connected)
        event.listen(self.engine, "begin", _begun)

    def write(self, work: Callable[[Connection], _Found]) -> _Found:
        """See ``Database``."""
        with self.translated(), self.engine.connect().execution_options(writes=True) as connection:
            with connection.begin():
                return work(connection)

    def make_place(self, connection: Connection) -> None:
        """A write transaction is alone anyway."""

    def scrub(self) -> None:
        """See ``Database``: pages of before go with the log that holds them."""
        with self.translated(), self.engine.connect() as connection:
            connection.connection.driver_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()  # type: ignore[union-attr]

    def failure(self, error: DBAPIError) -> StoreError:
        """By the words of the engine's own message; which values were at stake is not in it."""
        lowered = str(error.orig).lower()
        if "disk is full" in lowered or "no space left" in lowered:
            return StoreFull("the database has no space left")
        if "readonly" in lowered or "unable to open" in lowered or "permission denied" in lowered:
            return StoreDenied("the database cannot be opened or written")
        if "malformed" in lowered or "not a database" in lowered or "no such table" in lowered:
            return StoreError("the database is damaged; rebuild it", code="catalog.unreadable")
        return StoreError("the database refused an operation", code="catalog.failed")

    def close(self) -> None:
        """Let the connections go."""
        self.engine.dispose()


def _connected(connection: sqlite3.Connection, _record: object) -> None:
    """The driver would begin a transaction only before the first write, so a read and the write that rests
    on it could see different states; here every transaction begins at its beginning, and one
    that will write takes the write lock there, waiting its turn instead of failing half way."""
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}").close()
    _log_ahead(connection)
    connection.execute("PRAGMA synchronous = FULL").close()
    connection.execute("PRAGMA foreign_keys = ON").close()
    connection.execute("PRAGMA secure_delete = ON").close()  # what is erased is not left in free pages


def _begun(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


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
