"""Leases between machines as session locks of PostgreSQL, on a connection of their own.

The server lets a lock go when its session ends: at once when the holder is killed, within some 15 seconds when its
machine vanished (TCP keepalives, both ways). A pooler between that shares sessions breaks this: give a URL that reaches
the server itself.
"""

import contextlib
import threading
from typing import Any

import psycopg

from archive_service.catalog import failures
from archive_service.catalog.postgres import NOTICED, lock_key, parameters

_SESSION = (NOTICED, "SET statement_timeout = '15s'")


class AdvisoryLeases:
    """Implements ``Leases``. Thread-safe.

    A lease is believed only as long as its session lives: ``take`` asks the server each time, and after a break says
    False once for every name that was held, since another may have had it meanwhile; the next ``take`` tries anew.
    """

    def __init__(self, url: str, *, silence: float = 0.0) -> None:
        """``silence``: seconds without a ``take`` or ``release`` after which the server ends the session, so that a
        process that is frozen is relieved; 0: never. Nothing is asked of the server yet. Raises Invalid."""
        self._parameters = parameters(url)
        self._silence = silence
        self._lock = threading.Lock()
        self._connection: psycopg.Connection[Any] | None = None
        self._held: set[str] = set()
        self._lost: set[str] = set()

    def take(self, name: str) -> bool:
        """Whether the lease is this process's now, and has been since it last said so. Raises StoreError when the
        server cannot be reached: then nothing is held."""
        with self._lock:
            if name in self._held and self._alive():
                return True
            if name in self._lost:
                self._lost.discard(name)
                return False
            if self._ask("SELECT pg_try_advisory_lock(%s)", name):
                self._held.add(name)
            return name in self._held

    def release(self, name: str) -> None:
        """See ``Leases``. When the server cannot be asked the session ends, and all leases with it."""
        with self._lock:
            self._lost.discard(name)
            if name in self._held and self._alive():
                self._held.discard(name)
                self._ask("SELECT pg_advisory_unlock(%s)", name)

    def close(self) -> None:
        """Let all leases go."""
        with self._lock:
            self._held.clear()
            self._lost.clear()
            self._drop()

    def beat(self) -> bool:
        """Let the server hear of the session that holds the leases; False when it has gone with them. The next ``take``
        of each still says so once."""
        with self._lock:
            return not self._held or self._alive()

    def _alive(self) -> bool:
        """Whether the session that holds the leases still is there; if not, they are lost."""
        if self._connection is None:
            return False
        try:
            self._connection.execute("SELECT 1")
        except psycopg.Error:
            self._break()
            return False
        return True

    def _ask(self, statement: str, name: str) -> bool:
        """On the standing session, or a new one: who held nothing loses nothing by a break."""
        if self._connection is not None and not self._held:
            self._alive()
        try:
            if self._connection is None:
                self._connection = self._connect()
            row = self._connection.execute(statement, (lock_key(f"lease {name}"),)).fetchone()
        except psycopg.Error as error:
            self._break()
            raise failures.of(error, gone=True) from None
        return row is not None and row[0] is True

    def _connect(self) -> "psycopg.Connection[Any]":
        connection = psycopg.connect(**self._parameters, autocommit=True)
        try:
            for each in (*_SESSION, f"SET idle_session_timeout = {round(self._silence * 1000)}"):
                connection.execute(each.encode())
        except psycopg.Error:
            connection.close()
            raise
        return connection

    def _break(self) -> None:
        self._lost |= self._held
        self._held.clear()
        self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):  # it is gone either way
                self._connection.close()
            self._connection = None
