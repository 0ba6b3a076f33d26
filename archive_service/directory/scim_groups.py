"""A group as a SCIM group (RFC 7643 section 4.2), and the reverse. Its members are the people who are in it today."""

from typing import Any

from archive_service.directory.scim_patch import named
from archive_service.directory.scim_users import EXTERNAL, ORIGIN
from archive_service.model.custodians import Group, address_key, is_smtp
from archive_service.model.errors import Invalid

GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"


def group_of(group: Group, members: list[str] | None, version: int | None, base: str) -> dict[str, Any]:
    """The resource; without ``members`` where they are not asked for."""
    resource = {
        "schemas": [GROUP],
        "id": group.id,
        "externalId": group.external.get(EXTERNAL),
        "displayName": group.name,
        "members": None
        if members is None
        else [{"value": each, "type": "User", "$ref": f"{base}/Users/{each}"} for each in members],
        "meta": {
            "resourceType": "Group",
            "location": f"{base}/Groups/{group.id}",
            "version": f'W/"{version}"',
        },
    }
    return {name: value for name, value in resource.items() if value is not None}


def fields_of_group(resource: dict[str, Any], stored: Group | None) -> dict[str, Any]:
    """The record's fields without its id. A group that is called by a mail address has it. Raises Invalid
    (``scim.invalidValue``)."""
    name = named(resource, "displayName")
    if not isinstance(name, str) or not name.strip():
        raise Invalid("a group has a displayName", code="scim.invalidValue")
    key = address_key(name)
    external = {**(stored.external if stored else {}), ORIGIN: key}
    if isinstance(given := named(resource, "externalId"), str) and given:
        external[EXTERNAL] = given
    address = key if is_smtp(key) else stored.address if stored else None
    return {"name": name.strip(), "external": external} | ({"address": address} if address else {})


def members_in(resource: dict[str, Any]) -> list[str] | None:
    """Ids of the members that the resource names, each once; None where it says nothing of them. Raises Invalid
    (``scim.invalidValue``)."""
    given = named(resource, "members")
    if given is None:
        return None
    found = [named(each, "value") if isinstance(each, dict) else None for each in _list(given)]
    if not all(isinstance(each, str) for each in found):
        raise Invalid("a member has a value, the id of a user", code="scim.invalidValue")
    return list(dict.fromkeys(map(str, found)))


def _list(given: Any) -> list[Any]:
    return given if isinstance(given, list) else [given]
