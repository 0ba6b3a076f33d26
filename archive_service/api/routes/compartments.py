"""``/v1/compartments`` and ``/v1/exclusions``: sealed parts of a tenant, and whose mail goes there or nowhere.

Every other route works in a compartment with ``?compartment=ID``. To whoever has no grant there it does not exist."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from archive_service.access.events import RoleName
from archive_service.access.policy import Right
from archive_service.api import pen
from archive_service.api.errors import NoSuchThing
from archive_service.api.guard import CallerDep, GuardedRoute, ServicesDep, needs
from archive_service.api.routes.approvals import ApprovalView, approval_view
from archive_service.api.views import Asked, Words

router = APIRouter(route_class=GuardedRoute, tags=["compartments"])


class OfficerAsked(Asked):
    """Somebody who works in the compartment. ``until``: RFC 3339, 366 days ahead at most; 30 days when not given."""

    subject: Words
    role: Annotated[RoleName, Field(strict=False)]
    until: Words | None = None


class CompartmentAsked(Asked):
    """Two people at least work in it: one's grants need another's approval there too."""

    name: Annotated[str, Field(min_length=1, max_length=80)]
    officers: Annotated[list[OfficerAsked], Field(min_length=2, max_length=100)]
    reason: Words


class CompartmentView(BaseModel):
    """One that the caller works in."""

    id: str
    name: str


class CompartmentList(BaseModel):
    """Those that the caller works in, and no word of any other."""

    compartments: list[CompartmentView]
    next: str | None = None


class ExclusionAsked(Asked):
    """``domains`` are the organisation's own; ``addresses`` lie in them. ``exclusion``: an id, to set a list anew."""

    exclusion: Words | None = None
    name: Words
    basis: Words
    addresses: Annotated[list[Words], Field(min_length=1, max_length=10_000)]
    domains: Annotated[list[Words], Field(min_length=1, max_length=1000)]
    compartment: Words
    sources: Annotated[list[Words], Field(max_length=1000)] | None = None
    reason: Words


class ExclusionList(BaseModel):
    """The lists that are in force, without whose addresses they are, and how many captures were withdrawn at all."""

    exclusions: list[dict[str, Any]]
    withdrawn: int
    next: str | None = None


@router.post("/v1/compartments", status_code=202, openapi_extra=needs(Right.COMPARTMENTS, "approval.ask"))
def ask(asked: CompartmentAsked, caller: CallerDep) -> ApprovalView:
    """Ask for a compartment; another person approves it (``/v1/approvals``)."""
    return _asked(caller, "compartment.make", asked)


@router.get("/v1/compartments", openapi_extra=needs(Right.POLICY, "compartment.list"))
def list_compartments(caller: CallerDep, services: ServicesDep, request: Request) -> CompartmentList:
    """The compartments that the caller has a grant in. That he was told of one stands in its own access log: whoever
    reads the tenant's has no business knowing that there is one."""
    found = caller.tenant.sealed.compartments(caller.actor.subject, caller.now)
    caller.record()
    who = {"actor": caller.actor.subject, "role": caller.actor.role.value}
    for each in found:
        there = services.tenants(each["id"])
        if there is None:
            raise NoSuchThing
        pen.write(there, request, caller.action, **who, detail={"compartment": each["id"]})
    return CompartmentList(compartments=[CompartmentView(**each) for each in found])


@router.post("/v1/exclusions", status_code=202, openapi_extra=needs(Right.EXCLUSIONS, "approval.ask"))
def ask_exclusion(asked: ExclusionAsked, caller: CallerDep) -> ApprovalView:
    """Ask for an exclusion list, new or set anew; another person approves it."""
    return _asked(caller, "exclusion.set", asked)


@router.get("/v1/exclusions", openapi_extra=needs(Right.EXCLUSIONS, "exclusion.list"))
def list_exclusions(
    caller: CallerDep, addresses: Annotated[bool, Query(description="Show whose mail it is.")] = False
) -> ExclusionList:
    """The lists that are in force."""
    found = list(caller.tenant.sealed.exclusions(addresses))
    caller.record(addresses=addresses)
    return ExclusionList(exclusions=found, withdrawn=caller.tenant.sealed.withdrawn())


def _asked(caller: CallerDep, action: str, asked: CompartmentAsked | ExclusionAsked) -> ApprovalView:
    desk = caller.tenant.four_eyes
    caller.hushed = desk.private(action)
    given = asked.model_dump(mode="json", exclude_none=True, exclude={"reason"})
    made = desk.ask(caller.actor, action, given, asked.reason, caller.once("p"))
    caller.record(approval=made.id)
    return approval_view(desk, made)
