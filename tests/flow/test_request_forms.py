"""A request for a strong change comes as it is: whatever stands in its fields, it is refused by a code and no fault."""

from typing import Any

import pytest

from archive_service.following import parser_pool
from archive_service.settings import load
from tests.flow.archive_fixtures import no_settings_around
from tests.flow.real_api import RealApi
from tests.flow.test_compartments import made_compartment, mail, taken
from tests.flow.test_retention import set_schedule

__all__ = ["no_settings_around"]

JUNK: list[Any] = [5, [5], [{}], {}]
ORDER = {
    "kind": "keep",
    "issuer": "i",
    "reference": "r",
    "dated": "2026-01-01",
    "text": "t",
    "document": None,
}
SCOPE = {
    "query": "q",
    "custodians": [],
    "groups": True,
    "first": "2026",
    "last": "2026",
    "past": True,
    "future": True,
}
LIST = {"messages": None, "captures": None}


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    """One archive for all: nothing that is asked here is approved."""
    folder = tmp_path_factory.mktemp("forms")
    with parser_pool(load(None), 1) as pool, RealApi(folder / "archive", pool) as made:
        yield made


@pytest.fixture(scope="module")
def known(api, tmp_path_factory):
    """What is there to be named."""
    folder = tmp_path_factory.mktemp("mail") / "m"
    mail(folder, "a", "anne@ex.fr", "bob@ex.fr", "contrat")
    (capture,) = taken(api, folder)
    api.follow()
    set_schedule(api)
    matter = api.call("POST", "/v1/matters", "legal", "zoe", name="A", purpose="p").json()["id"]
    officers = [{"subject": each, "role": "legal"} for each in "ab"]
    listed = {"captures": [capture], "messages": None}
    exclusion = {"exclusion": None, "name": "n", "basis": "b", "addresses": ["a@b.fr"], "domains": ["b.fr"]}
    return {
        "erasure.ask": ("dpo", {**listed, "ground": "request", "basis": "b"}),
        "grant.give": (
            "admin",
            {"subject": "s", "role": "legal", "matter": matter, "custodians": None, "until": None},
        ),
        "account.make": ("admin", {"name": "s", "role": "legal", "only": ["search"], "ends": "x"}),
        "matter.change": (
            "legal",
            {"matter": matter, "name": "n", "purpose": "p", "query": "q", "custodians": []},
        ),
        "schedule.set": ("dpo", {"schedule": None, "effective_from": None}),
        "disposition.run": ("dpo", {"classes": [], "omit": [], "elimination": None}),
        "retention.relabel": ("dpo", {**listed, "class": "ordinary"}),
        "hold.release": ("legal", {"hold": "x"}),
        "order.place": ("legal", {**ORDER, **SCOPE, **LIST}),
        "order.end": ("legal", {"order": "x"}),
        "compartment.make": ("dpo", {"name": "n", "officers": officers}),
        "exclusion.set": ("dpo", {**exclusion, "compartment": made_compartment(api), "sources": []}),
        "exclusion.end": ("dpo", {"exclusion": "x"}),
        "reseal": ("dpo", {**listed, "compartment": "x"}),
        "incident.close": ("dpo", {"incident": "x"}),
        "break_glass": ("legal", {"role": "dpo", "minutes": 5, "matter": matter}),
    }


def test_every_strong_change_is_tried(api, known):
    services = api.tenants.get(api.tenant.id)
    assert set(known) == set(services.four_eyes._actions)


LETTERS = {
    "A": "admin",
    "C": "compliance_officer",
    "D": "dpo",
    "L": "legal",
    "P": "privilege_reviewer",
    "R": "records_manager",
    "U": "auditor",
    "V": "reviewer",
}
# By hand: who asks, who decides, whether it is private, and whether it lets somebody in.
CHANGES = {
    "account.make": ("A", "CL", False, True),
    "erasure.ask": ("CDLR", "CDLR", False, False),
    "grant.give": ("AC", "CDL", False, True),
    "matter.change": ("CL", "CL", False, False),
    "break_glass": ("ACDLPRUV", "ACDLR", False, True),
    "hold.release": ("CL", "CDL", False, False),
    "compartment.make": ("ACDL", "CDL", True, True),
    "exclusion.set": ("ACDL", "CDL", True, False),
    "exclusion.end": ("ACDL", "CDL", True, False),
    "incident.close": ("ACD", "ACDL", False, False),
    "reseal": ("CDL", "CDL", True, False),
    "schedule.set": ("CDLR", "CDLR", False, False),
    "retention.relabel": ("CDLR", "CDLR", False, False),
    "disposition.run": ("CDLR", "CDLR", False, False),
    "order.place": ("CDL", "CDL", True, False),
    "order.end": ("CDL", "CDL", True, False),
}


def test_four_eyes_who_asks_for_each_change_and_who_decides_it(api):
    def letters(roles):
        return "".join(sorted(letter for letter, role in LETTERS.items() if role in roles))

    actions = api.tenants.get(api.tenant.id).four_eyes._actions
    assert all(set(LETTERS.values()) >= each.asks | each.decides for each in actions.values())
    said = {
        name: (letters(each.asks), letters(each.decides), each.private, each.lasting)
        for name, each in actions.items()
    }
    assert said == CHANGES


def test_a_field_of_any_other_form_is_refused_by_a_code_and_no_fault(api, known):
    faults = []
    for action, (role, body) in known.items():
        for name in body:
            for junk in JUNK:
                given = {"action": action, "request": {**body, name: junk}, "reason": "r"}
                answer = api.call("POST", "/v1/approvals", role, "fuzz", **given)
                if answer.status_code not in (201, 404, 409, 422) or "code" not in answer.json() | {
                    "code": 0
                }:
                    faults.append((action, name, junk, answer.status_code))
    assert faults == []


@pytest.mark.parametrize(
    ("action", "name", "junk"),
    [
        ("disposition.run", "omit", [{}]),
        ("disposition.run", "elimination", []),
        ("order.place", "query", 5),
        ("order.place", "groups", "no"),
        ("break_glass", "role", {}),
        ("exclusion.set", "sources", 1),
        ("grant.give", "custodians", "c1"),
    ],
)
def test_the_field_that_is_wrong_is_named(api, known, action, name, junk):
    role, body = known[action]
    answer = api.call(
        "POST", "/v1/approvals", role, "fuzz", action=action, request={**body, name: junk}, reason="r"
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "approval.request")
    assert answer.json()["detail"].startswith(name)


@pytest.mark.parametrize(
    ("action", "name"),
    [
        ("grant.give", "custodian"),
        ("break_glass", "matters"),
        ("matter.change", "custodian"),
        ("disposition.run", "omits"),
        ("order.place", "since"),
        ("exclusion.set", "source"),
    ],
)
def test_four_eyes_a_bound_that_is_misspelt_is_not_left_out_unseen(api, known, action, name):
    role, body = known[action]
    asked = {"action": action, "request": {**body, name: "x"}, "reason": "r"}
    answer = api.call("POST", "/v1/approvals", role, "fuzz", **asked)
    assert (answer.status_code, answer.json()["code"]) == (422, "approval.request")


@pytest.mark.parametrize("bounds", [{"custodians": []}, {"matter": ""}], ids=["people", "matter"])
def test_four_eyes_a_grant_for_nobody_is_none_for_everything(api, bounds):
    asked = {"action": "grant.give", "request": {"subject": "s", "role": "reviewer", **bounds}, "reason": "r"}
    answer = api.call("POST", "/v1/approvals", "admin", "paul", **asked)
    assert (answer.status_code, answer.json()["code"]) == (422, "grant.bounds")
