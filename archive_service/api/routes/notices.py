"""``/v1/matters/{id}/holds/{hold}/notices``: who of a hold's custodians was told, and who has said that he knows; and
``/v1/acknowledgements``, where a custodian says so."""

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field

from archive_service.access.policy import Right
from archive_service.api.errors import NoSuchThing
from archive_service.api.guard import NOBODY, CallerDep, GuardedRoute, ServicesDep, needs, public
from archive_service.api.views import Asked, Words
from archive_service.model.errors import NotFound
from archive_service.notices.links import parts
from retention.notices import MOST_DAYS, MOST_SUBJECT, MOST_TEXT

router = APIRouter(route_class=GuardedRoute, tags=["holds"])

_PAGE = (
    '<!doctype html><meta charset="utf-8"><meta name="robots" content="noindex"><title>Acknowledge</title>'
    '<form method="post"><button>I have read this notice</button></form>'
)
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class NoticesAsked(Asked):
    """``to``: custodians by id, address or name; none: those of the hold. ``{name}``, ``{hold}`` and ``{claim}`` stand
    for what they say. Who has not acknowledged is reminded every ``remind_days``; after ``escalate_days`` whoever
    answers for the hold is told, at ``escalate_to``."""

    to: Annotated[list[Words], Field(min_length=1, max_length=1000)] | None = None
    subject: Annotated[str, Field(min_length=1, max_length=MOST_SUBJECT, pattern=r"^[^\x00-\x1f\x7f]+$")]
    text: Annotated[str, Field(min_length=1, max_length=MOST_TEXT)]
    remind_days: Annotated[int, Field(ge=1, le=MOST_DAYS)] = 7
    escalate_days: Annotated[int, Field(ge=1, le=MOST_DAYS)] = 14
    escalate_to: Annotated[str, Field(min_length=3, max_length=320)]


class ByHand(Asked):
    """Why somebody else may say so for him."""

    custodian: Words
    reason: Words


class MailView(BaseModel):
    """``kind``: notice, reminder, escalation, release. ``state``: sent (by the mail server's word), failed, or unknown:
    it may have been handed over, and is not sent again."""

    kind: str
    at: str
    state: str
    code: str | None


class NotifiedView(BaseModel):
    """``acknowledged_by``: who said so for him; None: he did, by the link in the mail."""

    custodian: str
    acknowledged_at: str | None
    acknowledged_by: str | None
    reason: str | None
    mails: list[MailView]


class NoticesView(BaseModel):
    """What is sent, and how far it is with each."""

    hold: str
    subject: str | None
    text: str | None
    remind_days: int | None
    escalate_days: int | None
    escalate_to: str | None
    people: list[NotifiedView]
    seq: int | None = None


class Acknowledged(BaseModel):
    """No more than that."""

    state: str = "acknowledged"


_PATH = "/v1/matters/{id}/holds/{hold}/notices"


@router.post(_PATH, status_code=202, openapi_extra=needs(Right.MATTERS_CHANGE, "notice.open"))
def open_notices(id: str, hold: str, asked: NoticesAsked, caller: CallerDep) -> NoticesView:
    """Have the custodians told by mail; the scheduler sends it. Nobody is told of a silent hold."""
    found = caller.tenant.holds.get(id, hold)
    caller.record(matter=id, hold=found.id)
    return _view(caller.tenant.notices.open(caller.actor, found, asked.model_dump()))


@router.get(_PATH, openapi_extra=needs(Right.MATTERS, "notice.list"))
def list_notices(id: str, hold: str, caller: CallerDep) -> NoticesView:
    """What was sent to whom, and who knows."""
    found = caller.tenant.holds.get(id, hold)
    caller.record(matter=id, hold=found.id)
    return _view(caller.tenant.notices.view(found))


@router.post(f"{_PATH}/acknowledge", openapi_extra=needs(Right.MATTERS_CHANGE, "notice.by_hand"))
def by_hand(id: str, hold: str, asked: ByHand, caller: CallerDep) -> NoticesView:
    """Say for a custodian that he knows, and why."""
    found = caller.tenant.holds.get(id, hold)
    caller.record(matter=id, hold=found.id, reason=asked.reason)
    return _view(caller.tenant.notices.by_hand(caller.actor, found, asked.custodian, asked.reason))


@router.get("/v1/acknowledgements/{link}", openapi_extra=public("notice.page"), response_class=HTMLResponse)
def page(link: str) -> Response:
    """A button, the same for every link: what follows links in mails by itself acknowledges nothing."""
    return HTMLResponse(_PAGE, headers=_HEADERS)


@router.post("/v1/acknowledgements/{link}", openapi_extra=public("notice.acknowledge"))
def acknowledge(link: str, request: Request, services: ServicesDep) -> Acknowledged:
    """The custodian whose link it is knows. Once is enough; again changes nothing. Bounded by where it comes from;
    links that are none are summed in the access log."""
    origin = request.client.host if request.client else None
    services.origins.take(origin)
    found = parts(link)
    tenant = None if found is None else services.tenants(found[0])
    if found is None or tenant is None:
        raise NoSuchThing
    try:
        tenant.notices.by_link(found[1], found[2])
    except NotFound as error:
        services.strangers.note(tenant.id, error.code, origin)
        services.tenants(NOBODY)  # as long a look as for an owner that is not there
        raise NoSuchThing from error  # whoever has no token is not told which owners there are
    return Acknowledged()


def _view(found: dict[str, Any]) -> NoticesView:
    return NoticesView(**found)
