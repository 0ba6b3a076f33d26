"""The HTTP API as one ASGI app."""

from fastapi import FastAPI

from archive_service.api import problems
from archive_service.api.metrics import RequestCounter
from archive_service.api.middleware import BodyLimit, Envelope
from archive_service.api.routes import (
    access_log,
    accounts,
    approvals,
    auth,
    break_glass,
    captures,
    compartments,
    custodians,
    description,
    dispositions,
    eliminations,
    erasures,
    event_journal,
    exports,
    grants,
    health,
    holds,
    incidents,
    integrity,
    jobs,
    matters,
    messages,
    notices,
    orders,
    recertifications,
    reviews,
    schedules,
    scim_description,
    scim_groups,
    scim_users,
    search,
    sources,
    yearly_pack,
)
from archive_service.api.services import ApiServices


def create_app(services: ApiServices) -> FastAPI:
    """The whole API over ``services``; holds no state but its counters, so any number of processes may
    run it side by side."""
    app = FastAPI(
        title="archive-service",
        version="1",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # The framework's telemetry would carry exception texts and inputs to wherever its environment says.
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
        },
    )
    app.state.services = services
    app.state.counter = RequestCounter()
    problems.install(app)
    app.add_middleware(BodyLimit, seconds=services.patience)
    app.add_middleware(Envelope)  # added last: outermost

    app.include_router(search.router)
    app.include_router(messages.router)
    app.include_router(captures.router)
    app.include_router(exports.router)
    app.include_router(access_log.router)
    app.include_router(event_journal.router)
    app.include_router(yearly_pack.router)
    app.include_router(recertifications.router)
    app.include_router(integrity.router)
    app.include_router(sources.router)
    app.include_router(accounts.router)
    app.include_router(auth.router)
    app.include_router(break_glass.router)
    app.include_router(custodians.router)
    app.include_router(scim_users.router)
    app.include_router(scim_groups.router)
    app.include_router(scim_description.router)
    app.include_router(approvals.router)
    app.include_router(grants.router)
    app.include_router(matters.router)
    app.include_router(holds.router)
    app.include_router(erasures.router)
    app.include_router(schedules.router)
    app.include_router(reviews.router)
    app.include_router(dispositions.router)
    app.include_router(eliminations.router)
    app.include_router(notices.router)
    app.include_router(orders.router)
    app.include_router(compartments.router)
    app.include_router(incidents.router)
    app.include_router(jobs.router)
    app.include_router(health.router)
    app.include_router(description.router)
    return app
