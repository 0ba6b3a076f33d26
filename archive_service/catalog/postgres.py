"""PostgreSQL: a schema a tenant and use, one bounded pool of connections a process and server.

    archive_OWNER        the catalog that readers see
    archive_OWNER_NAME   one that is made beside it, such as ``next`` by a rebuild (``schemas``)
    archive_OWNER_jobs   the jobs, which no rebuild touches

A URL is libpq's own (``postgresql://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full``; several hosts and
``target_session_attrs`` too) and goes to libpq as it is. It is never shown: it holds a password.
"""

import hashlib
import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.exc import DBAPIError

from archive_service.catalog import failures
from archive_service.catalog.engines import Database
from archive_service.model.errors import Invalid, StoreError

POOL_SECONDS = 10
"""How long a thread waits for a connection before it hears ``catalog.busy``."""

_TRIES = 6  # of a transaction that lost against another
_OWNER, _USE = re.compile(r"[a-z0-9]{1,40}"), re.compile(r"[a-z0-9]{0,12}")
_Found = TypeVar("_Found")

_DEFAULTS = {
    "connect_timeout": "5",
    # A machine that vanished is noticed within some 15 seconds, also while an answer is awaited.
    "keepalives": "1",
    "keepalives_idle": "5",
    "keepalives_interval": "3",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
    "application_name": "archive-service",
}

NOTICED = (
    "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 3; SET tcp_keepalives_count = 3; "
    "SET tcp_user_timeout = 15000"
)
"""The same the other way: the server notices that we vanished."""

IDLE_IN_TRANSACTION = "5min"
"""How long a process may do nothing in the middle of a transaction: a frozen one keeps the next writer no longer."""


def parameters(url: str) -> dict[str, Any]:
    """What to give to psycopg for a URL: its own values win over our defaults. Raises Invalid; the URL is not in it."""
    if re.search(r"[\x00-\x1f\x7f]|^ | $", url):  # as a Secret that was made from a file holds it
        raise Invalid("the catalog's URL holds a line break, or a blank around it", code="catalog.url")
    plain = url.replace("postgresql+psycopg://", "postgresql://", 1)
    try:
        found = conninfo_to_dict(plain)
    except psycopg.ProgrammingError:
        found = None
    if found is None or not plain.startswith(("postgresql://", "postgres://")):
        raise Invalid(
            "the catalog's URL is not postgresql://USER:PASSWORD@HOST:PORT/DATABASE with parameters that libpq knows",
            code="catalog.url",
        )
    return {**_DEFAULTS, **found, "client_encoding": "utf8"}


def lock_key(name: str) -> int:
    """An advisory lock's 64-bit key: the same for a name in every process and release."""
    digest = hashlib.sha256(b"archive-service lock\0" + name.encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def schema_name(owner: str, use: str) -> str:
    """``use``: "" the catalog, "jobs", or a word for one that stands beside. Raises Invalid."""
    if not _OWNER.fullmatch(owner) or not _USE.fullmatch(use):
        raise Invalid("an owner's id or a use does not make the name of a schema", code="catalog.owner")
    return f"archive_{owner}_{use}" if use else f"archive_{owner}"


def schema_number(connection: Connection, schema: str) -> int | None:
    """The schema's number in the server, which a renaming does not change; None: there is none of this name."""
    query = text("SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = :name")
    found: int | None = connection.execute(query, {"name": schema}).scalar()
    return found


def alone(connection: Connection, owner: str, *, shared: bool = False) -> None:
    """Until the transaction ends, nobody else makes, alters or swaps schemas of this owner; ``shared``: none does."""
    wanted = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
    connection.execute(text(f"SELECT {wanted}(:key)"), {"key": lock_key(f"schemas {owner}")})


@dataclass
class _Shared:
    engine: Engine
    users: int


class _Engines:
    """Engines of this process by URL and size, each closed with its last user. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[tuple[int, str, int], _Shared] = {}

    def take(self, url: str, connections: int) -> Engine:
        """Raises Invalid."""
        key = (os.getpid(), url, connections)  # a forked child must not use its parent's sockets
        with self._lock:
            shared = self._open.get(key) or _Shared(_engine(url, connections), 0)
            shared.users += 1
            self._open[key] = shared
            return shared.engine

    def leave(self, url: str, connections: int) -> None:
        """Of one that was taken."""
        key = (os.getpid(), url, connections)
        with self._lock:
            shared = self._open.get(key)
            if shared is None:
                return  # the parent's
            shared.users -= 1
            if shared.users == 0:
                del self._open[key]
                shared.engine.dispose()


_engines = _Engines()


class Pool:
    """A use of this process's pool of connections for a URL; the last one that is closed closes it."""

    def __init__(self, url: str, connections: int) -> None:
        """Raises Invalid."""
        self._key = (url, connections)
        self._closed = False
        self.engine = _engines.take(url, connections)

    def close(self) -> None:
        """Once is enough; again is no error."""
        if not self._closed:
            self._closed = True
            _engines.leave(*self._key)


def _engine(url: str, connections: int) -> Engine:
    given = parameters(url)
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(**given),
        hide_parameters=True,  # they hold addresses and subjects
        pool_pre_ping=True,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=POOL_SECONDS,
        pool_use_lifo=True,
    )
    event.listen(engine, "connect", _connected)
    event.listen(engine, "handle_error", _failed)
    return engine


