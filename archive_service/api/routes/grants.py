"""``/v1/grants``: who may act in which role, how far and how long; and why a decision is what it is."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from archive_service.access.events import Actor, RoleName
from archive_service.access.policy import Decision, Right, decide
from archive_service.api.guard import Caller, CallerDep, GuardedRoute, ServicesDep, needs
from archive_service.api.routes.approvals import ApprovalView, approval_view
from archive_service.api.views import Asked, Words
from archive_service.ledger.grants import Grant
from archive_service.model.clock import rfc3339
from archive_service.model.errors import Denied

router = APIRouter(route_class=GuardedRoute, tags=["grants"])


class GrantAsked(Asked):
    """``from`` and ``until``: RFC 3339; now, and 30 days later, when not given; 366 days at most."""

    subject: Words
    role: Annotated[RoleName, Field(strict=False)]
    matter: Words | None = None
    custodians: Annotated[list[Words], Field(min_length=1, max_length=1000)] | None = None
    begins: Annotated[Words | None, Field(alias="from")] = None
    until: Words | None = None
    reason: Words


class RevokeAsked(Asked):
    """Why."""

    reason: Words


class GrantView(BaseModel):
    """``state``: open, waiting, ended or revoked."""

    id: str
    subject: str
    role: str
    matter: str | None
    custodians: list[str]
    begins: str = Field(serialization_alias="from")
    until: str
    reason: str
    asked_by: str
    approval: str | None
    state: str
    break_glass: bool = False


class GrantList(BaseModel):
    """Newest first."""

    grants: list[GrantView]
    next: str | None = None


class WhyView(BaseModel):
    """A decision and its reasons. ``within``: the grants that bound what is seen; null bounds nothing."""

    allowed: bool
    why: list[str]
    within: list[str] | None


def grant_view(grant: Grant, now: str) -> GrantView:
    """A grant as it stands now."""
    return GrantView(
        id=grant.id,
        subject=grant.subject,
        role=grant.role,
        matter=grant.matter,
        custodians=list(grant.custodians),
        begins=grant.begins,
        until=grant.ends,
        reason=grant.reason,
        asked_by=grant.by,
        approval=grant.approval,
        state=grant.state(now),
        break_glass=grant.break_glass,
    )


@router.post("/v1/grants", status_code=202, openapi_extra=needs(Right.GRANTS_CHANGE, "grant.ask"))
def ask(asked: GrantAsked, caller: CallerDep) -> ApprovalView:
    """Ask for a grant; another person approves it (``/v1/approvals``)."""
    desk = caller.tenant.four_eyes
    given = asked.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"reason"})
    made = desk.ask(caller.actor, "grant.give", given, asked.reason, caller.once("p"))
    caller.record(
        approval=made.id,
        asked_for="grant.give",
        subject=asked.subject,
        granted_role=str(asked.role),
        reason=asked.reason,
    )
    return approval_view(desk, made)


@router.get("/v1/grants", openapi_extra=needs(Right.GRANTS, "grant.list"))
def list_grants(
    caller: CallerDep,
    services: ServicesDep,
    subject: Annotated[str | None, Query(min_length=1, max_length=256)] = None,
) -> GrantList:
    """Every grant ever given."""
    now = rfc3339(services.clock())
    found = [grant for grant in reversed(caller.tenant.cases.grants()) if subject in (None, grant.subject)]
    caller.record(grants=len(found), filtered_subject=subject)
    return GrantList(grants=[grant_view(grant, now) for grant in found])


@router.post("/v1/grants/{id}/revoke", openapi_extra=needs(Right.GRANTS_CHANGE, "grant.revoke"))
def revoke(id: str, asked: RevokeAsked, caller: CallerDep, services: ServicesDep) -> GrantView:
    """End a grant at once."""
    caller.record(grant=id, reason=asked.reason)
    return grant_view(caller.tenant.cases.revoke(caller.actor, id, asked.reason), rfc3339(services.clock()))


@router.get("/v1/policy/why", openapi_extra=needs(Right.POLICY, "policy.why"))
def why(
    caller: CallerDep,
    right: Annotated[Right, Query()],
    subject: Annotated[str | None, Query(min_length=1, max_length=256)] = None,
    role: Annotated[RoleName | None, Query()] = None,
) -> WhyView:
    """Whether somebody has a right, and why. For oneself, as one acts now, any role may ask; for others who may list
    grants."""
    actor = Actor(subject or caller.actor.subject, role or caller.actor.role, caller.actor.tenant)
    oneself = (actor.subject, actor.role) == (caller.actor.subject, caller.actor.role)
    if not oneself and not caller.may(Right.GRANTS):
        raise Denied("this role may ask for itself only", code="auth.forbidden")
    decision = caller.decided(right) if oneself else _of_another(caller, actor, right)
    caller.record(asked_right=right.value, asked_subject=actor.subject, asked_role=str(actor.role))
    within = None if decision.within is None else [grant.id for grant in decision.within]
    return WhyView(allowed=decision.allowed, why=list(decision.why), within=within)


def _of_another(caller: Caller, actor: Actor, right: Right) -> Decision:
    authority = caller.tenant.authority
    return decide(actor, right, authority.grants(actor.subject), now=caller.now, always=authority.always)
