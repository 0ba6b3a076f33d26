"""Ways round the policy that were tried over a real archive, and lead nowhere."""

import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from archive_service.access.cases import Cases, grant_act
from archive_service.access.four_eyes import FourEyes
from archive_service.access.identified import same_person
from archive_service.catalog.base import Job
from archive_service.exporting import ExportAsked, run_export
from archive_service.ledger.reader import read_from
from archive_service.model.clock import rfc3339
from archive_service.model.errors import Refused
from archive_service.tenant_services import open_tenant
from tests.flow.archive_fixtures import done, no_settings_around, run
from tests.flow.real_api import RealApi
from tests.flow.test_compartments import found, made_compartment, mail, taken
from tests.flow.test_retention import schedule

__all__ = ["no_settings_around"]


def asked_grant(api, by="eve", **fields):
    answer = api.call("POST", "/v1/grants", "admin", by, reason="x", **{"role": "reviewer", **fields})
    assert answer.status_code == 202, answer.text
    return answer


def code(answer):
    return answer.status_code, answer.json().get("code")


def matter(api, query):
    made = api.call("POST", "/v1/matters", "legal", "lou", name="M", purpose="p", query=query)
    return made.json()["id"]


def two_mails(api, tmp_path):
    mail(tmp_path / "m", "a", "anne@ex.fr", "bob@ex.fr", "alpha")
    mail(tmp_path / "m", "b", "carl@ex.fr", "dan@ex.fr", "beta")
    taken(api, tmp_path / "m")
    return {hit["subject"]: hit["id"] for hit in found(api)["hits"]}


@pytest.mark.parametrize("spelling", ["eve ", "Eve", "\uff45ve", "eve\u200b", "E\u00adVE"], ids=ascii)
def test_four_eyes_another_spelling_is_not_another_person(api, spelling):
    approval = asked_grant(api, subject="rex").json()["id"]
    answer = api.call("POST", f"/v1/approvals/{approval}/approve", "dpo", spelling, reason="x")
    assert code(answer) == (409, "approval.own")
    own = api.call("POST", "/v1/grants", "admin", "eve", subject=spelling, role="legal", reason="x")
    assert code(own) == (422, "grant.own")
    last = api.call("GET", "/v1/access-log?action=approval.approve", "auditor", "aude").json()["entries"][0]
    assert (last["actor"], last["outcome"], last["ids"]) == (spelling, "refused", [approval])
    assert api.tenant.acts.grants.all() == []


def test_people_whose_names_differ_to_a_reader_are_two():
    assert not same_person("idp:anne", "idp:anna")
    assert not same_person("entra:1", "google:1")
    assert same_person("idp:Jose\u0301", "idp:jos\u00e9")


def test_four_eyes_nobody_approves_what_he_gains_by(api):
    asked = asked_grant(api, subject="paul")
    answer = api.call("POST", f"/v1/approvals/{asked.json()['id']}/approve", "dpo", "Paul", reason="x")
    assert code(answer) == (409, "approval.own")
    assert api.tenant.acts.grants.all() == []
    assert api.approved(asked)["grant"]


def test_the_access_log_is_not_for_who_sees_a_part_of_the_mail(api):
    api.approved(asked_grant(api, subject="ext", role="external_auditor", matter=matter(api, "subject:beta")))
    assert code(api.call("GET", "/v1/access-log", "external_auditor", "ext")) == (403, "auth.forbidden")
    why = api.call("GET", "/v1/policy/why?right=access_log", "external_auditor", "ext").json()
    assert not why["allowed"]
    assert "does not show the access log" in why["why"][-1]
    api.approved(asked_grant(api, subject="ext", role="external_auditor"))
    assert api.call("GET", "/v1/access-log", "external_auditor", "ext").status_code == 200


def test_who_sees_a_part_of_the_mail_is_told_of_his_own_jobs_alone(api, tmp_path):
    two_mails(api, tmp_path)
    api.approved(asked_grant(api, subject="al", role="alert_officer", matter=matter(api, "subject:beta")))
    theirs = api.call("POST", "/v1/exports", "legal", "lou", query="alpha", formats=["bundle"]).json()["id"]
    own = api.call("POST", "/v1/exports", "alert_officer", "al", query="*", formats=["bundle"]).json()["id"]
    jobs = api.call("GET", "/v1/jobs", "alert_officer", "al").json()["jobs"]
    assert [job["id"] for job in jobs] == [own]
    assert api.call("GET", f"/v1/jobs/{theirs}", "alert_officer", "al").status_code == 404
    assert api.call("GET", f"/v1/jobs/{own}", "alert_officer", "al").status_code == 200
    assert len(api.call("GET", "/v1/jobs", "legal", "lou").json()["jobs"]) == 2


