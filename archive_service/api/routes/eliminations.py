"""``/v1/eliminations``: lists of public archives that are to go, and the visa that each needs (Code du patrimoine,
articles L212-2 and R212-14)."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from archive_service.access.policy import Right
from archive_service.api.errors import NoSuchThing
from archive_service.api.guard import CallerDep, GuardedRoute, needs, well_formed
from archive_service.api.routes.dispositions import PreviewAsked
from archive_service.api.routes.orders import DocumentGiven
from archive_service.api.views import Asked, Words

router = APIRouter(route_class=GuardedRoute, tags=["retention"])


class VisaGiven(Asked):
    """``sha256``: the digest of the list, as it stands on the visa's own paper; ``dated``: its day."""

    reference: Words
    issuer: Words
    dated: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    document: DocumentGiven | None = None


class VisaView(BaseModel):
    """``document``: the id of its paper; ``sha256``: of the list."""

    reference: str
    issuer: str
    dated: str
    document: str | None
    sha256: str
    by: str
    at: str


class EliminationView(BaseModel):
    """``sha256``: over the sorted ids of its captures, a line feed after each; ``captures``: in one list alone."""

    id: str
    sha256: str
    count: int
    classes: dict[str, int]
    schedule_version: int
    drawn_by: str
    drawn_at: str
    visa: VisaView | None
    captures: list[str] | None = None
    seq: int | None = None


class EliminationList(BaseModel):
    """Newest first."""

    eliminations: list[EliminationView]
    next: str | None = None


@router.post(
    "/v1/eliminations", status_code=201, openapi_extra=needs(Right.DISPOSITIONS_CHANGE, "elimination.draw")
)
def draw(caller: CallerDep, asked: PreviewAsked | None = None) -> EliminationView:
    """Draw up the list of what is past its maximum now; nothing goes by it before it has its visa."""
    given = asked.model_dump(exclude_none=True) if asked is not None else {}
    caller.record(asked_for="elimination.draw")
    return EliminationView(**caller.tenant.eliminations.draw(given, caller.actor.subject))


@router.get("/v1/eliminations", openapi_extra=needs(Right.DISPOSITIONS, "elimination.list"))
def list_eliminations(caller: CallerDep) -> EliminationList:
    """Every list, and its visa."""
    found = list(caller.tenant.eliminations.all())
    caller.record(eliminations=len(found))
    return EliminationList(eliminations=[EliminationView(**each) for each in found])


@router.get("/v1/eliminations/{id}", openapi_extra=needs(Right.DISPOSITIONS, "elimination.view"))
def view(id: str, caller: CallerDep) -> EliminationView:
    """One list, whole."""
    found = caller.tenant.eliminations.get(_id(id))
    caller.record(elimination=id)
    return EliminationView(**found)


@router.post("/v1/eliminations/{id}/visa", openapi_extra=needs(Right.DISPOSITIONS_CHANGE, "elimination.visa"))
def visa(id: str, asked: VisaGiven, caller: CallerDep) -> EliminationView:
    """Record the visa of a list, once. The run by it needs two people all the same."""
    services = caller.tenant
    services.eliminations.get(_id(id))
    caller.record(elimination=id, reference=asked.reference)
    words = asked.model_dump(exclude={"document"})
    if asked.document is not None:
        words["document"] = services.orders.attach(caller.actor, asked.document.model_dump())
    return EliminationView(**services.eliminations.visa(id, words, caller.actor.subject))


def _id(given: str) -> str:
    if not well_formed(given):
        raise NoSuchThing
    return given
