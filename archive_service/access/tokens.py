"""Bearer tokens of the built-in issuer: JWTs (RFC 7519) signed with ES256, and nothing else.

python-jose makes and checks the signature; the claims are checked here. Its own claim checks let a
missing ``exp`` or ``aud`` pass, take numbers written as text, and read the system's clock. Its header
parser runs before the signature is known, so what reaches it is bounded and of the plain form first.
"""

import base64
import re
import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Literal

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jose import jws, jwt
from jose.exceptions import JWKError, JWSError
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from archive_service.access.events import Actor, RoleName
from archive_service.model.clock import Clock, utc_now
from archive_service.model.errors import ArchiveError, Denied, Invalid

ALGORITHMS = ["ES256"]
"""The only algorithms ever passed to the library; a list, because it searches a string for substrings."""

NAME = "archive-service"
LONGEST_TOKEN = 8 * 1024  # characters
LONGEST_TTL = timedelta(days=366)
SKEW = timedelta(seconds=30)

_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")  # RFC 7515 section 7.1

Subject = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,256}$")]
TenantId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class _Header(BaseModel):
    """RFC 7515 section 4.1. Unknown fields are refused: ``crit``, ``jku``, ``jwk``, ``x5u`` among them."""

    model_config = ConfigDict(strict=True, extra="forbid")

    alg: Literal["ES256"]
    kid: TenantId
    typ: Literal["JWT"] = "JWT"


class _Claims(BaseModel):
    """RFC 7519 section 4.1; numbers are whole seconds since 1970."""

    model_config = ConfigDict(strict=True, extra="ignore")

    iss: Literal["archive-service"]
    aud: Literal["archive-service"]
    exp: int
    iat: int
    nbf: int | None = None
    jti: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    sub: Subject
    tenant: TenantId
    role: RoleName


class TokenIssuer:
    """Signs tokens of one tenant with that tenant's private P-256 key."""

    def __init__(self, tenant: str, private_pem: bytes) -> None:
        """``tenant``: its opaque id. Raises Invalid for a key that is not an unencrypted P-256 key."""
        try:
            key = load_pem_private_key(private_pem, password=None)
        except (ValueError, TypeError) as error:
            raise Invalid("the token key is not a PEM private key", code="token.key_invalid") from error
        if not (isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1)):
            raise Invalid("the token key is not on P-256", code="token.key_invalid")
        self._tenant = tenant
        self._pem = private_pem.decode("ascii")

    def issue(self, subject: str, role: RoleName, ttl: timedelta, clock: Clock = utc_now) -> str:
        """A token for ``subject``, valid from now for ``ttl`` (above 0, at most 366 days). Raises Invalid."""
        if not timedelta(0) < ttl <= LONGEST_TTL:
            raise Invalid("a token lives between one second and 366 days", code="token.ttl_invalid")
        now = int(clock().timestamp())
        claims = {
            "iss": NAME,
            "aud": NAME,
            "iat": now,
            "exp": now + max(1, int(ttl.total_seconds())),
            "jti": secrets.token_hex(16),
            "sub": subject,
            "tenant": self._tenant,
            "role": role.value,
        }
        try:
            _Claims.model_validate(claims | {"role": role})
        except ValidationError as error:
            raise Invalid(
                "the subject or tenant of a token is malformed", code="token.claims_invalid"
            ) from error
        return jwt.encode(claims, self._pem, algorithm=ALGORITHMS[0], headers={"kid": self._tenant})


class TokenVerifier:
    """Says who holds a token. Thread-safe as far as ``keys`` is."""

    def __init__(
        self, keys: Callable[[str], bytes | None], clock: Clock = utc_now, skew: timedelta = SKEW
    ) -> None:
        """``keys``: a tenant's public key (PEM) by its opaque id, None for a tenant that is not. ``skew``:
        how far the clocks of issuer and verifier may differ; it is added to every time claim."""
        self._keys = keys
        self._clock = clock
        self._skew = skew.total_seconds()

    def verify(self, token: str) -> Actor:
        """Raises Denied (``auth.required``) unless signature, form, time, audience, tenant and role are all
        as the issuer makes them; ArchiveError (``key.unreadable``) when our own key is broken."""
        header = _header(token)
        key = self._keys(header.kid)
        if key is None:
            raise _refused()
        try:
            payload = jws.verify(token, key.decode("ascii"), ALGORITHMS)
        except JWSError as error:
            raise _refused() from error
        except (JWKError, UnicodeDecodeError) as error:
            raise ArchiveError("the token key of a tenant cannot be read", code="key.unreadable") from error
        claims = _claims(payload)
        self._check_time(claims)
        if claims.tenant != header.kid:
            raise _refused()
        return Actor(subject=claims.sub, role=claims.role, tenant=claims.tenant, issued_at=claims.iat)

    def _check_time(self, claims: _Claims) -> None:
        """RFC 7519 sections 4.1.4 to 4.1.6."""
        now = self._clock().timestamp()
        begins = max(claims.iat, claims.nbf if claims.nbf is not None else claims.iat)
        if now >= claims.exp + self._skew or now < begins - self._skew:
            raise _refused()


def _refused() -> Denied:
    """One answer for every fault, so that a forger learns nothing from it."""
    return Denied("the token is not valid", code="auth.required")


def _header(token: str) -> _Header:
    if len(token) > LONGEST_TOKEN or not _COMPACT.fullmatch(token):
        raise _refused()
    encoded = token.partition(".")[0]
    try:
        return _Header.model_validate_json(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    except ValueError as error:  # pydantic's ValidationError and binascii.Error are both of this kind
        raise _refused() from error


def _claims(payload: bytes | str) -> _Claims:
    try:
        return _Claims.model_validate_json(payload)
    except ValidationError as error:
        raise _refused() from error
