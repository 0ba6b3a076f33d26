"""Tokens of an identity provider: access tokens that are JWTs (RFC 9068, and those of before), and the ID token of a
sign-in (OpenID Connect Core 1.0 section 3.1.3.7).

The signature is python-jose's to check, with keys that ``oidc_keys`` has tied to an algorithm. Everything else is
checked here, and whatever is wrong has one answer. What a header says of keys (``jku``, ``jwk``, ``x5u``, ``x5c``) or
of extensions (``crit``, ``b64``, ``zip``) refuses the token: nothing of it is followed.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

from jose import jws
from jose.exceptions import JWSError

from archive_service.access import compact
from archive_service.access.events import RoleName
from archive_service.access.identified import Identified, not_valid
from archive_service.access.oidc_providers import OidcProvider
from archive_service.access.oidc_source import ProviderSource
from archive_service.model.clock import Clock, utc_now
from archive_service.model.errors import Denied

_FORBIDDEN = frozenset({"crit", "b64", "zip", "enc", "jku", "jwk", "x5u", "x5c", "epk"})
_TYPES = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})  # RFC 9068 section 4
_ACCESS_TYPES = frozenset({"at+jwt", "application/at+jwt"})
_OF_ID_TOKENS = ("nonce", "at_hash", "c_hash", "s_hash")
_NO_ACCESS = frozenset(
    {"id", "refresh", "offline", "logout", "registrationaccesstoken", "initialaccesstoken"}
)
_LATEST = 253402300800.0  # seconds: the year 10000
_MOST_WORDS = 1000
_SUBJECT = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,200}")


class OidcTokens:
    """Checks tokens of one provider; see ``identity.OfProvider``. ``tenant``: its tenant's opaque id, None while there
    is no such tenant."""

    def __init__(
        self,
        provider: OidcProvider,
        source: ProviderSource,
        tenant: Callable[[], str | None],
        clock: Clock = utc_now,
    ) -> None:
        self.provider = provider
        self.source = source
        self.tenant = tenant
        self._clock = clock

    @property
    def issuer(self) -> str:
        """As it stands in its tokens."""
        return self.provider.issuer

    @property
    def name(self) -> str:
        """What its people's subjects begin with."""
        return self.provider.name

    def identify(self, token: str, read: compact.Unverified) -> Identified:
        """Whose bearer token it is. Raises Denied, Overloaded (see ``identified.Bearers``)."""
        provider = self.provider
        claims = self._verified(token, read)
        if not provider.id_tokens:
            _require_access_token(read.header, claims, strict=provider.at_jwt)
        self._require_time(claims)
        if not set(provider.audiences) & _audiences(claims):
            raise not_valid()
        if provider.clients and _client(claims) not in provider.clients:
            raise not_valid()
        return self._identified(claims)

    def signed_in(self, token: str, nonce: str) -> dict[str, Any]:
        """The claims of the ID token that a sign-in brought. Raises Denied, Overloaded."""
        try:
            read = compact.read(token)
        except ValueError as error:
            raise not_valid() from error
        claims = self._verified(token, read)
        self._require_time(claims)
        audiences = _audiences(claims)
        client = self.provider.client
        if client is None or client not in audiences or claims.get("nonce") != nonce:
            raise not_valid()
        if (len(audiences) > 1 or "azp" in claims) and claims.get("azp") != client:
            raise not_valid()
        return claims

    def person(self, claims: Mapping[str, Any], access_token: str | None) -> Identified:
        """Who signed in: by the ID token's claims, with the roles that the ID token or, where the settings say so, the
        access token names. Raises Denied, Overloaded."""
        who = self._identified(claims)
        if self.provider.login_roles == "id_token":
            return who
        if access_token is None:
            raise not_valid()
        try:
            read = compact.read(access_token)
        except ValueError as error:
            raise not_valid() from error
        granted = self.identify(access_token, read)
        if granted.subject != who.subject:
            raise not_valid()
        return granted

    def _verified(self, token: str, read: compact.Unverified) -> dict[str, Any]:
        """The claims, once the signature stands."""
        header = read.header
        algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
        if (
            algorithm not in self.provider.algorithms
            or not (kid is None or (isinstance(kid, str) and 0 < len(kid) <= 512))
            or not (isinstance(kind, str) and kind.lower() in _TYPES)
            or not _FORBIDDEN.isdisjoint(header)
        ):
            raise not_valid()
        for key in self.source.keys(kid, algorithm):
            try:
                jws.verify(token, key, [algorithm])
            except JWSError:
                continue
            return self._of_issuer(read.claims)
        raise not_valid()

    def _of_issuer(self, claims: dict[str, Any]) -> dict[str, Any]:
        if claims.get("iss") != self.provider.issuer:
            raise not_valid()
        if any(claims.get(name) != value for name, value in self.provider.require.items()):
            raise not_valid()
        return claims

    def _require_time(self, claims: Mapping[str, Any]) -> None:
        """RFC 7519 sections 4.1.4 to 4.1.6. NumericDate may have a fraction (section 2)."""
        now, skew = self._clock().timestamp(), self.provider.skew_seconds
        ends = claims.get("exp")
        begins = [claims[name] for name in ("iat", "nbf") if name in claims]
        if not _is_date(ends) or not all(map(_is_date, begins)):
            raise not_valid()
        if now >= ends + skew or any(now < each - skew for each in begins):
            raise not_valid()

    def _identified(self, claims: Mapping[str, Any]) -> Identified:
        subject = claims.get(self.provider.subject_claim)
        if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
            raise not_valid()
        tenant = self.tenant()
        if tenant is None:
            raise Denied("the provider's tenant is not here", code="auth.required")
        words = _words(claims, self.provider.roles_claim)
        roles = {role for word in words for role in self.provider.roles.get(word, ())}
        roles |= set[RoleName](self.provider.people.get(subject, ()))
        return Identified(f"{self.name}:{subject}", tenant, frozenset(roles), issued_at=_issued(claims))


