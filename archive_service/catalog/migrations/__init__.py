"""How the tables come to be and change in place; the same steps on every engine.

``position.format`` and a migration's number are two things. The number says which shape the tables have: an older shape
is migrated when a catalog is opened, in the transaction that looks. The format says what the rows mean: another format
is never migrated but rebuilt (``catalog.outdated``), for the logs have everything. A migration never reads a log, never
takes long, and never changes what a row says. Tables of format 2 that are older than the first migration are what it
would have made: they are stamped. A shape newer than this program is ``catalog.outdated`` too.

A new one: a file in ``catalog`` or ``jobs`` with the next number, the same change in ``tables``, and ``HEADS`` here.
"""

import threading
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Column, Connection, MetaData, String, Table, inspect, select

from archive_service.catalog import tables
from archive_service.catalog.engines import Database
from archive_service.model.errors import StoreError

_FOLDER = Path(__file__).parent
_VERSION = Table("alembic_version", MetaData(), Column("version_num", String(32)))
_ALEMBIC = threading.Lock()
"""Alembic keeps the migration under way in its module: one at a time in a process. Taken before the database's own
lock, so that nobody holds that one while waiting here."""


@dataclass(frozen=True)
class Track:
    """Tables that change together. ``first``: a table of the first migration; ``head``: the newest migration."""

    name: str
    first: str
    head: str


CATALOG = Track("catalog", tables.position.name, "catalog_0004")
JOBS = Track("jobs", tables.jobs.name, "jobs_0001")


def bring_up(database: Database, track: Track) -> None:
    """Make or migrate what is not at the newest shape; durable on return. Any number of processes and threads may do so
    at once. Raises StoreError: ``catalog.outdated`` when the tables are of another format or of a newer program."""
    with database.looking() as connection:
        if _version(connection, track, database.schema) == track.head:
            return
    with _ALEMBIC:
        database.write(lambda connection: _migrate(database, connection, track))


def _version(connection: Connection, track: Track, schema: str | None) -> str | None:
    """ "" for tables older than the first migration; None where there is nothing."""
    names = inspect(connection).get_table_names(schema=schema)
    if track.first not in names:
        return None
    if track.name == "catalog":
        _check_format(connection)
    if _VERSION.name not in names:
        return ""
    return connection.execute(select(_VERSION.c.version_num)).scalar() or ""


def _check_format(connection: Connection) -> None:
    found = connection.execute(select(tables.position.c.format)).scalar()
    if found is not None and found != tables.FORMAT:
        raise StoreError("the catalog has another format; delete and rebuild it", code="catalog.outdated")


def _migrate(database: Database, connection: Connection, track: Track) -> None:
    from alembic import command  # only who migrates loads it
    from alembic.config import Config
    from alembic.util import CommandError

    database.make_place(connection)
    found = _version(connection, track, database.schema)
    if found == track.head:
        return
    config = Config(attributes={"connection": connection})
    config.set_main_option("path_separator", "newline")
    config.set_main_option("script_location", _quoted(_FOLDER))
    config.set_main_option("version_locations", _quoted(_FOLDER / track.name))
    try:
        if found == "":
            command.stamp(config, f"{track.name}_0001")
        command.upgrade(config, track.head)
    except CommandError as error:
        raise StoreError(
            "the catalog was made by a newer program; rebuild it", code="catalog.outdated"
        ) from error


def _quoted(path: Path) -> str:
    return str(path).replace("%", "%%")
