"""Ids of a compartment in the hands of people outside it: every route that takes one answers as for one that never was,
and nothing that is done outside to what was moved away reaches its copy."""

import asyncio
import json
import secrets
from typing import Any

import pytest

from archive_service.access.events import RoleName
from archive_service.ledger.orders import OrderKind
from tests.flow.api_fakes import TABLE
from tests.flow.archive_fixtures import done, in_days, no_settings_around
from tests.flow.real_api import RealApi
from tests.flow.test_compartments import found, made_compartment, mail, subjects, taken
from tests.flow.test_orders import forward

__all__ = ["no_settings_around"]

NEVER = "0123456789abcdef0123"
HOLD = {"name": "h", "ground": "litigation", "claim": "x", "owner": "zoe", "review": in_days(200)}
ORDER = {"issuer": "TJ", "reference": "RG 1", "dated": "2026-01-05", "text": "t", "reason": "r",
         "document": {"name": "o.pdf", "type": "application/pdf", "content": "JVBERg=="}}  # fmt: skip
ERASE = {"ground": "request", "basis": "RGPD 17", "reason": "r"}


class Sealed:
    """An archive with a mail of its own, and a compartment in which there is one of everything that has an id."""

    def __init__(self, api: RealApi, folder: Any) -> None:
        self.api = api
        self.compartment = made_compartment(api)
        self.where = f"?compartment={self.compartment}"
        for role in ("reviewer", "privilege_reviewer", "alert_officer", "external_auditor"):
            given = {"subject": f"o-{role}", "role": role, "reason": "r"}
            api.approved(api.call("POST", "/v1/grants", "admin", "paul", **given))
        for role in ("admin", "records_manager"):
            given = {"subject": f"i-{role}", "role": role, "reason": "r"}
            asked = api.call("POST", f"/v1/grants{self.where}", "compliance_officer", "max", **given)
            api.approved(asked, "legal", "lou", self.where)
        mail(folder / "m", "one", "a@ex.fr", "b@ex.fr", "contrat")
        taken(api, folder / "m")
        mail(folder / "k", "two", "z@ex.fr", "y@ex.fr", "alerte")
        (self.capture,) = taken(api, folder / "k", "acme/alertes")
        api.follow()
        self.message = found(api, "legal", "lou", where=self.where)["hits"][0]["id"]
        self._filled()

    def _filled(self) -> None:
        self.matter = self.made("/v1/matters", name="A", purpose="p", query="*")
        self.hold = self.made(f"/v1/matters/{self.matter}/holds", **HOLD, query="*")
        self.export = self.made("/v1/exports", query="*", formats=["bundle"])
        self.approval = self.made("/v1/erasures", messages=[self.message], **ERASE)
        self.order = self.made("/v1/orders", **ORDER, kind="keep", query="*")
        approve = f"/v1/approvals/{self.order}/approve{self.where}"
        carried = self.api.call("POST", approve, "compliance_officer", "max", reason="vu").json()
        self.order = carried["result"]["order"]
        people = ("records_manager", "i-records_manager")
        self.custodian = self.made("/v1/custodians", *people, name="Z", addresses=[{"address": "z@ex.fr"}])
        self.scim = self.made("/scim/v2/Users", *people, userName="zz@ex.fr")
        self.group = self.made("/scim/v2/Groups", *people, displayName="V")
        self.source = self.made("/v1/sources", "admin", "i-admin", name="q", kind="generic")
        account = {"name": "siem", "role": "auditor", "only": ["access_log"], "ends": HOLD["review"]}
        path = f"/v1/accounts{self.where}"
        made = self.api.call("POST", path, "admin", "i-admin", **account).json()
        self.account, self.token = made["id"], made["token"]
        grants = self.api.call("GET", f"/v1/grants{self.where}", "legal", "lou").json()["grants"]
        self.grant = grants[0]["id"]

    def made(self, path: str, role: str = "legal", who: str = "lou", /, **body: Any) -> str:
        answer = self.api.call("POST", path + self.where, role, who, **body)
        assert answer.status_code in (201, 202), answer.text
        return str(answer.json()["id"])

    def of_path(self, path: str) -> str | None:
        """The compartment's id for a route's ``{id}``."""
        places = {
            "/v1/messages": self.message, "/v1/captures": self.capture, "/v1/exports": self.export,
            "/v1/jobs": self.export, "/v1/accounts": self.account, "/v1/sources": self.source,
            "/v1/custodians": self.custodian, "/scim/v2/Users": self.scim, "/scim/v2/Groups": self.group,
            "/v1/approvals": self.approval, "/v1/grants": self.grant, "/v1/matters": self.matter,
            "/v1/orders": self.order, "/v1/dispositions": self.order,
            "/v1/acknowledgements": f"{self.compartment}.{self.hold}.{'0' * 64}",
        }  # fmt: skip
        return next((there for begin, there in places.items() if path.startswith(f"{begin}/{{")), None)

    def bodies(self) -> list[tuple[str, str, str, dict[str, Any]]]:
        """Route, role, the id in it, and a body that holds it."""
        capture, message, matter = self.capture, self.message, self.matter
        return [
            ("/v1/erasures", "legal", message, ERASE | {"messages": [message]}),
            ("/v1/erasures", "legal", capture, ERASE | {"captures": [capture]}),
            ("/v1/exports", "legal", message, {"ids": [message], "formats": ["bundle"]}),
            ("/v1/matters", "legal", self.custodian, {"name": "x", "purpose": "p", "custodians": [self.custodian]}),
            ("/v1/grants", "admin", matter, {"subject": "r", "role": "reviewer", "matter": matter, "reason": "r"}),
            ("/v1/recertifications", "admin", self.grant, {"confirmed": [self.grant], "note": "n"}),
            ("/v1/recertifications", "admin", self.account, {"withdraw": [self.account], "note": "n"}),
            ("/v1/dispositions/extend", "dpo", capture,
             {"captures": [capture], "until": HOLD["review"], "reason": "r"}),
            ("/v1/orders", "legal", capture, ORDER | {"kind": "keep", "captures": [capture]}),
            ("/v1/orders", "legal", message, ORDER | {"kind": "erase", "messages": [message]}),
            *(("/v1/approvals", "legal", there, {"action": action, "request": {name: there}, "reason": "r"})
              for action, name, there in (("hold.release", "hold", self.hold), ("order.end", "order", self.order),
                                          ("exclusion.end", "exclusion", self.order))),
            ("/v1/approvals", "compliance_officer", capture,
             {"action": "reseal", "request": {"captures": [capture], "compartment": self.compartment}, "reason": "r"}),
        ]  # fmt: skip

    def asked(self, method: str, path: str, token: str, body: Any, *hidden: str) -> tuple[Any, ...]:
        """Status, body and headers, without the ids that were asked for."""
        headers = {"Authorization": f"Bearer {token}"}
        got = asyncio.run(self.api._call(method, path, headers, {"json": body} if body is not None else {}))
        text = got.text
        for each in hidden:
            text = text.replace(each, "#")
        shown = sorted(pair for pair in got.headers.items() if pair[0] not in ("x-request-id", "etag"))
        if not got.headers.get("content-type", "").endswith("json"):
            return got.status_code, text, shown
        return got.status_code, {**json.loads(text), "request_id": ""}, shown


