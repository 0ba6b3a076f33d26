"""``/v1/yearly-pack``: rights, holds, disposals, integrity and quantities of a year, signed."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from archive_service.access.policy import Right
from archive_service.api.guard import CallerDep, GuardedRoute, needs
from archive_service.api.paper_response import Format, signed_response
from archive_service.export.yearly_pack_pdf import yearly_pack_pdf

router = APIRouter(route_class=GuardedRoute, tags=["event journal"])


@router.get(
    "/v1/yearly-pack", openapi_extra=needs(Right.YEARLY_PACK, "yearly_pack.make"), response_class=Response
)
def make(
    caller: CallerDep,
    year: Annotated[int, Query(ge=1970, le=9999)],
    format: Annotated[Format, Query()] = "json",
) -> Response:
    """What is put before whoever answers for the archive once a year. It reads every capture's entry and row."""
    found = caller.tenant.yearly_pack.make(year)
    caller.record(year=year, format=format)
    return signed_response(found, format, yearly_pack_pdf, f"yearly-pack-{year}")
