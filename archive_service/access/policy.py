"""Who may do what: the one table, denying by default.

A route names the right it needs (``api/guard.py``); a route that names none does not start. A role that
a rule does not list is refused, and a right without a rule is nobody's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from archive_service.access.events import Actor, RoleName
from archive_service.model.errors import Denied


class Right(StrEnum):
    """What a caller may be allowed to do. PUBLIC needs no token and shows nothing of any tenant."""

    PUBLIC = "public"
    SEARCH = "search"
    READ = "read"
    EXPORT = "export"
    ACCESS_LOG = "access_log"
    INTEGRITY = "integrity"
    SOURCES = "sources"
    JOBS = "jobs"


@dataclass(frozen=True)
class Rule:
    """A right and the roles that have it."""

    name: Right
    roles: frozenset[RoleName]

    @property
    def public(self) -> bool:
        """No token is asked for."""
        return self.name is Right.PUBLIC


_CASE_ROLES = (RoleName.COMPLIANCE_OFFICER, RoleName.LEGAL)

RULES: Mapping[Right, Rule] = MappingProxyType(
    {
        right: Rule(right, frozenset(roles))
        for right, roles in (
            (Right.PUBLIC, ()),
            (Right.SEARCH, _CASE_ROLES),
            (Right.READ, _CASE_ROLES),
            (Right.EXPORT, _CASE_ROLES),
            (Right.ACCESS_LOG, (RoleName.AUDITOR,)),
            (Right.INTEGRITY, (RoleName.AUDITOR, RoleName.ADMIN)),
            (Right.SOURCES, (RoleName.ADMIN,)),
            (Right.JOBS, (*_CASE_ROLES, RoleName.ADMIN)),
        )
    }
)


def permit(actor: Actor, right: Right) -> None:
    """Raises Denied (``auth.forbidden``) unless the actor's role has the right."""
    rule = RULES.get(right)
    if rule is None or actor.role not in rule.roles:
        raise Denied("this role does not have the right", code="auth.forbidden")
