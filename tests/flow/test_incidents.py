"""An incident over a real archive: what it stops, whose tokens end, and the report of who saw what."""

from datetime import timedelta

import pytest

from archive_service.access.tokens import TokenIssuer
from archive_service.compartments.resealing import make_compartment
from archive_service.model.errors import Refused
from tests.flow.archive_fixtures import SAMPLES, done, have_erased, no_settings_around, run

__all__ = ["no_settings_around"]


def opened(api, **body):
    answer = api.call("POST", "/v1/incidents", "dpo", "paul", reason="poste volé", **body)
    assert answer.status_code == 201, answer.text
    api.later()
    return answer.json()


def test_gdpr_article_33_the_report_says_who_saw_what_since(api):
    done("import", "eml", SAMPLES, "--tenant", "acme", "--kind", "m365", "--data", api.data)
    hits = api.call("POST", "/v1/search", "legal", "eve", query="*", limit=2).json()["hits"]
    api.call("GET", f"/v1/messages/{hits[0]['id']}/raw", "legal", "eve")
    api.call("GET", f"/v1/messages/{hits[0]['id']}", "auditor", "aude")
    incident = opened(api, since="2026-01-01T00:00:00Z")
    report = api.call("GET", f"/v1/incidents/{incident['id']}/report", "dpo", "paul").json()
    looks = {each["actor"]: each for each in report["looks"]}
    assert set(looks["eve"]["messages"]) == {hit["id"] for hit in hits}
    assert looks["eve"]["actions"] == {"message.raw": 1, "search": 1}
    assert (looks["aude"]["records"], looks["aude"]["refused"]) == (0, 1)
    assert report["records"] == 2
    assert report["people"] >= 2
    assert looks["eve"]["people"] == report["people"]


def test_every_token_from_before_is_void_and_a_new_one_counts(api):
    old = TokenIssuer(api.tenant.id, api.tenant.token_key())
    from archive_service.access.events import RoleName

    token = old.issue("eve", RoleName.LEGAL, timedelta(days=9), lambda: api.core.clock() - timedelta(hours=1))
    assert api.with_token("POST", "/v1/search", token, query="*").status_code in (200, 503)
    opened(api)
    answer = api.with_token("POST", "/v1/search", token, query="*")
    assert (answer.status_code, answer.json()["code"]) == (401, "auth.required")
    assert api.call("GET", "/v1/incidents", "dpo", "paul").status_code == 200


def test_nothing_is_exported_and_no_key_destroyed_until_two_people_close_it(api, tmp_path):
    captures = done(
        "import", "eml", SAMPLES, "--tenant", "acme", "--kind", "m365", "--data", api.data, "--json"
    ).answer
    have_erased(api.data, captures["captures"][0])
    incident = opened(api)
    refused = api.call("POST", "/v1/exports", "legal", "zoe", query="*", formats=["bundle"])
    assert (refused.status_code, refused.json()["code"]) == (409, "incident.open")
    said = run("export", "*", "--tenant", "acme", "-o", tmp_path / "x.zip", "--data", api.data, "--json")
    assert (said.code, said.answer["error"]["code"]) == (1, "incident.open")
    package = api.data.with_name("package")
    said = run("handover", "--tenant", "acme", "--to", package, "--data", api.data, "--json")
    assert (said.code, said.answer["error"]["code"]) == (1, "incident.open")
    assert not package.exists()
    batch = done("erasures", "run", "--tenant", "acme", "--today-too", "--data", api.data, "--json").answer
    assert batch["erased"] == 0
    assert "incident" in next(iter(batch["kept"]))
    asked = api.call("POST", f"/v1/incidents/{incident['id']}/close", "dpo", "paul", reason="levée")
    own = api.call("POST", f"/v1/approvals/{asked.json()['id']}/approve", "admin", "paul", reason="moi")
    assert own.json()["code"] == "approval.own"
    api.approved(asked)
    again = api.call("POST", f"/v1/incidents/{incident['id']}/close", "dpo", "paul", reason="levée")
    assert again.json()["code"] == "incident.closed"
    batch = done("erasures", "run", "--tenant", "acme", "--today-too", "--data", api.data, "--json").answer
    assert batch["erased"] == 1
    body = {"query": "*", "formats": ["bundle"]}
    answers = [api.call("POST", "/v1/exports", "legal", "zoe", **body).status_code for _ in range(4)]
    assert answers[-1] == 202, answers  # the access log's slot was lost to the batch: 503 at first