def test_an_export_made_before_is_not_fetched_once_it_holds_more_than_may_be_seen(api, tmp_path):
    ids = two_mails(api, tmp_path)
    about = matter(api, "subject:beta")
    api.approved(asked_grant(api, subject="al", role="alert_officer", matter=about))
    jobs = api.tenants.get(api.tenant.id).jobs
    folder = api.tenants.get(api.tenant.id).exports
    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for subject in ("beta", "alpha"):
        name = secrets.token_hex(16)
        asked = Job(id=name, kind="export", actor="al", request={}, created_at=rfc3339(api.core.clock()))
        jobs.add(asked)
        (folder / f"{name}.zip").write_bytes(b"PK")
        jobs.update(replace(asked, state="done", result={"messages": [ids[subject]]}))
        made[subject] = f"/v1/exports/{name}/download"
    assert api.call("GET", made["beta"], "alert_officer", "al").status_code == 200
    assert code(api.call("GET", made["alpha"], "alert_officer", "al")) == (404, "not_found")


def test_an_incident_of_a_tenant_stops_its_compartments_too(api, tmp_path, pool):
    owner = made_compartment(api)
    where = f"?compartment={owner}"
    mail(tmp_path / "m", "a", "anne@ex.fr", "rita@ex.fr", "alerte")
    taken(api, tmp_path / "m", tenant="acme/alertes")
    assert found(api, "legal", "lou", where=where)["total"] == 1
    before = api.token("legal", "lou")
    api.later()
    assert api.call("POST", "/v1/incidents", "dpo", "paul", reason="poste volé").status_code == 201
    api.later()
    asked = {"query": "*", "formats": ["bundle"]}
    answer = api.call("POST", f"/v1/exports{where}", "legal", "lou", **asked)
    assert code(answer) == (409, "incident.open")
    old = api.with_token("POST", f"/v1/search{where}", before, query="*")
    assert old.status_code == 401
    compartment = api.core.tenant_of(owner)
    compartment.acts.refresh()
    assert compartment.acts.incidents.open  # what the batch of erasures asks too
    opened = open_tenant(api.core, compartment)
    try:
        wanted = ExportAsked("e", "lou", "legal", rfc3339(api.core.clock()), "*", None)
        with pytest.raises(Refused, match="incident"):
            run_export(opened, wanted, pool, tmp_path / "e.zip", lambda done, total: None)
    finally:
        opened.close()


def test_an_account_that_reads_mail_is_not_made_by_who_reads_none(api):
    asked = {"name": "spy", "role": "legal", "only": ["read", "search"]}
    asked["ends"] = rfc3339(api.core.clock() + timedelta(days=30))
    alone = api.call("POST", "/v1/accounts", "admin", "eve", **asked)
    assert code(alone) == (409, "account.two_people")
    for right in (
        "matters.change",
        "matters",
        "schedules",
        "schedules.change",
        "dispositions",
        "orders",
        "erasures",
    ):
        widening = api.call("POST", "/v1/accounts", "admin", "eve", **asked | {"only": [right]})
        assert code(widening) == (409, "account.two_people")
    assert api.tenant.acts.accounts.all() == []
    request = api.call(
        "POST", "/v1/approvals", "admin", "eve", action="account.make", request=asked, reason="e-discovery"
    )
    approval = request.json()["id"]
    other_admin = api.call("POST", f"/v1/approvals/{approval}/approve", "dpo", "paul", reason="x")
    assert code(other_admin) == (403, "auth.forbidden")
    made = api.approved(request)
    who = api.tenants.get(api.tenant.id).accounts.holder(made["token"])
    assert (who.subject, who.only) == ("account:spy", frozenset({"read", "search"}))
    again = api.call("POST", f"/v1/approvals/{approval}/execute", "legal", "zoe")
    assert code(again) == (409, "approval.executed")


@pytest.mark.parametrize(
    "wrong",
    [
        {"only": "read"},
        {"only": []},
        {"role": "king"},
        {"ends": "soon"},
        {"ends": "2020-01-01T00:00:00Z"},
        {"name": "A b"},
    ],
    ids=str,
)
def test_a_senseless_account_is_refused_before_anybody_is_asked(api, wrong):
    asked = {
        "name": "spy",
        "role": "legal",
        "only": ["read"],
        "ends": rfc3339(api.core.clock() + timedelta(days=9)),
    }
    body = {"action": "account.make", "request": asked | wrong, "reason": "x"}
    assert api.call("POST", "/v1/approvals", "admin", "eve", **body).status_code == 422


