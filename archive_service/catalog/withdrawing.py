"""Rows that go with an act that bars their captures, and that an order's end gives back."""

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, delete, insert, select, tuple_

from archive_service.catalog import evidence, tables, text_marks
from archive_service.catalog.base import Withdrawn
from archive_service.catalog.chunks import chunks


def withdraw(connection: Connection, withdrawn: Sequence[Withdrawn]) -> set[str]:
    """Take the rows of barred captures away, and remember that they get none; the messages they were of."""
    found: dict[str, str] = {}
    c, f, w = tables.captures, tables.flags, tables.withdrawn
    known = among(connection, [each.capture for each in withdrawn])
    fresh = {each.capture: each for each in reversed(withdrawn) if each.capture not in known}  # the first
    for some in chunks(fresh.values()):
        names = [each.capture for each in some]
        rows = connection.execute(select(c.c.id, c.c.message).where(c.c.id.in_(names)))
        found.update({row.id: row.message for row in rows})
        connection.execute(delete(c).where(c.c.id.in_(names)))
        connection.execute(delete(f).where(f.c.capture.in_(names)))
        evidence.forget(connection, names)
        text_marks.forget(connection, names)
        no_longer_unread(connection, [(each.log, each.seq) for each in some])
        values = [
            {"id": each.capture, "order_seq": each.order_seq, "message": found.get(each.capture)}
            for each in some
        ]
        connection.execute(insert(w), values)
    return set(found.values())


def restore(connection: Connection, restored: Sequence[tuple[str, str, int]]) -> None:
    """What is barred no more gets a row once it was read again."""
    w, u = tables.withdrawn, tables.unread
    known = among(connection, [name for name, _, _ in restored])
    places = [(log, seq) for name, log, seq in restored if name in known]
    for some in chunks(known):
        connection.execute(delete(w).where(w.c.id.in_(some)))
    no_longer_unread(connection, places)
    for page in chunks(places):
        connection.execute(insert(u), [{"log": log, "seq": seq} for log, seq in page])


def among(connection: Connection, captures: list[str]) -> set[str]:
    """Those of these captures that were withdrawn."""
    found: set[str] = set()
    for some in chunks(captures):
        query = select(tables.withdrawn.c.id).where(tables.withdrawn.c.id.in_(some))
        found.update(connection.execute(query).scalars())
    return found


def no_longer_unread(connection: Connection, places: Iterable[tuple[str, int]]) -> None:
    """These captures are no longer among the unread."""
    table = tables.unread
    for some in chunks(places):
        connection.execute(delete(table).where(tuple_(table.c.log, table.c.seq).in_(some)))
