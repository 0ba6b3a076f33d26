"""What a reviewer finds of mail that is about to go: kept for longer by one person, another class under two."""

from datetime import timedelta

from archive_service.model.clock import rfc3339
from tests.flow.archive_fixtures import no_settings_around, run
from tests.flow.test_disposition import SCHEDULE, WORD, archived, asked, at_once, decided, forward, state
from tests.flow.test_retention import set_schedule

__all__ = ["at_once", "no_settings_around"]


def extended(api, capture, days=30, **more):
    body = {
        "captures": [capture],
        "until": rfc3339(api.core.clock() + timedelta(days=days)),
        "reason": "litige",
    }
    return api.call("POST", "/v1/dispositions/extend", "records_manager", "rob", **(body | more))


def relabelled(api, capture, klass):
    body = {"captures": [capture], "class": klass, "reason": "facture sans le mot"}
    return api.call("POST", "/v1/dispositions/relabel", "records_manager", "rob", **body)


def classes(api):
    return api.call("POST", "/v1/dispositions/preview", "auditor", "aude").json()["classes"]


def test_disposition_leaves_what_a_reviewer_extends_and_takes_the_rest(api, tmp_path):
    captures = archived(api, tmp_path)
    until = extended(api, captures[WORD]).json()["until"]
    assert classes(api) == {"old": 1}
    name = decided(api)
    forward(api)
    assert (state(api, name)["state"], state(api, name)["captures"]) == ("done", 1)
    assert asked(api).json()["code"] == "disposition.nothing"
    acts = api.tenant.acts
    acts.refresh()
    assert acts.reviews.until == {captures[WORD]: until}


def test_disposition_that_was_decided_before_the_extension_leaves_it_too(api, tmp_path):
    captures = archived(api, tmp_path)
    name = decided(api)
    assert extended(api, captures[WORD]).status_code == 200
    forward(api)
    assert (state(api, name)["state"], state(api, name)["captures"]) == ("done", 1)


def test_an_extension_is_no_gain_for_ever_nor_brought_forward(api, tmp_path):
    captures = archived(api, tmp_path)
    assert extended(api, captures[WORD], days=300).status_code == 200
    for days, code in ((30, "retention.shorter"), (6 * 366, "retention.until"), (-1, "retention.until")):
        assert extended(api, captures[WORD], days=days).json()["code"] == code
    assert extended(api, "nowhere").json()["code"] == "not_found"
    assert extended(api, captures[WORD], until="tomorrow").json()["code"] == "retention.until"


def test_four_eyes_a_class_by_hand_needs_two_people_and_is_what_counts(api, tmp_path):
    captures = archived(api, tmp_path)
    made = relabelled(api, captures[WORD], "law")
    assert made.status_code == 202
    assert classes(api) == {"old": 2}
    alone = api.call(
        "POST", f"/v1/approvals/{made.json()['id']}/approve", "records_manager", "rob", reason="x"
    )
    assert alone.status_code in (403, 409)
    api.approved(made)
    assert classes(api) == {"old": 1}
    name = decided(api)
    forward(api)
    assert state(api, name)["captures"] == 1
    (hit,) = api.call("POST", "/v1/search", "legal", "zoe", query=WORD).json()["hits"]
    said = api.call("GET", f"/v1/messages/{hit['id']}", "legal", "zoe").json()["retention"]
    assert (said["class"], said["rule"], said["by_hand"]) == ("law", None, True)
    trial = api.call("POST", "/v1/schedules/dry-run", "auditor", "aude", schedule=SCHEDULE).json()
    assert trial["by_hand"] == 1


def test_a_class_that_is_not_in_the_schedule_is_refused_and_one_that_left_it_counts_no_more(api, tmp_path):
    captures = archived(api, tmp_path)
    assert relabelled(api, captures[WORD], "nowhere").json()["code"] == "retention.class"
    api.approved(relabelled(api, captures[WORD], "law"))
    old = {"id": "old", "name": "old", "basis": "b", "article": "a", "maximum": "P1Y", "start": "sent"}
    set_schedule(api, {"classes": [old], "rules": [], "default": "old"})
    assert classes(api) == {"old": 3}


def test_extend_and_relabel_by_the_command_line(api, tmp_path):
    captures = archived(api, tmp_path)
    token = api.token("records_manager", "rob")
    where = ("--tenant", "acme", "--token", token, "--data", api.data, "--reason", "r", "--json")
    until = rfc3339(api.core.clock() + timedelta(days=9))
    said = run("dispositions", "extend", "--capture", captures[WORD], "--until", until, *where)
    assert (said.code, said.answer["captures"]) == (0, 1), said.err
    said = run("dispositions", "relabel", "--capture", captures[WORD], "--class", "law", *where)
    assert (said.code, said.answer["captures"]) == (0, 1), said.err
    said = run("dispositions", "relabel", "--capture", captures[WORD], "--class", "x", *where)
    assert said.answer["error"]["code"] == "retention.class"
