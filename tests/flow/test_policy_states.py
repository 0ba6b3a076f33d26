"""The table role x route x what became of a mail, over a real archive: free, held, restricted by a grant, sealed into a
compartment, barred. One archive; each cell is a request, and each says what another cell may not."""

from datetime import timedelta

import pytest

from archive_service.access.events import RoleName
from archive_service.following import parser_pool
from archive_service.model.clock import rfc3339
from archive_service.settings import load
from tests.flow.archive_fixtures import no_settings_around
from tests.flow.real_api import RealApi
from tests.flow.test_bypasses import asked_grant
from tests.flow.test_compartments import found, made_compartment, mail, taken

__all__ = ["no_settings_around"]

STATES = ("free", "held", "restricted", "barred", "sealed")
ROUTES = ("", "/raw", "/captures", "/exports")
CASE = {"compliance_officer", "legal"}
OPEN = {"free", "held", "restricted"}  # to who sees the whole tenant

# Everybody: role, subject, in the compartment or not, and which mail he is shown.
PEOPLE = [
    *((str(role), "lea", False, OPEN if str(role) in CASE else None) for role in RoleName),
    *((str(role), "lea", True, set()) for role in RoleName),  # no grant there: the compartment is not
    ("reviewer", "of-people", False, {"restricted"}),
    ("reviewer", "of-matter", False, {"held"}),
    ("privilege_reviewer", "of-both", False, set()),  # a matter and people that have no mail in common
    ("reviewer", "yet-to-come", False, None),
    ("reviewer", "revoked", False, None),
    ("alert_officer", "of-people", False, {"restricted"}),
    ("legal", "of-people", False, OPEN),  # a role of one's own is not narrowed by a grant in another
    ("reviewer", "rita", True, set()),  # her grant there is for another role
    ("alert_officer", "rita", True, {"sealed"}),
    ("legal", "lou", True, {"sealed"}),
]
NO_EXPORT = {"reviewer", "privilege_reviewer"}


class Archive:
    def __init__(self, api, folder):
        self.api = api
        self.owner = made_compartment(api)
        for state in STATES:
            mail(
                folder / state,
                state,
                "anne@ex.fr" if state == "restricted" else "bob@ex.fr",
                "zoe@ex.fr",
                state,
            )
            taken(api, folder / state, tenant="acme/alertes" if state == "sealed" else "acme")
        where = f"?compartment={self.owner}"
        shown = [*found(api)["hits"], *found(api, "legal", "lou", where=where)["hits"]]
        self.ids = {hit["subject"]: hit["id"] for hit in shown}
        self.captures = {
            state: api.call(
                "GET", f"/v1/messages/{self.ids[state]}{where if state == 'sealed' else ''}", "legal", "lou"
            ).json()["captures"][0]["id"]
            for state in STATES
        }
        self.grants()
        self.hold()
        asked = {"messages": [self.ids["barred"]], "ground": "request", "basis": "RGPD 17", "reason": "r"}
        api.approved(api.call("POST", "/v1/erasures", "dpo", "paul", **asked))
        api.follow()

    def grants(self):
        anne = {"name": "Anne", "addresses": [{"address": "anne@ex.fr"}]}
        person = self.api.call("POST", "/v1/custodians", "admin", "eve", **anne).json()["id"]
        about = {"name": "M", "purpose": "p", "query": "subject:held"}
        matter = self.api.call("POST", "/v1/matters", "legal", "lou", **about).json()["id"]
        for role, subject, bounds in (
            ("reviewer", "of-people", {"custodians": [person]}),
            ("alert_officer", "of-people", {"custodians": [person]}),
            ("reviewer", "of-matter", {"matter": matter}),
            ("privilege_reviewer", "of-both", {"matter": matter, "custodians": [person]}),
            ("reviewer", "yet-to-come", {"from": "2098-01-01T00:00:00Z", "until": "2098-02-01T00:00:00Z"}),
            ("reviewer", "revoked", {}),
        ):
            given = self.api.approved(asked_grant(self.api, subject=subject, role=role, **bounds))
        path = f"/v1/grants/{given['grant']}/revoke"
        assert self.api.call("POST", path, "admin", "eve", reason="fini").status_code == 200

    def hold(self):
        about = {"name": "H", "purpose": "litige"}
        matter = self.api.call("POST", "/v1/matters", "legal", "lou", **about).json()["id"]
        body = {"name": "h", "ground": "litige", "claim": "RG 1", "owner": "lou", "query": "subject:held"}
        body["silent"] = False  # a silent one is told to fewer anyway
        path = f"/v1/matters/{matter}/holds"
        review = rfc3339(self.api.core.clock() + timedelta(days=90))
        made = self.api.call("POST", path, "legal", "lou", review=review, **body)
        assert made.status_code == 201, made.text

    def ask(self, route, state, role, subject, inside):
        where = f"?compartment={self.owner}" if inside else ""
        if route == "/exports":
            body = {"ids": [self.ids[state]], "formats": ["bundle"]}
            return self.api.call("POST", f"/v1/exports{where}", role, subject, **body)
        path = (
            f"captures/{self.captures[state]}/raw"
            if route == "/captures"
            else f"messages/{self.ids[state]}{route}"
        )
        return self.api.call("GET", f"/v1/{path}{where}", role, subject)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("states")
    with parser_pool(load(None), 1) as pool, RealApi(folder / "archive", pool) as api:
        yield Archive(api, folder)


def expected(route, state, role, inside, shown):
    if shown is None or (route == "/exports" and role in NO_EXPORT and not inside):
        return 403
    if state not in shown or (route == "/exports" and role in NO_EXPORT):
        return 404
    return 202 if route == "/exports" else 200


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("route", ROUTES, ids=["view", "raw", "capture", "export"])
def test_who_is_shown_a_mail_by_what_became_of_it(archive, route, state):
    for role, subject, inside, shown in PEOPLE:
        answer = archive.ask(route, state, role, subject, inside)
        wanted = expected(route, state, role, inside, shown)
        assert answer.status_code == wanted, (role, subject, inside, answer.text[:200])


@pytest.mark.parametrize("person", PEOPLE, ids=lambda person: "-".join(map(str, person[:3])))
def test_a_search_counts_what_is_shown_and_nothing_else(archive, person):
    role, subject, inside, shown = person
    where = f"?compartment={archive.owner}" if inside else ""
    answer = archive.api.call("POST", f"/v1/search{where}", role, subject, query="*")
    if shown is None or (inside and not shown):
        assert answer.status_code == (404 if inside else 403)
        return
    found = answer.json()
    assert {hit["subject"] for hit in found["hits"]} == shown
    assert (found["total"], found["not_fully_indexed"]) == (len(shown), 0)


def test_a_hold_is_told_to_who_sees_the_tenant_and_not_within_a_grant(archive):
    for subject, role, told in (("lea", "legal", 1), ("of-matter", "reviewer", 0)):
        view = archive.ask("", "held", role, subject, False).json()
        assert len(view["holds"]) == told