def test_an_incident_of_any_tenant_stops_the_destruction_of_a_key_version(api):
    where = ("--data", api.data, "--json")
    done("keys", "rotate", *where)
    done("keys", "rewrap", *where)
    old = next(
        each["version"] for each in done("keys", "status", *where).answer["versions"] if not each["records"]
    )
    assert api.call("POST", "/v1/incidents", "dpo", "paul", reason="poste volé").status_code == 201
    refused = run("keys", "destroy-version", old, *where)
    assert (refused.code, refused.answer["error"]["code"]) == (1, "incident.open")
    assert old in [each["version"] for each in done("keys", "status", *where).answer["versions"]]


def test_an_administrator_does_not_read_in_a_request_what_a_matter_is_about(api):
    """Who configures may be whom it is about."""
    request = {"matter": matter(api, None), "name": "Fraude", "purpose": "enquête", "query": "virement"}
    body = {"action": "matter.change", "request": request, "reason": "r"}
    made = api.call("POST", "/v1/approvals", "legal", "zoe", **body).json()["id"]
    own = asked_grant(api, subject="rex").json()["id"]
    shown = {
        role: [each["id"] for each in api.call("GET", "/v1/approvals", role, "eve").json()["approvals"]]
        for role in ("admin", "auditor", "dpo")
    }
    assert shown == {"admin": [own], "auditor": [own, made], "dpo": [own, made]}
    assert api.call("GET", f"/v1/approvals/{made}", "admin", "eve").status_code == 404
    refused = api.call("POST", f"/v1/approvals/{made}/refuse", "admin", "eve", reason="r")
    assert code(refused) == (404, "not_found")


def test_four_eyes_a_compartment_is_not_worked_in_by_one_person_under_two_spellings(api):
    officers = [{"subject": each, "role": "legal"} for each in ("rita", "RITA ")]
    body = {"name": "x", "officers": officers, "reason": "r"}
    assert code(api.call("POST", "/v1/compartments", "dpo", "paul", **body)) == (422, "compartment.officers")


def test_a_grant_for_a_matter_counts_nothing_beyond_it_by_holds_orders_or_trials(tmp_path, pool):
    """What searches, counts or changes the whole archive needs a grant for the whole of it."""
    with RealApi(tmp_path / "strict", pool, require_grants=True) as api:
        mail(tmp_path / "m", "a", "anne@ex.fr", "bob@ex.fr", "alpha")
        mail(tmp_path / "m", "b", "carl@ex.fr", "dan@ex.fr", "beta")
        taken(api, tmp_path / "m")
        api.follow()
        granted(api, "zoe")
        about = {"name": "M", "purpose": "p", "query": "alpha"}
        chosen = api.call("POST", "/v1/matters", "legal", "zoe", **about).json()["id"]
        granted(api, "eve", matter=chosen)
        assert api.call("POST", "/v1/search", "legal", "eve", query="*").json()["total"] == 1
        order = {"issuer": "i", "reference": "r", "dated": "2026-01-01", "text": "t", "query": "beta"}
        order |= {"document": {"name": "o.pdf", "type": "application/pdf", "content": "JVBERg=="}}
        hold = {"name": "n", "ground": "g", "claim": "c", "owner": "o", "query": "beta"}
        hold["review"] = rfc3339(api.core.clock() + timedelta(days=9))
        for method, path, body in (
            ("POST", "/v1/orders", {"kind": "keep", "reason": "r", **order}),
            ("POST", f"/v1/matters/{chosen}/holds", hold),
            ("POST", "/v1/schedules/dry-run", {"schedule": schedule()}),
            ("POST", "/v1/dispositions/preview", {}),
            ("GET", "/v1/matters", {}),
            ("GET", "/v1/approvals", {}),
        ):
            assert code(api.call(method, path, "legal", "eve", **body)) == (403, "auth.forbidden"), path
            assert api.call(method, path, "legal", "zoe", **body).status_code < 300, path


def granted(api, subject, **bounds):
    """By who sets the archive up: the first grants of all are nobody's to decide."""
    acts = api.tenant.acts
    checked = Cases(acts, api.core.clock).checked_grant({"subject": subject, "role": "legal", **bounds})
    acts.append(lambda _: grant_act(checked, by="operator", reason="r"))


def requested(api, action, role="dpo", **request):
    body = {"action": action, "request": request, "reason": "r"}
    return api.call("POST", "/v1/approvals", role, "dora", **body)


def decided(api, asked):
    answer = api.call("POST", f"/v1/approvals/{asked.json()['id']}/approve", "legal", "zoe", reason="vu")
    return answer.json()["state"], answer.json()["error"]


def test_four_eyes_what_a_matter_was_to_be_about_is_not_set_over_what_came_since(api):
    chosen = matter(api, None)
    words = {"matter": chosen, "name": "M", "purpose": "p"}
    wide, narrow = (requested(api, "matter.change", "legal", **words, query=each) for each in ("*", "alpha"))
    assert decided(api, narrow) == ("executed", None)
    assert decided(api, wide) == ("approved", "matter.changed")
    api.tenant.acts.refresh()
    assert api.tenant.acts.matters.known[chosen].query == "alpha"


