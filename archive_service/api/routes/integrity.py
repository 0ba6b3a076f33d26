"""``/v1/integrity``: the logs as any C2SP tool audits them. Nothing here opens a sealed payload."""

import re
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse

from archive_service.access.policy import Right
from archive_service.api.errors import NoSuchThing
from archive_service.api.guard import CallerDep, GuardedRoute, needs

router = APIRouter(route_class=GuardedRoute, tags=["integrity"])

_LOG = re.compile(r"acts|root|(capture|order|access)-[1-9][0-9]{0,5}")
_TILE = re.compile(r"(entries|[0-9]|[1-5][0-9]|6[0-3])/(x[0-9]{3}/){0,6}[0-9]{3}(\.p/[1-9][0-9]{0,2})?")


@router.get("/v1/integrity", openapi_extra=needs(Right.INTEGRITY, "integrity.status", traced=False))
def status(caller: CallerDep) -> dict[str, Any]:
    """Every log with its size, root and checkpoint, the keys, and how far the projections are."""
    positions = asdict(caller.tenant.catalog.position()) | {"acts_log": caller.tenant.acts_position()}
    return {**caller.tenant.integrity.status(), "position": positions}


@router.get(
    "/v1/integrity/logs/{log}/checkpoint",
    openapi_extra=needs(Right.INTEGRITY, "integrity.checkpoint", traced=False),
    response_class=PlainTextResponse,
)
def checkpoint(log: str, caller: CallerDep) -> PlainTextResponse:
    """A log's newest checkpoint: a C2SP signed note."""
    return PlainTextResponse(caller.tenant.integrity.checkpoint(_log_name(log)))


@router.get(
    "/v1/integrity/logs/{log}/tile/{path:path}",
    openapi_extra=needs(Right.INTEGRITY, "integrity.tile", traced=False),
    response_class=Response,
)
def tile(log: str, path: str, caller: CallerDep) -> Response:
    """A tile of a log's tree, or a bundle of its entries, by its C2SP tlog-tiles path."""
    if not _TILE.fullmatch(path):
        raise NoSuchThing
    data = caller.tenant.integrity.tile(_log_name(log), path)
    return Response(data, media_type="application/octet-stream")


def _log_name(text: str) -> str:
    if not _LOG.fullmatch(text):
        raise NoSuchThing
    return text
