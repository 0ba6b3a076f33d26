"""The door of every route: token, right, and the rule that no answer leaves without its access entry.

A route says what it needs with ``openapi_extra=needs(...)``, so its right also stands in the OpenAPI
description. A route that says nothing stops the app from starting. The door opens before the body is
parsed: a caller without a right learns nothing from how his request was malformed.
"""

import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Annotated, Any, cast

from fastapi import Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from archive_service.access.events import Actor
from archive_service.access.identified import Identified
from archive_service.access.incidents import void
from archive_service.access.policy import CONTENT, RULES, Decision, Right, decide
from archive_service.api import pen
from archive_service.api.credentials import acting, identify, require_signed_in
from archive_service.api.errors import BadRequest, NoSuchThing, TooMany, UntracedAnswer
from archive_service.api.once import made_by
from archive_service.api.problems import code_of, status_of
from archive_service.api.services import ApiServices, IncidentState, TenantServices
from archive_service.catalog.base import CaptureRow
from archive_service.model.clock import rfc3339
from archive_service.model.errors import ArchiveError, Denied
from archive_service.terms.purposes import require_purpose, require_stated
from search.query_language import Node

_RIGHT, _ACTION, _TRACED = "x-archive-right", "x-archive-action", "x-archive-traced"

NOBODY = "0" * 20
"""No owner has this id."""

_LONGEST_SAID = 500  # characters of purpose and matter
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
    """Who makes one request and the actor he is in it, his tenant or compartment, and the pen that writes the access
    entry. ``bound``: what he is shown is what this query finds, and nothing else is counted or told of; None bounds
    nothing."""

    bound: Node | None = None
    now: str = ""  # RFC 3339
    incident = IncidentState()
    wanted: tuple[Sequence[str], Mapping[str, Any]] = ((), {})
    decision: Decision = Decision(False, ())
    hushed: bool = False
    """Whether what he asks for or decides is for few to know: a refusal's entry then says neither it nor why."""

    def __init__(
        self,
        who: Identified,
        actor: Actor,
        tenant: TenantServices,
        right: Right,
        action: str,
        request: Request,
    ) -> None:
        self.actor = actor
        self.right = right
        self.tenant = tenant
        self.recorded = False
        self.action = action
        self.who = who
        self._request = request

    def may(self, right: Right) -> bool:
        """Whether he has another right too, where an answer shows more to whoever has it."""
        return self.decided(right).allowed

    def decided(self, right: Right) -> Decision:
        """Whether he has a right as he acts in this request, and why."""
        return _decided(self, right)

    def require_still(self) -> None:
        """That he would be let in now too, and as far as now: where an answer waited, or is long in leaving. That his
        token's or session's hour is over ends no answer. Raises Denied, NoSuchThing where he is not in a compartment
        any more, ArchiveError."""
        services = services_of(self._request)
        require_signed_in(self.who, services)
        if self.actor.only is not None:
            identify(self._request, services)  # revoked
        self.now = rfc3339(services.clock())
        self.incident = self.tenant.authority.incident()
        if void(self.actor, self.incident.valid_from):
            raise Denied("the token is not valid", code="auth.required")
        self.decision = _decided(self, self.right)
        if not self.decision.allowed:
            raise NoSuchThing if self.tenant.parent is not None else _forbidden()
        self.bound = _bound(self)

    def wants(self, ids: Sequence[str] = (), **detail: Any) -> None:
        """What the request's body asks for, for the entry of its refusal; of a path the door knows it."""
        self.wanted = [each for each in ids if well_formed(each)], detail

    def record(
        self,
        ids: Sequence[str] = (),
        *,
        outcome: str = "shown",
        purpose: str | None = None,
        matter: str | None = None,
        **detail: Any,
    ) -> None:
        """Durable on return; call it before the answer is handed over. What no body says of purpose and matter the
        query parameters of these names do. Raises Unavailable (``access_log.unavailable``) and, where the tenant asks
        for them, Invalid (``purpose.required``) or BadRequest (``matter.required``, ``matter.unknown``): then nothing
        may be shown."""
        if outcome == "shown":
            purpose, matter = self.stated(purpose, matter)
        pen.write(
            self.tenant,
            self._request,
            self.action,
            actor=self.actor.subject,
            role=self.actor.role.value,
            ids=ids,
            outcome=outcome,
            purpose=purpose,
            matter=matter,
            detail=detail | ({"break_glass": True} if self.actor.break_glass else {}),
        )
        self.recorded = True

    def break_off(self, reason: str, export: str) -> None:
        """The entry of an answer that began and is not finished, for what let it begin holds no more."""
        self.record(outcome="refused", reason=reason, export=export, broken_off=True)

    def stated(self, purpose: str | None, matter: str | None) -> tuple[str | None, str | None]:
        """What somebody looks for, as his body or else his query parameters say it; asked for of rights that show mail
        only. Raises Invalid (``purpose.required``), BadRequest (``matter.required``, ``matter.unknown``)."""
        if self.right not in CONTENT:
            return purpose, matter
        said = self._request.query_params
        purpose, matter = purpose or said.get("purpose"), matter or said.get("matter")
        if max(len(purpose or ""), len(matter or "")) > _LONGEST_SAID:
            raise BadRequest("purpose and matter are 500 characters at most")
        required = self.tenant.authority.required
        require_stated(required, purpose)
        if "matter" in required:
            self._require_matter(matter)
        return purpose, matter

    def require_purpose(self, captures: Sequence[CaptureRow] | None, purpose: str | None = None) -> None:
        """Before anything of these captures (None: of what a query finds) is shown; what the body does not say the
        query parameter does. Raises Invalid (``purpose.required``) where a retention class asks for a purpose."""
        said = purpose or self._request.query_params.get("purpose")
        require_purpose(self.tenant.schedules, said, captures)

    def once(self, prefix: str, size: int = 16) -> str:
        """The id of what this request makes; the same when it is repeated with its ``Idempotency-Key``."""
        return made_by(self._request, self.tenant.id, self.actor.subject, prefix, size)

    def _require_matter(self, matter: str | None) -> None:
        if not matter:
            raise BadRequest("name the matter it is for", code="matter.required")
        known = {each.id: each for each in self.tenant.cases.matters()}.get(matter)
        if known is None or known.closed is not None:
            raise BadRequest("no open matter of this id", code="matter.unknown")


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
            try:
                response = await handle(request)
            except (ArchiveError, RequestValidationError, HTTPException) as error:
                if status_of(error) < 500:
                    await run_in_threadpool(_refuse, caller, request, self.path_format, code_of(error))
                raise
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
    who, tenant = identify(request, services)
    _within_rate(services, who, request)
    caller = Caller(who, acting(who, tenant, action, request, route), tenant, right, action, request)
    caller.now = rfc3339(services.clock())
    caller.incident = tenant.authority.incident()
    if void(caller.actor, caller.incident.valid_from):
        _refuse(caller, request, route, "auth.void")
        raise Denied("the token is not valid", code="auth.required")
    wanted = request.query_params.getlist("compartment")
    if wanted:
        caller = _behind_the_wall(caller, wanted, right, request, route)
    else:
        caller.decision = _decided(caller, right)
    if not caller.decision.allowed:
        _refuse(caller, request, route, "auth.forbidden")
        raise _forbidden()
    caller.bound = _bound(caller)
    return caller


