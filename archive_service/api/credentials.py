"""Whose request it is: by its bearer token, and in which role."""

from fastapi import Request

from archive_service.access.events import Actor
from archive_service.access.identified import Identified, not_valid
from archive_service.api import pen
from archive_service.api.services import ApiServices, TenantServices
from archive_service.model.errors import Denied


def identify(request: Request, services: ApiServices) -> tuple[Identified, TenantServices]:
    """Who asks, and his tenant. Raises Denied (``auth.required``), Overloaded, ArchiveError."""
    who = services.bearers.identify(_bearer(request))
    tenant = services.tenants(who.tenant)
    if tenant is None:
        raise not_valid()
    return who, tenant


def acting(who: Identified, tenant: TenantServices, action: str, request: Request, route: str) -> Actor:
    """Who he is in this request; the header ``X-Archive-Role`` chooses among several roles. Raises Denied, recorded,
    when no role of his is said by it."""
    given = request.headers.getlist("x-archive-role")
    try:
        return who.acting(",".join(given).strip() if given else None)
    except Denied as error:
        said = {"route": f"{request.method} {route}", "reason": error.code}
        pen.write(tenant, request, action, actor=who.subject, outcome="refused", detail=said)
        raise


def _bearer(request: Request) -> str:
    """RFC 6750 section 2.1; the scheme is case-insensitive (RFC 9110 section 11.1)."""
    given = request.headers.getlist("authorization")
    scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not token.strip():
        raise Denied("a bearer token is needed", code="auth.required")
    return token.strip()
