"""Who may do what: the one table, denying by default, and the one decision (``decide``).

A route or command names the right it needs; one that names none does not start. A role that a rule does not list is
refused, and a right without a rule is nobody's. Some roles have a right only within a grant; a grant may narrow what is
seen to a matter or to custodians, and ends. Every decision says why.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from archive_service.access.events import Actor, RoleName
from archive_service.ledger.grants import Grant
from archive_service.model.errors import Denied


class Right(StrEnum):
    """What a caller may be allowed to do. PUBLIC needs no token and shows nothing of any tenant."""

    PUBLIC = "public"
    SEARCH = "search"
    READ = "read"
    EXPORT = "export"
    ACCESS_LOG = "access_log"
    EVENT_JOURNAL = "event_journal"
    YEARLY_PACK = "yearly_pack"
    INTEGRITY = "integrity"
    SOURCES = "sources"
    JOBS = "jobs"
    CUSTODIANS = "custodians"
    CUSTODIANS_CHANGE = "custodians.change"
    MATTERS = "matters"
    MATTERS_CHANGE = "matters.change"
    GRANTS = "grants"
    GRANTS_CHANGE = "grants.change"
    APPROVALS = "approvals"
    APPROVALS_DECIDE = "approvals.decide"
    ERASURES = "erasures"
    ERASURES_ASK = "erasures.ask"
    SCHEDULES = "schedules"
    SCHEDULES_CHANGE = "schedules.change"
    DISPOSITIONS = "dispositions"
    DISPOSITIONS_CHANGE = "dispositions.change"
    ORDERS = "orders"
    ORDERS_CHANGE = "orders.change"
    EXCLUSIONS = "exclusions"
    COMPARTMENTS = "compartments"
    ACCOUNTS = "accounts"
    POLICY = "policy"
    INCIDENTS = "incidents"


@dataclass(frozen=True)
class Rule:
    """A right, the roles that have it of themselves, and those that have it within a grant alone."""

    name: Right
    roles: frozenset[RoleName]
    granted: frozenset[RoleName] = frozenset()

    @property
    def public(self) -> bool:
        """No token is asked for."""
        return self.name is Right.PUBLIC


@dataclass(frozen=True)
class Decision:
    """Whether, why, and how far. ``within``: the grants that bound what is seen; None bounds nothing."""

    allowed: bool
    why: tuple[str, ...]
    within: tuple[Grant, ...] | None = None


_R = RoleName
_CASE_ROLES = (_R.COMPLIANCE_OFFICER, _R.LEGAL)
_REVIEWERS = (_R.REVIEWER, _R.PRIVILEGE_REVIEWER)
_OVERSIGHT = (_R.COMPLIANCE_OFFICER, _R.LEGAL, _R.DPO, _R.RECORDS_MANAGER)
_EVERY_ROLE = tuple(RoleName)

CONTENT = frozenset({Right.SEARCH, Right.READ, Right.EXPORT})
"""The rights that show mail: what a grant for a matter or custodians bounds."""

_BOUNDED = CONTENT | {Right.JOBS}
"""Of jobs too: whoever sees a part of the mail is told of his own jobs alone."""

_WHOLE = MappingProxyType({Right.ACCESS_LOG: "the access log", Right.EVENT_JOURNAL: "the event journal"})
"""They tell of every search and every message: a grant for a part of the mail does not give them."""

RULES: Mapping[Right, Rule] = MappingProxyType(
    {
        right: Rule(right, frozenset(roles), frozenset(granted))
        for right, roles, granted in (
            (Right.PUBLIC, (), ()),
            (Right.SEARCH, _CASE_ROLES, (*_REVIEWERS, _R.ALERT_OFFICER)),
            (Right.READ, _CASE_ROLES, (*_REVIEWERS, _R.ALERT_OFFICER)),
            (Right.EXPORT, _CASE_ROLES, (_R.ALERT_OFFICER,)),
            (Right.ACCESS_LOG, (_R.AUDITOR, _R.DPO), (_R.EXTERNAL_AUDITOR,)),
            (
                Right.EVENT_JOURNAL,
                (_R.AUDITOR, _R.DPO, _R.RECORDS_MANAGER, _R.COMPLIANCE_OFFICER),
                (_R.EXTERNAL_AUDITOR,),
            ),
            (Right.YEARLY_PACK, (_R.AUDITOR, _R.DPO, _R.RECORDS_MANAGER, _R.COMPLIANCE_OFFICER), ()),
            (Right.INTEGRITY, (_R.AUDITOR, _R.ADMIN, _R.DPO, _R.RECORDS_MANAGER), (_R.EXTERNAL_AUDITOR,)),
            (Right.SOURCES, (_R.ADMIN,), ()),
            (Right.JOBS, (*_CASE_ROLES, _R.ADMIN), (_R.ALERT_OFFICER,)),
            (Right.CUSTODIANS, (*_OVERSIGHT, _R.ADMIN), ()),
            (Right.CUSTODIANS_CHANGE, (_R.ADMIN, _R.RECORDS_MANAGER), ()),
            (Right.MATTERS, (*_OVERSIGHT, _R.AUDITOR), ()),
            (Right.MATTERS_CHANGE, _CASE_ROLES, ()),
            (Right.GRANTS, (*_OVERSIGHT, _R.ADMIN, _R.AUDITOR), ()),
            (Right.GRANTS_CHANGE, (_R.ADMIN, _R.COMPLIANCE_OFFICER), ()),
            (Right.APPROVALS, (*_OVERSIGHT, _R.ADMIN, _R.AUDITOR), ()),
            (Right.APPROVALS_DECIDE, (*_OVERSIGHT, _R.ADMIN), ()),
            (Right.ERASURES, (*_OVERSIGHT, _R.AUDITOR), ()),
            (Right.ERASURES_ASK, _OVERSIGHT, ()),
            (Right.SCHEDULES, (*_OVERSIGHT, _R.AUDITOR), ()),
            (Right.SCHEDULES_CHANGE, _OVERSIGHT, ()),
            (Right.DISPOSITIONS, (*_OVERSIGHT, _R.AUDITOR), ()),
            (Right.DISPOSITIONS_CHANGE, _OVERSIGHT, ()),
            (Right.ORDERS, (*_OVERSIGHT, _R.AUDITOR), ()),
            (Right.ORDERS_CHANGE, (*_CASE_ROLES, _R.DPO), ()),
            (Right.EXCLUSIONS, (_R.ADMIN, _R.DPO, _R.COMPLIANCE_OFFICER), ()),
            (Right.COMPARTMENTS, (_R.ADMIN, _R.COMPLIANCE_OFFICER, _R.DPO), ()),
            (Right.ACCOUNTS, (_R.ADMIN,), ()),
            (Right.POLICY, _EVERY_ROLE, ()),
            (Right.INCIDENTS, (_R.ADMIN, _R.DPO, _R.COMPLIANCE_OFFICER), ()),
        )
    }
)


def decide(
    actor: Actor, right: Right, grants: Iterable[Grant] = (), *, now: str = "", always: bool = False
) -> Decision:
    """Whether the actor has the right at ``now`` (RFC 3339), by his role and the tenant's grants. ``always``: a grant
    is asked of every role (``ARCHIVE_REQUIRE_GRANTS``, and in a compartment)."""
    rule = RULES.get(right)
    if rule is None:
        return Decision(False, (f"no rule gives {right} to anybody",))
    if actor.only is not None and right.value not in actor.only:
        return Decision(False, (f"the service account's scope does not hold {right}",))
    if actor.role not in rule.roles | rule.granted:
        return Decision(False, (f"the role {actor.role} does not have {right}",))
    if actor.role in rule.roles and not always:
        return Decision(True, (f"the role {actor.role} has {right}",))
    held = tuple(
        grant for grant in grants if (grant.subject, grant.role) == (actor.subject, actor.role.value)
    )
    open_now = tuple(grant for grant in held if grant.open(now))
    if not open_now:
        what = "no grant that is in force" if held else "no grant"
        return Decision(False, (f"the role {actor.role} has {right} within a grant only", what))
    why = (f"the role {actor.role} has {right} within a grant", *(grant.words() for grant in open_now))
    if any(grant.unbounded for grant in open_now):
        return Decision(True, why)
    if right in _WHOLE:
        return Decision(False, (*why, f"a grant for a part of the mail does not show {_WHOLE[right]}"))
    if right is Right.POLICY:
        return Decision(True, why)
    if right not in _BOUNDED:
        return Decision(False, (*why, "a grant for a part of the mail does not reach what is of all of it"))
    return Decision(True, why, open_now)


def permit(
    actor: Actor, right: Right, grants: Iterable[Grant] = (), *, now: str = "", always: bool = False
) -> Decision:
    """As ``decide``. Raises Denied (``auth.forbidden``) when the answer is no."""
    decision = decide(actor, right, grants, now=now, always=always)
    if not decision.allowed:
        raise Denied("this role does not have the right", code="auth.forbidden")
    return decision
