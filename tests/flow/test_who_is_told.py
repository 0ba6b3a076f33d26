"""What records, reasons and reports tell, and to whom: over a real archive, by people who may not know all of it."""

from dataclasses import replace
from datetime import timedelta

from archive_service.access.identity import Identity
from archive_service.access.tokens import TokenVerifier
from archive_service.catalog.base import Job
from archive_service.exporting import ExportAsked, select
from archive_service.model.clock import rfc3339
from archive_service.tenant_services import open_tenant
from tests.flow.archive_fixtures import SAMPLES, done, have_erased, no_settings_around
from tests.flow.real_api import RealApi
from tests.flow.test_bypasses import asked_grant, code, granted, matter, two_mails
from tests.flow.test_compartments import found, made_compartment, taken
from tests.flow.test_incidents import opened
from tests.unit.test_dialect_zimbra import INNER, body, intercept

__all__ = ["no_settings_around"]


def test_why_tells_of_others_only_who_may_list_grants_where_every_role_needs_one(tmp_path, pool):
    with RealApi(tmp_path / "archive", pool, require_grants=True) as api:
        granted(api, "zoe")
        about = api.call("POST", "/v1/matters", "legal", "zoe", name="M", purpose="p", query="alpha").json()[
            "id"
        ]
        granted(api, "lea", matter=about)
        path = "/v1/policy/why?right=search&role=legal&subject="
        assert code(api.call("GET", path + "zoe", "legal", "lea")) == (403, "auth.forbidden")
        assert api.call("GET", path + "lea", "legal", "lea").json()["allowed"]
        assert api.call("GET", path + "lea", "legal", "zoe").json()["allowed"]


def test_why_tells_an_account_what_its_scope_leaves_it(api):
    ends = rfc3339(api.core.clock() + timedelta(days=1))
    made = api.call("POST", "/v1/accounts", "admin", "paul", name="siem", role="auditor",
                    only=["policy"], ends=ends).json()  # fmt: skip
    holder = api.tenants.get(api.tenant.id).accounts.holder
    bearers = Identity(TokenVerifier(api.tenants.token_key), accounts=holder)
    api.app.state.services = replace(api.app.state.services, bearers=bearers)
    said = api.with_token("GET", "/v1/policy/why?right=access_log", made["token"]).json()
    assert (said["allowed"], said["why"]) == (False, ["the service account's scope does not hold access_log"])


def test_sapin_article_8_the_access_log_does_not_tell_who_works_in_a_compartment(api):
    compartment = made_compartment(api)
    listed = api.call("GET", "/v1/compartments", "compliance_officer", "max").json()["compartments"]
    assert [each["id"] for each in listed] == [compartment]
    told = api.call("GET", "/v1/access-log?limit=1000", "auditor", "aude").text
    assert compartment not in told
    opened = api.tenants.get(compartment).access_log.newest(10, None)[0]
    assert [(each.event.actor, each.event.action) for each in opened] == [("max", "compartment.list")]


def test_what_a_private_request_is_for_and_why_is_not_in_the_access_log(api):
    compartment = made_compartment(api)
    request = {
        "name": "n",
        "basis": "b",
        "addresses": ["dr@ex.fr"],
        "domains": ["ex.fr"],
        "compartment": compartment,
    }
    asked = {"action": "exclusion.set", "request": request, "reason": "alerte contre Dupont"}
    made = api.call("POST", "/v1/approvals", "dpo", "paul", **asked)
    verdict = {"reason": "Dupont est visé"}
    api.call("POST", f"/v1/approvals/{made.json()['id']}/approve", "legal", "zoe", **verdict)
    told = api.call("GET", "/v1/access-log?limit=1000", "auditor", "aude").text
    assert made.json()["id"] in told
    assert not [each for each in ("Dupont", "exclusion", "compartment.make", compartment) if each in told]
    seen = api.call("GET", f"/v1/approvals/{made.json()['id']}", "legal", "zoe").json()
    assert (seen["reason"], seen["decision_reason"]) == ("alerte contre Dupont", "Dupont est visé")


def test_gdpr_article_33_the_report_counts_what_was_seen_and_is_gone_since(api, tmp_path):
    ids = two_mails(api, tmp_path)
    found(api, "legal", "eve")
    capture = api.call("GET", f"/v1/messages/{ids['alpha']}", "legal", "eve").json()["captures"][0]["id"]
    api.call("GET", f"/v1/messages/{ids['alpha']}/raw", "legal", "eve")
    have_erased(api.data, capture)
    done("erasures", "run", "--tenant", "acme", "--today-too", "--data", api.data)
    api.follow()
    said = [api.call("GET", "/v1/matters", "legal", "zoe").status_code for _ in range(4)]
    assert said[-1] == 200  # the batch took the access log's slot: 503 at first
    incident = opened(api, since="2026-01-01T00:00:00Z")
    report = api.call("GET", f"/v1/incidents/{incident['id']}/report", "dpo", "paul").json()
    assert (report["records"], report["gone"]) == (2, 1)
    (eve,) = [each for each in report["looks"] if each["actor"] == "eve"]
    assert set(eve["messages"]) == set(ids.values())
    assert (eve["records"], eve["gone"], eve["people"]) == (2, 1, report["people"])


