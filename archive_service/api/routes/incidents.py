"""``/v1/incidents``: a suspected breach; what it stops, and who saw what."""

from typing import Annotated, Any

from fastapi import APIRouter, Body
from pydantic import BaseModel

from archive_service.access.policy import Right
from archive_service.api.guard import CallerDep, GuardedRoute, needs
from archive_service.api.routes.approvals import ApprovalView, approval_view
from archive_service.api.views import Asked, Words
from archive_service.ledger.incidents import Incident

router = APIRouter(route_class=GuardedRoute, tags=["incidents"])


class IncidentAsked(Asked):
    """``since``: from when on looks are suspect (RFC 3339); now when not given."""

    reason: Words
    since: Words | None = None


class CloseAsked(Asked):
    """Why."""

    reason: Words


class IncidentView(BaseModel):
    """While it is open nothing is exported and no key destroyed; tokens issued before ``opened_at`` stay void."""

    id: str
    reason: str
    opened_by: str
    opened_at: str
    since: str
    closed_at: str | None


class IncidentList(BaseModel):
    """In the order they were opened."""

    incidents: list[IncidentView]
    next: str | None = None


def incident_view(incident: Incident) -> IncidentView:
    """An incident as it stands."""
    return IncidentView(
        id=incident.id,
        reason=incident.reason,
        opened_by=incident.by,
        opened_at=incident.at,
        since=incident.since,
        closed_at=incident.closed,
    )


@router.post("/v1/incidents", status_code=201, openapi_extra=needs(Right.INCIDENTS, "incident.open"))
def open_incident(asked: IncidentAsked, caller: CallerDep) -> IncidentView:
    """Freeze exports and the destruction of keys, and revoke every token that was issued before; yours too."""
    made = caller.tenant.incidents.open(caller.actor, asked.reason, asked.since)
    caller.record(incident=made.id, reason=asked.reason)
    return incident_view(made)


@router.get("/v1/incidents", openapi_extra=needs(Right.INCIDENTS, "incident.list"))
def list_incidents(caller: CallerDep) -> IncidentList:
    """Every incident."""
    found = caller.tenant.incidents.all()
    caller.record(incidents=len(found))
    return IncidentList(incidents=[incident_view(each) for each in found])


@router.get("/v1/incidents/{id}/report", openapi_extra=needs(Right.INCIDENTS, "incident.report"))
def report(id: str, caller: CallerDep) -> dict[str, Any]:
    """Who looked at what since it began: by person, and in all how many records of how many people."""
    made = caller.tenant.incidents.report(id)
    caller.record(incident=id, records=made["records"], people=made["people"])
    return made


@router.post(
    "/v1/incidents/{id}/close", status_code=202, openapi_extra=needs(Right.INCIDENTS, "incident.close")
)
def close(id: str, asked: Annotated[CloseAsked, Body()], caller: CallerDep) -> ApprovalView:
    """Ask that it be closed; another person approves it (``/v1/approvals``)."""
    desk = caller.tenant.four_eyes
    made = desk.ask(caller.actor, "incident.close", {"incident": id}, asked.reason, caller.once("p"))
    caller.record(approval=made.id, incident=id)
    return approval_view(desk, made)
