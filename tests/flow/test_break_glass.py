"""Break-glass: a role for minutes, under two people (four eyes), marked in every entry, told by an alarm, and over."""

from datetime import timedelta

import pytest

from archive_service.access.identity import Identity
from archive_service.access.tokens import TokenVerifier
from archive_service.alarms import names
from archive_service.alarms.break_glass_looks import open_glass
from archive_service.api.services import IncidentState
from archive_service.model.clock import from_rfc3339, rfc3339
from tests.flow.api_fakes import NOW, Archive, is_problem


class RealGrants:
    """Grants by the acts, as ``ActsAuthority`` has them."""

    def __init__(self, acts, always=False):
        self.acts, self.always, self.required = acts, always, frozenset()

    def grants(self, subject):
        self.acts.refresh()
        return self.acts.grants.of(subject)

    def incident(self):
        return IncidentState()

    def scope(self, within):
        raise AssertionError("nothing here is bounded")


class World:
    """An archive, whose clock a test moves: Rita is an administrator and needs to read, Zoé is a lawyer."""

    def __init__(self, always=False):
        self.archive = Archive()
        self.one = self.archive.one
        self.one.authority = RealGrants(self.one.acts, always)
        self.now = NOW
        bearers = Identity(TokenVerifier({self.one.id: self.one.public_pem}.get, lambda: NOW))
        services = self.archive.services(bearers=bearers, clock=lambda: self.now)
        self.archive.app.state.services = services

    def call(self, method, path, role, subject, **options):
        headers = {"Authorization": f"Bearer {self.one.token(role, subject)}"} | options.pop("headers", {})
        return self.archive.call(method, path, headers=headers, **options)

    def ask(self, caller="admin", subject="rita", **changes):
        body = {"role": "legal", "minutes": 60, "reason": "a court's deadline"} | changes
        return self.call("POST", "/v1/break-glass", caller, subject, json=body)

    def approve(self, approval, role="legal", subject="zoe"):
        path = f"/v1/approvals/{approval}/approve"
        return self.call("POST", path, role, subject, json={"reason": "agreed"})

    def read(self, subject="rita", role="admin", acting="legal"):
        return self.call("GET", "/v1/messages/m1", role, subject, headers={"X-Archive-Role": acting})


def test_two_people_open_it_and_every_entry_is_marked():
    world = World()
    is_problem(world.read(), 403, "auth.role_not_held")
    asked = world.ask()
    assert asked.status_code == 202
    is_problem(world.read(), 403, "auth.role_not_held")  # asked is not approved
    assert world.approve(asked.json()["id"]).status_code == 200
    assert world.read().status_code == 200
    event = world.one.access_log.events[-1]
    assert (event.actor, event.role, event.action) == ("rita", "legal", "message.view")
    assert event.detail["break_glass"] is True
    (grant,) = world.call("GET", "/v1/grants", "legal", "zoe").json()["grants"]
    assert (grant["subject"], grant["break_glass"], grant["state"]) == ("rita", True, "open")


def test_the_other_roles_of_the_person_are_as_before():
    world = World()
    world.approve(world.ask().json()["id"])
    assert world.call("GET", "/v1/sources", "admin", "rita").status_code == 200
    assert "break_glass" not in world.one.access_log.events[-1].detail
    is_problem(world.read(acting="dpo"), 403, "auth.role_not_held")
    is_problem(world.read(subject="paul"), 403, "auth.role_not_held")


def test_it_ends_by_itself():
    world = World()
    world.approve(world.ask(minutes=30).json()["id"])
    world.now = NOW + timedelta(minutes=29)
    assert world.read().status_code == 200
    world.now = NOW + timedelta(minutes=30)
    is_problem(world.read(), 403, "auth.role_not_held")


def test_it_is_revoked_at_once():
    world = World()
    world.approve(world.ask().json()["id"])
    grant = world.one.acts.grants.all()[-1].id
    revoked = world.call("POST", f"/v1/grants/{grant}/revoke", "admin", "paul", json={"reason": "over"})
    assert revoked.status_code == 200
    is_problem(world.read(), 403, "auth.role_not_held")


def test_nobody_opens_it_alone_four_eyes():
    world = World()
    asked = world.ask("legal", "zoe", role="admin").json()["id"]
    is_problem(world.approve(asked, "legal", "zoe"), 409, "approval.own")
    is_problem(world.approve(asked, "admin", "zoe"), 409, "approval.own")


