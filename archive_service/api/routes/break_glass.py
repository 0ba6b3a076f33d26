"""``POST /v1/break-glass``: ask for a role that one does not hold, for minutes; another person approves it."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from archive_service.access.events import RoleName
from archive_service.access.policy import Right
from archive_service.api.guard import CallerDep, GuardedRoute, needs
from archive_service.api.routes.approvals import ApprovalView, approval_view
from archive_service.api.views import Asked, Words
from archive_service.break_glass import LONGEST_MINUTES, NAME

router = APIRouter(route_class=GuardedRoute, tags=["break-glass"])


class BreakGlassAsked(Asked):
    """``minutes`` run from the approval. ``matter``: bounds what is seen. ``reason``: for the log and the second."""

    role: Annotated[RoleName, Field(strict=False)]
    minutes: Annotated[int, Field(ge=1, le=LONGEST_MINUTES)]
    matter: Words | None = None
    reason: Words


@router.post("/v1/break-glass", status_code=202, openapi_extra=needs(Right.POLICY, "break_glass.ask"))
def ask(asked: BreakGlassAsked, caller: CallerDep) -> ApprovalView:
    """Ask; once approved, the role is named in ``X-Archive-Role``."""
    desk = caller.tenant.four_eyes
    given = asked.model_dump(mode="json", exclude_none=True, exclude={"reason"})
    made = desk.ask(caller.actor, NAME, given, asked.reason, caller.once("p"))
    caller.record(
        approval=made.id,
        asked_for=NAME,
        asked_role=asked.role.value,
        minutes=asked.minutes,
        reason=asked.reason,
    )
    return approval_view(desk, made)
