"""PostgreSQL: a schema a tenant and use, one bounded pool of connections a process and server.

    archive_OWNER        the catalog that readers see
    archive_OWNER_next   what a rebuild makes; ``take_place`` renames it over the other in one transaction
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
from typing import Any, Self, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.exc import DBAPIError

from archive_service.catalog import failures
from archive_service.catalog.engines import Database
from archive_service.model.errors import Invalid, Refused, StoreError

POOL_SECONDS = 10
"""How long a thread waits for a connection before it hears ``catalog.busy``."""

_TRIES = 6  # of a transaction that lost against another
_SWAP_TRIES, _SWAP_LOCK = (
    30,
    "2s",
)  # readers wait behind a swap that waits for a long read: so it waits in short turns
_OWNER = re.compile(r"[a-z0-9]{1,40}")
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


def parameters(url: str) -> dict[str, Any]:
    """What to give to psycopg for a URL: its own values win over our defaults. Raises Invalid; the URL is not in it."""
    plain = url.replace("postgresql+psycopg://", "postgresql://", 1)
    try:
        found = conninfo_to_dict(plain)
    except psycopg.ProgrammingError:
        found = None
    if found is None or not plain.startswith(("postgresql://", "postgres://")):
        raise Invalid(
            "the catalog's URL is not postgresql://USER:PASSWORD@HOST:PORT/DATABASE", code="catalog.url"
        )
    return {**_DEFAULTS, **found, "client_encoding": "utf8"}


def lock_key(name: str) -> int:
    """An advisory lock's 64-bit key: the same for a name in every process and release."""
    digest = hashlib.sha256(b"archive-service lock\0" + name.encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def _schema(owner: str, use: str) -> str:
    return f"archive_{owner}_{use}" if use else f"archive_{owner}"


def _stands(connection: Connection, schema: str) -> int | None:
    """The schema's number in the server, which a renaming does not change; None: there is none of this name."""
    found: int | None = connection.execute(
        text("SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = :name"), {"name": schema}
    ).scalar()
    return found


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
    """A commit is durable when it returns, whatever the server's default; a stricter default stays."""
    with connection.cursor() as cursor:
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
        """``use``: "" the catalog, "next", "jobs". Nothing is asked of the server yet. Raises Invalid."""
        if not _OWNER.fullmatch(owner):
            raise Invalid("an owner's id does not make the name of a schema", code="catalog.owner")
        self._url, self._owner, self._use, self._connections, self._guard = (
            url,
            owner,
            use,
            connections,
            guard,
        )
        self._closed = False
        self._moving: int | None = None
        self._root = _engines.take(url, connections)
        super().__init__(self._root)
        self._name_it(_schema(owner, use))

    def _name_it(self, schema: str) -> None:
        self.schema: str = schema
        self.engine = self._root.execution_options(schema_translate_map={None: schema})

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
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with self.translated(), self.engine.connect().execution_options(**options) as connection:
            with connection.begin():
                if self._guard is not None:
                    connection.exec_driver_sql(
                        f'LOCK TABLE "{self.schema}"."{self._guard}" IN ACCESS SHARE MODE'
                    )
                yield connection

    @contextmanager
    def looking(self) -> Iterator[Connection]:
        """See ``Database``."""
        with self.translated(), self.engine.connect() as connection, connection.begin():
            yield connection

    def make_place(self, connection: Connection) -> None:
        """See ``Database``. Raises StoreError ``catalog.encoding``."""
        if connection.exec_driver_sql("SHOW server_encoding").scalar_one() != "UTF8":
            raise StoreError("the database must have the encoding UTF8", code="catalog.encoding")
        self._alone(connection)
        if not _stands(
            connection, self.schema
        ):  # asked first: who has a schema may lack the right to make one
            connection.exec_driver_sql(f'CREATE SCHEMA "{self.schema}"')
        connection.exec_driver_sql(f'SET LOCAL search_path TO "{self.schema}"')

    def _alone(self, connection: Connection) -> None:
        """Until the transaction ends, nobody else makes, alters or swaps schemas of this owner."""
        query = text("SELECT pg_advisory_xact_lock(:key)")
        connection.execute(query, {"key": lock_key(f"schemas {self._owner}")})

    def beside(self, *, afresh: bool) -> Self:
        """See ``Database``."""
        if self._use:
            raise Refused("only a catalog has a place beside it", code="catalog.no_place_beside")
        following = type(self)(
            self._url, self._owner, "next", connections=self._connections, guard=self._guard
        )
        try:
            if afresh:
                following.write(following._drop)
        except StoreError:
            following.close()
            raise
        return following

    def _drop(self, connection: Connection) -> None:
        self._alone(connection)
        connection.exec_driver_sql(f'DROP SCHEMA IF EXISTS "{self.schema}" CASCADE')

    def take_place(self) -> None:
        """Let what stands in ``archive_OWNER_next`` be the catalog; what was the catalog goes. One transaction,
        durable on return: every reader sees the one or the other. Jobs stand elsewhere and stay. No process may write
        either one.

        It waits for readers under way, in short turns, then raises StoreError ``catalog.busy``: the old one stands.
        After ``catalog.unavailable`` it may be called again, and finds out by itself whether it had been done.
        """
        if self._use != "next":
            raise Refused("this catalog stands beside no other", code="catalog.no_place_beside")
        for attempt in range(_SWAP_TRIES):
            try:
                self.write(self._swap)
                break
            except StoreError as error:
                if error.code != "catalog.busy" or attempt == _SWAP_TRIES - 1:
                    raise
        self._use = ""
        self._name_it(_schema(self._owner, ""))

    def _swap(self, connection: Connection) -> None:
        live = _schema(self._owner, "")
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_SWAP_LOCK}'")
        self._alone(connection)
        following = _stands(connection, self.schema)
        if following is None and self._moving is not None and _stands(connection, live) == self._moving:
            return  # done by an attempt whose answer was lost
        if following is None:
            raise StoreError("nothing stands beside the catalog", code="catalog.nothing_beside")
        self._moving = following
        if _stands(connection, live):
            self._hold(connection, live)
            connection.exec_driver_sql(f'DROP SCHEMA "{live}" CASCADE')
        connection.exec_driver_sql(f'ALTER SCHEMA "{self.schema}" RENAME TO "{live}"')

    def _hold(self, connection: Connection, schema: str) -> None:
        """Wait for every transaction in it, and let none begin. A schema without the guard is nobody's yet."""
        table = f'"{schema}"."{self._guard}"'
        if connection.execute(text("SELECT to_regclass(:table)"), {"table": table}).scalar() is not None:
            connection.exec_driver_sql(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")

    def close(self) -> None:
        """See ``Database``. Once is enough; again is no error."""
        if not self._closed:
            self._closed = True
            _engines.leave(self._url, self._connections)

    def failure(self, error: DBAPIError) -> StoreError:
        """By SQLSTATE."""
        original = error.orig
        if isinstance(original, psycopg.Error):
            return failures.of(original, gone=error.connection_invalidated)
        return StoreError("the database refused an operation", code="catalog.failed")
