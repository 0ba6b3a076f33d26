"""``/v1/event-journal``: what happened to the archive and to what it holds, from the logs; each has a certificate."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from archive_service.access.policy import Right
from archive_service.api.errors import NoSuchThing
from archive_service.api.guard import CallerDep, GuardedRoute, needs, well_formed
from archive_service.api.paper_response import Format, signed_response
from archive_service.api.views import PageSize, Words
from archive_service.event_journal.events import Kind
from archive_service.export.event_certificate_pdf import event_certificate_pdf

router = APIRouter(route_class=GuardedRoute, tags=["event journal"])

Moment = Words | None


class WhoLooked(BaseModel):
    """Of an access: who, and the messages and captures that he was shown."""

    actor: str
    ids: list[str]


class EventView(BaseModel):
    """``log`` and ``seq``: the entry that it is; ``what``: its word there. ``proven``: a signed checkpoint covers the
    entry, and says that it is this one. ``who``: for those who may read the access log too, else null."""

    id: str
    kind: Kind
    what: str
    log: str
    seq: int
    time: str
    entry_sha256: str
    proven: bool
    facts: dict[str, Any]
    who: WhoLooked | None


class EventList(BaseModel):
    """Oldest first, as the logs stood at the first page. A page may be short, or empty, while ``next`` is not null."""

    events: list[EventView]
    next: str | None


@router.get("/v1/event-journal", openapi_extra=needs(Right.EVENT_JOURNAL, "event_journal.read"))
def read(
    caller: CallerDep,
    begins: Annotated[Moment, Query(alias="from")] = None,
    ends: Annotated[Moment, Query(alias="to")] = None,
    kind: Annotated[list[Kind] | None, Query()] = None,
    limit: Annotated[PageSize, Query()] = 50,
    cursor: Annotated[str | None, Query(max_length=32_000)] = None,
) -> EventList:
    """What happened to the archive from ``from`` on and before ``to``."""
    found = caller.tenant.journal.page(
        limit,
        cursor,
        kinds=kind or (),
        begins=begins,
        ends=ends,
        in_clear=caller.may(Right.ACCESS_LOG),
    )
    caller.record(
        events=len(found["events"]),
        begins=begins,
        ends=ends,
        kinds=[str(each) for each in kind or ()],
        page="first" if cursor is None else "later",
    )
    return EventList(**found)


@router.get(
    "/v1/event-journal/{id}/certificate",
    openapi_extra=needs(Right.EVENT_JOURNAL, "event_journal.certificate"),
    response_class=Response,
)
def certificate(id: str, caller: CallerDep, format: Annotated[Format, Query()] = "json") -> Response:
    """What the log says of one event, without a person: signed, and in JSON with its proofs."""
    if not well_formed(id):
        raise NoSuchThing
    found = caller.tenant.journal.certificate(id)
    caller.record(event=id, format=format)
    return signed_response(found, format, event_certificate_pdf, id)
