"""An identity provider without a network: its keys, its documents, and tokens of every kind, forged ones among them."""

import base64
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from archive_service.access.oidc_providers import OidcProvider
from archive_service.access.oidc_source import Answer, ProviderSource
from archive_service.access.oidc_tokens import OidcTokens
from archive_service.model.backoff import Backoff
from archive_service.model.errors import StoreError

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
ISSUER, AUDIENCE, TENANT = "https://login.example/realms/acme", "api://archive", "a" * 20
_CURVES = {
    "ES256": ("P-256", ec.SECP256R1),
    "ES384": ("P-384", ec.SECP384R1),
    "ES512": ("P-521", ec.SECP521R1),
}
_DIGESTS = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}


@cache
def rsa_key(number: int = 0, bits: int = 2048) -> rsa.RSAPrivateKey:
    """The same for the same number."""
    return rsa.generate_private_key(65537, bits)


@cache
def ec_key(algorithm: str = "ES256") -> ec.EllipticCurvePrivateKey:
    """The same for the same algorithm."""
    return ec.generate_private_key(_CURVES[algorithm][1]())


def encode(data: Any) -> str:
    """base64url of bytes, or of a value's JSON."""
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _number(value: int) -> str:
    return encode(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def jwk_of(key: Any, kid: str | None, **more: Any) -> dict[str, Any]:
    """The public half as a JWK."""
    numbers = key.public_key().public_numbers()
    if isinstance(key, rsa.RSAPrivateKey):
        made = {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
    else:
        curve, size = {256: "P-256", 384: "P-384", 521: "P-521"}[key.key_size], (key.key_size + 7) // 8
        made = {
            "kty": "EC",
            "crv": curve,
            "x": encode(numbers.x.to_bytes(size, "big")),
            "y": encode(numbers.y.to_bytes(size, "big")),
        }
    return made | ({} if kid is None else {"kid": kid}) | more


def signature(text: bytes, key: Any, algorithm: str) -> bytes:
    """By the rules of RFC 7518."""
    digest = _DIGESTS[algorithm[2:]]
    if algorithm.startswith("ES"):
        size = (key.key_size + 7) // 8
        r, s = decode_dss_signature(key.sign(text, ec.ECDSA(digest)))
        return bytes(r.to_bytes(size, "big") + s.to_bytes(size, "big"))
    if algorithm.startswith("PS"):
        return bytes(key.sign(text, padding.PSS(padding.MGF1(digest), digest.digest_size), digest))
    return bytes(key.sign(text, padding.PKCS1v15(), digest))


def claims(**changes: Any) -> dict[str, Any]:
    """Of a good access token; ... leaves a claim out."""
    base = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "anne",
        "exp": SECONDS + 600,
        "iat": SECONDS,
        "roles": ["Archive.Legal"],
    }
    return {name: value for name, value in (base | changes).items() if value is not ...}


def token(
    payload: Any = None, header: Any = None, *, key: Any = None, algorithm: str = "RS256", kid: str = "k1"
) -> str:
    """A token with a true signature by ``key`` over whatever it says."""
    said = header if header is not None else {"alg": algorithm, "kid": kid, "typ": "at+jwt"}
    text = f"{encode(said)}.{encode(payload if payload is not None else claims())}"
    return f"{text}.{encode(signature(text.encode(), key or rsa_key(), algorithm))}"


def provider(**changes: Any) -> OidcProvider:
    """As settings would have it."""
    given = {
        "name": "idp",
        "issuer": ISSUER,
        "tenant": "acme",
        "audiences": [AUDIENCE],
        "roles": {"Archive.Legal": "legal", "Archive.Auditor": "auditor", "Archive.Both": ["legal", "dpo"]},
    }
    return OidcProvider.model_validate(given | changes)


@dataclass
class FakeWeb:
    """The provider's documents. ``away``: nobody answers."""

    keys: list[dict[str, Any]] = field(default_factory=lambda: [jwk_of(rsa_key(), "k1")])
    document: dict[str, Any] = field(default_factory=lambda: {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys"})
    max_age: float | None = 1000.0
    away: bool = False
    asked: list[str] = field(default_factory=list)
    raw: dict[str, Answer] = field(default_factory=dict)

    def get(self, url: str) -> Answer:
        self.asked.append(url)
        if self.away:
            raise StoreError("away", code="identity.unreachable")
        if url in self.raw:
            return self.raw[url]
        said = {"keys": self.keys} if url.endswith("/keys") else self.document
        return Answer(200, json.dumps(said).encode(), self.max_age)

    def post(self, url: str, fields: Any, headers: Any) -> Answer:
        raise AssertionError("nothing is posted")

    @property
    def rounds(self) -> int:
        """How often the discovery document was asked for."""
        return sum(url.endswith("openid-configuration") for url in self.asked)


@dataclass
class Ticking:
    """A clock that a test moves."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class World:
    """A provider and all that asks it. ``later``: what was to be done aside; a test does it."""

    said: OidcProvider = field(default_factory=provider)
    web: FakeWeb = field(default_factory=FakeWeb)
    clock: Ticking = field(default_factory=Ticking)
    later: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        once = Backoff(tries=1)
        self.source = ProviderSource(self.said, self.web, self.clock, self.later.append, once)
        self.tokens = OidcTokens(self.said, self.source, lambda: TENANT, lambda: NOW)