def never(there: str) -> str:
    """An id of the same form that nobody has been given."""
    if "." in there:
        return f"{NEVER}{there[20:]}"
    return there[0] + "".join(secrets.choice("abcdef") if each.isalnum() else each for each in there[1:])


@pytest.fixture(scope="module")
def sealed(tmp_path_factory, pool):
    folder = tmp_path_factory.mktemp("sealed")
    with RealApi(folder / "archive", pool) as api:
        yield Sealed(api, folder)


def test_every_route_answers_a_compartments_id_as_one_that_never_was(sealed):
    differing, looked = [], 0
    for (method, route), (may, _, body) in TABLE.items():
        there = sealed.of_path(route)
        if there is None or isinstance(body, bytes):
            continue
        for role in ("reviewer", *sorted(may - {"nobody", "dpo"})[:2]):
            token = sealed.api.token(role, f"o-{role}")
            answers = []
            for each, hold in ((there, sealed.hold), (never(there), never(sealed.hold))):
                path = route.replace("{id}", each).replace("{link}", each).replace("{hold}", hold)
                answers.append(sealed.asked(method, path, token, body, each, hold))
            looked += answers[0][0] == 404
            if answers[0] != answers[1]:
                differing.append((method, route, role, answers))
    assert differing == []
    assert looked > 50


