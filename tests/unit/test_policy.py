"""The policy's one table, written down a second time by hand."""

import pytest

from archive_service.access import policy
from archive_service.access.events import Actor, RoleName
from archive_service.access.policy import RULES, Right, decide, permit
from archive_service.ledger.grants import Grant
from archive_service.model.errors import Denied

CASE = {"search", "read", "export"}
OVERSIGHT = {"custodians", "matters", "grants", "approvals", "approvals.decide", "erasures", "erasures.ask"}
OVERSIGHT |= {"schedules", "schedules.change", "dispositions", "dispositions.change", "orders"}
ALLOWED = {
    "compliance_officer": CASE
    | OVERSIGHT
    | {"orders.change", "event_journal", "yearly_pack"}
    | {"jobs", "matters.change", "grants.change", "exclusions", "compartments", "policy", "incidents"},
    "legal": CASE | OVERSIGHT | {"orders.change", "jobs", "matters.change", "policy"},
    "auditor": {
        "access_log",
        "event_journal",
        "yearly_pack",
        "integrity",
        "matters",
        "grants",
        "approvals",
        "erasures",
        "policy",
    }
    | {"schedules", "dispositions", "orders"},
    "admin": {
        *(
            "sources",
            "integrity",
            "jobs",
            "custodians",
            "custodians.change",
            "grants",
            "grants.change",
            "approvals",
        ),
        *("approvals.decide", "exclusions", "compartments", "accounts", "policy", "incidents"),
    },
    "dpo": OVERSIGHT
    | {
        "orders.change",
        "access_log",
        "event_journal",
        "yearly_pack",
        "integrity",
        "exclusions",
        "compartments",
        "policy",
        "incidents",
    },
    "records_manager": OVERSIGHT
    | {"event_journal", "yearly_pack", "integrity", "custodians.change", "policy"},
    "reviewer": {"policy"},
    "privilege_reviewer": {"policy"},
    "alert_officer": {"policy"},
    "external_auditor": {"policy"},
}


def allowed(role, right):
    try:
        permit(Actor("someone", role, "t"), right)
    except Denied as error:
        assert error.code == "auth.forbidden"
        return False
    return True


@pytest.mark.parametrize("role", RoleName)
@pytest.mark.parametrize("right", Right)
def test_each_role_has_its_rights_and_no_other(role, right):
    assert allowed(role, right) is (right.value in ALLOWED[role.value])


def test_every_right_has_a_rule_of_its_own_name():
    assert set(RULES) == set(Right)
    assert all(rule.name is right for right, rule in RULES.items())


def test_a_right_without_a_rule_is_nobodys(monkeypatch):
    monkeypatch.setattr(policy, "RULES", {})
    assert not any(allowed(role, right) for role in RoleName for right in Right)


def test_the_table_cannot_be_changed_by_accident():
    with pytest.raises(TypeError):
        RULES[Right.READ] = RULES[Right.PUBLIC]


FIRST, LAST = "2026-03-01T00:00:00.000000Z", "2026-03-31T00:00:00.000000Z"


@pytest.mark.parametrize(
    ("change", "now", "allowed"),
    [
        ({}, FIRST, True),
        ({}, "2026-03-30T23:59:59.999999Z", True),
        ({}, LAST, False),
        ({}, "2026-02-28T23:59:59.999999Z", False),
        ({"revoked": FIRST}, FIRST, False),
        ({"subject": "Rita"}, FIRST, False),
        ({"subject": "rita "}, FIRST, False),
        ({"subject": "somebody"}, FIRST, False),
        ({"role": "privilege_reviewer"}, FIRST, False),
    ],
)
def test_a_grant_is_its_subjects_in_its_role_from_its_first_moment_until_before_its_last(
    change, now, allowed
):
    """Whichever grants the decision is handed: it looks whose they are."""
    said = {"id": "g", "subject": "rita", "role": "reviewer", "begins": FIRST, "ends": LAST} | change
    grant = Grant(reason="r", by="paul", **said)
    actor = Actor("rita", RoleName.REVIEWER, "t")
    assert decide(actor, Right.READ, [grant], now=now).allowed is allowed
