"""A retention class that asks for a purpose: nothing of its mail is shown before it is said, by any way, and every
refusal is recorded."""

import pytest

from archive_service.serving.scheduler import Scheduler
from tests.flow.archive_fixtures import done, no_settings_around, run
from tests.flow.test_compartments import taken
from tests.flow.test_retention import INVOICES, archived, klass, schedule, set_schedule

__all__ = ["no_settings_around"]

ASKING = schedule(INVOICES) | {
    "classes": [klass("ordinary", "P1Y"), klass("invoices", "P10Y", start="sent", purpose=True)]
}


@pytest.fixture
def ids(api, tmp_path):
    found = archived(api, tmp_path)
    set_schedule(api, ASKING)
    return found


def legal(api, method, path, **body):
    return api.call(method, path, "legal", "lea", **body)


def refused(answer):
    assert (answer.status_code, answer.json()["code"]) == (422, "purpose.required")
    assert not {"facture", "a@ex.fr", "b@dehors.fr"} & set(answer.text.replace('"', " ").split())


def entries(api):
    said = api.call("GET", "/v1/access-log?limit=1000", "auditor", "aude").json()["entries"]
    return [(each["action"], each["outcome"], each["purpose"]) for each in said]


def capture_of(api, message):
    (capture,) = api.tenants.get(api.tenant.id).catalog.messages([message])[0].captures
    return capture.id


def test_no_route_shows_mail_of_the_class_without_a_purpose(api, ids):
    bill = ids["facture 7"]
    paths = [f"/v1/messages/{bill}{more}" for more in ("", "/raw", "/proof")]
    paths.append(f"/v1/captures/{capture_of(api, bill)}/raw")
    for path in paths:
        refused(legal(api, "GET", path))
        refused(legal(api, "GET", f"{path}?purpose=%20"))
        assert legal(api, "GET", f"{path}?purpose=contr%C3%B4le").status_code == 200
    actions = ["message.view", "message.raw", "message.proof", "capture.raw"]
    for action in actions:
        assert [each for each in entries(api) if each[0] == action] == [
            (action, "shown", "contrôle"),
            (action, "refused", None),
            (action, "refused", None),
        ]
    for more in ("", "/raw", "/proof"):
        assert legal(api, "GET", f"/v1/messages/{ids['déjeuner']}{more}").status_code == 200


def test_a_search_tells_neither_hits_nor_totals_without_a_purpose(api, ids):
    answers = [legal(api, "POST", "/v1/search", query=query) for query in ("facture", "déjeuner", "inconnu")]
    for answer in answers:
        refused(answer)
    assert len({str({**answer.json(), "request_id": ""}) for answer in answers}) == 1
    shown = legal(api, "POST", "/v1/search", query="facture", purpose="contrôle").json()
    assert [hit["id"] for hit in shown["hits"]] == [ids["facture 7"]]
    assert ("search", "shown", "contrôle") in entries(api)
    assert entries(api).count(("search", "refused", None)) == 3


def test_a_search_needs_none_where_no_class_asks(api, tmp_path):
    archived(api, tmp_path)
    set_schedule(api)
    assert legal(api, "POST", "/v1/search", query="facture").json()["total"] == 1


def test_no_export_of_the_class_is_queued_made_or_fetched_without_a_purpose(api, tmp_path, pool):
    found = archived(api, tmp_path)
    bill, lunch = found["facture 7"], found["déjeuner"]
    early = legal(api, "POST", "/v1/exports", ids=[bill], formats=["bundle"]).json()["id"]
    late = legal(api, "POST", "/v1/exports", ids=[bill], formats=["bundle"], matter="M").json()["id"]
    scheduler = Scheduler(api.core, pool)
    opened = api.tenants._open[api.tenant.id]  # one access log slot for both
    jobs = opened.services.jobs
    scheduler._export(opened, jobs.claim(("export",)))  # made before the class asked
    set_schedule(api, ASKING)
    scheduler._export(opened, jobs.claim(("export",)))
    states = {each: jobs.get(each) for each in (early, late)}
    (made,) = [each for each, job in states.items() if job.state == "done"]
    (failed,) = [job for job in states.values() if job.state == "failed"]
    assert failed.error.startswith("purpose.required")
    assert not (opened.services.exports / f"{failed.id}.zip").exists()
    refused(legal(api, "GET", f"/v1/exports/{made}/download"))
    assert legal(api, "GET", f"/v1/exports/{made}/download?purpose=x").status_code == 200
    for body in ({"ids": [lunch, bill]}, {"query": "déjeuner"}):
        refused(legal(api, "POST", "/v1/exports", formats=["bundle"], **body))
        answer = legal(api, "POST", "/v1/exports", formats=["bundle"], purpose="x", **body)
        assert answer.status_code == 202
    assert legal(api, "POST", "/v1/exports", formats=["bundle"], ids=[lunch]).status_code == 202
    assert ("export.make", "refused", None) in entries(api)
    assert entries(api).count(("export.request", "refused", None)) == 2


def test_another_class_by_hand_counts(api, ids):
    lunch = ids["déjeuner"]
    body = {"captures": [capture_of(api, lunch)], "class": "invoices", "reason": "une facture sans le mot"}
    api.approved(api.call("POST", "/v1/dispositions/relabel", "records_manager", "rob", **body))
    refused(legal(api, "GET", f"/v1/messages/{lunch}/raw"))


def test_the_same_mail_under_another_class_is_not_a_way_around(api, tmp_path):
    """One mail, two captures; a reviewer gave one of them a class that asks for nothing."""
    bill = archived(api, tmp_path)["facture 7"]
    taken(api, tmp_path / "m", name="other")
    api.follow()
    set_schedule(api, ASKING)
    captures = [each.id for each in api.tenants.get(api.tenant.id).catalog.messages([bill])[0].captures]
    assert len(captures) > 1
    body = {"captures": captures[:1], "class": "ordinary", "reason": "copie"}
    api.approved(api.call("POST", "/v1/dispositions/relabel", "records_manager", "rob", **body))
    for each in captures:
        refused(legal(api, "GET", f"/v1/captures/{each}/raw"))


def test_the_command_line_asks_too_and_records_its_refusals(api, ids, tmp_path):
    where = (*api.where, "--tenant", "acme")
    bill = ("--id", ids["facture 7"])
    for command in (("search", "déjeuner"), ("export", *bill, "-o", tmp_path / "a.zip")):
        said = run(*command, *where)
        assert (said.code, "purpose.required" in said.err) == (2, True), said
    (tmp_path / "listed.csv").write_text("message_id\n<other@ex.fr>\n")
    said = run("reconcile", tmp_path / "listed.csv", *where)
    assert (said.code, "purpose.required" in said.err, "@ex.fr" in said.out) == (2, True, False), said
    assert "other@ex.fr" in run("reconcile", tmp_path / "listed.csv", "--purpose", "x", *where).out
    assert not (tmp_path / "a.zip").exists()
    done("search", "facture", "--purpose", "contrôle", *where)
    done("export", *bill, "-o", tmp_path / "a.zip", "--purpose", "contrôle", *where)
    found = entries(api)
    assert {("search", "refused", None), ("reconcile", "refused", None)} <= set(found)
    assert ("export.make", "refused", None) in found
