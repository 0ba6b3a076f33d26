"""``/v1/captures``: a capture as it was received."""

from fastapi import APIRouter, Response

from archive_service.access.policy import Right
from archive_service.api import lookups
from archive_service.api.guard import CallerDep, GuardedRoute, needs
from archive_service.api.mail_response import mail_response
from archive_service.api.waiting import CaughtUp

router = APIRouter(route_class=GuardedRoute, tags=["captures"], dependencies=[CaughtUp])


@router.get("/v1/captures/{id}/raw", openapi_extra=needs(Right.READ, "capture.raw"), response_class=Response)
def raw(id: str, caller: CallerDep) -> Response:
    """One SMTP transaction or imported item, byte for byte, whatever wraps the message."""
    row = lookups.capture(caller, id)
    data = caller.tenant.contents.raw(row)
    looks = lookups.looks(caller, [row]).get(row.id, [])
    caller.record([row.finding.message, row.id])
    return mail_response(data, row.id, row.finding.parsed.flags, looks)
