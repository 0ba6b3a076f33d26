"""The catalog over SQL. Nothing here is of one engine (see ``engines``)."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, Row, Select, delete, func, insert, select, update

from archive_service.catalog import arrivals, evidence, migrations, tables, text_marks, withdrawing
from archive_service.catalog.base import (
    Arrivals,
    CaptureRow,
    Changes,
    LastArrival,
    MessageRow,
    Position,
)
from archive_service.catalog.chunks import AT_ONCE, chunks
from archive_service.catalog.columns import unreadable
from archive_service.catalog.engines import Database
from archive_service.catalog.merge import merge
from archive_service.catalog.sqlite import SqliteDatabase
from archive_service.model.errors import StoreError
from archive_service.model.mail import Finding, Recipient


class SqlCatalog(evidence.EvidenceReads, text_marks.TextMarkWrites):
    """Implements ``Catalog`` and ``Dump``. Thread-safe; readers never wait for the writer."""

    def __init__(self, database: Database) -> None:
        """Open, and make what is missing. Raises StoreError; ``catalog.outdated``: delete and rebuild."""
        self._database = database
        try:
            migrations.bring_up(database, migrations.CATALOG)
            self._begin()
        except StoreError:
            database.close()
            raise

    @classmethod
    def sqlite(cls, path: Path) -> Self:
        """An SQLite file: write-ahead log, synced at every commit. Its folder is made."""
        return cls(SqliteDatabase(path))

    @classmethod
    def postgres(cls, url: str, owner: str, *, connections: int, beside: str = "") -> Self:
        """A schema of the owner's own. ``connections``: what this process keeps to that server at most, for all owners
        together. ``beside``: a word for a catalog that stands beside the one that is read (``schemas``). Raises
        Invalid, StoreError."""
        from archive_service.catalog.postgres import PostgresDatabase  # only who uses it loads the driver

        guard = tables.position.name
        return cls(PostgresDatabase(url, owner, beside, connections=connections, guard=guard))

    def scrub(self) -> None:
        """Take off the medium what deleted rows have left there: to be called after an erasure. What a backup of the
        database holds is the backup's. Raises StoreError."""
        self._database.scrub()

    def close(self) -> None:
        """Let the connections go."""
        self._database.close()

    def _begin(self) -> None:
        with self._database.reading() as connection:
            if connection.execute(select(tables.position.c.id)).first() is not None:
                return
        self._database.write(_insert_position)

    def position(self) -> Position:
        with self._database.reading() as connection:
            return _position(connection)

    def apply(self, changes: Changes) -> None:
        self._database.write(lambda connection: _apply(connection, changes))

    def counts(self) -> dict[str, int]:
        c, m, f = tables.captures, tables.messages, tables.flags
        with self._database.reading() as connection:
            found = {
                "captures": connection.execute(select(func.count()).select_from(c)).scalar_one(),
                "messages": connection.execute(select(func.count()).select_from(m)).scalar_one(),
            }
            grouped = select(f.c.flag, func.count()).group_by(f.c.flag).order_by(f.c.flag)
            return found | {f"flag:{flag}": count for flag, count in connection.execute(grouped)}

    def arrivals(self, since: int, below: int) -> Arrivals:
        with self._database.reading() as connection:
            return arrivals.between(connection, since, below)

    def last_arrival(self, source: str, below: int) -> LastArrival:
        with self._database.reading() as connection:
            return arrivals.last_of(connection, source, below)

    def canaries(self, source: str, numbers: Sequence[int]) -> dict[int, str]:
        with self._database.reading() as connection:
            return arrivals.canaries(connection, source, numbers)

    def unread(self) -> list[tuple[str, int]]:
        table = tables.unread
        with self._database.reading() as connection:
            rows = connection.execute(select(table.c.log, table.c.seq).order_by(table.c.log, table.c.seq))
            return [(row.log, row.seq) for row in rows]

    def withdrawn(self, since: int, below: int) -> list[str]:
        table = tables.withdrawn
        with self._database.reading() as connection:
            query = select(table.c.message).where(table.c.order_seq >= since, table.c.order_seq < below)
            found = connection.execute(query.order_by(table.c.order_seq, table.c.id)).scalars()
            return list(dict.fromkeys(message for message in found if message is not None))

    def took(self) -> dict[str, int]:
        with self._database.reading() as connection:
            return _taken(connection)

    def indexed(self, rows: int) -> None:
        self._database.write(
            lambda connection: connection.execute(update(tables.position).values(indexed=rows))
        )

    def messages(self, ids: Sequence[str]) -> list[MessageRow]:
        with self._database.reading() as connection:
            found = {row.id: row for row in _read_messages(connection, list(dict.fromkeys(ids)))}
        return [found[message] for message in ids if message in found]

    def changed(self, since: int, below: int) -> Iterator[MessageRow]:
        """In order of their first capture in the stretch. No transaction is open between pages."""
        after = since - 1
        while True:
            with self._database.reading() as connection:
                page = connection.execute(
                    select(tables.captures.c.order_seq, tables.captures.c.message)
                    .where(tables.captures.c.order_seq > after, tables.captures.c.order_seq < below)
                    .order_by(tables.captures.c.order_seq)
                    .limit(AT_ONCE)
                ).all()
                ids = list(dict.fromkeys(row.message for row in page))
                found = {row.id: row for row in _read_messages(connection, ids)}
            if not page:
                return
            for row in page:
                message = found.get(row.message)
                if message is None:
                    raise unreadable()
                first = min(c.order_seq for c in message.captures if c.order_seq >= since)
                if row.order_seq == first:
                    yield message
            after = page[-1].order_seq

    def capture(self, capture_id: str) -> CaptureRow | None:
        with self._database.reading() as connection:
            query = select(tables.captures).where(tables.captures.c.id == capture_id)
            row = connection.execute(query).one_or_none()
            marks = text_marks.marks_of(connection, [] if row is None else [capture_id])
        return None if row is None else _capture(row, marks)

    def dump(self) -> Iterator[dict[str, Any]]:
        """One state of the catalog throughout, read as it is consumed: close the iterator when leaving it early."""
        c, m, s, w = tables.captures, tables.messages, tables.sources, tables.withdrawn
        with self._database.reading() as connection:
            for row in _streamed(connection, select(c).order_by(c.c.log, c.c.seq)):
                yield {"table": "captures", **row._mapping}
            for row in _streamed(connection, select(m).order_by(m.c.id)):
                plain = {name: value for name, value in row._mapping.items() if name != "content"}
                yield {"table": "messages", **plain, **row.content}
            for row in _streamed(connection, select(s).order_by(s.c.id)):
                yield {"table": "sources", **row.content}
            for row in _streamed(connection, select(w.c.id, w.c.order_seq).order_by(w.c.id)):
                yield {"table": "withdrawn", **row._mapping}
            for row in _streamed(connection, select(tables.evidence).order_by("order_seq")):
                yield {"table": "evidence", "id": f"{row.order_seq:016}", **row._mapping}