def test_every_body_that_names_a_compartments_id_is_answered_as_if_it_never_was(sealed):
    for path, role, there, body in sealed.bodies():
        token, other = sealed.api.token(role, f"o-{role}"), never(there)
        named = sealed.asked("POST", path, token, body, there)
        assert named[0] == 404, (path, body, named)
        foreign = json.loads(json.dumps(body).replace(there, other))
        assert named == sealed.asked("POST", path, token, foreign, other), path


def test_every_route_is_as_far_away_in_a_compartment_as_in_none(sealed):
    """Whatever a role has outside, with a body that would do there."""
    for (method, route), (_, url, body) in TABLE.items():
        if not route.startswith(("/v1/", "/scim/")) or "{link}" in route or isinstance(body, bytes):
            continue
        more = "&" if "?" in url else "?"
        token = sealed.api.token("compliance_officer", "o-compliance_officer")
        there, nowhere = (
            sealed.asked(method, f"{url}{more}compartment={each}", token, body, each)
            for each in (sealed.compartment, NEVER)
        )
        assert there == nowhere and there[0] == 404, (method, route, there, nowhere)


def test_a_service_accounts_token_of_a_compartment_tells_nothing_when_it_is_not_one(sealed):
    owner = sealed.token.partition("_")[2][:20]
    assert owner == sealed.compartment
    answers = [
        sealed.asked("GET", "/v1/access-log", f"asa_{each}{sealed.token[24:-4]}beef", None, each)
        for each in (owner, NEVER)
    ]
    assert answers[0] == answers[1] and answers[0][0] == 401


@pytest.mark.parametrize(
    "role", sorted({*map(str, RoleName)} - {"admin", "dpo", "compliance_officer", "legal"})
)
def test_a_request_for_a_compartment_is_none_to_who_neither_asks_nor_decides(sealed, role):
    known = sealed.api.call("GET", "/v1/approvals", "dpo", "paul").json()["approvals"]
    (there,) = (each["id"] for each in known if each["action"] == "compartment.make")
    token, other = sealed.api.token(role, f"o-{role}"), never(there)
    for method, path, body in (
        ("GET", "/v1/approvals/{}", None),
        ("POST", "/v1/approvals/{}/approve", {"reason": "r"}),
        ("POST", "/v1/approvals/{}/refuse", {"reason": "r"}),
        ("POST", "/v1/approvals/{}/execute", {}),
        ("GET", "/v1/approvals?limit=1&cursor={}", None),
    ):
        answers = [sealed.asked(method, path.format(each), token, body, each) for each in (there, other)]
        assert answers[0] == answers[1], (method, path)


# --- what was moved away


def moved(api: RealApi, folder: Any, before: Any = None) -> tuple[str, str, Any]:
    """(the compartment, the original's id, what ``before`` gave) of a stray that was moved."""
    compartment = made_compartment(api)
    mail(folder / "m", "plain", "a@ex.fr", "b@ex.fr", "contrat")
    mail(folder / "m", "stray", "la@ex.fr", "b@ex.fr", "corruption")
    taken(api, folder / "m")
    hits = found(api)["hits"]
    message = next(hit["id"] for hit in hits if hit["subject"] == "corruption")
    view = api.call("GET", f"/v1/messages/{message}", "legal", "zoe").json()
    capture = view["captures"][0]["id"]
    given = before(capture) if before is not None else None
    request = {"messages": [message], "compartment": compartment}
    body = {"action": "reseal", "request": request, "reason": "r"}
    api.approved(api.call("POST", "/v1/approvals", "compliance_officer", "anne", **body))
    api.follow()
    return compartment, capture, given


