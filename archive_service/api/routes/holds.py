"""``/v1/matters/{id}/holds``: legal holds of a matter: placed, looked at, reviewed, released by two people."""

from typing import Annotated, Any, Self

from fastapi import APIRouter
from pydantic import BaseModel, Field, model_validator

from archive_service.access.policy import Right
from archive_service.api.guard import CallerDep, GuardedRoute, needs
from archive_service.api.routes.approvals import ApprovalView, approval_view
from archive_service.api.views import Asked, QueryText, Words
from archive_service.holds.releasing import RELEASE

router = APIRouter(route_class=GuardedRoute, tags=["holds"])

Listed = Annotated[list[Words], Field(min_length=1, max_length=10_000)]
Day = Annotated[str, Field(pattern=r"^\d{4}(-\d{2}(-\d{2})?)?$")]


class HoldAsked(Asked):
    """What it is about: ``query`` and ``custodians`` (by id, address or name; with ``groups`` also what went to their
    groups), sent from ``first`` to ``last``; or a list of ``messages`` and ``captures``. ``past`` and ``future``: of
    what was received until now, and from now on. ``review``: by when it is looked at again (RFC 3339, twelve months at
    most). A ``silent`` hold is shown to those alone who may see matters."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    ground: Words
    claim: Words
    owner: Words
    review: Annotated[str, Field(max_length=40)]
    silent: bool = True
    past: bool = True
    future: bool = True
    query: QueryText | None = None
    custodians: Annotated[list[Words], Field(min_length=1, max_length=1000)] | None = None
    groups: bool = False
    first: Day | None = None
    last: Day | None = None
    messages: Listed | None = None
    captures: Listed | None = None

    @model_validator(mode="after")
    def _says_what(self) -> Self:
        if not (self.query or self.custodians or self.messages or self.captures):
            raise ValueError("a hold names a query, custodians, messages or captures")
        return self


class ReleaseAsked(Asked):
    """Why it may end."""

    reason: Words


class ReviewAsked(Asked):
    """``review``: by when it is looked at again; ``note``: what was found."""

    review: Annotated[str, Field(max_length=40)]
    note: Words


class HoldProgress(BaseModel):
    """``found``: whether all there was is looked through, with the directory as it is now; ``covered`` captures then,
    of which ``locked`` bear a hold in the store (``unlocked``: looked at since it was released). ``rows`` of
    ``of_rows``: of the order log, as the acts say it; new mail is looked at as it comes, and said when it counts."""

    covered: int
    locked: int
    unlocked: int
    rows: int
    of_rows: int
    found: bool
    complete: bool


class HoldView(BaseModel):
    """``state``: in_force, releasing (objects still bear it), released. ``people``: for each custodian and each person
    that the query names, the addresses used and what could not be resolved. ``broken``: the code of why its query
    cannot be read any more. ``taken``: by order of a court or authority to erase, how many captures it took from the
    hold. ``too_late``, in the answer to placing alone: captures whose keys are going already."""

    id: str
    matter: str
    name: str
    ground: str
    claim: str
    owner: str
    silent: bool
    past: bool
    future: bool
    query: str | None
    custodians: list[str]
    groups: bool
    first: str | None
    last: str | None
    messages: int
    placed_by: str
    placed_at: str
    review: str
    review_overdue: bool
    state: str
    released_by: str | None
    released_at: str | None
    approval: str | None
    people: list[dict[str, Any]]
    broken: str | None
    taken: dict[str, int]
    progress: HoldProgress
    seq: int | None = None
    too_late: list[str] | None = None


class HoldList(BaseModel):
    """In the order they were placed, released ones too."""

    holds: list[HoldView]
    next: str | None = None


@router.post(
    "/v1/matters/{id}/holds", status_code=201, openapi_extra=needs(Right.MATTERS_CHANGE, "hold.place")
)
def place(id: str, asked: HoldAsked, caller: CallerDep) -> HoldView:
    """Place a hold. From now on nothing goes that it may be about; what it covers is said as it is found."""
    desk = caller.tenant.holds
    caller.tenant.cases.matter(id)
    caller.record([*(asked.messages or ()), *(asked.captures or ())], matter=id, query=asked.query)
    hold, placed = desk.place(caller.actor, id, asked.model_dump())
    return HoldView(**desk.view(hold), seq=placed.seq, too_late=list(placed.too_late))


@router.get("/v1/matters/{id}/holds", openapi_extra=needs(Right.MATTERS, "hold.list"))
def list_holds(id: str, caller: CallerDep) -> HoldList:
    """A matter's holds."""
    desk = caller.tenant.holds
    caller.record(matter=caller.tenant.cases.matter(id).id)
    return HoldList(holds=[HoldView(**desk.view(hold)) for hold in desk.all(id)])


@router.get("/v1/matters/{id}/holds/{hold}", openapi_extra=needs(Right.MATTERS, "hold.view"))
def view(id: str, hold: str, caller: CallerDep) -> HoldView:
    """One hold, and how far it is."""
    desk = caller.tenant.holds
    found = desk.get(id, hold)
    caller.record(matter=id, hold=found.id)
    return HoldView(**desk.view(found))


@router.post("/v1/matters/{id}/holds/{hold}/review", openapi_extra=needs(Right.MATTERS_CHANGE, "hold.review"))
def review(id: str, hold: str, asked: ReviewAsked, caller: CallerDep) -> HoldView:
    """It was looked at, and is kept."""
    desk = caller.tenant.holds
    caller.record(matter=id, hold=desk.get(id, hold).id)
    return HoldView(**desk.view(desk.review(caller.actor, id, hold, asked.review, asked.note)))


@router.post(
    "/v1/matters/{id}/holds/{hold}/release",
    status_code=202,
    openapi_extra=needs(Right.MATTERS_CHANGE, "hold.release"),
)
def release(id: str, hold: str, asked: ReleaseAsked, caller: CallerDep) -> ApprovalView:
    """Ask that it end; another person decides (``/v1/approvals``)."""
    found = caller.tenant.holds.get(id, hold)
    desk = caller.tenant.four_eyes
    made = desk.ask(caller.actor, RELEASE, {"hold": found.id}, asked.reason, caller.once("p"))
    caller.record(matter=id, hold=found.id, approval=made.id, reason=asked.reason)
    return approval_view(desk, made)
