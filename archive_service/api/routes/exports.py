"""``/v1/exports``: long work; another process does it, this one takes the request and hands over."""

from typing import Any

from fastapi import APIRouter, Response

from archive_service.access.policy import Right
from archive_service.api import lookups
from archive_service.api.errors import BadRequest, Conflict, Gone, NoSuchThing
from archive_service.api.file_response import resumable_zip
from archive_service.api.guard import Caller, CallerDep, GuardedRoute, ServicesDep, needs, well_formed
from archive_service.api.long_answer import Still
from archive_service.api.views import ExportAnswer, ExportAsked, export_answer
from archive_service.api.waiting import CaughtUp
from archive_service.catalog.base import EXPORT, Job
from archive_service.model.clock import rfc3339
from search.query_language import parse, render

router = APIRouter(route_class=GuardedRoute, tags=["exports"])

KIND = EXPORT
FORMATS = frozenset({"bundle"})

_LOOKUP = 1000  # ids looked up at once


@router.post(
    "/v1/exports",
    status_code=202,
    openapi_extra=needs(Right.EXPORT, "export.request"),
    dependencies=[CaughtUp],
    response_model_exclude_unset=True,
)
def ask(asked: ExportAsked, caller: CallerDep, services: ServicesDep) -> ExportAnswer:
    """Queue an export of what a query finds, or of the messages named."""
    caller.wants(asked.ids or (), query=asked.query)
    _require_no_incident(caller)
    purpose, matter = caller.stated(asked.purpose, asked.matter)
    asked = asked.model_copy(update={"purpose": purpose, "matter": matter})
    ids, named = _checked(asked, caller)
    job = Job(
        id=caller.once("", 32),
        kind=KIND,
        actor=caller.actor.subject,
        request=asked.model_dump(exclude_defaults=True)
        | ({"ids": ids} if ids else {})
        | ({"custodians": named} if named else {})
        | {"role": str(caller.actor.role)}
        | ({} if caller.bound is None else {"bound": render(caller.bound)}),
        total=len(ids),
        created_at=rfc3339(services.clock()),
    )
    known = caller.tenant.jobs.get(job.id)
    if known is not None:
        return _again(known, job, caller)
    # The entry goes first: an export that nobody recorded must not be under way.
    caller.record(
        ids,
        purpose=asked.purpose,
        matter=asked.matter,
        job=job.id,
        query=asked.query,
        formats=list(asked.formats),
        custodians=named or None,
    )
    caller.tenant.jobs.add(job)
    return export_answer(job)


@router.get(
    "/v1/exports/{id}",
    openapi_extra=needs(Right.EXPORT, "export.status", traced=False),
    response_model_exclude_unset=True,
)
def status(id: str, caller: CallerDep) -> ExportAnswer:
    """How far an export is."""
    return export_answer(lookups.job(caller, id, KIND))


@router.get(
    "/v1/exports/{id}/download",
    openapi_extra=needs(Right.EXPORT, "export.download"),
    response_class=Response,
)
def download(id: str, caller: CallerDep) -> Response:
    """The finished export, a ZIP."""
    _require_no_incident(caller)
    job = lookups.job(caller, id, KIND)
    if job.state in ("failed", "cancelled"):
        raise Conflict("the export did not finish", code="export.failed")
    if job.state != "done":
        raise Conflict("the export is not finished yet", code="export.not_ready")
    result = job.result or {}
    _require_unbarred(caller, job)
    if "messages" not in result:
        raise Gone("the export's file is gone; ask for it again", code="export.gone")
    _require_still_shown(caller, result["messages"], job.request.get("purpose"))
    # The name follows from the job: a row of the jobs table must not choose which file leaves.
    still = Still(lambda: _require_to_go_on(caller, job), lambda code: caller.break_off(code, job.id))
    response = resumable_zip(caller.tenant.exports / f"{job.id}.zip", job.id, still)
    caller.record(
        result["messages"],
        purpose=job.request.get("purpose"),
        matter=job.request.get("matter"),
        job=job.id,
        formats=job.request.get("formats"),
    )
    return response


def _require_to_go_on(caller: Caller, job: Job) -> None:
    """While a download is under way: what is asked before it begins and may change. Raises as ``download``."""
    bound = caller.bound
    caller.require_still()
    _require_no_incident(caller)
    _require_unbarred(caller, job)
    if caller.bound != bound:
        _require_still_shown(caller, (job.result or {})["messages"], job.request.get("purpose"))


def _require_unbarred(caller: Caller, job: Job) -> None:
    """Raises Gone."""
    result = job.result or {}
    if "expired_at" in result or caller.tenant.barred(result.get("capture_ids", ())):
        raise Gone("mail of this export was erased; ask for the rest again", code="export.expired")


def _again(known: Job, job: Job, caller: Caller) -> ExportAnswer:
    """The job that this very request made before. Raises Conflict when the key was used for another, Gone when what it
    made went with mail that was erased: then nobody can tell."""
    if "expired_at" in (known.result or {}) and (known.kind, known.actor) == (job.kind, job.actor):
        raise Gone("mail of this export was erased; ask for the rest again", code="export.expired")
    if (known.kind, known.actor, known.request) != (job.kind, job.actor, job.request):
        raise Conflict("this key was used for another request", code="idempotency.mismatch")
    said = job.request.get("purpose"), job.request.get("matter")
    caller.record(purpose=said[0], matter=said[1], job=known.id, repeated=True)
    return export_answer(known)


def _require_still_shown(caller: Caller, ids: list[str], purpose: str | None) -> None:
    """What was made before may hold more than may be seen now, or than may be seen without a purpose. Raises
    NoSuchThing, Invalid (``purpose.required``)."""
    for start in range(0, len(ids), _LOOKUP):
        some = ids[start : start + _LOOKUP]
        if not lookups.within(caller, some):
            raise NoSuchThing
        rows = caller.tenant.catalog.messages(some)
        caller.require_purpose([each for row in rows for each in row.captures], purpose)


def _require_no_incident(caller: Caller) -> None:
    """Raises Conflict: while an incident is open nothing leaves."""
    if caller.incident.open:
        raise Conflict("an incident is open: nothing is exported", code="incident.open")


def _checked(asked: ExportAsked, caller: Caller) -> tuple[list[str], list[dict[str, Any]]]:
    """The ids asked for, each once; for a query whom it names, and what that came to. Raises BadRequest,
    QueryError, NoSuchThing, Invalid (``purpose.required``)."""
    if not FORMATS.issuperset(asked.formats):
        raise BadRequest("this format cannot be exported", code="export.format_unsupported")
    if (asked.query is None) == (asked.ids is None):
        raise BadRequest("an export takes either a query or ids")
    if asked.query is not None:
        caller.require_purpose(None, asked.purpose)
        _, named = caller.tenant.custodians.expanded(parse(asked.query))
        return [], [each.plain() for each in named]
    ids = list(dict.fromkeys(asked.ids or ()))
    if not all(well_formed(each) for each in ids):
        raise NoSuchThing
    catalog = caller.tenant.catalog
    for start in range(0, len(ids), _LOOKUP):
        some = ids[start : start + _LOOKUP]
        rows = lookups.unbarred(caller, catalog.messages(some))
        if len(rows) < len(some) or not lookups.within(caller, some):
            raise NoSuchThing
        caller.require_purpose([each for row in rows for each in row.captures], asked.purpose)
    return ids, []
