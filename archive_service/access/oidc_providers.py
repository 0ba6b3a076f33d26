"""Identity providers, as the setting ``oidc`` names them: a JSON array, or ``[[oidc]]`` tables in the settings file.

A provider serves one tenant. It is trusted to say who its people are and which words (roles, groups) they carry; what
those words mean here, and which of its algorithms and audiences are taken, is said here alone.
"""

import json
import re
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from archive_service.access import compact
from archive_service.access.events import RoleName
from archive_service.access.identified import ACCOUNT
from archive_service.model.errors import Invalid

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
"""RFC 7518 section 3.1: signatures with a public key. ``none`` and shared secrets cannot be named."""

Words = Annotated[str, StringConstraints(min_length=1, max_length=512)]
_CLAIM = re.compile(r"[^.]+(\.[^.]+)*")


class OidcProvider(BaseModel):
    """One provider.

    ``issuer``: as its tokens and its discovery document say it, to the letter. ``audiences``: an access token is taken
    if it is for one of these. ``clients``: and, where named, from one of these (``azp``, ``client_id`` or ``appid``).
    ``subject_claim``: what names a person for good. ``roles_claim``: where the words are, ``a.b`` inside ``a``, or a
    list of names where names hold dots. ``roles``: from their words to our roles. ``people``: roles by subject, for a
    provider that says none. ``require``: claims that must be there with this very value. ``at_jwt``: only access tokens
    that call themselves so (RFC 9068). ``id_tokens``: ID tokens are taken as bearer tokens, for a provider whose access
    tokens say nothing. ``client``, ``scopes``: for signing in with a browser; ``login_roles``: which token says the
    roles then. ``renew_seconds``: keys are asked for again after so long where the provider says nothing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
    issuer: Words
    tenant: Words
    audiences: Annotated[tuple[Words, ...], Field(min_length=1, max_length=20)]
    clients: Annotated[tuple[Words, ...], Field(max_length=50)] = ()
    subject_claim: Words = "sub"
    roles_claim: tuple[Words, ...] = ("roles",)
    roles: Mapping[Words, tuple[RoleName, ...]] = Field(default_factory=dict)
    people: Mapping[Words, tuple[RoleName, ...]] = Field(default_factory=dict)
    require: Mapping[Words, Words] = Field(default_factory=dict)
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = ("RS256", "PS256", "ES256")
    skew_seconds: Annotated[float, Field(ge=0, le=300)] = 60.0
    at_jwt: bool = False
    id_tokens: bool = False
    client: Words | None = None
    client_authentication: Literal["client_secret_basic", "client_secret_post"] = "client_secret_basic"
    scopes: Annotated[tuple[Words, ...], Field(max_length=20)] = ("openid",)
    login_roles: Literal["id_token", "access_token"] = "id_token"
    renew_seconds: Annotated[float, Field(ge=60, le=6 * 3600)] = 900.0

    @field_validator("roles_claim", mode="before")
    @classmethod
    def _path(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        if not _CLAIM.fullmatch(given):
            raise ValueError("a path of names with single dots between them")
        return tuple(given.split("."))

    @field_validator("roles", "people", mode="before")
    @classmethod
    def _several(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        return {name: [said] if isinstance(said, str) else said for name, said in given.items()}

    @field_validator("issuer")
    @classmethod
    def _issuer(cls, given: str) -> str:
        url = urlsplit(given)
        if url.query or url.fragment or not is_allowed(given, loopback=True):
            raise ValueError("https:// with a host and no query; http:// to loopback only")
        return given

    @model_validator(mode="after")
    def _fits(self) -> "OidcProvider":
        if self.name == ACCOUNT:
            raise ValueError("service accounts have this name")
        if self.client is not None and "openid" not in self.scopes:
            raise ValueError("scopes must hold openid")
        return self

    @property
    def loopback(self) -> bool:
        """Whether it is spoken to in clear, on this machine."""
        return urlsplit(self.issuer).scheme == "http"

    @property
    def discovery(self) -> str:
        """OpenID Connect Discovery 1.0 section 4.1."""
        return self.issuer.removesuffix("/") + "/.well-known/openid-configuration"


def is_allowed(url: str, *, loopback: bool) -> bool:
    """Whether anything may be asked at this URL: https, or http to a loopback address where that is let."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for a senseless one
    except ValueError:
        return False
    if not parts.hostname or "@" in parts.netloc or parts.fragment or not url.isascii() or " " in url:
        return False
    return parts.scheme == "https" or (loopback and parts.scheme == "http" and is_loopback(parts.hostname))


def is_loopback(host: str) -> bool:
    """Whether a host's name is this machine and nothing else."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def providers(text: str | None) -> tuple[OidcProvider, ...]:
    """The providers of the setting. Raises Invalid naming what is wrong, never a value."""
    if text is None or not text.strip():
        return ()
    try:
        given = compact.json_object(b'{"oidc":' + text.encode("utf-8") + b"}")["oidc"]
    except ValueError as error:
        raise Invalid("oidc is not JSON", code="settings.invalid") from error
    if not isinstance(given, list):
        raise Invalid("oidc is a list of providers", code="settings.invalid")
    found = tuple(_provider(number, each) for number, each in enumerate(given))
    _require_different(found)
    return found


def secrets_of(text: str | None, known: Iterable[OidcProvider]) -> dict[str, str]:
    """Client secrets by provider: the setting ``oidc_secrets``, a JSON object. Raises Invalid."""
    if text is None or not text.strip():
        return {}
    try:
        given = compact.json_object(text.encode("utf-8"))
    except ValueError as error:
        raise Invalid("oidc_secrets is not a JSON object", code="settings.invalid") from error
    names = {each.name for each in known}
    if not all(name in names and isinstance(said, str) and said for name, said in given.items()):
        raise Invalid("oidc_secrets gives secrets by the name of a provider", code="settings.invalid")
    return {name: str(said) for name, said in given.items()}


def as_text(given: Any) -> Any:
    """The setting as text: a settings file gives it as tables."""
    return json.dumps(given) if isinstance(given, list) else given


def _provider(number: int, given: Any) -> OidcProvider:
    try:
        return OidcProvider.model_validate(given)
    except ValidationError as error:
        names = ", ".join(
            sorted({".".join(map(str, problem["loc"][:2])) or "it" for problem in error.errors()})
        )
        raise Invalid(f"oidc[{number}] not understood: {names}", code="settings.invalid") from None


def _require_different(found: tuple[OidcProvider, ...]) -> None:
    """One issuer is one provider: which settings a token is checked by must not be a matter of order."""
    for what in ("name", "issuer"):
        said = [getattr(each, what) for each in found]
        if len(set(said)) != len(said):
            raise Invalid(f"two oidc providers have one {what}", code="settings.invalid")
