"""``/v1/messages``: a message, its bytes, its proof."""

from typing import Any

from fastapi import APIRouter, Response

from archive_service.access.policy import Right
from archive_service.api import lookups
from archive_service.api.guard import CallerDep, GuardedRoute, needs
from archive_service.api.mail_response import mail_response
from archive_service.api.views import MessageView, message_view
from archive_service.api.waiting import CaughtUp

router = APIRouter(route_class=GuardedRoute, tags=["messages"], dependencies=[CaughtUp])


@router.get(
    "/v1/messages/{id}",
    openapi_extra=needs(Right.READ, "message.view"),
    response_model_exclude_unset=True,  # leaves out what no report says of a recipient
)
def view(id: str, caller: CallerDep) -> MessageView:
    """What is known of a message."""
    row = lookups.message(caller, id)
    caller.tenant.contents.check(row)
    looks = lookups.looks(caller, row.captures)
    retention = caller.tenant.schedules.of(row.captures)
    caller.record([row.id])
    return message_view(row, looks, retention, lookups.holds(caller, row.captures))


@router.get("/v1/messages/{id}/raw", openapi_extra=needs(Right.READ, "message.raw"), response_class=Response)
def raw(id: str, caller: CallerDep) -> Response:
    """The inner message, byte for byte, of its first visible capture."""
    row = lookups.message(caller, id)
    capture = row.captures[0]
    parsed = capture.finding.parsed
    inner = caller.tenant.contents.raw(capture)[parsed.inner_start : parsed.inner_end]
    looks = [look for seen in lookups.looks(caller, row.captures).values() for look in seen]
    caller.record([row.id, capture.id])
    return mail_response(inner, row.id, parsed.flags, looks)


@router.get("/v1/messages/{id}/proof", openapi_extra=needs(Right.READ, "message.proof"))
def proof(id: str, caller: CallerDep) -> dict[str, Any]:
    """Entries, inclusion proofs, checkpoints and timestamps of a message's captures."""
    row = lookups.message(caller, id)
    document = caller.tenant.proofs.proof(row)
    caller.record([row.id])
    return document
