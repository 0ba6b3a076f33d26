"""``/v1/recertifications``: rights looked at again, as they are to be once a year; what is to go is then revoked."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from archive_service.access.policy import Right
from archive_service.access.recertifying import MOST
from archive_service.api.guard import CallerDep, GuardedRoute, needs
from archive_service.api.views import Asked, Words
from archive_service.ledger.recertifications import Recertification

router = APIRouter(route_class=GuardedRoute, tags=["grants"])

Rights = Annotated[list[Words], Field(max_length=MOST)]


class RecertificationAsked(Asked):
    """Ids of grants and service accounts in force: still meant, or to be withdrawn; and what was looked at."""

    confirmed: Rights = Field(default_factory=list)
    withdraw: Rights = Field(default_factory=list)
    note: Words


class RecertificationView(BaseModel):
    """Who looked at which rights, when, and what he said of them. ``seq``: of its act."""

    id: str
    confirmed: list[str]
    withdraw: list[str]
    note: str
    by: str
    at: str
    seq: int


class RecertificationList(BaseModel):
    """Newest first."""

    recertifications: list[RecertificationView]
    next: str | None = None


@router.post(
    "/v1/recertifications", status_code=201, openapi_extra=needs(Right.GRANTS_CHANGE, "grant.recertify")
)
def recertify(asked: RecertificationAsked, caller: CallerDep) -> RecertificationView:
    """Say of rights that they are still meant, or are to be withdrawn; nobody confirms his own. It withdraws none."""
    caller.wants(confirmed=asked.confirmed, withdraw=asked.withdraw)
    made = caller.tenant.recertifying.recertify(caller.actor, asked.confirmed, asked.withdraw, asked.note)
    caller.record(recertification=made.id, confirmed=list(made.confirmed), withdraw=list(made.withdraw))
    return _view(made)


@router.get("/v1/recertifications", openapi_extra=needs(Right.GRANTS, "grant.recertifications"))
def list_recertifications(caller: CallerDep) -> RecertificationList:
    """Every one ever made."""
    found = caller.tenant.recertifying.all()
    caller.record(recertifications=len(found))
    return RecertificationList(recertifications=[_view(each) for each in reversed(found)])


def _view(made: Recertification) -> RecertificationView:
    return RecertificationView(
        id=made.id,
        confirmed=list(made.confirmed),
        withdraw=list(made.withdraw),
        note=made.note,
        by=made.by,
        at=made.at,
        seq=made.position,
    )