def test_an_incident_by_the_command_line(api):
    where = ("--tenant", "acme", "--data", api.data, "--json")
    paul = ("--token", api.token("dpo", "paul"), *where)
    made = done("incident", "open", "--reason", "poste volé", "--since", "2026-01-01T00:00:00Z", *paul).answer
    refused = run("incident", "list", *paul)
    assert (refused.code, refused.answer["error"]["code"]) == (1, "auth.required")
    api.later()
    paul = ("--token", api.token("dpo", "paul"), *where)
    assert [each["id"] for each in done("incident", "list", *paul).answer["incidents"]] == [made["id"]]
    assert done("incident", "report", made["id"], *paul).answer["records"] == 0
    asked = done("incident", "close", made["id"], "--reason", "levée", *paul).answer["approval"]
    zoe = ("--token", api.token("legal", "zoe"), *where)
    assert done("approvals", "approve", asked, "--reason", "vu", *zoe).answer["state"] == "executed"
    refused = run("incident", "open", "--reason", "x", *zoe)
    assert (refused.code, refused.answer["error"]["code"]) == (1, "auth.forbidden")


def test_one_incident_at_a_time_and_no_time_to_come(api):
    opened(api)
    again = api.call("POST", "/v1/incidents", "dpo", "paul", reason="encore")
    assert (again.status_code, again.json()["code"]) == (409, "incident.open")
    later = api.call("POST", "/v1/incidents", "dpo", "paul", reason="x", since="2099-01-01T00:00:00Z")
    assert later.json()["code"] == "incident.time"
    nothing = api.call("GET", "/v1/incidents/inowhere/report", "dpo", "paul")
    assert nothing.status_code == 404


def test_an_incident_stops_the_act_that_begins_a_batch_too(api):
    """Opened between the choice and the act: the choice is judged again where the act lands."""
    from archive_service.disposal.erasing import _batch

    captures = done(
        "import", "eml", SAMPLES, "--tenant", "acme", "--kind", "m365", "--data", api.data, "--json"
    ).answer
    have_erased(api.data, captures["captures"][0])
    tenant = api.core.tenant("acme")
    tenant.acts.refresh()
    batch = _batch(api.core, tenant, lambda: None, tenant.acts.seen)
    (asked,) = tenant.acts.erasures.pending()
    opened(api)
    tenant.acts.refresh()
    with pytest.raises(Refused, match="incident"):
        batch._permit(asked)


def test_while_an_incident_is_open_no_package_and_no_copy_of_the_archive_leaves(api, tmp_path):
    make_compartment(api.core, api.tenant, "alertes", "p1", "paul", [])
    opened(api)
    where = ("--data", api.data, "--json")
    for arguments in (
        ("handover", "--tenant", "acme", "--to", tmp_path / "package"),
        ("handover", "--tenant", "acme/alertes", "--to", tmp_path / "package"),
        ("relocate", "--to-data", tmp_path / "there"),
        ("relocate", "--to-data", tmp_path / "there", "--first-pass"),
    ):
        said = run(*arguments, *where)
        assert (said.code, said.answer["error"]["code"]) == (1, "incident.open")
    assert not (tmp_path / "package").exists()
    assert not (tmp_path / "there").exists()


def test_a_handover_says_which_compartments_stay(api, tmp_path):
    make_compartment(api.core, api.tenant, "alertes", "p1", "paul", [])
    asked = ("handover", "--tenant", "acme", "--to", tmp_path / "package", "--data", api.data, "--json")
    said = run(*asked)
    assert (said.code, said.answer["error"]["code"]) == (1, "handover.compartments")
    assert "acme/alertes" in said.answer["error"]["message"]
    assert not (tmp_path / "package").exists()
    said = run(*asked, "--without-compartments")
    assert (said.code, said.answer["compartments_left"]) == (0, ["acme/alertes"]), said.out
