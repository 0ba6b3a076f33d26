"""``/v1/erasures``: have mail forgotten, under two people, and see how far it is."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from archive_service.access.policy import Right
from archive_service.api.guard import CallerDep, GuardedRoute, needs
from archive_service.api.routes.approvals import ApprovalView, approval_view
from archive_service.api.views import Asked, Words
from archive_service.model.grounds import EraseGround

router = APIRouter(route_class=GuardedRoute, tags=["erasures"])

Ids = Annotated[list[Words], Field(min_length=1, max_length=10_000)]


class ErasureAsked(Asked):
    """Either ``messages`` (all captures of each) or ``captures``. ``basis``: the article of law or the order."""

    messages: Ids | None = None
    captures: Ids | None = None
    ground: Annotated[EraseGround, Field(strict=False)]
    basis: Words
    reason: Words


class ErasureView(BaseModel):
    """One capture of an erasure. ``state``: barred (no read shows it), going, gone (its key is in neither place)."""

    id: str
    capture: str
    ground: str
    state: str


class ErasureList(BaseModel):
    """In the order of the acts."""

    erasures: list[ErasureView]
    next: str | None = None


@router.post("/v1/erasures", status_code=202, openapi_extra=needs(Right.ERASURES_ASK, "erasure.ask"))
def ask(asked: ErasureAsked, caller: CallerDep) -> ApprovalView:
    """Ask for an erasure; another person approves it (``/v1/approvals``), and from then on no read shows the mail."""
    desk = caller.tenant.four_eyes
    given = asked.model_dump(mode="json", exclude_none=True, exclude={"reason"})
    named = [*(asked.messages or ()), *(asked.captures or ())]
    made = desk.ask(caller.actor, "erasure.ask", given, asked.reason, caller.once("p"))
    caller.record(named, approval=made.id, asked_for="erasure.ask", ground=str(asked.ground))
    return approval_view(desk, made)


@router.get("/v1/erasures", openapi_extra=needs(Right.ERASURES, "erasure.list"))
def list_erasures(caller: CallerDep) -> ErasureList:
    """What is to be forgotten, and how far it is."""
    found = list(caller.tenant.erasures())
    caller.record(erasures=len(found))
    return ErasureList(erasures=[ErasureView(**each) for each in found])
