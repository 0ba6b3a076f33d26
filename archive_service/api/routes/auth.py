"""``/v1/auth``: signing in and out with a browser. Nobody needs a token here; each sign-in, each that failed after a
browser had truly begun one, and each sign-out is an entry of the tenant's access log."""

import threading
import time
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel

from archive_service.access.browser import Browser, Cookie, NoRole
from archive_service.access.identified import not_valid
from archive_service.access.sign_in import Begun
from archive_service.api import credentials, pen
from archive_service.api.errors import NoSuchThing
from archive_service.api.guard import GuardedRoute, ServicesDep, public
from archive_service.api.services import ApiServices, TenantServices
from archive_service.model.clock import rfc3339
from archive_service.model.errors import ArchiveError, Denied

router = APIRouter(route_class=GuardedRoute, tags=["auth"])

_MOST_A_MINUTE = 120


class Me(BaseModel):
    """Who the caller is. ``ends``: seconds since 1970, for a session; ``csrf_header`` goes with every change that a
    session asks for."""

    subject: str
    tenant: str
    roles: list[str]
    ends: float | None
    csrf_header: str = credentials.CSRF


class SignedOut(BaseModel):
    """``provider``: where a browser ends its session with the provider too."""

    provider: str | None


class _Failures:
    """Entries for sign-ins that failed: so many a minute each by itself, the rest as a count in the next. A stranger
    can begin and break off sign-ins as he likes, and must not fill the log."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._minute, self._written, self._left_out = 0.0, 0, 0

    def room(self) -> int | None:
        """How many were left out before this one; None when this one is left out too."""
        with self._lock:
            now = time.monotonic()
            if now >= self._minute + 60:
                self._minute, self._written = now, 0
            if self._written >= _MOST_A_MINUTE:
                self._left_out += 1
                return None
            self._written += 1
            left_out, self._left_out = self._left_out, 0
            return left_out


_failures = _Failures()


@router.get("/v1/auth/login", openapi_extra=public("auth.login"), status_code=302)
def login(
    services: ServicesDep,
    provider: Annotated[str | None, Query(max_length=64)] = None,
    return_to: Annotated[str, Query(max_length=500)] = "/",
) -> Response:
    """Send a browser to the identity provider. ``return_to``: a path of ours to come back to."""
    url, kept = _browser(services).begin(provider, return_to)
    answer = RedirectResponse(url, 302)
    _set(answer, _browser(services), kept)
    return answer


@router.get("/v1/auth/callback", openapi_extra=public("auth.sign_in"), status_code=303)
def callback(request: Request, services: ServicesDep) -> Response:
    """Where the provider sends the browser back to."""
    browser = _browser(services)
    came = dict(request.query_params)
    if len(came) != len(request.query_params.multi_items()):
        raise Denied("signing in did not succeed; begin again", code="auth.sign_in.state")
    owner, begun = browser.begun(request.cookies, came)
    services.sign_ins.take(
        request.client.host if request.client else None
    )  # each is a question to the provider
    tenant = services.tenants(owner)
    if tenant is None:
        raise not_valid()
    try:
        session, cookies = browser.finish(begun, came)
    except ArchiveError as error:
        _record_failure(tenant, request, begun, error)
        raise
    detail = {"provider": begun.provider, "roles": sorted(session.who.roles)}
    pen.write(tenant, request, "auth.sign_in", actor=session.who.subject, detail=detail)
    answer = RedirectResponse(begun.back, 303)
    for cookie in cookies:
        _set(answer, browser, cookie)
    return answer


@router.post("/v1/auth/logout", openapi_extra=public("auth.sign_out"))
def logout(request: Request, services: ServicesDep, response: Response) -> SignedOut:
    """Sign out. A token is not signed out: it ends."""
    browser = _browser(services)
    session = browser.session(request.cookies)
    if session is None:
        raise not_valid()
    credentials.require_own_page(request, browser)
    tenant = services.tenants(session.who.tenant)
    if tenant is None or tenant.authority.signed_out(session.id):
        raise not_valid()
    pen.write(
        tenant, request, "auth.sign_out", actor=session.who.subject, detail={"provider": session.provider}
    )
    ends = rfc3339(datetime.fromtimestamp(session.ends, UTC))
    tenant.authority.sign_out(session.id, session.who.subject, ends)
    cookie, leaving = browser.end(session)
    _set(response, browser, cookie)
    return SignedOut(provider=leaving)


@router.get("/v1/auth/me", openapi_extra=public("auth.me"))
def me(request: Request, services: ServicesDep) -> Me:
    """Who the caller is, by token or session, and which roles ``X-Archive-Role`` may name."""
    who, tenant = credentials.identify(request, services)
    session = None
    if services.browser is not None and "authorization" not in request.headers:
        session = services.browser.session(request.cookies)
    return Me(
        subject=who.subject,
        tenant=tenant.name,
        roles=sorted(who.roles),
        ends=session.ends if session is not None else None,
    )


def _browser(services: ApiServices) -> Browser:
    if services.browser is None:
        raise NoSuchThing
    return services.browser


def _record_failure(tenant: TenantServices, request: Request, begun: Begun, error: ArchiveError) -> None:
    left_out = _failures.room()
    if left_out is not None:
        actor = error.subject if isinstance(error, NoRole) else "unknown"
        detail = {"provider": begun.provider, "reason": error.code, "left_out": left_out or None}
        pen.write(tenant, request, "auth.sign_in", actor=actor, outcome="refused", detail=detail)


def _set(answer: Response, browser: Browser, cookie: Cookie) -> None:
    """Lax: the browser comes back from the provider, which is another site (RFC 6265bis section 5.6.7)."""
    answer.set_cookie(
        cookie.name,
        cookie.value,
        max_age=cookie.seconds,
        path="/",
        secure=browser.secure,
        httponly=True,
        samesite="lax",
    )
