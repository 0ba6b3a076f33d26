"""Jobs that only the archive's own processes can ask for.

Every process writes the table of jobs, and so may whoever has the database. A job makes the scheduler write mail in
clear, in somebody's name: so it carries a seal under a key that the database does not hold.
"""

import builtins
import hmac
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from archive_service.catalog.base import Job, Jobs
from archive_service.model.clock import rfc3339, utc_now
from archive_service.model.macs import mac_of

_SEAL = "seal"
_USE = b"archive-service/jobs/v1\0"
_FORGED = "job.forged: nobody here asked for this; ask again"


class SealedJobs:
    """Implements ``Jobs`` over others. Thread- and process-safe as they are."""

    def __init__(self, inner: Jobs, secret: Callable[[], bytes]) -> None:
        """``secret``: the tenant's, asked for when a job is added or claimed. It may raise KeyUnavailable, StoreError:
        then so do these."""
        self._inner = inner
        self._secret = secret

    def add(self, job: Job) -> None:
        """See ``Jobs``; ``created_at`` is set when empty."""
        made = replace(job, created_at=job.created_at or rfc3339(utc_now()))
        self._inner.add(replace(made, request={**made.request, _SEAL: self._seal(made)}))

    def claim(self, kinds: Sequence[str]) -> Job | None:
        """See ``Jobs``. One without our seal fails, and keeps nobody from those behind it."""
        while (job := self._inner.claim(kinds)) is not None:
            found, bare = str(job.request.get(_SEAL)), _bare(job)
            if hmac.compare_digest(found.encode("utf-8", "replace"), self._seal(bare).encode()):
                return bare
            self._inner.update(replace(job, state="failed", error=_FORGED))
        return None

    def update(self, job: Job) -> None:
        """See ``Jobs``: what was asked for stays as it is."""
        self._inner.update(job)

    def get(self, job_id: str) -> Job | None:
        job = self._inner.get(job_id)
        return None if job is None else _bare(job)

    def list(self, limit: int) -> builtins.list[Job]:
        return [_bare(job) for job in self._inner.list(limit)]

    def standing(self, kind: str) -> Iterator[Job]:
        return map(_bare, self._inner.standing(kind))

    def expire(self, job_id: str, at: str) -> None:
        self._inner.expire(job_id, at)

    def trim(self, before: str) -> int:
        return self._inner.trim(before)

    def _seal(self, job: Job) -> str:
        said = json.dumps([job.id, job.kind, job.actor, job.created_at, job.request], sort_keys=True)
        return mac_of(self._secret(), _USE, said.encode("ascii"))


def _bare(job: Job) -> Job:
    return replace(job, request={name: value for name, value in job.request.items() if name != _SEAL})
