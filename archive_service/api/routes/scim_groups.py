"""``/scim/v2/Groups``: groups, and who is in them (RFC 7644)."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from archive_service.access.policy import Right
from archive_service.api.errors import NoSuchThing
from archive_service.api.guard import Caller, CallerDep, needs, well_formed
from archive_service.api.routes.scim_users import Attributes, Count, Excluded, Filter, Start
from archive_service.api.scim_door import ScimResponse, ScimRoute, base_of, listed, narrowed, page_of
from archive_service.directory.scim_groups import fields_of_group, group_of, members_in
from archive_service.directory.scim_patch import patched
from archive_service.directory.scim_paths import Compared, read_filter
from archive_service.directory.scim_users import EXTERNAL, ORIGIN
from archive_service.ledger.custodians import Custodians
from archive_service.model.custodians import Group
from archive_service.model.errors import Invalid

router = APIRouter(route_class=ScimRoute, tags=["scim"], default_response_class=ScimResponse)

_WRITE = Right.CUSTODIANS_CHANGE


@router.get("/scim/v2/Groups", openapi_extra=needs(Right.CUSTODIANS, "group.list"))
def list_groups(
    caller: CallerDep,
    request: Request,
    filter: Filter = None,
    start: Start = 1,
    count: Count = 100,
    attributes: Attributes = None,
    excluded: Excluded = None,
) -> ScimResponse:
    """Groups that SCIM made."""
    directory = caller.tenant.custodians.at_head()
    wanted = read_filter(filter) if filter is not None else []
    ids = [
        group.id
        for group in directory.groups()
        if _is_ours(group) and all(_fits(group, each) for each in wanted)
    ]
    page, first = page_of(ids, start, count)
    bare = "members" in (excluded or "").lower() or bool(attributes and "members" not in attributes.lower())
    shown = [
        narrowed(_resource(caller, request, directory, each, bare=bare), attributes, excluded)
        for each in page
    ]
    caller.record(groups=page)
    return listed(shown, len(ids), first)


@router.post("/scim/v2/Groups", status_code=201, openapi_extra=needs(_WRITE, "group.add"))
def add(resource: dict[str, Any], caller: CallerDep, request: Request) -> ScimResponse:
    """A new group, and its members."""
    people = caller.tenant.custodians
    members = members_in(resource) or []
    directory = people.at_head()
    _require_users(directory, members)
    if any(_is_ours(group) and _same(group, resource) for group in directory.groups()):
        raise Invalid("a group of this displayName exists", code="scim.uniqueness")
    caller.record(custodians=members)
    who = caller.actor.subject
    made, _ = people.changes.put_group(lambda _: fields_of_group(resource, None), by=who, origin=ORIGIN)
    if members:
        people.changes.regroup(made.id, lambda _: members, by=who, origin=ORIGIN)
    shown = _resource(caller, request, people.at_head(), made.id)
    return ScimResponse(shown, status_code=201, headers={"Location": shown["meta"]["location"]})


@router.get("/scim/v2/Groups/{id}", openapi_extra=needs(Right.CUSTODIANS, "group.view"))
def show(
    id: str, caller: CallerDep, request: Request, attributes: Attributes = None, excluded: Excluded = None
) -> ScimResponse:
    """One group."""
    directory = caller.tenant.custodians.at_head()
    shown = narrowed(_resource(caller, request, directory, id), attributes, excluded)
    caller.record(groups=[id])
    return ScimResponse(shown)


@router.put("/scim/v2/Groups/{id}", openapi_extra=needs(_WRITE, "group.set"))
def replace(id: str, resource: dict[str, Any], caller: CallerDep, request: Request) -> ScimResponse:
    """The whole group."""
    return _changed(id, lambda _: resource, caller, request)


@router.patch("/scim/v2/Groups/{id}", openapi_extra=needs(_WRITE, "group.set"))
def change(id: str, body: dict[str, Any], caller: CallerDep, request: Request) -> ScimResponse:
    """The group's name, or single members (RFC 7644 section 3.5.2)."""
    return _changed(id, lambda group: patched(group, body), caller, request)


@router.delete(
    "/scim/v2/Groups/{id}", status_code=204, response_class=Response, openapi_extra=needs(_WRITE, "group.end")
)
def remove(id: str, caller: CallerDep) -> Response:
    """The group ends today; who was in it, and until when, stays known."""
    people = caller.tenant.custodians
    _group(people.at_head(), id)
    caller.record(groups=[id])
    who, today = caller.actor.subject, people.changes.today()
    people.changes.regroup(id, lambda _: [], by=who, origin=ORIGIN)

    def ended(stored: Group | None) -> dict[str, Any]:
        assert stored is not None
        return stored.plain() | {"ended": today}

    people.changes.put_group(ended, by=who, origin=ORIGIN, group=id)
    return Response(status_code=204)


def _changed(id: str, make: Any, caller: Caller, request: Request) -> ScimResponse:
    """Members first, judged by those there are when the act is written; then the name, if it changes."""
    people = caller.tenant.custodians
    directory = people.at_head()
    before = _group(directory, id)
    base, who = base_of(request), caller.actor.subject

    def after(members: Sequence[str]) -> dict[str, Any]:
        resource: dict[str, Any] = make(group_of(before, list(members), 0, base))
        return resource

    made = after(people.changes.members(id))
    fields = fields_of_group(made, before)
    _require_users(directory, members_in(made) or [])
    caller.record(groups=[id])
    people.changes.regroup(id, lambda members: members_in(after(members)) or [], by=who, origin=ORIGIN)
    if any(fields[name] != getattr(before, name) for name in ("name", "external")):
        people.changes.put_group(
            lambda stored: fields_of_group(made, stored), by=who, origin=ORIGIN, group=id
        )
    return ScimResponse(_resource(caller, request, people.at_head(), id))


def _group(directory: Custodians, id: str) -> Group:
    """A group that SCIM knows. Raises NoSuchThing."""
    found = directory.group(id) if well_formed(id) else None
    if found is None or not _is_ours(found):
        raise NoSuchThing
    return found


def _is_ours(group: Group) -> bool:
    return group.ended is None and ORIGIN in group.external


def _same(group: Group, resource: dict[str, Any]) -> bool:
    return bool(group.external[ORIGIN] == fields_of_group(resource, None)["external"][ORIGIN])


def _require_users(directory: Custodians, members: list[str]) -> None:
    """Raises Invalid: a member is somebody whom SCIM has handed in."""
    known = set(directory.by_external(ORIGIN).values())
    if not known.issuperset(members):
        raise Invalid("a member is not the id of a user", code="scim.invalidValue")


def _resource(
    caller: Caller, request: Request, directory: Custodians, id: str, *, bare: bool = False
) -> dict[str, Any]:
    group = _group(directory, id)
    members = None if bare else caller.tenant.custodians.changes.members(id)
    return group_of(group, members, directory.version(id), base_of(request))


def _fits(group: Group, compared: Compared) -> bool:
    value = compared.value
    if not isinstance(value, str):
        raise Invalid("this attribute is compared with text", code="scim.invalidFilter")
    if compared.attribute == "displayname":
        return group.name.casefold() == value.casefold()
    if compared.attribute == "externalid":
        return group.external.get(EXTERNAL) == value
    if compared.attribute == "id":
        return group.id == value
    raise Invalid("groups are found by displayName, externalId or id", code="scim.invalidFilter")