def test_within_a_grant_no_count_tells_of_drafts_or_unread_text_beyond_it(api, tmp_path):
    done("import", "eml", SAMPLES, "--tenant", "acme", "--kind", "m365", "--data", api.data)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "saved.eml").write_bytes(intercept(body("save draft", "Drafts"), INNER))
    taken(api, tmp_path / "m", name="zimbra", kind="zimbra")
    everything = found(api, "legal", "zoe")
    assert everything["drafts_left_out"] and everything["not_fully_indexed"]
    about = matter(api, "subject:virement")
    api.approved(asked_grant(api, subject="rita", matter=about))
    seen = found(api, "reviewer", "rita")
    assert (seen["total"], seen["drafts_left_out"], seen["not_fully_indexed"]) == (1, 0, 0)
    asked = ExportAsked("e", "rita", "reviewer", "now", "*", None, bound="subject:virement")
    here = open_tenant(api.core, api.tenant)
    chosen = select(here, asked)
    here.close()
    assert (len(chosen.ids), chosen.drafts_left_out) == (1, 0)


def test_one_id_beyond_a_grant_makes_all_of_an_export_one_that_never_was(api, tmp_path):
    ids = two_mails(api, tmp_path)
    about = matter(api, "subject:beta")
    api.approved(asked_grant(api, subject="al", role="alert_officer", matter=about))
    asked = {"ids": [ids["beta"]], "formats": ["bundle"]}
    assert api.call("POST", "/v1/exports", "alert_officer", "al", **asked).status_code == 202
    for mixed in ([*ids.values()], [ids["beta"], "mnever"]):
        answer = api.call("POST", "/v1/exports", "alert_officer", "al", **asked | {"ids": mixed})
        assert code(answer) == (404, "not_found")
    jobs, name = api.tenants.get(api.tenant.id).jobs, "e" * 32
    made = Job(id=name, kind="export", actor="al", request={}, created_at=rfc3339(api.core.clock()))
    jobs.add(made)
    jobs.update(replace(made, state="done", result={"messages": [*ids.values()]}))
    answer = api.call("GET", f"/v1/exports/{name}/download", "alert_officer", "al")
    assert code(answer) == (404, "not_found")


def test_a_token_of_a_compartment_is_void_after_an_incident_of_its_tenant(api):
    made_compartment(api)
    (sealed,) = [tenant for tenant in api.core.tenants(0) if tenant.acts.parent]
    api.follow()
    token = api.token("alert_officer", "rita", sealed)
    assert api.with_token("POST", "/v1/search", token, query="*").status_code == 200
    api.later()
    opened(api)
    assert code(api.with_token("POST", "/v1/search", token, query="*")) == (401, "auth.required")
    fresh = api.token("alert_officer", "rita", sealed)
    assert api.with_token("POST", "/v1/search", fresh, query="*").status_code == 200


def test_who_has_no_grant_there_any_more_is_not_told_of_a_compartment(api):
    where = f"?compartment={made_compartment(api)}"
    grants = api.call("GET", f"/v1/grants{where}", "compliance_officer", "max").json()["grants"]
    (hers,) = [each["id"] for each in grants if each["subject"] == "rita"]
    assert api.call("GET", "/v1/compartments", "alert_officer", "rita").json()["compartments"]
    path = f"/v1/grants/{hers}/revoke{where}"
    assert api.call("POST", path, "compliance_officer", "max", reason="fini").status_code == 200
    assert api.call("GET", "/v1/compartments", "alert_officer", "rita").json()["compartments"] == []


def test_an_incident_of_a_compartment_voids_tokens_there_alone(api):
    where = f"?compartment={made_compartment(api)}"
    old = api.token("compliance_officer", "max")
    api.later()
    made = api.call("POST", f"/v1/incidents{where}", "compliance_officer", "max", reason="poste volé")
    assert made.status_code == 201
    api.later()
    assert code(api.with_token("GET", f"/v1/incidents{where}", old)) == (404, "not_found")
    assert api.with_token("GET", "/v1/incidents", old).status_code == 200
    fresh = api.call("GET", f"/v1/incidents{where}", "compliance_officer", "max")
    assert [each["id"] for each in fresh.json()["incidents"]] == [made.json()["id"]]
