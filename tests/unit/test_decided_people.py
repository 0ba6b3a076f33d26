"""Four eyes over whose mail a grant shows: nobody widens it alone by changing the directory."""

import pytest

from archive_service.access.cases import Cases, grant_act
from archive_service.access.events import Actor, RoleName
from archive_service.access.four_eyes import FourEyes
from archive_service.access.scope import NOTHING, scope_of
from archive_service.ledger.approvals import Verdict
from archive_service.model.errors import Refused
from archive_service.strong_actions import grant_action, matter_action
from search.query_language import render
from tests.unit.core_world import Archive as World

SAID = {"version": 1, "by": "paul", "at": "2026-01-01T00:00:00.000000Z", "origin": "api"}
OFFICER, OTHER = (Actor(who, RoleName.COMPLIANCE_OFFICER, "t") for who in ("paul", "zoe"))


class Desk:
    def __init__(self):
        world = World()
        self.acts = world.acts()
        self.cases = Cases(self.acts, world.world.clock)
        actions = (grant_action(self.acts, self.cases), matter_action(self.acts, self.cases))
        self.eyes = FourEyes(self.acts, actions, world.world.clock)
        self.person("anne", "anne@ex.fr")
        self.person("boss", "boss@ex.fr", ("old@ex.fr", None, "2025-12-31"))

    def person(self, who, *addresses, name=None):
        held = [
            {"address": each, "kind": "primary"}
            if isinstance(each, str)
            else {"address": each[0], "kind": "alias"}
            | {word: day for word, day in (("from", each[1]), ("until", each[2])) if day}
            for each in addresses
        ]
        record = {"id": who, "name": name or who.title(), "addresses": held}
        self.acts.append(lambda _: {"act": "custodian.set", "people": [record], **SAID})

    def matter(self, **about):
        return self.cases.set_matter("paul", {"name": "Affaire", "purpose": "enquête", **about}).id

    def decided(self, action, request, between=lambda: None):
        asked = self.eyes.ask(OFFICER, action, request, "why").id
        between()
        self.eyes.decide(OTHER, asked, Verdict.APPROVED, "vu")
        return self.eyes.carry_out(asked)

    def grant(self, **bounds):
        self.decided("grant.give", {"subject": "rita", "role": "reviewer", **bounds})

    def scope(self):
        return scope_of(self.acts.grants.of("rita"), self.acts.matters.known, self.acts.custodians)

    def shown(self):
        return render(self.scope())


@pytest.fixture
def desk():
    return Desk()


@pytest.fixture(params=["custodians", "matter", "query", "by_name"])
def granted(request, desk):
    """A grant that shows Anne's mail, by each way in which one can."""
    bounds = {
        "custodians": lambda: {"custodians": ["anne"]},
        "matter": lambda: {"matter": desk.matter(custodians=["anne"])},
        "query": lambda: {"matter": desk.matter(query="custodian:anne@ex.fr")},
        "by_name": lambda: {"matter": desk.matter(query="custodian:Anne")},
    }[request.param]()
    desk.grant(**bounds)
    assert "anne@ex.fr" in desk.shown()
    return desk


def test_four_eyes_an_address_added_by_one_does_not_widen_a_grant(granted):
    before = granted.shown()
    granted.person("anne", "anne@ex.fr", "boss2@ex.fr")
    assert granted.shown() == before


def test_four_eyes_an_address_that_passes_on_does_not_bring_its_mail_along(granted):
    granted.person("boss", "boss2@ex.fr")
    granted.person("anne", "boss@ex.fr")
    assert granted.scope() == NOTHING


def test_four_eyes_a_name_that_passes_on_shows_nobody_else(granted):
    granted.person("anne", "anne2@ex.fr", name="Somebody")
    granted.person("boss", "boss@ex.fr", "anne@ex.fr", name="Anne")
    assert "boss" not in granted.shown()


def test_an_address_taken_away_counts_no_more_and_comes_back_as_it_was(granted):
    before = granted.shown()
    granted.person("anne", "new@ex.fr")
    assert granted.scope() == NOTHING
    granted.person("anne", "anne@ex.fr", "new@ex.fr")
    assert granted.shown() == before