def test_four_eyes_an_exclusion_list_that_was_ended_is_not_brought_back_by_an_older_request(api):
    """Whose mail is excluded has it destroyed."""
    words = {"name": "n", "basis": "b", "addresses": ["dr@ex.fr"], "domains": ["ex.fr"]}
    words["compartment"] = made_compartment(api)
    first = api.approved(requested(api, "exclusion.set", **words))["exclusion"]
    wider = words | {"exclusion": first, "addresses": ["dr@ex.fr", "boss@ex.fr"]}
    older, same = (requested(api, "exclusion.set", **wider) for _ in range(2))
    assert decided(api, same) == ("executed", None)
    assert decided(api, older) == ("approved", "exclusion.changed")
    last = requested(api, "exclusion.set", **wider)
    assert decided(api, requested(api, "exclusion.end", exclusion=first)) == ("executed", None)
    assert decided(api, last) == ("approved", "exclusion.changed")
    api.tenant.acts.refresh()
    assert api.tenant.acts.exclusions.known == {}


@pytest.mark.parametrize("action", ["compartment.make", "reseal"])
def test_four_eyes_what_is_carried_out_by_many_at_once_is_done_once(api, tmp_path, monkeypatch, action):
    if action == "reseal":
        compartment, messages = made_compartment(api), two_mails(api, tmp_path)
        asked = requested(api, action, messages=[messages["alpha"]], compartment=compartment)
    else:
        officers = [{"subject": each, "role": "legal"} for each in "ab"]
        asked = requested(api, action, name="c", officers=officers)
    away = Refused("away", code="away")
    with monkeypatch.context() as until:
        until.setattr(FourEyes, "carry_out", lambda *_: (_ for _ in ()).throw(away))
        assert decided(api, asked) == ("approved", "away")
    path = f"/v1/approvals/{asked.json()['id']}/execute"
    with ThreadPoolExecutor(4) as many:
        answers = list(many.map(lambda _: api.call("POST", path, "legal", "zoe"), range(4)))
    assert sorted(each.status_code for each in answers) == [200, 409, 409, 409]
    (made,) = [each for each in api.core.tenants(0) if each.acts.parent]
    made.acts.refresh()
    assert len(made.acts.grants.all()) == (3 if action == "reseal" else 2)
    assert len(captures_of(api, made)) == (action == "reseal")


def captures_of(api, tenant):
    logs = (log for log in api.core.census.logs(tenant.id, 0) if log.kind == "capture")
    return [entry for log in logs for entry in read_from(api.core.store, log, 0) if entry.type == "capture"]


def test_break_glass_is_not_to_be_had_at_the_command_line(api, monkeypatch):
    """There no entry says that somebody acts so."""
    monkeypatch.setenv("ARCHIVE_REQUIRE_GRANTS", "true")
    listing = (
        "matters",
        "list",
        "--tenant",
        "acme",
        "--token",
        api.token("legal", "rita"),
        "--data",
        api.data,
    )
    until = rfc3339(api.core.clock() + timedelta(minutes=30))
    glass = {"subject": "rita", "role": "legal", "from": rfc3339(api.core.clock()), "until": until}
    made = grant_act(glass | {"break_glass": True}, by="zoe", reason="r")
    api.tenant.acts.append(lambda _: made)
    assert run(*listing).code == 1
    granted(api, "rita")
    assert run(*listing).code == 0


@pytest.mark.parametrize("blank", ["", "  ", "\u200b"], ids=ascii)
def test_four_eyes_nothing_is_asked_decided_or_taken_away_without_a_reason(api, blank):
    wanted = {"subject": "rex", "role": "reviewer", "reason": blank}
    asked = asked_grant(api, subject="rex").json()["id"]
    path = f"/v1/approvals/{asked}/approve"
    told = "request.invalid" if not blank else "reason.missing"  # an empty one is not even a request
    assert code(api.call("POST", "/v1/grants", "admin", "eve", **wanted)) == (422, told)
    assert code(api.call("POST", path, "legal", "zoe", reason=blank)) == (422, told)
    who = ("--tenant", "acme", "--token", api.token("legal", "zoe"), "--data", api.data, "--json")
    said = run("approvals", "approve", asked, "--reason", blank, *who)
    assert (said.code, said.answer["error"]["code"]) == (2, "reason.missing")
    assert code(api.call("POST", "/v1/incidents", "dpo", "dora", reason=blank)) == (422, told)
    given = api.approved(asked_grant(api, subject="rex"))["grant"]
    assert code(api.call("POST", f"/v1/grants/{given}/revoke", "admin", "eve", reason=blank)) == (422, told)
    api.tenant.acts.refresh()
    assert api.tenant.acts.approvals.known[asked].decided is None
