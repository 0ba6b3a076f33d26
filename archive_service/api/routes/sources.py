"""``/v1/sources``: the tenant's feeds and their secret addresses."""

from typing import Any

from fastapi import APIRouter

from archive_service.access.policy import Right
from archive_service.api.guard import CallerDep, GuardedRoute, needs
from archive_service.api.views import SourceAsked, SourceList
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
    """A new source. ``seq`` is what a later read gives as ``min_seq`` to see it."""
    # The entry goes first: the answer shows an address that must not get out unrecorded.
    caller.record(kind=asked.kind.value)
    return caller.tenant.sources.add(asked.name, asked.kind)
