"""Jobs over SQL, in a database of their own: disposable, and written by every process."""

import builtins
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Row, and_, insert, or_, select, update

from archive_service.catalog import engines, tables
from archive_service.catalog.base import Job
from archive_service.model.clock import Clock, rfc3339, utc_now
from archive_service.model.errors import AlreadyExists, NotFound

LEASE = timedelta(seconds=60)
"""A running job whose worker has not written for this long may be claimed by another."""

ENDED = ("done", "failed", "cancelled")


class SqlJobs:
    """Implements ``Jobs``. Thread- and process-safe: every change is one write transaction."""

    def __init__(self, url: str, clock: Clock = utc_now) -> None:
        """Open, and make what is missing. Raises StoreError."""
        self._engine = engines.open_engine(url, tables.job_metadata)
        self._clock = clock

    @classmethod
    def sqlite(cls, path: Path, clock: Clock = utc_now) -> Self:
        """An SQLite file; its folder is made."""
        return cls(engines.sqlite_url(path), clock)

    def close(self) -> None:
        """Let the connections go."""
        self._engine.dispose()

    def add(self, job: Job) -> None:
        """Queue it; ``created_at`` is set when empty. Raises AlreadyExists when the id is taken."""
        values = _values(job) | {"created_at": job.created_at or rfc3339(self._clock())}
        with engines.translated(), engines.writing(self._engine) as connection:
            known = connection.execute(select(tables.jobs.c.number).where(tables.jobs.c.id == job.id))
            if known.first() is not None:
                raise AlreadyExists("there is a job with this id")
            connection.execute(insert(tables.jobs).values(values))

    def claim(self, kinds: Sequence[str]) -> Job | None:
        now, table = self._clock(), tables.jobs
        lost = and_(table.c.state == "running", table.c.lease < rfc3339(now - LEASE))
        oldest = (
            select(table)
            .where(table.c.kind.in_(tuple(kinds)), or_(table.c.state == "queued", lost))
            .order_by(table.c.number)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        with engines.translated(), engines.writing(self._engine) as connection:
            row = connection.execute(oldest).one_or_none()
            if row is None:
                return None
            change = update(table).where(table.c.number == row.number)
            connection.execute(change.values(state="running", lease=rfc3339(now)))
        return _job(row, state="running")

    def update(self, job: Job) -> None:
        """A job that has ended stays as it ended: progress that arrives after a cancellation changes
        nothing. Raises NotFound."""
        values = _values(job) | {"lease": rfc3339(self._clock())}
        changing = {name: values[name] for name in ("state", "done", "total", "error", "result", "lease")}
        with engines.translated(), engines.writing(self._engine) as connection:
            row = connection.execute(select(tables.jobs.c.state).where(tables.jobs.c.id == job.id)).first()
            if row is None:
                raise NotFound("there is no job with this id")
            if row.state not in ENDED:
                connection.execute(update(tables.jobs).where(tables.jobs.c.id == job.id).values(changing))

    def get(self, job_id: str) -> Job | None:
        with engines.translated(), engines.reading(self._engine) as connection:
            row = connection.execute(select(tables.jobs).where(tables.jobs.c.id == job_id)).one_or_none()
        return None if row is None else _job(row)

    def list(self, limit: int) -> builtins.list[Job]:
        query = select(tables.jobs).order_by(tables.jobs.c.number.desc()).limit(limit)
        with engines.translated(), engines.reading(self._engine) as connection:
            return [_job(row) for row in connection.execute(query)]


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
