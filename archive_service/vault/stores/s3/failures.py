"""What an S3 service's refusals mean here: one place that knows its codes.

Codes as in the S3 API's list of error responses; where a HEAD leaves no body, the HTTP status stands for the code.
"""

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    SSLError,
)

from archive_service.model.errors import AlreadyExists, NotFound, StoreDenied, StoreError, StoreFull

_PASSING_STATUS = frozenset({429, 500, 502, 503, 504})
_PASSING_CODES = frozenset(
    {
        "BadDigest",  # the body changed on its way
        "InternalError",
        "RequestTimeout",  # a 400: the body came too slowly
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
        "XAmzContentSHA256Mismatch",
    }
)
# 409s of a race; all others (a name that is a folder of the server, a bucket's state) will not pass.
_RACES = frozenset({"ConditionalRequestConflict", "OperationAborted", "409", ""})
_FULL = frozenset(
    {
        "InsufficientStorage",
        "NoSpaceLeft",
        "NoSuchSpace",
        "QuotaExceeded",
        "XMinioAdminBucketQuotaExceeded",
        "XMinioStorageFull",
    }
)
_ABSENT = frozenset({"NoSuchKey", "NoSuchVersion", "NoSuchObjectLockConfiguration", "404"})


class Passing(StoreError):
    """It may go well next time. ``unknown``: whether this attempt took effect cannot be told; else it did not."""

    def __init__(self, message: str, *, unknown: bool = True) -> None:
        super().__init__(message)
        self.unknown = unknown


class Unsupported(StoreError):
    """The server does not know the call at all."""

    code = "store.unsupported"


class BadRequest(StoreError):
    """The server finds the request wrong: a version id of another form, a term in the past."""

    code = "store.bad_request"


class Forbidden(StoreDenied):
    """AccessDenied: a lock, a policy or missing rights; the server does not say which."""


def code_of(error: ClientError) -> str:
    """The error code of an answer; the status where the answer had no body."""
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: ClientError) -> int:
    """The HTTP status of an answer; 0 if there is none."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def headers_of(answer: Mapping[str, Any]) -> Mapping[str, str]:
    """The headers of an answer, good or bad; names in lower case."""
    found: Mapping[str, str] = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return found


def is_marked(error: ClientError) -> bool:
    """Whether the server says that a delete marker stands where nothing was found."""
    return headers_of(error.response).get("x-amz-delete-marker", "").lower() == "true"


def meaning(error: BotoCoreError | ClientError, subject: str) -> StoreError:
    """The archive's word for a failure. ``subject`` names an object, a record or the bucket; what the server wrote
    in its message is left out: it may hold addresses of machines."""
    if isinstance(error, ClientError):
        return _refusal(code_of(error), status_of(error), subject)
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return StoreDenied(f"{subject}: no credentials for the S3 store")
    if isinstance(error, SSLError):
        return StoreDenied(f"{subject}: the S3 store's certificate is not trusted")
    if isinstance(error, HTTPClientError | IncompleteReadError):
        return Passing(f"{subject}: no answer of the S3 store ({type(error).__name__})")
    return StoreError(f"{subject}: the S3 client failed ({type(error).__name__})")


def _refusal(code: str, status: int, subject: str) -> StoreError:
    said = f"(HTTP {status}, {code})"
    if code == "NoSuchBucket":
        return StoreDenied(f"{subject}: the bucket does not exist", code="bucket.missing")
    if code in _FULL or status == 507:
        return StoreFull(f"{subject}: no space or quota left {said}")
    if 300 <= status < 400:
        words = "the S3 store wants to be asked elsewhere; look at endpoint and region"
        return StoreDenied(f"{subject}: {words} {said}", code="store.elsewhere")
    if status == 404 or code in _ABSENT:
        return NotFound(f"{subject}: not found")
    if status == 405:  # a delete marker asked for by its version id
        return NotFound(f"{subject}: a delete marker, no object")
    if status == 412:
        return AlreadyExists(f"{subject}: the name is taken")
    if status == 409 and code in _RACES:
        return Passing(f"{subject}: another write is under way {said}", unknown=False)
    if status == 501 or code == "NotImplemented":
        return Unsupported(f"{subject}: the S3 store cannot do this {said}")
    if status in _PASSING_STATUS or code in _PASSING_CODES:
        return Passing(f"{subject}: the S3 store is not able now {said}")
    if status in {401, 403} or code in {"ExpiredToken", "InvalidToken"}:
        return _forbidden(code, subject, said)
    if status == 400 and code in {"400", "BadRequest", "InvalidArgument", "InvalidRequest"}:
        return BadRequest(f"{subject}: the S3 store finds the request wrong {said}")
    return StoreError(f"{subject}: refused {said}")


def _forbidden(code: str, subject: str, said: str) -> StoreError:
    if code == "RequestTimeTooSkewed":
        return StoreDenied(f"{subject}: our clock and the S3 store's differ too much {said}")
    if code in {"AccessDenied", "403"}:
        return Forbidden(f"{subject}: the S3 store forbids it {said}")
    return StoreDenied(f"{subject}: the S3 store refuses our credentials {said}")
