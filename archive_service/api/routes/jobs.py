"""``/v1/jobs``: long work of any kind, by state only."""

from typing import Annotated

from fastapi import APIRouter, Query

from archive_service.access.policy import Right
from archive_service.api import lookups
from archive_service.api.guard import CallerDep, GuardedRoute, needs
from archive_service.api.views import JobList, JobView, PageSize, job_view

_ALL = 10_000  # jobs looked through for those of one person

router = APIRouter(route_class=GuardedRoute, tags=["jobs"])


@router.get("/v1/jobs", openapi_extra=needs(Right.JOBS, "job.list", traced=False))
def list_jobs(caller: CallerDep, limit: Annotated[PageSize, Query()] = 50) -> JobList:
    """The newest jobs. The table is disposable and short, so it has one page."""
    jobs = caller.tenant.jobs.list(limit if caller.bound is None else _ALL)
    if caller.bound is not None:
        jobs = [job for job in jobs if job.actor == caller.actor.subject][:limit]
    return JobList(jobs=[job_view(job) for job in jobs], next=None)


@router.get("/v1/jobs/{id}", openapi_extra=needs(Right.JOBS, "job.view", traced=False))
def view(id: str, caller: CallerDep) -> JobView:
    """One job."""
    return job_view(lookups.job(caller, id))