def _streamed(connection: Connection, query: Select[Any]) -> Iterator[Row[Any]]:
    """Row by row in flat memory."""
    with connection.execute(query, execution_options={"yield_per": AT_ONCE}) as rows:
        yield from rows


def _insert_position(connection: Connection) -> None:
    """The one row. Another process may have been faster."""
    if connection.execute(select(tables.position.c.id)).first() is None:
        empty = {
            "id": 1,
            "format": tables.FORMAT,
            "rows": 0,
            "indexed": 0,
            "acts": 0,
            "born": secrets.token_hex(8),
        }
        connection.execute(insert(tables.position).values(empty))


def _apply(connection: Connection, changes: Changes) -> None:
    before = _position(connection, lock=True)  # whoever writes waits here for the other
    if changes.rows <= before.rows:
        return
    ordered = sorted(changes.captures, key=lambda row: row.order_seq)
    touched = withdrawing.withdraw(connection, changes.withdrawn)
    withdrawing.restore(connection, changes.restored)
    barred = withdrawing.among(connection, [row.id for row in ordered])
    fresh = {row.id: row for row in ordered if row.order_seq >= before.rows and row.id not in barred}
    touched |= {row.finding.message for row in fresh.values()}
    before_now = _messages_of(connection, list(fresh))  # a capture found again may have moved
    touched |= set(before_now.values())
    arrivals.count(connection, (row.finding for row in fresh.values() if row.id not in before_now))
    _replace(connection, tables.captures, [_capture_values(row) for row in fresh.values()])
    _flag_again(connection, fresh)
    seen = [row for row in changes.evidence if row.order_seq >= before.rows]
    evidence.note(connection, seen, withdrawing.among(connection, [e.evidence.capture for e in seen]), fresh)
    _merge_again(connection, sorted(touched))
    sources = {source.id: source for source in changes.sources}
    values = [{"id": source.id, "content": source.plain()} for source in sources.values()]
    _replace(connection, tables.sources, values)
    _note_taken(connection, changes)
    connection.execute(update(tables.position).values(rows=changes.rows, acts=changes.acts))


def _position(connection: Connection, *, lock: bool = False) -> Position:
    query = select(tables.position)
    row = connection.execute(query.with_for_update() if lock else query).one()
    return Position(rows=_count_in(row.rows), indexed=_count_in(row.indexed), acts=_count_in(row.acts))


def _taken(connection: Connection) -> dict[str, int]:
    return {row.id: _count_in(row.next) for row in connection.execute(select(tables.took))}


def _count_in(value: object) -> int:
    """SQLite keeps whatever is put into a column, so a number is one only when looked at. Raises StoreError."""
    if type(value) is not int or value < 0:
        raise StoreError("the catalog is damaged; rebuild it", code="catalog.unreadable")
    return value


