"""``GET /openapi.json``: the description of this API."""

from typing import Any

from fastapi import APIRouter, Request

from archive_service.api.guard import GuardedRoute, public
from archive_service.api.openapi import describe

router = APIRouter(route_class=GuardedRoute, tags=["description"])


@router.get("/openapi.json", openapi_extra=public("openapi"))
def openapi(request: Request) -> dict[str, Any]:
    """OpenAPI 3.1; each operation names the right it needs as ``x-archive-right``."""
    return describe(request.app)
