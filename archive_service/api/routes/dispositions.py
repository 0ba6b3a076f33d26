"""``/v1/dispositions``: let go what is past its maximum, under two people, and prove that it is gone."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from archive_service.access.policy import Right
from archive_service.api.errors import NoSuchThing
from archive_service.api.guard import CallerDep, GuardedRoute, needs, well_formed
from archive_service.api.paper_response import Format, signed_response
from archive_service.api.routes.approvals import ApprovalView, approval_view
from archive_service.api.views import Asked, Words
from archive_service.export.certificate_pdf import certificate_pdf

router = APIRouter(route_class=GuardedRoute, tags=["retention"])

Ids = Annotated[list[Words], Field(max_length=10_000)]


class PreviewAsked(Asked):
    """``classes``: only these; ``omit``: captures that are left out, for they are to be looked at again."""

    classes: Ids | None = None
    omit: Ids | None = None


class RunAsked(PreviewAsked):
    """Why now, and why what is left out is. ``elimination``: of public archives, the list with its visa."""

    reason: Words
    elimination: Words | None = None


class StopAsked(Asked):
    """Why."""

    reason: Words


class Preview(BaseModel):
    """What may go now; ``more``: there is more than one run takes. ``samples``: ids of captures."""

    captures: int
    classes: dict[str, int]
    more: bool
    samples: list[str]


class DispositionView(BaseModel):
    """``state``: waiting (its grace runs, it can be stopped), stopped, going, done. ``unreadable_since``: no backup of
    the keys opens any of it from then on; ``deleted_at``: its last object version was gone."""

    id: str
    state: str
    captures: int
    classes: dict[str, int]
    schedule_version: int
    decided_at: str
    due: str
    approval: str
    elimination: str | None = None
    stopped_at: str | None
    keys_gone: int
    unreadable_since: str | None
    deleted_at: str | None
    done_at: str | None


class DispositionList(BaseModel):
    """Newest first."""

    dispositions: list[DispositionView]
    next: str | None = None


@router.post("/v1/dispositions/preview", openapi_extra=needs(Right.DISPOSITIONS, "disposition.preview"))
def preview(caller: CallerDep, asked: PreviewAsked | None = None) -> Preview:
    """What is past its maximum, not held, not kept, and not on its way already. Changes nothing."""
    given = asked.model_dump(exclude_none=True) if asked is not None else {}
    found = caller.tenant.dispositions.preview(given)
    caller.record(captures=found["captures"])
    return Preview(**found)


@router.post(
    "/v1/dispositions", status_code=202, openapi_extra=needs(Right.DISPOSITIONS_CHANGE, "disposition.ask")
)
def ask(asked: RunAsked, caller: CallerDep) -> ApprovalView:
    """Ask that it go; another person approves it (``/v1/approvals``), and after a grace it does."""
    desk = caller.tenant.four_eyes
    given = asked.model_dump(mode="json", exclude_none=True, exclude={"reason"})
    made = desk.ask(caller.actor, "disposition.run", given, asked.reason, caller.once("p"))
    caller.record(approval=made.id, asked_for="disposition.run")
    return approval_view(desk, made)


@router.get("/v1/dispositions", openapi_extra=needs(Right.DISPOSITIONS, "disposition.list"))
def list_dispositions(caller: CallerDep) -> DispositionList:
    """Every run, and how far it is."""
    found = list(caller.tenant.dispositions.all())
    caller.record(dispositions=len(found))
    return DispositionList(dispositions=[DispositionView(**each) for each in found])


@router.get("/v1/dispositions/{id}", openapi_extra=needs(Right.DISPOSITIONS, "disposition.view"))
def view(id: str, caller: CallerDep) -> DispositionView:
    """One run."""
    found = caller.tenant.dispositions.get(_id(id))
    caller.record(disposition=id)
    return DispositionView(**found)


@router.post("/v1/dispositions/{id}/stop", openapi_extra=needs(Right.DISPOSITIONS_CHANGE, "disposition.stop"))
def stop(id: str, asked: StopAsked, caller: CallerDep) -> DispositionView:
    """Call it off while its grace runs."""
    caller.record(disposition=_id(id), reason=asked.reason)
    return DispositionView(**caller.tenant.dispositions.stop(id, caller.actor.subject, asked.reason))


@router.get(
    "/v1/dispositions/{id}/certificate",
    openapi_extra=needs(Right.DISPOSITIONS, "disposition.certificate"),
    response_class=Response,
)
def certificate(id: str, caller: CallerDep, format: Annotated[Format, Query()] = "json") -> Response:
    """What was destroyed, why, and since when, without personal data: signed, and in JSON with its proofs."""
    found = caller.tenant.dispositions.certificate(_id(id))
    caller.record(disposition=id, format=format)
    return signed_response(found, format, certificate_pdf, id)


def _id(given: str) -> str:
    if not well_formed(given):
        raise NoSuchThing
    return given