def _connected(connection: "psycopg.Connection[Any]", _record: object) -> None:
    """A commit is durable when it returns, whatever the server's default; a stricter default stays. A client that
    vanished or froze does not keep its locks."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"{NOTICED}; SET idle_in_transaction_session_timeout = '{IDLE_IN_TRANSACTION}'".encode()
        )
        cursor.execute("SHOW synchronous_commit")
        if cursor.fetchone() == ("off",):
            cursor.execute("SET synchronous_commit = on")
    connection.commit()


def _failed(context: ExceptionContext) -> None:
    """After a fail-over the pool may hold connections to what is a standby now: they are not used again."""
    error = context.original_exception
    if isinstance(error, psycopg.Error) and error.sqlstate == failures.READ_ONLY:
        context.is_disconnect = True


class PostgresDatabase(Database):
    """One schema. ``guard``: the table that every transaction touches first, so that a swap of schemas waits for those
    under way and lets none see half of each."""

    def __init__(self, url: str, owner: str, use: str, *, connections: int, guard: str | None = None) -> None:
        """``use``: see ``schema_name``. Nothing is asked of the server yet. Raises Invalid."""
        self._owner, self._guard = owner, guard
        self.schema: str = schema_name(owner, use)
        self._pool = Pool(url, connections)
        super().__init__(self._pool.engine.execution_options(schema_translate_map={None: self.schema}))

    def write(self, work: Callable[[Connection], _Found]) -> _Found:
        """See ``Database``."""
        for attempt in range(_TRIES - 1):
            try:
                return self._write_once(work)
            except failures.Conflict:
                time.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311 - apart from each other, no secret
        return self._write_once(work)

    def _write_once(self, work: Callable[[Connection], _Found]) -> _Found:
        with self.translated(), self.engine.connect() as connection, connection.begin():
            return work(connection)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """See ``Database``. The snapshot is taken after the guard is held: LOCK takes none."""
        # Not marked read-only: a connection given back would then begin its next transaction as READ WRITE, which a
        # server that is read-only by default would obey.
        with self.translated(), self.engine.connect() as connection:
            with connection.execution_options(isolation_level="REPEATABLE READ").begin():
                if self._guard is not None:
                    connection.exec_driver_sql(
                        f'LOCK TABLE "{self.schema}"."{self._guard}" IN ACCESS SHARE MODE'
                    )
                yield connection

    @contextmanager
    def looking(self) -> Iterator[Connection]:
        """See ``Database``. Not while a schema is being made or swapped: what is looked at would go away."""
        with self.translated(), self.engine.connect() as connection, connection.begin():
            alone(connection, self._owner, shared=True)
            yield connection

    def make_place(self, connection: Connection) -> None:
        """See ``Database``. Raises StoreError ``catalog.encoding``."""
        if connection.exec_driver_sql("SHOW server_encoding").scalar_one() != "UTF8":
            raise StoreError("the database must have the encoding UTF8", code="catalog.encoding")
        alone(connection, self._owner)
        # Asked first: who has a schema may lack the right to make one.
        if schema_number(connection, self.schema) is None:
            connection.exec_driver_sql(f'CREATE SCHEMA "{self.schema}"')
        connection.exec_driver_sql(f'SET LOCAL search_path TO "{self.schema}"')

    def close(self) -> None:
        """See ``Database``. Once is enough; again is no error."""
        self._pool.close()

    def scrub(self) -> None:
        """See ``Database``: VACUUM, table by table; it blocks nobody."""
        query = text("SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = :name ORDER BY tablename")
        with self.translated(), self.engine.connect() as connection:
            plain = connection.execution_options(isolation_level="AUTOCOMMIT")
            for name in plain.execute(query, {"name": self.schema}).scalars().all():
                plain.exec_driver_sql(f'VACUUM "{self.schema}"."{name}"')

    def failure(self, error: DBAPIError) -> StoreError:
        """By SQLSTATE."""
        original = error.orig
        if isinstance(original, psycopg.Error):
            return failures.of(original, gone=error.connection_invalidated)
        return StoreError("the database refused an operation", code="catalog.failed")
