"""Jobs over SQL, in a database or schema of their own: disposable, and written by every process."""

import builtins
import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, Row, and_, delete, func, null, or_, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from archive_service.catalog import migrations, tables
from archive_service.catalog.base import Job
from archive_service.catalog.columns import unreadable
from archive_service.catalog.engines import Database
from archive_service.catalog.sqlite import SqliteDatabase
from archive_service.model.clock import Clock, rfc3339, utc_now
from archive_service.model.errors import AlreadyExists, NotFound, StoreError

LEASE = timedelta(seconds=60)
"""A running job whose worker has not written for this long may be claimed by another."""

ENDED = ("done", "failed", "cancelled")

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What an id is made of. Workers name files by it, and a row of this table must not choose where they lie."""


class SqlJobs:
    """Implements ``Jobs``. Thread- and process-safe: every change is one write transaction."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        """Open, and make what is missing. Raises StoreError."""
        self._database = database
        self._clock = clock
        try:
            migrations.bring_up(database, migrations.JOBS)
        except StoreError:
            database.close()
            raise

    @classmethod
    def sqlite(cls, path: Path, clock: Clock = utc_now) -> Self:
        """An SQLite file; its folder is made."""
        return cls(SqliteDatabase(path), clock)

    @classmethod
    def postgres(cls, url: str, owner: str, clock: Clock = utc_now, *, connections: int) -> Self:
        """A schema of the owner's own, which no rebuild of the catalog touches. ``connections``: see
        ``SqlCatalog.postgres``. Raises Invalid, StoreError."""
        from archive_service.catalog.postgres import PostgresDatabase  # only who uses it loads the driver

        return cls(PostgresDatabase(url, owner, "jobs", connections=connections), clock)

    def close(self) -> None:
        """Let the connections go."""
        self._database.close()

    def add(self, job: Job) -> None:
        """Queue it; ``created_at`` is set when empty. Raises AlreadyExists when the id is taken."""
        values = _values(job) | {"created_at": job.created_at or rfc3339(self._clock())}
        if not self._database.write(lambda connection: _add(connection, values)):
            raise AlreadyExists("there is a job with this id")

    def claim(self, kinds: Sequence[str]) -> Job | None:
        """A row that is no job fails, and keeps nobody from those behind it."""
        now, table = self._clock(), tables.jobs
        lost = and_(table.c.state == "running", table.c.lease < rfc3339(now - LEASE))
        oldest = (
            select(table.c.number)
            .where(table.c.kind.in_(tuple(kinds)), or_(table.c.state == "queued", lost))
            .order_by(table.c.number)
            .limit(1)
            .with_for_update(skip_locked=True)
        )

        def take(connection: Connection) -> Job | None:
            while (number := connection.execute(oldest).scalar()) is not None:
                job = _fit(connection, number)
                change = update(table).where(table.c.number == number)
                if job is not None:
                    connection.execute(change.values(state="running", lease=rfc3339(now)))
                    return job
                connection.execute(change.values(state="failed", error=_UNFIT, request={}, result=None))
            return None

        return self._database.write(take)

    def update(self, job: Job) -> None:
        """A job that has ended stays as it ended: progress that arrives after a cancellation changes
        nothing. Raises NotFound."""
        values = _values(job) | {"lease": rfc3339(self._clock())}
        changing = {name: values[name] for name in ("state", "done", "total", "error", "result", "lease")}
        if not self._database.write(lambda connection: _update(connection, job.id, changing)):
            raise NotFound("there is no job with this id")

    def get(self, job_id: str) -> Job | None:
        with self._database.reading() as connection:
            row = connection.execute(select(tables.jobs).where(tables.jobs.c.id == job_id)).one_or_none()
        return None if row is None else _job(row)

    def list(self, limit: int) -> builtins.list[Job]:
        """Without their results: that of an export names every message in it."""
        told = [null().label("result") if each.name == "result" else each for each in tables.jobs.c]
        query = select(*told).order_by(tables.jobs.c.number.desc()).limit(limit)
        with self._database.reading() as connection:
            return [_job(row) for row in connection.execute(query)]

    def standing(self, kind: str) -> Iterator[Job]:
        """One at a time: a result names every message and capture of an export."""
        table = tables.jobs
        wanted = select(table.c.id).where(table.c.kind == kind, table.c.state.in_(("running", "done")))
        with self._database.reading() as connection:
            names = list(connection.execute(wanted.order_by(table.c.number)).scalars())
        for name in names:
            job = self.get(name)
            if job is not None and (job.state == "running" or not _expired(job)):
                yield job

    def expire(self, job_id: str, at: str) -> None:
        table = tables.jobs
        change = update(table).where(table.c.id == job_id, table.c.state == "done")
        gone = change.values(request={}, result={"expired_at": at})
        self._database.write(lambda connection: connection.execute(gone).rowcount)

    def scrub(self) -> None:
        """What jobs no longer say leaves the medium too. Raises StoreError."""
        self._database.scrub()

    def trim(self, before: str) -> int:
        """A job ended when its worker last wrote; one that never had a worker, when it was asked for."""
        table = tables.jobs
        ended = and_(table.c.state.in_(ENDED), func.coalesce(table.c.lease, table.c.created_at) < before)
        gone = delete(table).where(ended).returning(table.c.number)
        return self._database.write(lambda connection: len(connection.execute(gone).all()))


_UNFIT = "job.unreadable: somebody wrote this row who is not the archive"


def _fit(connection: Connection, number: int) -> Job | None:
    """The job of a row, as running; None: it is none."""
    try:
        job = _job(
            connection.execute(select(tables.jobs).where(tables.jobs.c.number == number)).one(),
            state="running",
        )
    except StoreError as error:
        if error.code != unreadable().code:
            raise
        return None
    return job if _NAME.fullmatch(job.id) and isinstance(job.request, dict) else None


def _expired(job: Job) -> bool:
    return "expired_at" in (job.result or {})


def _add(connection: Connection, values: dict[str, Any]) -> bool:
    """Whether it was added; False: the id is taken. Of two that add one id at once the second waits for the first."""
    insert = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
    adding = insert(tables.jobs).values(values).on_conflict_do_nothing(index_elements=["id"])
    return connection.execute(adding.returning(tables.jobs.c.number)).first() is not None


def _update(connection: Connection, job_id: str, changing: dict[str, Any]) -> bool:
    """Whether there is such a job."""
    known = select(tables.jobs.c.state).where(tables.jobs.c.id == job_id).with_for_update()
    row = connection.execute(known).first()
    if row is not None and row.state not in ENDED:
        connection.execute(update(tables.jobs).where(tables.jobs.c.id == job_id).values(changing))
    return row is not None


def _values(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "kind": job.kind,
        "actor": job.actor,
        "request": job.request,
        "state": job.state,
        "done": job.done,
        "total": job.total,
        "error": job.error,
        "result": job.result,
        "created_at": job.created_at,
    }


def _job(row: Row[Any], *, state: str | None = None) -> Job:
    return Job(
        id=row.id,
        kind=row.kind,
        actor=row.actor,
        request=row.request,
        state=state or row.state,
        done=row.done,
        total=row.total,
        error=row.error,
        result=row.result,
        created_at=row.created_at,
    )
