"""``/v1/dispositions/extend`` and ``/v1/dispositions/relabel``: what a reviewer finds of mail that is about to go."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from archive_service.access.policy import Right
from archive_service.api.guard import CallerDep, GuardedRoute, needs
from archive_service.api.routes.approvals import ApprovalView, approval_view
from archive_service.api.views import Asked, Words

router = APIRouter(route_class=GuardedRoute, tags=["retention"])

Ids = Annotated[list[Words], Field(min_length=1, max_length=10_000)]


class Reviewed(Asked):
    """Captures, or all captures of messages."""

    captures: Ids | None = None
    messages: Ids | None = None
    reason: Words


class ExtendAsked(Reviewed):
    """``until``: RFC 3339, five years ahead at most."""

    until: Words


class RelabelAsked(Reviewed):
    """``class``: one of the schedule that is in force."""

    klass: Annotated[Words, Field(alias="class")]


class Extended(BaseModel):
    """How many captures are kept until when, and the acts-log position that has passed it."""

    captures: int
    until: str
    seq: int


@router.post("/v1/dispositions/extend", openapi_extra=needs(Right.DISPOSITIONS_CHANGE, "disposition.extend"))
def extend(asked: ExtendAsked, caller: CallerDep) -> Extended:
    """Keep captures until a time, whatever their class says. One person is enough: nothing goes by it."""
    given = asked.model_dump(mode="json", exclude_none=True, exclude={"reason"})
    made = caller.tenant.reviews.extend(caller.actor, given, asked.reason)
    caller.record(captures=made["captures"], until=made["until"], reason=asked.reason)
    return Extended(**made)


@router.post(
    "/v1/dispositions/relabel",
    status_code=202,
    openapi_extra=needs(Right.DISPOSITIONS_CHANGE, "disposition.relabel"),
)
def relabel(asked: RelabelAsked, caller: CallerDep) -> ApprovalView:
    """Ask that captures be of a class by hand; another person approves it (``/v1/approvals``), for it may shorten."""
    desk = caller.tenant.four_eyes
    given = asked.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"reason"})
    made = desk.ask(caller.actor, "retention.relabel", given, asked.reason, caller.once("p"))
    caller.record(approval=made.id, asked_for="retention.relabel")
    return approval_view(desk, made)
