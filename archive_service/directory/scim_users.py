"""A person as a SCIM user (RFC 7643 section 4.1 and the enterprise extension, 4.3), and the reverse.

``userName`` is what SCIM calls the person (origin ``scim``), ``externalId`` stands under ``scim_external``. E-mail
addresses are those of today; the primary one has the type ``work``. ``active`` false means that the person has left: he
stays, so that the mail of the past is found. Raises Invalid (``scim.invalidValue``).
"""

from typing import Any

from archive_service.directory.incoming import GivenAddress, Incoming
from archive_service.directory.scim_patch import named
from archive_service.model.custodians import AddressKind, Custodian, address_key, is_smtp
from archive_service.model.errors import Invalid

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
ORIGIN, EXTERNAL, EMPLOYEE = "scim", "scim_external", "employee"


def user_of(custodian: Custodian, today: str, version: int | None, base: str) -> dict[str, Any]:
    """The resource. ``base``: the URL of SCIM here."""
    emails = [
        {
            "value": held.address,
            "type": "work" if held.kind is AddressKind.PRIMARY else "other",
            "primary": held.kind is AddressKind.PRIMARY,
        }
        for held in custodian.addresses
        if held.kind is not AddressKind.OTHER and held.on(today) and held.until != today
    ]
    name = {"givenName": custodian.given, "familyName": custodian.family, "formatted": custodian.name}
    enterprise = {
        "employeeNumber": custodian.external.get(EMPLOYEE),
        "department": custodian.department,
        "organization": custodian.entity,
    }
    resource = {
        "schemas": [USER, ENTERPRISE],
        "id": custodian.id,
        "externalId": custodian.external.get(EXTERNAL),
        "userName": custodian.external.get(ORIGIN),
        "name": _present(name),
        "displayName": custodian.name,
        "active": custodian.left is None or custodian.left > today,
        "emails": emails,
        ENTERPRISE: _present(enterprise),
        "meta": {
            "resourceType": "User",
            "location": f"{base}/Users/{custodian.id}",
            "version": f'W/"{version}"',
        },
    }
    return _present(resource)


def incoming_of(resource: dict[str, Any], today: str, stored: Custodian | None = None) -> Incoming:
    """What a user resource says of a person. All of it: what is not there is empty."""
    user = _text(resource, "userName")
    if not user:
        raise Invalid("a user has a userName", code="scim.invalidValue")
    name = named(resource, "name") or {}
    enterprise = named(resource, ENTERPRISE) or {}
    if not isinstance(name, dict) or not isinstance(enterprise, dict):
        raise Invalid("name and extension are objects", code="scim.invalidValue")
    given, family = _text(name, "givenName"), _text(name, "familyName")
    whole = " ".join(part for part in (given, family) if part)
    shown = _text(resource, "displayName") or _text(name, "formatted") or whole or user
    external = {ORIGIN: user.casefold()}
    external |= {EXTERNAL: found} if (found := _text(resource, "externalId")) else {}
    external |= {EMPLOYEE: found} if (found := _text(enterprise, "employeeNumber")) else {}
    return Incoming(
        place=1,
        external=external,
        name=shown,
        given=given,
        family=family,
        addresses=_addresses(named(resource, "emails"), user),
        department=_text(enterprise, "department"),
        entity=_text(enterprise, "organization"),
        left=_left(named(resource, "active"), today, stored),
    )


def truth(value: Any) -> bool:
    """A boolean, or a text that says one, as Entra ID writes it."""
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise Invalid("active is true or false", code="scim.invalidValue")
    return value


def _left(active: Any, today: str, stored: Custodian | None) -> str:
    if active is None or truth(active):
        return ""
    last = today if stored is None or stored.left is None else stored.left
    joined = stored.joined if stored is not None else None
    return max(last, joined or last)


def _addresses(emails: Any, user: str) -> tuple[GivenAddress, ...]:
    """A user without e-mail address is reached at his name, where that is one."""
    if emails is None or emails == []:
        key = address_key(user)
        return (GivenAddress(key, AddressKind.PRIMARY),) if is_smtp(key) else ()
    if not isinstance(emails, list):
        emails = [emails]
    found: dict[str, bool] = {}
    for each in emails:
        value = named(each, "value") if isinstance(each, dict) else each
        if not isinstance(value, str) or not is_smtp(address_key(value)):
            raise Invalid("emails hold mail addresses", code="scim.invalidValue")
        primary = isinstance(each, dict) and truth(named(each, "primary") or False)
        work = isinstance(each, dict) and str(named(each, "type")).lower() == "work"
        key = address_key(value)
        found[key] = found.get(key, False) or primary or (work and len(emails) == 1)
    if not any(found.values()):
        found[next(iter(found))] = True
    return tuple(
        GivenAddress(key, AddressKind.PRIMARY if primary else AddressKind.ALIAS)
        for key, primary in found.items()
    )


def _text(holder: dict[str, Any], name: str) -> str:
    value = named(holder, name)
    if value is None:
        return ""
    if isinstance(value, bool | dict | list):
        raise Invalid(f"{name} is text", code="scim.invalidValue")
    return str(value).strip()


def _present(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in (None, {}, "")}
