"""The door of every route: token, right, and the rule that no answer leaves without its access entry.

A route says what it needs with ``openapi_extra=needs(...)``, so its right also stands in the OpenAPI
description. A route that says nothing stops the app from starting. The door opens before the body is
parsed: a caller without a right learns nothing from how his request was malformed.
"""

import re
from collections.abc import Callable, Coroutine, Sequence
from typing import Annotated, Any, cast

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from archive_service.access.events import AccessEvent, Actor
from archive_service.access.policy import RULES, Right, permit
from archive_service.api.errors import Unavailable, UntracedAnswer
from archive_service.api.services import ApiServices, TenantServices
from archive_service.model.errors import ArchiveError, Denied

_RIGHT, _ACTION, _TRACED = "x-archive-right", "x-archive-action", "x-archive-traced"

_WELL_FORMED = re.compile(r"[A-Za-z0-9_-]{1,128}")


def needs(right: Right, action: str, *, traced: bool = True) -> dict[str, Any]:
    """What a route declares: the right, the action its access entries name, and whether its answers are
    withheld without such an entry (only those that show nothing of any mail may do without)."""
    declared = {_RIGHT: right.value, _ACTION: action, _TRACED: traced}
    return declared if RULES[right].public else declared | {"security": [{"bearer": []}]}


def public(action: str) -> dict[str, Any]:
    """What a route declares that anyone may call."""
    return needs(Right.PUBLIC, action, traced=False)


def well_formed(identifier: str) -> bool:
    """Whether it can be an id at all; what cannot is not looked up."""
    return _WELL_FORMED.fullmatch(identifier) is not None


class Caller:
    """The actor of one request, his tenant, and the pen that writes the access entry."""

    def __init__(self, actor: Actor, tenant: TenantServices, action: str, request: Request) -> None:
        self.actor = actor
        self.tenant = tenant
        self.recorded = False
        self._action = action
        self._origin = request.client.host if request.client else None
        self._request_id: str = request.state.request_id

    def record(
        self,
        ids: Sequence[str] = (),
        *,
        outcome: str = "shown",
        purpose: str | None = None,
        matter: str | None = None,
        **detail: Any,
    ) -> None:
        """Durable on return; call it before the answer is handed over. Raises Unavailable
        (``access_log.unavailable``): then nothing may be shown."""
        event = AccessEvent(
            actor=self.actor.subject,
            role=self.actor.role.value,
            action=self._action,
            outcome=outcome,
            ids=tuple(ids),
            purpose=purpose,
            matter=matter,
            origin=self._origin,
            request=self._request_id,
            detail={name: value for name, value in detail.items() if value is not None},
        )
        try:
            self.tenant.access_log.record(event)
        except (ArchiveError, OSError) as error:
            raise Unavailable("the access log cannot be written", code="access_log.unavailable") from error
        self.recorded = True


class GuardedRoute(APIRoute):
    """A route behind the door. Raises ValueError at start when it declares no right."""

    @property
    def right(self) -> Right:
        """The declared right."""
        return Right(self._declared(_RIGHT))

    @property
    def traced(self) -> bool:
        """Whether answers are withheld without an access entry."""
        return bool(self._declared(_TRACED))

    @property
    def action(self) -> str:
        """What access entries call it."""
        return str(self._declared(_ACTION))

    def _declared(self, name: str) -> Any:
        if not self.openapi_extra or name not in self.openapi_extra:
            raise ValueError(f"route {self.path} does not declare {name}")
        return self.openapi_extra[name]

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's own handler behind the door."""
        right, traced, action = self.right, self.traced, self.action
        handle = super().get_route_handler()
        if right is Right.PUBLIC:
            return handle

        async def guarded(request: Request) -> Response:
            caller = await run_in_threadpool(_admit, request, right, action, self.path_format)
            request.state.caller = caller
            response = await handle(request)
            if traced and response.status_code < 400 and not caller.recorded:
                raise UntracedAnswer("an answer without an access entry was withheld")
            return response

        return guarded


def services_of(request: Request) -> ApiServices:
    """What the app was created with."""
    return cast(ApiServices, request.app.state.services)


def caller_of(request: Request) -> Caller:
    """The caller that the door let in."""
    return cast(Caller, request.state.caller)


CallerDep = Annotated[Caller, Depends(caller_of)]
ServicesDep = Annotated[ApiServices, Depends(services_of)]


def _admit(request: Request, right: Right, action: str, route: str) -> Caller:
    """Raises Denied; a refusal of somebody we know is recorded before he hears of it."""
    services = services_of(request)
    actor = services.verifier.verify(_bearer(request))
    tenant = services.tenants(actor.tenant)
    if tenant is None:
        raise Denied("the token is not valid", code="auth.required")
    caller = Caller(actor, tenant, action, request)
    try:
        permit(actor, right)
    except Denied:
        asked = str(request.path_params.get("id", ""))
        ids = [asked] if well_formed(asked) else []
        caller.record(ids, outcome="refused", route=f"{request.method} {route}")
        raise
    return caller


def _bearer(request: Request) -> str:
    """RFC 6750 section 2.1; the scheme is case-insensitive (RFC 9110 section 11.1)."""
    given = request.headers.getlist("authorization")
    scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not token.strip():
        raise Denied("a bearer token is needed", code="auth.required")
    return token.strip()