def stands(api: RealApi, compartment: str) -> bool:
    """Whether the copy is there, and the tenant still counts one withdrawn."""
    forward(api)
    for _ in range(2):  # what is left behind is seen to by the compartment's follower
        api.follow()
    seen = found(api, "alert_officer", "rita", where=f"?compartment={compartment}")
    counts = api.call("GET", "/v1/integrity", "auditor", "aude").json()["counts"]
    return subjects(seen) == ["corruption"] and counts["withdrawn"] == 1


def test_order_to_erase_what_was_moved_away_is_for_nothing_that_is_there(api, tmp_path):
    compartment, capture, _ = moved(api, tmp_path)
    for body in ({"captures": [capture]}, {"captures": [capture], "document": None}):
        answers = []
        for each in (capture, never(capture)):
            given = ORDER | body | {"kind": "erase", "captures": [each]}
            answer = api.call("POST", "/v1/orders", "legal", "zoe", **given)
            answers.append((answer.status_code, answer.json()["detail"]))
        assert answers == [(404, "no capture of this id")] * 2
    assert stands(api, compartment)


@pytest.mark.parametrize("besides", [False, True], ids=["alone", "with another"])
def test_order_to_erase_decided_after_the_move_leaves_the_copy_and_claims_nothing(api, tmp_path, besides):
    def ordered(capture: str) -> str:
        wanted = {"query": "*"} if besides else {"captures": [capture]}
        asked = api.call("POST", "/v1/orders", "legal", "zoe", **ORDER, **wanted, kind=str(OrderKind.ERASE))
        assert asked.status_code == 202, asked.text
        return str(asked.json()["id"])

    compartment, _, asked = moved(api, tmp_path, ordered)
    path = f"/v1/approvals/{asked}/approve"
    said = api.call("POST", path, "compliance_officer", "anne", reason="vu").json()
    if besides:
        assert said["result"]["captures"] == 1
    else:
        assert (said["state"], said["error"]) == ("approved", "order.nothing")
    assert stands(api, compartment)


def test_order_to_keep_tells_by_no_number_what_it_finds_in_mail_that_was_moved(api, tmp_path):
    """Nor does the command that reads it back; the original's key stays all the same."""
    _, capture, _ = moved(api, tmp_path)
    asked = api.call("POST", "/v1/orders", "legal", "zoe", **ORDER, kind="keep", query="from:la@ex.fr")
    order = api.approved(asked, "compliance_officer", "anne")["order"]
    api.follow()
    said = api.call("GET", f"/v1/orders/{order}", "auditor", "aude").json()
    assert (said["captures"], said["progress"]["covered"], said["progress"]["locked"]) == (0, 0, 0)
    words = ("--data", api.data, "--tenant", "acme", "--token", api.token("auditor", "aude"), "--json")
    checked = done("holds", "check", order, *words).answer
    assert (checked["count"], checked["held"], checked["complete"]) == (0, 0, True)
    api.tenant.acts.refresh()
    assert capture in api.tenant.acts.holds.known[order].covered


def test_hold_upon_what_was_moved_away_is_upon_nothing_that_is_there(api, tmp_path):
    _, capture, _ = moved(api, tmp_path)
    about = {"name": "A", "purpose": "p", "query": "*"}
    matter = api.call("POST", "/v1/matters", "legal", "zoe", **about).json()["id"]
    path = f"/v1/matters/{matter}/holds"
    answers = [
        api.call("POST", path, "legal", "zoe", **HOLD, captures=[each]) for each in (capture, never(capture))
    ]
    assert [each.status_code for each in answers] == [404, 404]
    assert answers[0].json()["detail"] == answers[1].json()["detail"]


def test_a_command_without_a_tenant_takes_the_only_one_whatever_compartments_it_has(api, tmp_path):
    made_compartment(api)
    mail(tmp_path / "m", "one", "a@ex.fr", "b@ex.fr", "contrat")
    taken(api, tmp_path / "m")
    api.follow()
    assert done("search", "*", "--data", api.data, "--json").answer["total"] == 1
