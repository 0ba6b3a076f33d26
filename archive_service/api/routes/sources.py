"""``/v1/sources``: the tenant's feeds and their secret addresses."""

from typing import Any

from fastapi import APIRouter

from archive_service.access.policy import Right
from archive_service.api.errors import NoSuchThing
from archive_service.api.guard import Caller, CallerDep, GuardedRoute, needs
from archive_service.api.views import GuardAsked, RotationAsked, SourceAsked, SourceList
from archive_service.api.waiting import CaughtUp

router = APIRouter(route_class=GuardedRoute, tags=["sources"])


@router.get("/v1/sources", openapi_extra=needs(Right.SOURCES, "source.list"), dependencies=[CaughtUp])
def list_sources(caller: CallerDep) -> SourceList:
    """Every source, with its secret recipient address."""
    sources = list(caller.tenant.sources.list())
    caller.record(sources=[str(source["id"]) for source in sources])
    return SourceList(sources=sources, next=None)


@router.post("/v1/sources", status_code=201, openapi_extra=needs(Right.SOURCES, "source.add"))
def add(asked: SourceAsked, caller: CallerDep) -> dict[str, Any]:
    """A new source. ``seq`` is what a later read gives as ``min_seq`` to see it. The lock of its mail until it is
    classified, ``intake_days`` and ``lock_mode``, is decided here, once and for all."""
    # The entry goes first: the answer shows an address that must not get out unrecorded.
    caller.record(kind=asked.kind.value, intake_days=asked.intake_days, lock_mode=asked.lock_mode)
    return caller.tenant.sources.add(asked.name, asked.kind, asked.intake())


@router.patch("/v1/sources/{id}", openapi_extra=needs(Right.SOURCES, "source.set"))
def change(id: str, asked: GuardAsked, caller: CallerDep) -> dict[str, Any]:
    """Change what the source asks of who hands mail in: the fields that are given; null asks nothing any more."""
    _require(caller, id)
    fields = asked.given()
    caller.record(source=id, fields=sorted(fields))
    return caller.tenant.sources.set(id, fields)


@router.post(
    "/v1/sources/{id}/rotations", status_code=201, openapi_extra=needs(Right.SOURCES, "source.rotate")
)
def rotate(id: str, asked: RotationAsked, caller: CallerDep) -> dict[str, Any]:
    """A new secret address; the one there was stays good for so long."""
    _require(caller, id)
    caller.record(source=id, overlap_seconds=asked.overlap_seconds)
    return caller.tenant.sources.rotate(id, asked.overlap_seconds)


def _require(caller: Caller, source_id: str) -> None:
    """Raises NoSuchThing."""
    if not any(source["id"] == source_id for source in caller.tenant.sources.list()):
        raise NoSuchThing
