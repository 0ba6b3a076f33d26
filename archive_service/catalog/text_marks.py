"""What mail says to the text conditions of retention rules, as far as it was read for them.

A projection of the mail's own bytes: absent, it can be read again. The rows of a barred capture go with it.
"""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection, delete, insert, select

from archive_service.catalog import tables
from archive_service.catalog.base import Mark
from archive_service.catalog.chunks import chunks
from archive_service.catalog.engines import Database

Marks = Mapping[str, Mark]


class TextMarkWrites:
    """The part of ``Catalog`` that is about text conditions. Thread-safe, if the database is."""

    _database: Database

    def mark(self, capture: str, marks: Marks) -> None:
        """See ``Catalog``."""
        self._database.write(lambda connection: _note(connection, capture, marks))

    def born(self) -> str:
        """See ``Catalog``."""
        with self._database.reading() as connection:
            return str(connection.execute(select(tables.position.c.born)).scalar_one())


def marks_of(connection: Connection, captures: Sequence[str]) -> dict[str, dict[str, Mark]]:
    """By capture, what is known of it, by the key of a condition."""
    table = tables.text_marks
    found: dict[str, dict[str, Mark]] = {}
    for some in chunks(captures):
        for row in connection.execute(select(table).where(table.c.capture.in_(some))):
            holds = None if row.holds is None else bool(row.holds)
            found.setdefault(row.capture, {})[row.condition] = Mark(holds, row.seal)
    return found


def forget(connection: Connection, captures: Iterable[str]) -> None:
    """Take away what is known of these captures."""
    table = tables.text_marks
    for some in chunks(captures):
        connection.execute(delete(table).where(table.c.capture.in_(some)))


def _note(connection: Connection, capture: str, marks: Marks) -> None:
    """A capture without a row gets none: it was barred meanwhile."""
    known, table = tables.captures, tables.text_marks
    standing = select(known.c.id).where(known.c.id == capture).with_for_update()
    if connection.execute(standing).first() is None:
        return
    connection.execute(delete(table).where(table.c.capture == capture, table.c.condition.in_(list(marks))))
    values = [{"capture": capture, "condition": key, **vars(mark)} for key, mark in marks.items()]
    connection.execute(insert(table), values)
