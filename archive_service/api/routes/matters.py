"""``/v1/matters``: cases, and which mail each is about."""

from typing import Annotated

from fastapi import APIRouter, Header, Response
from pydantic import BaseModel, Field

from archive_service.access.policy import Right
from archive_service.api.errors import BadRequest
from archive_service.api.guard import CallerDep, GuardedRoute, needs
from archive_service.api.views import Asked, QueryText, Words
from archive_service.ledger.matters import Matter

router = APIRouter(route_class=GuardedRoute, tags=["matters"])


class MatterAsked(Asked):
    """``query`` and ``custodians`` say which mail it is about; both together, what both hold."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    purpose: Words
    query: QueryText | None = None
    custodians: Annotated[list[Words], Field(min_length=1, max_length=1000)] | None = None


class MatterView(BaseModel):
    """``version`` is the ETag."""

    id: str
    name: str
    purpose: str
    query: str | None
    custodians: list[str]
    changed_by: str
    changed_at: str
    version: int
    closed_at: str | None


class MatterList(BaseModel):
    """In the order they were opened."""

    matters: list[MatterView]
    next: str | None = None


def matter_view(matter: Matter) -> MatterView:
    """A matter as it stands."""
    return MatterView(
        id=matter.id,
        name=matter.name,
        purpose=matter.purpose,
        query=matter.query,
        custodians=list(matter.custodians),
        changed_by=matter.by,
        changed_at=matter.at,
        version=matter.version,
        closed_at=matter.closed,
    )


@router.post("/v1/matters", status_code=201, openapi_extra=needs(Right.MATTERS_CHANGE, "matter.open"))
def open_matter(asked: MatterAsked, caller: CallerDep, response: Response) -> MatterView:
    """A new matter."""
    caller.record(purpose=asked.purpose)
    made = caller.tenant.cases.set_matter(caller.actor.subject, asked.model_dump(exclude_none=True))
    return _tagged(response, made)


@router.get("/v1/matters", openapi_extra=needs(Right.MATTERS, "matter.list"))
def list_matters(caller: CallerDep) -> MatterList:
    """Every matter."""
    found = caller.tenant.cases.matters()
    caller.record(matters=len(found))
    return MatterList(matters=[matter_view(matter) for matter in found])


@router.get("/v1/matters/{id}", openapi_extra=needs(Right.MATTERS, "matter.view"))
def view(id: str, caller: CallerDep, response: Response) -> MatterView:
    """One matter."""
    found = caller.tenant.cases.matter(id)
    caller.record(matter=found.id)
    return _tagged(response, found)


@router.put("/v1/matters/{id}", openapi_extra=needs(Right.MATTERS_CHANGE, "matter.change"))
def change(
    id: str,
    asked: MatterAsked,
    caller: CallerDep,
    response: Response,
    if_match: Annotated[str | None, Header(max_length=64)] = None,
) -> MatterView:
    """All of a matter anew. With ``If-Match`` (RFC 9110 section 13.1.1) only if nobody changed it meanwhile."""
    caller.record(matter=id, purpose=asked.purpose)
    given = asked.model_dump(exclude_none=True)
    return _tagged(
        response, caller.tenant.cases.set_matter(caller.actor.subject, given, id, _version(if_match))
    )


@router.post("/v1/matters/{id}/close", openapi_extra=needs(Right.MATTERS_CHANGE, "matter.close"))
def close(id: str, caller: CallerDep, response: Response) -> MatterView:
    """End a matter; grants for it show nothing any more."""
    caller.record(matter=id)
    return _tagged(response, caller.tenant.cases.close_matter(caller.actor, id))


def _tagged(response: Response, matter: Matter) -> MatterView:
    response.headers["ETag"] = f'"{matter.version}"'
    return matter_view(matter)


def _version(if_match: str | None) -> int | None:
    if if_match is None or if_match == "*":
        return None
    plain = if_match.strip().strip('"')
    if not plain.isdecimal():
        raise BadRequest("If-Match is an ETag of this matter", code="matter.etag")
    return int(plain)