def _forbidden() -> Denied:
    return Denied("this role does not have the right", code="auth.forbidden")


def _bound(caller: Caller) -> Node | None:
    within = caller.decision.within
    return None if within is None else caller.tenant.authority.scope(within)


def _behind_the_wall(
    caller: Caller, wanted: Sequence[str], right: Right, request: Request, route: str
) -> Caller:
    """The caller in a compartment of his tenant. Raises NoSuchThing, by the same path whether it is not there,
    another's, or not for him: that he asked stands in his tenant's access log."""
    services = services_of(request)
    found = services.tenants(wanted[0]) if len(wanted) == 1 and well_formed(wanted[0]) else None
    if found is not None and found.parent == caller.tenant.id:
        within = Caller(caller.who, caller.actor, found, right, caller.action, request)
        within.now = caller.now
        within.incident = found.authority.incident()
        within.decision = _decided(within, right)
        if within.decision.allowed and not void(within.actor, within.incident.valid_from):
            return within
        services.tenants(NOBODY)  # as long a look as for an id that is not there
    else:
        # And as many looks at acts: a compartment's and its tenant's, for incident and grants.
        for _ in range(2):
            caller.tenant.authority.incident()
            caller.tenant.authority.grants(caller.actor.subject)
    _refuse(caller, request, route, NoSuchThing.code)
    raise NoSuchThing


def _within_rate(services: ApiServices, who: Identified, request: Request) -> None:
    """Raises TooMany, counted."""
    try:
        services.rates.take(who.tenant, who.subject)
    except TooMany as error:
        origin = request.client.host if request.client else None
        services.strangers.note(who.tenant, error.code, origin, who.subject)
        raise


def _refuse(caller: Caller, request: Request, route: str, reason: str) -> None:
    """Every refusal of somebody we know, before he hears of it. An id that is not for him and one that never was leave
    the same entry."""
    if caller.hushed:
        caller.record(outcome="refused", reason="approval.private")
        return
    asked = str(request.path_params.get("id", ""))
    named, said = caller.wanted
    ids = [*([asked] if well_formed(asked) else []), *named]
    caller.record(ids, outcome="refused", route=f"{request.method} {route}", reason=reason, **said)


def _decided(caller: Caller, right: Right) -> Decision:
    """The acts are asked for grants only where the answer rests on one."""
    authority = caller.tenant.authority
    rule = RULES.get(right)
    glass = caller.actor.break_glass is not None
    always = authority.always or glass
    needed = rule is not None and (always or caller.actor.role in rule.granted)
    given = authority.grants(caller.actor.subject) if needed else ()
    grants = [each for each in given if each.break_glass == glass]  # neither kind lends itself to the other
    return decide(caller.actor, right, grants, now=caller.now, always=always)