@pytest.mark.parametrize("role", ["auditor", "reviewer"])
def test_not_everybody_is_a_second_person(role):
    world = World()
    answer = world.approve(world.ask().json()["id"], role, "rolf")
    assert answer.status_code in (403, 404)
    is_problem(world.read(), 403, "auth.role_not_held")


def test_what_is_approved_opens_once():
    world = World()
    asked = world.ask().json()["id"]
    world.approve(asked)
    execute = world.call("POST", f"/v1/approvals/{asked}/execute", "legal", "zoe")
    is_problem(execute, 409, "approval.executed")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"minutes": 0}, "request.invalid"),
        ({"minutes": 241}, "request.invalid"),
        ({"minutes": 1.5}, "request.invalid"),
        ({"role": "alert_officer"}, "break_glass.role"),
        ({"role": "external_auditor"}, "break_glass.role"),
        ({"role": "root"}, "request.invalid"),
        ({"reason": ""}, "request.invalid"),
    ],
    ids=repr,
)
def test_what_cannot_be_asked_for(changes, code):
    is_problem(World().ask(**changes), 422, code)


def test_who_acts_so_asks_for_no_more():
    world = World()
    world.approve(world.ask().json()["id"])
    body = {"role": "dpo", "minutes": 240, "reason": "more"}
    headers = {"X-Archive-Role": "legal"}
    answer = world.call("POST", "/v1/break-glass", "admin", "rita", json=body, headers=headers)
    is_problem(answer, 422, "break_glass.open")


def test_where_every_role_needs_a_grant_it_stands_for_one_and_is_marked():
    world = World(always=True)
    acts = world.one.acts
    is_problem(world.read(role="legal"), 403, "auth.forbidden")
    acts.append(
        lambda _: {
            "version": 1,
            "act": "grant.give",
            "grant": "g1",
            "subject": "rita",
            "role": "legal",
            "from": rfc3339(NOW),
            "until": rfc3339(NOW + timedelta(hours=1)),
            "reason": "r",
            "by": "b",
            "break_glass": True,
        }
    )
    unnamed = world.call("GET", "/v1/messages/m1", "legal", "rita")
    is_problem(unnamed, 403, "auth.forbidden")  # it lends itself to nothing that is not marked
    assert world.read(role="legal").status_code == 200
    assert world.one.access_log.events[-1].detail["break_glass"] is True


def test_the_alarm_names_grant_and_end_and_nobody():
    world = World()
    acts = world.one.acts
    assert [sample.value for sample in open_glass(acts, rfc3339(NOW))] == [0]
    world.approve(world.ask().json()["id"])
    told = open_glass(acts, rfc3339(NOW))
    grant = acts.grants.all()[-1]
    assert [sample.value for sample in told] == [0, 1]
    assert grant.id in str(told[1]) and grant.ends in str(told[1])
    assert "rita" not in str(told)
    assert {sample.metric for sample in told} == {names.BREAK_GLASS_OPEN}
    later = rfc3339(from_rfc3339(grant.begins) + timedelta(hours=1))
    assert [sample.value for sample in open_glass(acts, later)] == [0]


def test_the_alarm_tells_of_one_that_was_revoked_before_anybody_looked():
    world = World()
    acts = world.one.acts
    world.approve(world.ask().json()["id"])
    grant = acts.grants.all()[-1]
    acts.append(
        lambda _: {
            "version": 1,
            "act": "grant.revoke",
            "grant": grant.id,
            "by": "zoe",
            "reason": "r",
            "at": "t",
        }
    )
    assert not acts.grants.all()[-1].open(rfc3339(NOW))
    assert [sample.value for sample in open_glass(acts, rfc3339(NOW))] == [0, 1]


@pytest.mark.parametrize("what", ["break_glass", "grant.give"])
def test_four_eyes_who_acts_so_lets_nobody_in(what):
    """Else two who were let in once would go on opening it for each other."""
    world = World()
    world.approve(world.ask("auditor", "ann", role="compliance_officer").json()["id"])
    if what == "break_glass":
        asked = world.ask("auditor", "ben", role="compliance_officer")
    else:
        grant = {"subject": "ben", "role": "reviewer", "reason": "r"}
        asked = world.call("POST", "/v1/grants", "admin", "rita", json=grant)
    path, acting = f"/v1/approvals/{asked.json()['id']}", {"X-Archive-Role": "compliance_officer"}
    said = {"json": {"reason": "agreed"}, "headers": acting}
    is_problem(world.call("POST", f"{path}/approve", "auditor", "ann", **said), 403, "approval.break_glass")
    assert world.approve(asked.json()["id"]).json()["state"] == "executed"