def _issued(claims: Mapping[str, Any]) -> float:
    """When the token was issued; 1970 where it does not say: after an incident such a token is void."""
    issued = claims.get("iat")
    return float(issued) if _is_date(issued) else 0.0


def _require_access_token(header: Mapping[str, Any], claims: Mapping[str, Any], *, strict: bool) -> None:
    """An ID token says who signed in somewhere, not what its bearer may do here; a token bound to a key (RFC 7800) is
    nothing without a proof that nobody has asked for. Raises Denied."""
    kind = str(header.get("typ", "")).lower()
    if strict and kind not in _ACCESS_TYPES:
        raise not_valid()
    said = claims.get("typ", "Bearer")
    if not isinstance(said, str) or said.lower() in _NO_ACCESS:
        raise not_valid()
    if "cnf" in claims or any(name in claims for name in _OF_ID_TOKENS):
        raise not_valid()


def _audiences(claims: Mapping[str, Any]) -> set[str]:
    """RFC 7519 section 4.1.3: a text or a list of texts."""
    said = claims.get("aud")
    listed = said if isinstance(said, list) else [said]
    if not listed or not all(isinstance(each, str) for each in listed):
        raise not_valid()
    return set(listed)


def _client(claims: Mapping[str, Any]) -> object:
    """Who asked for the token: ``client_id`` (RFC 9068), ``azp``, or ``appid`` (Entra ID, version 1)."""
    return next((claims[name] for name in ("azp", "client_id", "appid") if name in claims), None)


def _is_date(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _LATEST


def _words(claims: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    """What stands at the path: a text, or those of a list that are texts. What is not there gives no role."""
    found: Any = claims
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    listed = found if isinstance(found, list) else [found]
    return [word for word in listed[:_MOST_WORDS] if isinstance(word, str)]
