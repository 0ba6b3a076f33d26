"""Errors as problem documents (RFC 9457): the one place where a code meets an HTTP status."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from archive_service.api.errors import (
    BadRequest,
    Conflict,
    Gone,
    NoSuchThing,
    PreconditionFailed,
    PreconditionRequired,
    TooMany,
    Unavailable,
)
from archive_service.model.errors import (
    ArchiveError,
    Denied,
    Invalid,
    KeyUnavailable,
    NotFound,
    Overloaded,
    QueryError,
    Refused,
    SlotLost,
    StoreError,
    Tampered,
)

_log = logging.getLogger(__name__)

RETRY_AFTER = "2"  # seconds

_STATUS: tuple[tuple[type[ArchiveError], int], ...] = (  # the first match counts: subclasses stand first
    (NotFound, 404),
    (Denied, 403),
    (QueryError, 422),
    (Invalid, 422),
    (BadRequest, 422),
    (Conflict, 409),
    (Refused, 409),
    (Gone, 410),
    (TooMany, 429),
    (PreconditionFailed, 412),
    (PreconditionRequired, 428),
    (KeyUnavailable, 410),
    (Tampered, 500),
    (Unavailable, 503),
    (Overloaded, 503),
    (SlotLost, 503),
    (StoreError, 503),
)

_HTTP_CODES = {
    400: "request.malformed",
    404: "not_found",
    405: "method_not_allowed",
    413: "request.too_large",
}

_MOST_ERRORS = 20


class ProblemResponse(JSONResponse):
    """RFC 9457 section 3."""

    media_type = "application/problem+json"


def problem(
    status: int,
    code: str,
    detail: str,
    request_id: str,
    *,
    headers: Mapping[str, str] | None = None,
    **members: Any,
) -> ProblemResponse:
    """A problem document; ``members`` are extension members (RFC 9457 section 3.2)."""
    document = {
        "type": f"urn:archive-service:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        **members,
        "request_id": request_id,
    }
    return ProblemResponse(document, status_code=status, headers=dict(headers) if headers else None)


def status_of(error: Exception) -> int:
    """The HTTP status of an error; 500 for what no caller can cause or cure."""
    if isinstance(error, HTTPException):
        return error.status_code
    if isinstance(error, RequestValidationError):
        return 422
    if isinstance(error, ArchiveError) and error.code == "auth.required":
        return 401
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def code_of(error: Exception) -> str:
    """The stable code that an error is answered with."""
    if isinstance(error, HTTPException):
        return _HTTP_CODES.get(error.status_code, f"http.{error.status_code}")
    if isinstance(error, RequestValidationError):
        return "request.invalid"
    if isinstance(error, NotFound):
        return NoSuchThing.code
    return error.code if isinstance(error, ArchiveError) else "internal"


def install(app: FastAPI) -> None:
    """Make every error of the app a problem document."""
    app.add_exception_handler(ArchiveError, _archive_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)


def unexpected(request_id: str) -> ProblemResponse:
    """What a caller learns of a fault that nobody foresaw."""
    return problem(500, "internal", "an internal fault; the request id finds it in our log", request_id)


def challenge(token_given: bool) -> dict[str, str]:
    """RFC 6750 section 3: no error code unless a token was given."""
    error = ', error="invalid_token"' if token_given else ""
    return {"WWW-Authenticate": f'Bearer realm="archive-service"{error}'}


async def _archive_error(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, ArchiveError)
    status = status_of(error)
    request_id = request.state.request_id
    if status >= 500:
        level = logging.CRITICAL if isinstance(error, Tampered) else logging.ERROR
        _log.log(level, "request %s failed: %s", request_id, error.code)
    if isinstance(error, Tampered):
        request.app.state.services.damaged(error.code)
    headers: dict[str, str] = {}
    if status == 401:
        headers = challenge("authorization" in request.headers)
    elif isinstance(error, TooMany):
        headers = {"Retry-After": str(error.seconds)}
    elif status == 503:
        headers = {"Retry-After": RETRY_AFTER}
    members = {"position": error.position} if isinstance(error, QueryError) else {}
    return problem(status, code_of(error), str(error), request_id, headers=headers, **members)


async def _validation_error(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, RequestValidationError)
    errors = [_field_error(each) for each in error.errors()[:_MOST_ERRORS]]
    detail = "the request does not have the form this route takes"
    return problem(422, "request.invalid", detail, request.state.request_id, errors=errors)


async def _http_error(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, HTTPException)
    status = error.status_code
    phrase = HTTPStatus(status).phrase.lower()
    return problem(status, code_of(error), phrase, request.state.request_id, headers=error.headers)


def _field_error(error: Mapping[str, Any]) -> dict[str, str]:
    """Where and what kind, never the value: RFC 9457 section 3 calls the where a ``pointer`` (RFC 6901)."""
    where, *path = error["loc"]
    kind = str(error["type"])
    return {"in": str(where), "pointer": _pointer([] if kind == "json_invalid" else path), "code": kind}


def _pointer(path: Sequence[str | int]) -> str:
    """A name may come from the caller (an unknown field): escaped, bounded, and always encodable."""
    steps = (str(step).replace("~", "~0").replace("/", "~1")[:64] for step in path)
    return "#" + "".join(f"/{step}" for step in steps).encode("utf-8", "replace").decode("utf-8")
