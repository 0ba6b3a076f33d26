"""``/health`` and ``/metrics``: for whoever keeps the service running; nothing of any tenant."""

from fastapi import APIRouter, Request, Response

from archive_service.api.guard import GuardedRoute, ServicesDep, public
from archive_service.api.metrics import CONTENT_TYPE, RequestCounter
from archive_service.api.problems import RETRY_AFTER, problem

router = APIRouter(route_class=GuardedRoute, tags=["health"])


@router.get("/health/live", openapi_extra=public("health.live"))
def live() -> dict[str, str]:
    """The process answers."""
    return {"status": "live"}


@router.get("/health/ready", openapi_extra=public("health.ready"), response_model=dict[str, str])
def ready(request: Request, services: ServicesDep) -> dict[str, str] | Response:
    """Whether requests can be served; if not, 503 with the codes of what is wrong."""
    problems = services.ready()
    if not problems:
        return {"status": "ready"}
    return problem(
        503,
        "not_ready",
        "the service cannot answer yet",
        request.state.request_id,
        headers={"Retry-After": RETRY_AFTER},
        problems=problems,
    )


@router.get("/metrics", openapi_extra=public("metrics"), response_class=Response)
def metrics(request: Request) -> Response:
    """Counters in the Prometheus text format."""
    counter: RequestCounter = request.app.state.counter
    return Response(counter.text(), headers={"Content-Type": CONTENT_TYPE})
