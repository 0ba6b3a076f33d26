"""Which of the issuers a bearer token is of. It is told from the token, and then that issuer alone is asked: nothing
that a token says makes anybody look anywhere."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from archive_service.access import compact
from archive_service.access.accounts import tenant_of
from archive_service.access.identified import Identified, is_reserved, not_valid
from archive_service.access.tokens import NAME, TokenVerifier


class OfProvider(Protocol):
    """Checks the access tokens of one identity provider."""

    @property
    def issuer(self) -> str:
        """As it stands in its tokens."""
        ...

    @property
    def name(self) -> str:
        """What its people's subjects begin with."""
        ...

    @property
    def tenant(self) -> Callable[[], str | None]:
        """The opaque id of the tenant whose people they are, None while it is not there."""
        ...

    def identify(self, token: str, read: compact.Unverified) -> Identified:
        """See Bearers."""
        ...


class Identity:
    """See ``identified.Bearers``."""

    def __init__(
        self,
        builtin: TokenVerifier | None = None,
        providers: Sequence[OfProvider] = (),
        accounts: Callable[[str], Identified] | None = None,
    ) -> None:
        """``builtin``: None switches the built-in issuer off. ``accounts``: who holds a service account's token."""
        self._builtin = builtin
        self._accounts = accounts
        self._providers: Mapping[str, OfProvider] = {each.issuer: each for each in providers}
        self._names = frozenset(each.name for each in providers)

    def identify(self, token: str) -> Identified:
        """See ``identified.Bearers``."""
        if token.startswith("asa_"):
            if self._accounts is None:
                raise not_valid()
            return self._accounts(token)
        try:
            read = compact.read(token)
        except ValueError as error:
            raise not_valid() from error
        issuer = read.claims.get("iss")
        if issuer == NAME and self._builtin is not None:
            return self._of_builtin(self._builtin, token)
        provider = self._providers.get(issuer) if isinstance(issuer, str) else None
        if provider is None:
            raise not_valid()
        return provider.identify(token, read)

    def named(self, token: str) -> str | None:
        """See ``identified.Bearers``."""
        if token.startswith("asa_"):
            return tenant_of(token)
        try:
            read = compact.read(token)
        except ValueError:
            return None
        issuer = read.claims.get("iss")
        provider = self._providers.get(issuer) if isinstance(issuer, str) else None
        if provider is not None:
            return provider.tenant()
        tenant = read.claims.get("tenant") if issuer == NAME else None
        return tenant if isinstance(tenant, str) else None

    def _of_builtin(self, builtin: TokenVerifier, token: str) -> Identified:
        actor = builtin.verify(token)
        if is_reserved(actor.subject, self._names):
            raise not_valid()
        return Identified(actor.subject, actor.tenant, frozenset({actor.role}), issued_at=actor.issued_at)
