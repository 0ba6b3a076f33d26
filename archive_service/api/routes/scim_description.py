"""``/scim/v2/ServiceProviderConfig``, ``ResourceTypes``, ``Schemas``: what SCIM can do here (RFC 7643, 5 to 7)."""

from typing import Any

from fastapi import APIRouter, Request

from archive_service.access.policy import Right
from archive_service.api.errors import NoSuchThing
from archive_service.api.guard import needs
from archive_service.api.scim_door import MOST, ScimResponse, ScimRoute, base_of, listed
from archive_service.directory.scim_groups import GROUP
from archive_service.directory.scim_users import ENTERPRISE, USER

router = APIRouter(route_class=ScimRoute, tags=["scim"], default_response_class=ScimResponse)

_NEEDED = needs(Right.CUSTODIANS, "scim.describe", traced=False)
_SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:"


@router.get("/scim/v2/ServiceProviderConfig", openapi_extra=_NEEDED)
def config(request: Request) -> ScimResponse:
    """What is supported."""
    no: dict[str, Any] = {"supported": False}
    return ScimResponse(
        {
            "schemas": [_SCHEMA + "ServiceProviderConfig"],
            "patch": {"supported": True},
            "bulk": no | {"maxOperations": 0, "maxPayloadSize": 0},
            "filter": {"supported": True, "maxResults": MOST},
            "changePassword": no,
            "sort": no,
            "etag": {"supported": True},
            "authenticationSchemes": [
                {
                    "type": "oauthbearertoken",
                    "name": "Bearer token",
                    "description": "A token of the archive, of an administrator or a service account",
                    "primary": True,
                }
            ],
            "meta": {
                "resourceType": "ServiceProviderConfig",
                "location": f"{base_of(request)}/ServiceProviderConfig",
            },
        }
    )


@router.get("/scim/v2/ResourceTypes", openapi_extra=_NEEDED)
def resource_types(request: Request) -> ScimResponse:
    """Users and groups."""
    made = [_type(request, name) for name in ("User", "Group")]
    return listed(made, len(made), 1)


@router.get("/scim/v2/ResourceTypes/{id}", openapi_extra=_NEEDED)
def resource_type(id: str, request: Request) -> ScimResponse:
    """One of them."""
    if id not in ("User", "Group"):
        raise NoSuchThing
    return ScimResponse(_type(request, id))


@router.get("/scim/v2/Schemas", openapi_extra=_NEEDED)
def schemas(request: Request) -> ScimResponse:
    """Every schema."""
    made = [_schema(request, name) for name in _ATTRIBUTES]
    return listed(made, len(made), 1)


@router.get("/scim/v2/Schemas/{id}", openapi_extra=_NEEDED)
def schema(id: str, request: Request) -> ScimResponse:
    """One of them, by its URN."""
    if id not in _ATTRIBUTES:
        raise NoSuchThing
    return ScimResponse(_schema(request, id))


def _type(request: Request, name: str) -> dict[str, Any]:
    made = {
        "schemas": [_SCHEMA + "ResourceType"],
        "id": name,
        "name": name,
        "endpoint": f"/{name}s",
        "schema": _SCHEMA + name,
        "meta": {"resourceType": "ResourceType", "location": f"{base_of(request)}/ResourceTypes/{name}"},
    }
    extension = {"schemaExtensions": [{"schema": ENTERPRISE, "required": False}]}
    return made | (extension if name == "User" else {})


def _attribute(name: str, kind: str = "string", **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "type": kind,
        "multiValued": False,
        "description": "",
        "required": False,
        "caseExact": False,
        "mutability": "readWrite",
        "returned": "default",
        "uniqueness": "none",
    } | more


def _complex(name: str, *parts: dict[str, Any], many: bool = False) -> dict[str, Any]:
    return _attribute(name, "complex", subAttributes=list(parts), multiValued=many)


_ATTRIBUTES: dict[str, list[dict[str, Any]]] = {
    USER: [
        _attribute("userName", required=True, uniqueness="server"),
        _complex("name", *(_attribute(name) for name in ("formatted", "familyName", "givenName"))),
        _attribute("displayName"),
        _attribute("active", "boolean"),
        _complex(
            "emails", _attribute("value"), _attribute("type"), _attribute("primary", "boolean"), many=True
        ),
    ],
    ENTERPRISE: [_attribute(name) for name in ("employeeNumber", "department", "organization")],
    GROUP: [
        _attribute("displayName", required=True),
        _complex(
            "members",
            _attribute("value", mutability="immutable"),
            _attribute("$ref", "reference", referenceTypes=["User"], mutability="immutable"),
            _attribute("type", mutability="immutable"),
            many=True,
        ),
    ],
}


def _schema(request: Request, name: str) -> dict[str, Any]:
    return {
        "schemas": [_SCHEMA + "Schema"],
        "id": name,
        "name": name.rpartition(":")[2] if name != ENTERPRISE else "EnterpriseUser",
        "attributes": _ATTRIBUTES[name],
        "meta": {"resourceType": "Schema", "location": f"{base_of(request)}/Schemas/{name}"},
    }
