"""``/v1/approvals``: strong changes, asked by one person, decided by another, carried out once."""

import logging
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from archive_service.access.four_eyes import FourEyes
from archive_service.access.policy import Right
from archive_service.api.guard import CallerDep, GuardedRoute, needs
from archive_service.api.views import Asked, PageSize, Words
from archive_service.ledger.approvals import Approval, Verdict
from archive_service.model.errors import ArchiveError

router = APIRouter(route_class=GuardedRoute, tags=["approvals"])
_log = logging.getLogger(__name__)


class ApprovalAsked(Asked):
    """``request``: what the action is to be done with; nothing else can be carried out under the approval."""

    action: Words
    request: dict[str, Any]
    reason: Words


class VerdictAsked(Asked):
    """Why."""

    reason: Words


class ApprovalView(BaseModel):
    """``state``: asked, approved, refused, expired or executed. ``result``: what carrying it out gave, in the answer to
    the decision alone; ``error``: the stable code of why it could not be carried out, to be tried again."""

    id: str
    action: str
    request: dict[str, Any]
    state: str
    asked_by: str
    asked_at: str
    reason: str
    expires_at: str
    decided_by: str | None = None
    decided_at: str | None = None
    decision_reason: str | None = None
    result: dict[str, Any] | None = None
    error: str | None = None


class ApprovalList(BaseModel):
    """Newest first."""

    approvals: list[ApprovalView]
    next: str | None = None


def approval_view(desk: FourEyes, approval: Approval, **more: Any) -> ApprovalView:
    """An approval as those may see it who may."""
    decided = approval.decided
    return ApprovalView(
        id=approval.id,
        action=approval.action,
        request=approval.request,
        state=desk.state(approval),
        asked_by=approval.by,
        asked_at=approval.at,
        reason=approval.reason,
        expires_at=approval.expires,
        decided_by=decided.by if decided else None,
        decided_at=decided.at if decided else None,
        decision_reason=decided.reason if decided else None,
        **more,
    )


def _found(caller: CallerDep, approval: str) -> Approval:
    """A request that he may know of. Where few may, an entry of a refusal says nothing of it."""
    desk = caller.tenant.four_eyes
    found = desk.get(caller.actor, approval)
    caller.hushed = desk.private(found.action)
    return found


@router.post("/v1/approvals", status_code=201, openapi_extra=needs(Right.APPROVALS, "approval.ask"))
def ask(asked: ApprovalAsked, caller: CallerDep) -> ApprovalView:
    """Ask for a strong change."""
    desk = caller.tenant.four_eyes
    caller.hushed = desk.private(asked.action)
    made = desk.ask(caller.actor, asked.action, asked.request, asked.reason, caller.once("p"))
    caller.record(approval=made.id, **desk.told(made, asked.reason))
    return approval_view(desk, made)


@router.get("/v1/approvals", openapi_extra=needs(Right.APPROVALS, "approval.list"))
def list_approvals(
    caller: CallerDep,
    state: Annotated[str | None, Query(pattern="^(asked|approved|refused|expired|executed)$")] = None,
    limit: Annotated[PageSize, Query()] = 50,
    cursor: Annotated[str | None, Query(max_length=64)] = None,
) -> ApprovalList:
    """What was asked, and what became of it."""
    desk = caller.tenant.four_eyes
    found = [each for each in desk.all(caller.actor) if state in (None, desk.state(each))]
    place = next((number + 1 for number, each in enumerate(found) if each.id == cursor), 0)
    page = found[place : place + limit]
    caller.record(approvals=[each.id for each in page])
    following = page[-1].id if len(found) > place + limit else None
    return ApprovalList(approvals=[approval_view(desk, each) for each in page], next=following)


@router.get("/v1/approvals/{id}", openapi_extra=needs(Right.APPROVALS, "approval.view"))
def view(id: str, caller: CallerDep) -> ApprovalView:
    """One request."""
    desk = caller.tenant.four_eyes
    found = _found(caller, id)
    caller.record(approval=found.id)
    return approval_view(desk, found)


@router.post("/v1/approvals/{id}/approve", openapi_extra=needs(Right.APPROVALS_DECIDE, "approval.approve"))
def approve(id: str, asked: VerdictAsked, caller: CallerDep) -> ApprovalView:
    """Approve somebody else's request; it is carried out at once."""
    desk = caller.tenant.four_eyes
    found = desk.decidable(caller.actor, _found(caller, id).id)
    caller.record(approval=found.id, **desk.told(found, asked.reason))
    approved = desk.decide(caller.actor, id, Verdict.APPROVED, asked.reason)
    return _carried_out(desk, approved)


@router.post("/v1/approvals/{id}/refuse", openapi_extra=needs(Right.APPROVALS_DECIDE, "approval.refuse"))
def refuse(id: str, asked: VerdictAsked, caller: CallerDep) -> ApprovalView:
    """Refuse somebody else's request."""
    desk = caller.tenant.four_eyes
    found = desk.decidable(caller.actor, _found(caller, id).id)
    caller.record(approval=found.id, **desk.told(found, asked.reason))
    return approval_view(desk, desk.decide(caller.actor, id, Verdict.REFUSED, asked.reason))


@router.post("/v1/approvals/{id}/execute", openapi_extra=needs(Right.APPROVALS_DECIDE, "approval.execute"))
def execute(id: str, caller: CallerDep) -> ApprovalView:
    """Try again to carry out what was approved and could not be done then."""
    desk = caller.tenant.four_eyes
    found = _found(caller, id)
    caller.record(approval=found.id)
    result = desk.carry_out_again(caller.actor, found.id)
    return approval_view(desk, desk.get(caller.actor, id), result=result)


def _carried_out(desk: FourEyes, approved: Approval) -> ApprovalView:
    """The decision stands either way, and the answer says what became of it."""
    try:
        result = desk.carry_out(approved.id)
    except ArchiveError as error:
        _log.error("an approved change could not be carried out: %s", error.code)
        return approval_view(desk, approved, error=error.code)
    return approval_view(desk, approved, result=result)