def _replace(connection: Connection, table: Any, values: list[dict[str, Any]]) -> None:
    """Delete and insert by id: the same statement on every engine."""
    for some in chunks(values):
        connection.execute(delete(table).where(table.c.id.in_([value["id"] for value in some])))
        connection.execute(insert(table), some)


def _note_taken(connection: Connection, changes: Changes) -> None:
    """How far logs are taken never goes back: a late finding lies behind. What is found is no longer unread."""
    known = _taken(connection)
    taken = [
        {"id": log, "next": following}
        for log, following in sorted(changes.took.items())
        if following > known.get(log, 0)
    ]
    _replace(connection, tables.took, taken)
    withdrawing.no_longer_unread(
        connection, [*((row.log, row.seq) for row in changes.captures), *changes.unread]
    )
    if changes.unread:
        connection.execute(insert(tables.unread), [{"log": log, "seq": seq} for log, seq in changes.unread])


def _flag_again(connection: Connection, fresh: dict[str, CaptureRow]) -> None:
    table = tables.flags
    for some in chunks(fresh.values()):
        connection.execute(delete(table).where(table.c.capture.in_([row.id for row in some])))
        flags = [{"capture": row.id, "flag": flag} for row in some for flag in set(row.finding.parsed.flags)]
        if flags:
            connection.execute(insert(table), flags)


def _messages_of(connection: Connection, captures: list[str]) -> dict[str, str]:
    """The message of each of these that has a row."""
    found: dict[str, str] = {}
    for some in chunks(captures):
        query = select(tables.captures.c.id, tables.captures.c.message).where(tables.captures.c.id.in_(some))
        found.update((row.id, row.message) for row in connection.execute(query))
    return found


def _merge_again(connection: Connection, ids: list[str]) -> None:
    """Write each of these messages as its captures now say; without captures it goes."""
    for some in chunks(ids):
        merged = [merge(captures) for captures in _captures_of(connection, some).values()]
        connection.execute(delete(tables.messages).where(tables.messages.c.id.in_(some)))
        if merged:
            connection.execute(insert(tables.messages), [_message_values(row) for row in merged])


def _captures_of(connection: Connection, ids: list[str]) -> dict[str, list[CaptureRow]]:
    """Captures by message, in order."""
    captures: dict[str, list[CaptureRow]] = {}
    table = tables.captures
    query = select(table).where(table.c.message.in_(ids)).order_by(table.c.order_seq)
    rows = connection.execute(query).all()
    marks = text_marks.marks_of(connection, [row.id for row in rows])
    for row in rows:
        captures.setdefault(row.message, []).append(_capture(row, marks))
    return captures


def _read_messages(connection: Connection, ids: list[str]) -> Iterator[MessageRow]:
    for some in chunks(ids):
        captures = _captures_of(connection, some)
        query = select(tables.messages).where(tables.messages.c.id.in_(some))
        for row in connection.execute(query):
            if row.id not in captures:  # no message is without one: somebody took them away
                raise unreadable()
            yield _message(row, captures[row.id])


def _capture_values(row: CaptureRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "log": row.log,
        "seq": row.seq,
        "order_seq": row.order_seq,
        "object_key": row.object_key,
        "lock_until": row.lock_until,
        "message": row.finding.message,
        "finding": row.finding.plain(),
    }


def _capture(row: Row[Any], marks: Mapping[str, text_marks.Marks]) -> CaptureRow:
    """Raises StoreError on a row that is none."""
    try:
        finding = Finding.model_validate(row.finding)
    except ValueError:
        raise unreadable() from None  # the model's own words would quote it
    return CaptureRow(
        id=row.id,
        log=row.log,
        seq=row.seq,
        order_seq=row.order_seq,
        object_key=row.object_key,
        lock_until=row.lock_until,
        finding=finding,
        marks=marks.get(row.id, {}),
    )


def _message_values(row: MessageRow) -> dict[str, Any]:
    content = {
        "sender": row.sender,
        "subject": row.subject,
        "sent_at": row.sent_at,
        "recipients": [recipient.plain() for recipient in row.recipients],
        "envelope_complete": row.envelope_complete,
    }
    return {"id": row.id, "rank": row.rank, "version": row.version, "month": row.month, "content": content}


def _message(row: Row[Any], captures: list[CaptureRow]) -> MessageRow:
    """Raises StoreError on a row that is none."""
    content = row.content
    try:
        return MessageRow(
            id=row.id,
            rank=row.rank,
            version=row.version,
            month=row.month,
            sender=content["sender"],
            subject=content["subject"],
            sent_at=content["sent_at"],
            recipients=tuple(Recipient.model_validate(recipient) for recipient in content["recipients"]),
            envelope_complete=content["envelope_complete"],
            captures=tuple(captures),
        )
    except (KeyError, TypeError, ValueError):
        raise unreadable() from None
