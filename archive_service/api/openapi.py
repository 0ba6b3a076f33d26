"""The OpenAPI description: FastAPI's own, with bearer tokens and problem documents as they really are."""

from typing import Any

from fastapi import FastAPI

from archive_service.api.views import Problem

_PROBLEM = {
    "description": "A problem document (RFC 9457)",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


_SCIM_ERROR = {
    "description": "A SCIM error (RFC 7644 section 3.12)",
    "content": {"application/scim+json": {"schema": {"type": "object"}}},
}


def describe(app: FastAPI) -> dict[str, Any]:
    """The description of every route of ``app``; made when first asked for, for it costs more than a start."""
    description = app.openapi()
    components = description.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):  # our 422 is a problem document
        schemas.pop(unused, None)
    schemas["Problem"] = Problem.model_json_schema()
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    }
    for path, operations in description["paths"].items():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = _SCIM_ERROR if path.startswith("/scim/") else _PROBLEM
    return description
