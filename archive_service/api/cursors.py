"""The cursor of a search: the rank of the last hit shown, bound to the query it belongs to."""

import base64
import binascii
import hashlib

from archive_service.api.errors import BadRequest

_RANK = 16  # bytes, signed: seconds of any year that a Date header can hold, times 2**30
_TAG = 8


def _tag(query: str) -> bytes:
    return hashlib.sha256(b"archive-service search cursor\0" + query.encode()).digest()[:_TAG]


def cursor(query: str, rank: int) -> str:
    """Opaque text for "below this rank, in this query"."""
    return base64.urlsafe_b64encode(rank.to_bytes(_RANK, "big", signed=True) + _tag(query)).decode("ascii")


def rank_below(query: str, text: str) -> int:
    """The reverse. Raises BadRequest (``cursor.invalid``) for a cursor of another query, or none of ours."""
    try:
        data = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise _invalid() from error
    if len(data) != _RANK + _TAG or data[_RANK:] != _tag(query):
        raise _invalid()
    return int.from_bytes(data[:_RANK], "big", signed=True)


def _invalid() -> BadRequest:
    return BadRequest("the cursor does not belong to this search", code="cursor.invalid")
