"""Whose request it is, by its bearer token or its browser's session, and in which role.

A session comes by itself with whatever a browser is made to ask, so a request by session must be of our own pages
(``require_own_page``). One with an Authorization header is by token alone.
"""

from fastapi import Request

from archive_service.access.browser import Browser
from archive_service.access.events import Actor, RoleName
from archive_service.access.identified import Identified, not_valid
from archive_service.api import pen
from archive_service.api.services import ApiServices, TenantServices
from archive_service.model.clock import rfc3339
from archive_service.model.errors import Denied

CSRF = "X-Archive-CSRF"
"""A header that no form and no other site's page can send with our cookie."""
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})  # RFC 9110 section 9.2.1


def identify(request: Request, services: ApiServices) -> tuple[Identified, TenantServices]:
    """Who asks, and his tenant. Raises Denied (``auth.required``, ``auth.cross_site``), counted for the tenant that it
    was meant for, Overloaded, ArchiveError."""
    who = _of_session(request, services) or _of_token(request, services)
    return who, require_signed_in(who, services)


def require_signed_in(who: Identified, services: ApiServices) -> TenantServices:
    """His tenant; that his session, where it was one, was not signed out, whether or not it is over by itself. Raises
    Denied, ArchiveError."""
    tenant = services.tenants(who.tenant)
    if tenant is None or (who.session is not None and tenant.authority.signed_out(who.session)):
        raise not_valid()
    return tenant


def acting(who: Identified, tenant: TenantServices, action: str, request: Request, route: str) -> Actor:
    """Who he is in this request; the header ``X-Archive-Role`` chooses among several roles. Raises Denied, recorded,
    when no role of his is said by it."""
    given = request.headers.getlist("x-archive-role")
    wanted = ",".join(given).strip() if given else None
    try:
        return _by_break_glass(who, tenant, wanted, request) or who.acting(wanted)
    except Denied as error:
        said = {"route": f"{request.method} {route}", "reason": error.code}
        pen.write(tenant, request, action, actor=who.subject, outcome="refused", detail=said)
        raise


def _by_break_glass(
    who: Identified, tenant: TenantServices, wanted: str | None, request: Request
) -> Actor | None:
    """In a role that he does not hold, or that needs a grant which he has not, by an open break-glass grant of it."""
    held = wanted in {role.value for role in who.roles}
    if wanted is None or who.only is not None or (held and not tenant.authority.always):
        return None
    now = rfc3339(request.app.state.services.clock())
    grants = tenant.authority.grants(who.subject)
    if held and any(each.role == wanted and each.open(now) and not each.break_glass for each in grants):
        return None
    for grant in grants:
        if grant.break_glass and grant.role == wanted and grant.open(now):
            return Actor(
                who.subject, RoleName(wanted), who.tenant, issued_at=who.issued_at, break_glass=grant.id
            )
    return None


def require_own_page(request: Request, browser: Browser) -> None:
    """That a request by session comes from a page of ours, or was typed by its person. What another site's page makes a
    browser ask is refused: a change, for it is not meant, and a look, for it would stand in the person's name in the
    access log. Raises Denied (``auth.cross_site``)."""
    headers = request.headers
    foreign = headers.get("sec-fetch-site", "none") not in ("same-origin", "none")
    if request.method not in _SAFE:
        origin = headers.get("origin", browser.origin)
        foreign = foreign or origin.lower() != browser.origin or CSRF.lower() not in headers
    if foreign:
        raise Denied(f"not asked by a page of ours; changes need the header {CSRF}", code="auth.cross_site")


def _of_session(request: Request, services: ApiServices) -> Identified | None:
    browser = services.browser
    if browser is None or "authorization" in request.headers:
        return None
    session = browser.session(request.cookies)
    if session is None:
        return None
    try:
        require_own_page(request, browser)
    except Denied as error:
        services.strangers.note(session.who.tenant, error.code, _origin(request), session.who.subject)
        raise
    return session.who


def _of_token(request: Request, services: ApiServices) -> Identified:
    token = _bearer(request)
    try:
        return services.bearers.identify(token)
    except Denied as error:
        tenant = services.bearers.named(token)
        if tenant is not None and services.tenants(tenant) is not None:
            services.strangers.note(tenant, error.code, _origin(request))
        raise


def _origin(request: Request) -> str | None:
    return request.client.host if request.client else None


def _bearer(request: Request) -> str:
    """RFC 6750 section 2.1; the scheme is case-insensitive (RFC 9110 section 11.1)."""
    given = request.headers.getlist("authorization")
    scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not token.strip():
        raise Denied("a bearer token is needed", code="auth.required")
    return token.strip()
