"""Who a bearer token or a session says somebody is, and in which role he acts in this request.

Subjects of different issuers never meet: a person of an identity provider is ``PROVIDER:subject``, a service account
``account:NAME``, and the built-in issuer's subjects may look like neither. Two names of one person would make four eyes
out of two.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from archive_service.access.events import Actor, RoleName
from archive_service.model.errors import Denied

ACCOUNT = "account"
"""What subjects of service accounts begin with."""


@dataclass(frozen=True)
class Identified:
    """A subject, the opaque id of his tenant, and the roles that he may act in. ``only``, ``issued_at``: as
    in Actor. ``session``: the id of the browser's session that said so."""

    subject: str
    tenant: str
    roles: frozenset[RoleName]
    only: frozenset[str] | None = None
    issued_at: float = field(default=0.0, compare=False)
    session: str | None = field(default=None, compare=False)

    def acting(self, wanted: str | None) -> Actor:
        """In the role that he asked for, or in his only one. Raises Denied: ``auth.role_not_held``,
        ``auth.role_ambiguous`` naming his roles, ``auth.no_role``."""
        if wanted is not None:
            held = next((role for role in self.roles if role.value == wanted), None)
            if held is None:
                raise Denied("the role that was asked for is not held", code="auth.role_not_held")
            return self._as(held)
        if not self.roles:
            raise Denied("no role of this archive is held", code="auth.no_role")
        if len(self.roles) > 1:
            names = ", ".join(sorted(self.roles))
            raise Denied(
                f"several roles are held, and X-Archive-Role names none of them: {names}",
                code="auth.role_ambiguous",
            )
        (role,) = self.roles
        return self._as(role)

    def _as(self, role: RoleName) -> Actor:
        return Actor(self.subject, role, self.tenant, self.only, self.issued_at)


class Bearers(Protocol):
    """Says who holds a bearer token. Thread-safe."""

    def identify(self, token: str) -> Identified:
        """Raises Denied (``auth.required``), with one answer for every fault of the token; Overloaded
        (``identity.provider_away``) when nobody can say now; ArchiveError when our own keys cannot be read."""
        ...

    def named(self, token: str) -> str | None:
        """The opaque id of the tenant that a token says it is for, or None. Nothing of it is believed: it tells in
        whose record a token that was refused is counted."""
        ...


def not_valid() -> Denied:
    """One answer for every fault, so that a forger learns nothing from it."""
    return Denied("the token is not valid", code="auth.required")


def same_person(one: str, other: str) -> bool:
    """Whether two subjects may be one person's: they differ in nothing that a reader sees (case, width, composition,
    blanks, characters that print nothing). Rather one person too few at an approval than one under two spellings."""
    return _folded(one) == _folded(other)


def people(subjects: Iterable[str]) -> int:
    """How many people these surely are, by ``same_person``."""
    return len({_folded(each) for each in subjects})


def _folded(subject: str) -> str:
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", subject).casefold())
    return "".join(each for each in plain if unicodedata.category(each)[0] not in "CZ")


def is_reserved(subject: str, providers: Iterable[str]) -> bool:
    """Whether a subject of the built-in issuer looks like one of somebody else's, to a reader of the access log too."""
    kind, colon, _ = _folded(subject).partition(":")
    return bool(colon) and kind in {ACCOUNT, *providers}
