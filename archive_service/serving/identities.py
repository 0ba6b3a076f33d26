"""Who is believed, by the settings: the built-in issuer, identity providers, service accounts."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from archive_service.access import accounts
from archive_service.access.browser import Browser
from archive_service.access.cookies import SealedCookies
from archive_service.access.identified import Identified, not_valid
from archive_service.access.identity import Identity
from archive_service.access.oidc_providers import OidcProvider, providers, secrets_of
from archive_service.access.oidc_source import ProviderSource, Web
from archive_service.access.oidc_tokens import OidcTokens
from archive_service.access.sign_in import SignIn
from archive_service.access.tokens import TokenVerifier
from archive_service.api.services import TenantServices
from archive_service.model.clock import Clock
from archive_service.model.errors import Invalid
from archive_service.settings import Settings

_log = logging.getLogger(__name__)
_SKEW = timedelta(0)  # the built-in issuer and this process share one clock


@dataclass(frozen=True)
class TenantsHere:
    """What identity asks of the tenants: the public key of built-in tokens by opaque id, the opaque id by name, and a
    tenant's services."""

    token_key: Callable[[str], bytes | None]
    named: Callable[[str], str | None]
    get: Callable[[str], TenantServices | None]


def oidc_of(settings: Settings, web: Web, tenants: TenantsHere, clock: Clock) -> tuple[OidcTokens, ...]:
    """One for every provider of the settings. Raises Invalid."""
    return tuple(_tokens(each, web, tenants, clock) for each in providers(settings.oidc))


def identity_of(
    settings: Settings, tokens: tuple[OidcTokens, ...], tenants: TenantsHere, clock: Clock
) -> Identity:
    """Who holds a bearer token."""
    builtin = TokenVerifier(tenants.token_key, clock, _SKEW) if settings.builtin_tokens else None

    def of_account(token: str) -> Identified:
        owner = accounts.tenant_of(token)
        tenant = tenants.get(owner) if owner is not None else None
        if tenant is None:
            raise not_valid()
        return tenant.accounts.holder(token)

    return Identity(builtin, tokens, of_account)


def browser_of(
    settings: Settings,
    tokens: tuple[OidcTokens, ...],
    web: Web,
    secret: Callable[[str], bytes | None],
    clock: Clock,
) -> Browser | None:
    """Signing in with a browser at those providers that have a client for it; None where there is none. Raises Invalid
    when the archive's own address is not known."""
    known = [each for each in tokens if each.provider.client is not None]
    if not known:
        return None
    if settings.public_url is None:
        raise Invalid("public_url is needed for signing in with a browser", code="settings.invalid")
    given = settings.oidc_secrets.get_secret_value() if settings.oidc_secrets is not None else None
    secrets = secrets_of(given, (each.provider for each in known))
    redirect = f"{settings.public_url}/v1/auth/callback"
    sign_ins = {each.name: SignIn(each, web, redirect, secrets.get(each.name)) for each in known}
    return Browser(settings.public_url, sign_ins, SealedCookies(secret, clock), settings.session_minutes * 60)


def _tokens(provider: OidcProvider, web: Web, tenants: TenantsHere, clock: Clock) -> OidcTokens:
    known: list[str] = []

    def tenant() -> str | None:
        """Asked again until it is there: an archive may be older than a tenant of its settings."""
        if not known:
            found = tenants.named(provider.tenant)
            if found is None:
                _log.error("identity provider %s serves a tenant that is not here", provider.name)
                return None
            known.append(found)
        return known[0]

    return OidcTokens(provider, ProviderSource(provider, web), tenant, clock)
