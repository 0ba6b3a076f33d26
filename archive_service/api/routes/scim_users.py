"""``/scim/v2/Users``: people as a provisioning service (Entra ID, Okta) keeps them here (RFC 7644)."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import ValidationError

from archive_service.access.policy import Right
from archive_service.api.errors import NoSuchThing, PreconditionFailed
from archive_service.api.guard import Caller, CallerDep, needs, well_formed
from archive_service.api.scim_door import (
    ScimResponse,
    ScimRoute,
    base_of,
    listed,
    narrowed,
    page_of,
)
from archive_service.directory.incoming import Read
from archive_service.directory.merging import merged
from archive_service.directory.planning import Source, fields_of
from archive_service.directory.scim_patch import patched
from archive_service.directory.scim_paths import Compared, read_filter
from archive_service.directory.scim_users import EXTERNAL, ORIGIN, incoming_of, user_of
from archive_service.ledger.custodians import Custodians
from archive_service.model.custodians import Custodian, address_key
from archive_service.model.errors import Invalid, Refused

router = APIRouter(route_class=ScimRoute, tags=["scim"], default_response_class=ScimResponse)

Start = Annotated[int, Query(alias="startIndex", ge=-(2**31), lt=2**31)]
Count = Annotated[int, Query(ge=-(2**31), lt=2**31)]
Attributes = Annotated[str | None, Query(max_length=2000)]
Excluded = Annotated[str | None, Query(alias="excludedAttributes", max_length=2000)]
Filter = Annotated[str | None, Query(max_length=2000)]
_WRITE = Right.CUSTODIANS_CHANGE


@router.get("/scim/v2/Users", openapi_extra=needs(Right.CUSTODIANS, "custodian.list"))
def list_users(
    caller: CallerDep,
    request: Request,
    filter: Filter = None,
    start: Start = 1,
    count: Count = 100,
    attributes: Attributes = None,
    excluded: Excluded = None,
) -> ScimResponse:
    """Users, those who are no longer active too."""
    directory = caller.tenant.custodians.at_head()
    known = directory.by_external(ORIGIN)
    ids = list(known.values()) if filter is None else _found(directory, read_filter(filter))
    page, first = page_of(ids, start, count)
    shown = [narrowed(_resource(caller, request, directory, each), attributes, excluded) for each in page]
    caller.record(custodians=page)
    return listed(shown, len(ids), first)


@router.post("/scim/v2/Users", status_code=201, openapi_extra=needs(_WRITE, "custodian.add"))
def add(resource: dict[str, Any], caller: CallerDep, request: Request) -> ScimResponse:
    """A new user: a person whom the directory knows by the address already, or one who is new to it."""
    people = caller.tenant.custodians
    given = incoming_of(resource, people.changes.today())
    if given.external[ORIGIN] in people.at_head().by_external(ORIGIN):
        raise Refused("a user of this userName exists", code="scim.uniqueness")
    caller.record()
    report = people.changes.take_in(Read([given]), Source(ORIGIN), by=caller.actor.subject, strict=True)
    for trouble in report.troubles:
        raise Invalid(trouble.detail, code=trouble.code)
    directory = people.at_head()
    made = _resource(caller, request, directory, directory.by_external(ORIGIN)[given.external[ORIGIN]])
    return ScimResponse(made, status_code=201, headers={"Location": made["meta"]["location"]})


@router.get("/scim/v2/Users/{id}", openapi_extra=needs(Right.CUSTODIANS, "custodian.view"))
def show(
    id: str, caller: CallerDep, request: Request, attributes: Attributes = None, excluded: Excluded = None
) -> ScimResponse:
    """One user."""
    directory = caller.tenant.custodians.at_head()
    shown = narrowed(_resource(caller, request, directory, id), attributes, excluded)
    caller.record(custodians=[id])
    return ScimResponse(shown)


@router.put("/scim/v2/Users/{id}", openapi_extra=needs(_WRITE, "custodian.set"))
def replace(id: str, resource: dict[str, Any], caller: CallerDep, request: Request) -> ScimResponse:
    """The whole user. Addresses that are no longer named end today, and stay for the days before."""
    return _changed(id, lambda _: resource, caller, request)


@router.patch("/scim/v2/Users/{id}", openapi_extra=needs(_WRITE, "custodian.set"))
def change(id: str, body: dict[str, Any], caller: CallerDep, request: Request) -> ScimResponse:
    """Single attributes of the user (RFC 7644 section 3.5.2)."""
    return _changed(id, lambda user: patched(user, body), caller, request)


@router.delete(
    "/scim/v2/Users/{id}",
    status_code=204,
    response_class=Response,
    openapi_extra=needs(_WRITE, "custodian.leave"),
)
def remove(id: str, caller: CallerDep) -> Response:
    """The user is gone from SCIM; the person has left, and stays in the directory."""
    people = caller.tenant.custodians
    _user(people.at_head(), id)
    caller.record(custodians=[id])
    today = people.changes.today()

    def left(stored: Custodian | None) -> dict[str, Any]:
        assert stored is not None
        external = {name: key for name, key in stored.external.items() if name not in (ORIGIN, EXTERNAL)}
        last = stored.left or max(today, stored.joined or today)
        return stored.plain() | {"external": external, "left": last}

    people.changes.put(left, by=caller.actor.subject, origin=ORIGIN, custodian=id)
    return Response(status_code=204)


def _changed(id: str, make: Any, caller: Caller, request: Request) -> ScimResponse:
    people = caller.tenant.custodians
    _user(people.at_head(), id)
    caller.record(custodians=[id])
    today, base = people.changes.today(), base_of(request)

    def record(stored: Custodian | None) -> dict[str, Any]:
        if stored is None or ORIGIN not in stored.external:
            raise NoSuchThing
        given = incoming_of(make(user_of(stored, today, 0, base)), today, stored)
        try:
            return merged(stored, id, given, None, today).plain()
        except ValidationError as error:
            raise Invalid(f"a user cannot be so: {fields_of(error)}", code="custodian.invalid") from None

    version = _matched(request)
    try:
        people.changes.put(record, by=caller.actor.subject, origin=ORIGIN, custodian=id, version=version)
    except Refused as error:
        if error.code == "custodian.changed":
            raise PreconditionFailed(str(error), code=error.code) from error
        raise
    return ScimResponse(_resource(caller, request, people.at_head(), id))


def _matched(request: Request) -> int | None:
    """``If-Match`` with the ``meta.version`` that was read; without it any (RFC 7644 section 3.14). Raises
    PreconditionFailed."""
    given = request.headers.get("if-match", "*").strip()
    if given == "*":
        return None
    number = given.removeprefix("W/").strip('"')
    if not number.isascii() or not number.isdecimal() or len(number) > 15:
        raise PreconditionFailed("that is no version of this user", code="custodian.changed")
    return int(number)


def _user(directory: Custodians, id: str) -> Custodian:
    """A person whom SCIM knows. Raises NoSuchThing."""
    found = directory.get(id) if well_formed(id) else None
    if found is None or ORIGIN not in found.external:
        raise NoSuchThing
    return found


def _resource(caller: Caller, request: Request, directory: Custodians, id: str) -> dict[str, Any]:
    today = caller.tenant.custodians.changes.today()
    return user_of(_user(directory, id), today, directory.version(id), base_of(request))


def _found(directory: Custodians, wanted: list[Compared]) -> list[str]:
    """The users whom every comparison fits. Raises Invalid (``scim.invalidFilter``)."""
    ids: list[str] | None = None
    for compared in wanted:
        if not isinstance(compared.value, str):
            raise Invalid("this attribute is compared with text", code="scim.invalidFilter")
        fitting = _fitting(directory, compared.attribute, compared.value)
        ids = fitting if ids is None else [each for each in ids if each in fitting]
    known = directory.by_external(ORIGIN)
    users = set(known.values()) if ids else set()
    return [each for each in ids or [] if each in users]


def _fitting(directory: Custodians, attribute: str, value: str) -> list[str]:
    if attribute in ("username", "externalid"):
        origin, key = (ORIGIN, value.casefold()) if attribute == "username" else (EXTERNAL, value)
        found = directory.by_external(origin).get(key)
        return [] if found is None else [found]
    if attribute == "id":
        return [value] if directory.get(value) is not None else []
    if attribute in ("emails", "emails.value"):
        return [holder.id for holder in directory.holders(address_key(value))]
    if attribute == "displayname":
        return [each.id for each in directory.named(address_key(value))]
    raise Invalid(
        "users are found by userName, externalId, id, emails or displayName", code="scim.invalidFilter"
    )