def test_four_eyes_days_are_not_widened_either(desk):
    desk.grant(custodians=["boss"])
    desk.person("boss", "boss@ex.fr", "old@ex.fr")
    assert "old@ex.fr" in desk.shown()
    assert "2025-12-31" in desk.shown()
    desk.person("boss", "boss@ex.fr", ("old@ex.fr", "2020-01-01", "2021-01-01"))
    assert "2020-01-01" in desk.shown()
    assert "2025-12-31" not in desk.shown()


@pytest.mark.parametrize(
    ("then", "now", "shown"),
    [
        (("2025-03-01", "2025-03-31"), ("2025-03-10", "2025-03-20"), "sent:2025-03-10..2025-03-20"),
        (("2025-03-10", "2025-03-20"), ("2025-03-01", "2025-03-31"), "sent:2025-03-10..2025-03-20"),
        (("2025-03-01", "2025-03-20"), ("2025-03-10", None), "sent:2025-03-10..2025-03-20"),
        (("2025-03-10", None), (None, "2025-03-20"), "sent:2025-03-10..2025-03-20"),
        (
            ("2025-03-01", "2025-03-10"),
            ("2025-03-10", "2025-03-20"),
            "sent:2025-03-10",
        ),  # one day that both hold
        (("2025-03-01", "2025-03-09"), ("2025-03-10", "2025-03-20"), None),
        (("2025-03-10", "2025-03-20"), ("2025-03-01", "2025-03-09"), None),
    ],
)
def test_four_eyes_the_days_of_an_address_are_those_of_then_that_are_of_now_too(desk, then, now, shown):
    desk.person("boss", "boss@ex.fr", ("old@ex.fr", *then))
    desk.grant(custodians=["boss"])
    desk.person("boss", "boss@ex.fr", ("old@ex.fr", *now))
    always = 'participants:"boss@ex.fr"'
    wanted = always if shown is None else f'{always} OR participants:"old@ex.fr" AND {shown}'
    assert desk.shown() == wanted


def test_a_new_grant_of_two_people_shows_what_was_added(granted):
    granted.person("anne", "anne@ex.fr", "new@ex.fr")
    assert "new@ex.fr" not in granted.shown()
    granted.grant(custodians=["anne"])
    assert "new@ex.fr" in granted.shown()


@pytest.mark.parametrize(
    "left_out", ["custodian:boss@ex.fr", "custodian:Boss", "(custodian:boss@ex.fr OR prive)"]
)
def test_four_eyes_who_is_left_out_stays_left_out(desk, left_out):
    desk.grant(matter=desk.matter(query=f"contrat NOT {left_out}"))
    desk.person("boss", "elsewhere@ex.fr", name="Somebody")
    desk.person("eve", "boss@ex.fr", name="Boss")
    for address in ("boss@ex.fr", "old@ex.fr", "elsewhere@ex.fr"):
        assert address in desk.shown()


def test_four_eyes_a_matter_that_two_people_changed_rests_on_what_they_saw(desk):
    matter = desk.matter(custodians=["anne"])
    desk.grant(matter=matter)
    about = {"matter": matter, "name": "Affaire", "purpose": "enquête", "custodians": ["anne", "boss"]}
    desk.decided("matter.change", about, lambda: desk.person("boss", "boss@ex.fr", "ceo@ex.fr"))
    assert "boss@ex.fr" in desk.shown()
    assert "ceo@ex.fr" not in desk.shown()
    desk.cases.set_matter("paul", {**about, "name": "Affaire 1"}, matter)  # by one: it is about the same
    assert "boss@ex.fr" in desk.shown()


def test_four_eyes_a_matter_changed_between_the_two_people_stops_the_grant(desk):
    matter = desk.matter(custodians=["anne"])

    def widen():
        wider = {"name": "Affaire", "purpose": "enquête", "query": "*"}
        desk.cases.set_matter("paul", wider, matter)

    with pytest.raises(Refused, match="changed since"):
        desk.decided("grant.give", {"subject": "rita", "role": "reviewer", "matter": matter}, widen)
    assert desk.acts.grants.all() == []


def test_a_grant_of_before_rests_on_the_directory_as_it_is(desk):
    times = {"from": "2026-01-01T00:00:00.000000Z", "until": "2026-12-31T00:00:00.000000Z"}
    given = {"subject": "rita", "role": "reviewer", "custodians": ["anne"], **times}
    desk.acts.append(lambda _: grant_act(given, by="paul", reason="why"))
    desk.person("anne", "anne@ex.fr", "new@ex.fr")
    assert "new@ex.fr" in desk.shown()
