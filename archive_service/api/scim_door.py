"""What the SCIM routes share: their door, their answers and errors (RFC 7644 sections 3.12 and 8.1)."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from archive_service.api.guard import GuardedRoute
from archive_service.api.problems import RETRY_AFTER, challenge, status_of
from archive_service.model.errors import ArchiveError

ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
MOST = 1000  # resources a page
_TAKEN = ("custodian.address_taken", "custodian.external_taken", "address.conflict", "scim.uniqueness")


class ScimResponse(JSONResponse):
    """A resource or a message."""

    media_type = "application/scim+json"


class ScimRoute(GuardedRoute):
    """A route behind the door whose errors are SCIM's."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The guarded handler; what it raises on purpose becomes a SCIM error."""
        handle = super().get_route_handler()

        async def answering(request: Request) -> Response:
            try:
                return await handle(request)
            except ArchiveError as error:
                return _error(request, error)
            except RequestValidationError:
                return _not_scim()
            except HTTPException as error:  # a body that is no text at all
                if error.status_code != 400:
                    raise
                return _not_scim()

        return answering


def _not_scim() -> ScimResponse:
    return error_answer(400, "the request does not have the form that SCIM gives it", "invalidSyntax")


def error_answer(
    status: int, detail: str, kind: str | None = None, headers: dict[str, str] | None = None
) -> ScimResponse:
    """A SCIM error; ``kind`` is its ``scimType``."""
    body = {"schemas": [ERROR], "status": str(status), "detail": detail}
    return ScimResponse(body | ({"scimType": kind} if kind else {}), status_code=status, headers=headers)


def _error(request: Request, error: ArchiveError) -> ScimResponse:
    if error.code in _TAKEN:
        return error_answer(409, str(error), "uniqueness")
    if error.code.startswith("scim."):
        return error_answer(400, str(error), error.code.removeprefix("scim."))
    status = status_of(error)
    if error.code in ("custodian.invalid", "group.invalid", "row.invalid"):
        return error_answer(400, str(error), "invalidValue")
    headers = {}
    if status == 401:
        headers = challenge("authorization" in request.headers)
    elif status == 503:
        headers = {"Retry-After": RETRY_AFTER}
    return error_answer(status, str(error), headers=headers)


def base_of(request: Request) -> str:
    """The URL of SCIM as the caller reached it."""
    return f"{str(request.base_url).rstrip('/')}/scim/v2"


def listed(resources: list[dict[str, Any]], total: int, start: int) -> ScimResponse:
    """A page (RFC 7644 section 3.4.2.4)."""
    return ScimResponse(
        {
            "schemas": [LIST],
            "totalResults": total,
            "startIndex": start,
            "itemsPerPage": len(resources),
            "Resources": resources,
        }
    )


def page_of(ids: list[str], start: int, count: int) -> tuple[list[str], int]:
    """The ids of a page and where it begins: below 1 means 1, a negative count none."""
    first = max(1, start)
    return ids[first - 1 : first - 1 + min(max(0, count), MOST)], first


def narrowed(resource: dict[str, Any], attributes: str | None, excluded: str | None) -> dict[str, Any]:
    """With the top-level attributes that are asked for (section 3.9); ``schemas``, ``id`` always stay."""
    always = {"schemas", "id"}
    if attributes:
        wanted = always | {_top(each) for each in attributes.split(",")}
        return {name: value for name, value in resource.items() if name.lower() in wanted}
    left_out = {_top(each) for each in (excluded or "").split(",")} - always
    return {name: value for name, value in resource.items() if name.lower() not in left_out}


def _top(name: str) -> str:
    text = name.strip().lower()
    return text if text.startswith("urn:") else text.partition(".")[0]
