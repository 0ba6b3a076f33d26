"""The schemas of owners as wholes: whether a catalog stands, and how one that was made beside it takes its place."""

from sqlalchemy import Connection, text

from archive_service.catalog import tables
from archive_service.catalog.postgres import PostgresDatabase, alone, schema_name, schema_number
from archive_service.model.errors import Invalid, StoreError

JOBS = "jobs"

_TRIES, _TURN = 30, "2s"
"""Readers queue behind a swap that waits for a long read, so it waits in short turns."""


class Schemas:
    """On one server, with this process's pool of connections. Thread-safe. Raises StoreError like ``Database``."""

    def __init__(self, url: str, *, connections: int) -> None:
        """Nothing is asked of the server yet. Raises Invalid."""
        self._moving: dict[str, int] = {}
        self._database = PostgresDatabase(url, "0", "", connections=connections)  # of no owner: for its pool

    def close(self) -> None:
        """Let the connections go."""
        self._database.close()

    def stands(self, owner: str) -> bool:
        """Whether the owner has a catalog."""
        live = schema_name(owner, "")
        with self._database.looking() as connection:
            alone(connection, owner, shared=True)
            return schema_number(connection, live) is not None and _has_guard(connection, live)

    def drop(self, owner: str, name: str) -> None:
        """Forget the catalog ``name`` beside the owner's; absent is no error."""
        schema = _beside(owner, name)

        def work(connection: Connection) -> None:
            alone(connection, owner)
            connection.exec_driver_sql(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')

        self._database.write(work)

    def adopt(self, owner: str, name: str) -> None:
        """Let the catalog ``name`` beside the owner's be the owner's; what was so goes. One transaction, durable on
        return: every reader, also one that has the catalog open, sees the one or the other. Jobs stand elsewhere and
        stay. No process may write either one.

        It waits for readers under way, in short turns; then StoreError ``catalog.busy``: the old one stands. After
        ``catalog.unavailable`` it may be called again on this object, which finds out whether it had been done.
        StoreError ``catalog.nothing_beside`` when there is none.
        """
        schema = _beside(owner, name)
        for turn in range(_TRIES):
            try:
                self._database.write(lambda connection: self._swap(connection, owner, schema))
            except StoreError as error:
                if error.code != "catalog.busy" or turn == _TRIES - 1:
                    raise
            else:
                self._moving.pop(schema, None)
                return

    def _swap(self, connection: Connection, owner: str, schema: str) -> None:
        live = schema_name(owner, "")
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_TURN}'")
        alone(connection, owner)
        following, standing = schema_number(connection, schema), schema_number(connection, live)
        if following is None:
            if standing is not None and standing == self._moving.get(schema):
                return  # done by a call whose answer was lost
            raise StoreError("nothing stands beside the catalog", code="catalog.nothing_beside")
        self._moving[schema] = following
        if standing is not None:
            _hold(connection, live)
            connection.exec_driver_sql(f'DROP SCHEMA "{live}" CASCADE')
        connection.exec_driver_sql(f'ALTER SCHEMA "{schema}" RENAME TO "{live}"')


def _beside(owner: str, name: str) -> str:
    if name in ("", JOBS):
        raise Invalid("this schema does not stand beside a catalog", code="catalog.owner")
    return schema_name(owner, name)


def _has_guard(connection: Connection, schema: str) -> bool:
    name = f'"{schema}"."{tables.position.name}"'
    return connection.execute(text("SELECT to_regclass(:name)"), {"name": name}).scalar() is not None


def _hold(connection: Connection, schema: str) -> None:
    """Wait for every transaction in it, and let none begin. A schema without the guard is nobody's yet."""
    if _has_guard(connection, schema):
        connection.exec_driver_sql(f'LOCK TABLE "{schema}"."{tables.position.name}" IN ACCESS EXCLUSIVE MODE')
