"""Evidence in the catalog: its summaries, and which captures are still to be looked at.

What is due is told by the rows alone, which follow from the order log: so it survives a restart, and another
machine goes on. ``captures.malware_due`` and ``origin_due`` hold seconds since 1970: 0 is a capture that
nobody looked at, NULL one that is not to be looked at (again).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Column, Connection, Integer, Row, Select, delete, func, insert, select, update

from archive_service.catalog import tables
from archive_service.catalog.base import Backlog, CaptureRow, EvidenceRow
from archive_service.catalog.chunks import chunks
from archive_service.catalog.columns import unreadable
from archive_service.catalog.engines import Database
from archive_service.model.clock import from_rfc3339
from archive_service.model.evidence import Evidence, Look

_COLUMNS: Mapping[Look, "Column[int]"] = {
    Look.MALWARE: tables.captures.c.malware_due,
    Look.ORIGIN: tables.captures.c.origin_due,
}


class EvidenceReads:
    """The part of ``Catalog`` that is about evidence. Thread-safe, if the database is."""

    _database: Database

    def capture(self, capture_id: str) -> CaptureRow | None:
        """See ``Catalog``."""
        raise NotImplementedError

    def evidence(self, captures: Sequence[str]) -> dict[str, list[EvidenceRow]]:
        """See ``Catalog``."""
        found: dict[str, list[EvidenceRow]] = {}
        with self._database.reading() as connection:
            for row in _of_captures(connection, list(dict.fromkeys(captures))):
                found.setdefault(row.evidence.capture, []).append(row)
        return found

    def due(self, look: Look, now: int, limit: int, *, newest: bool = False) -> list[CaptureRow]:
        """See ``Catalog``."""
        with self._database.reading() as connection:
            queries = _due(look, now, limit, newest=newest)
            ids = [name for query in queries for name in connection.execute(query).scalars()][:limit]
        return [row for name in ids if (row := self.capture(name)) is not None]

    def backlog(self, look: Look, now: int) -> Backlog:
        """See ``Catalog``."""
        with self._database.reading() as connection:
            return _backlog(connection, look, now)

    def found_since(self, since: str) -> int:
        """See ``Catalog``."""
        table = tables.evidence
        query = select(func.count(func.distinct(table.c.capture))).where(
            table.c.mark > "", table.c.at >= since
        )
        with self._database.reading() as connection:
            return int(connection.execute(query).scalar_one())


def note(
    connection: Connection, rows: Sequence[EvidenceRow], barred: Collection[str], found: Iterable[str]
) -> None:
    """Write evidence, but of barred captures, and when each of its captures is to be looked at; so for captures that
    were ``found`` too: one that is found again keeps the evidence that there is of it."""
    _set_due(connection, _add(connection, rows, barred) | set(found))


def _add(connection: Connection, rows: Sequence[EvidenceRow], barred: Collection[str]) -> set[str]:
    """Write evidence, but of barred captures; of which captures there is some now. One entry is one row: what
    stands already stays."""
    without = set(barred)
    fresh = {row.order_seq: row for row in rows if row.evidence.capture not in without}
    table = tables.evidence
    for some in chunks(sorted(fresh)):
        connection.execute(delete(table).where(table.c.order_seq.in_(some)))
        connection.execute(insert(table), [_values(fresh[seq]) for seq in some])
    return {row.evidence.capture for row in fresh.values()}


def forget(connection: Connection, captures: Sequence[str]) -> None:
    """Take the evidence of these captures away."""
    for some in chunks(captures):
        connection.execute(delete(tables.evidence).where(tables.evidence.c.capture.in_(some)))


def _set_due(connection: Connection, captures: Collection[str]) -> None:
    """When each of these captures is to be looked at, by the last evidence of each kind."""
    last: dict[tuple[str, Look], Evidence] = {}
    for row in _of_captures(connection, sorted(captures)):
        last[row.evidence.capture, row.evidence.look] = row.evidence
    by_due: dict[tuple[Look, int | None], list[str]] = {}
    for (capture, look), evidence in last.items():
        by_due.setdefault((look, _due_again(evidence)), []).append(capture)
    table = tables.captures
    for (look, due), names in by_due.items():
        for some in chunks(names):
            connection.execute(update(table).where(table.c.id.in_(some)).values({_COLUMNS[look].name: due}))


def _due_again(evidence: Evidence) -> int | None:
    return None if evidence.again is None else int(from_rfc3339(evidence.again).timestamp())


def _of_captures(connection: Connection, captures: Sequence[str]) -> list[EvidenceRow]:
    """The evidence of these captures, in order. Raises StoreError on a row that is none."""
    found: list[EvidenceRow] = []
    table = tables.evidence
    for some in chunks(captures):
        query = select(table).where(table.c.capture.in_(some)).order_by(table.c.order_seq)
        found.extend(_row(row) for row in connection.execute(query))
    return found


def _due(look: Look, now: int, limit: int, *, newest: bool) -> list[Select[Any]]:
    """What to ask for captures that are to be looked at: those that wait for another look, then those that
    nobody has looked at, the oldest or the newest first."""
    column, table = _COLUMNS[look], tables.captures
    order = table.c.order_seq.desc() if newest else table.c.order_seq
    again = select(table.c.id).where(column > 0, column <= now).order_by(column, table.c.order_seq)
    fresh = select(table.c.id).where(column == 0).order_by(order)
    return [again.limit(limit), fresh.limit(limit)]


def _backlog(connection: Connection, look: Look, now: int) -> Backlog:
    """How many captures wait, and since when the one that waits longest does."""
    column, table = _COLUMNS[look], tables.captures
    count = func.count().cast(Integer)
    again = connection.execute(select(count, func.min(column)).where(column > 0, column <= now)).one()
    fresh = connection.execute(select(count, func.min(table.c.order_seq)).where(column == 0)).one()
    since = again[1]
    if fresh[1] is not None:
        row = connection.execute(select(table.c.finding).where(table.c.order_seq == fresh[1])).scalar_one()
        try:
            received = int(from_rfc3339(str(row["received_at"])).timestamp())
        except (KeyError, TypeError, ValueError):
            raise unreadable() from None
        since = received if since is None else min(since, received)
    return Backlog(waiting=again[0] + fresh[0], since=since)


def _values(row: EvidenceRow) -> dict[str, object]:
    evidence = row.evidence
    return {
        "order_seq": row.order_seq,
        "capture": evidence.capture,
        "look": evidence.look.value,
        "at": evidence.at,
        "mark": evidence.mark,
        "content": evidence.plain(),
    }


def _row(row: Row[tuple[object, ...]]) -> EvidenceRow:
    try:
        return EvidenceRow(row.order_seq, Evidence.model_validate(row.content))
    except ValueError:
        raise unreadable() from None
