"""The OpenAPI description: FastAPI's own, with bearer tokens, every status that a route may answer, and problem
documents as they really are."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from importlib.resources import files
from typing import Any

from fastapi import FastAPI

from archive_service.api.examples import BODIES
from archive_service.api.views import Problem

_CODES: Mapping[int, str] = {
    400: "request.malformed",
    401: "auth.required",
    403: "auth.forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "request.too_slow",
    409: "conflict",
    410: "gone",
    412: "precondition.failed",
    413: "request.too_large",
    422: "request.invalid",
    428: "precondition.required",
    429: "rate.exceeded",
    500: "internal",
    503: "unavailable",
}
"""Each status of an error, with one of its codes; 5xx are faults of ours, and 503 may be tried again."""

_EVERYWHERE = {400, 405, 408, 413, 422, 500, 503}
_BEHIND_THE_DOOR = {401, 403, 404, 429}
_OF_CHANGES = {409, 412, 428}
_PLAIN = ("/health/live", "/metrics", "/openapi.json")


def error_codes() -> dict[str, Any]:
    """A schema of every stable code; what stands for the end of some (``*``) is a word."""
    lines = (files("archive_service.api") / "error_codes.txt").read_text("utf-8").split()
    open_ended = "|".join(re.escape(each.removesuffix("*")) for each in lines if each.endswith("*"))
    return {
        "description": "Stable; what is said beside it may change.",
        "anyOf": [
            {"type": "string", "enum": [each for each in lines if not each.endswith("*")]},
            {"type": "string", "pattern": f"^({open_ended})[a-z_0-9]+$"},
        ],
    }


def describe(app: FastAPI) -> dict[str, Any]:
    """The description of every route of ``app``; made when first asked for, for it costs more than a start."""
    description = app.openapi()
    components = description.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):  # our 422 is a problem document
        schemas.pop(unused, None)
    schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas["Problem"]["properties"]["code"] = {"$ref": "#/components/schemas/ErrorCode"}
    schemas["ErrorCode"] = error_codes()
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    }
    components["responses"] = {f"Problem{status}": _problem(status) for status in _CODES} | {
        "ScimError": _SCIM_ERROR
    }
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            _describe_errors(path, operation)
            _describe_body(f"{method.upper()} {path}", operation)
    return description


def _describe_errors(path: str, operation: dict[str, Any]) -> None:
    statuses = set(_EVERYWHERE)
    if operation.get("security"):
        statuses |= _BEHIND_THE_DOOR | _OF_CHANGES | {410}
    elif path not in _PLAIN:
        statuses |= {401, 403, 404, 429}
    operation["responses"].pop("422", None)
    for status in sorted(statuses):
        answer = {"$ref": f"#/components/responses/Problem{status}"}
        if path.startswith("/scim/"):
            answer = _both(status) if status in (400, 405, 408, 413, 422) else _SCIM_REFERENCE
        operation["responses"].setdefault(str(status), answer)


def _describe_body(name: str, operation: dict[str, Any]) -> None:
    content = operation.get("requestBody", {}).get("content", {})
    if name in BODIES and content:
        next(iter(content.values()))["example"] = BODIES[name]


def _problem(status: int) -> dict[str, Any]:
    code = _CODES[status]
    example = {
        "type": f"urn:archive-service:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": "for people; programs read the code",
        "code": code,
        "request_id": "4f8c2b1a9d3e4c5f8a7b6c5d4e3f2a1b",
    }
    return {
        "description": f"{HTTPStatus(status).phrase}: a problem document (RFC 9457)",
        "content": {
            "application/problem+json": {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "example": example,
            }
        },
    }


_SCIM_CONTENT = {
    "application/scim+json": {
        "schema": {"type": "object"},
        "example": {
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
            "status": "404",
            "detail": "no such thing",
        },
    }
}
_SCIM_ERROR = {"description": "A SCIM error (RFC 7644 section 3.12)", "content": _SCIM_CONTENT}
_SCIM_REFERENCE = {"$ref": "#/components/responses/ScimError"}


def _both(status: int) -> dict[str, Any]:
    """What the server refuses before SCIM has a say is a problem document."""
    plain = _problem(status)
    return {**plain, "content": {**_SCIM_CONTENT, **plain["content"]}}
