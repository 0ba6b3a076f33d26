"""``Idempotency-Key``: a request that is repeated makes nothing a second time.

What a request makes has an id that follows from who asked, where, and his key. So nothing is kept: whoever asks again,
of any process, meets what he made.
"""

import hashlib
import re
import secrets

from fastapi import Request

from archive_service.api.errors import BadRequest

_KEY = re.compile(r"[\x21-\x7e]{1,128}")


def made_by(request: Request, tenant: str, subject: str, prefix: str, size: int = 16) -> str:
    """The id of what this request makes: ``prefix`` and ``size`` hex digits; random where no key is given. Raises
    BadRequest (``idempotency.key``)."""
    given = request.headers.getlist("idempotency-key")
    if not given:
        return prefix + secrets.token_hex(size // 2)
    if len(given) > 1 or not _KEY.fullmatch(given[0]):
        raise BadRequest("Idempotency-Key is 1 to 128 printable ASCII characters", code="idempotency.key")
    parts = (tenant, subject, request.method, request.url.path, given[0])
    digest = hashlib.sha256(b"archive-service/once/v1\0" + "\0".join(parts).encode()).hexdigest()
    return prefix + digest[:size]
