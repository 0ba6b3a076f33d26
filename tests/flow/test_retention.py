"""The retention schedule over a real archive: set by two people, tried before, and what it says of a message."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from archive_service.alarms import names
from archive_service.alarms.log_looks import Logs, unread
from archive_service.model.clock import from_rfc3339, rfc3339
from archive_service.model.errors import Locked, StoreError
from archive_service.model.schedule import RetentionClass, after
from archive_service.terms.locking import LockKeeper, first_unkept, wanted_until
from archive_service.vault.stores.base import LockMode
from retention.schedule.terms import Assessment
from tests.flow.archive_fixtures import done, no_settings_around, run, token
from tests.flow.real_api import RealApi
from tests.flow.test_compartments import found, mail, taken

__all__ = ["no_settings_around"]


def klass(name, maximum, **more):
    return {"id": name, "name": name, "basis": "politique", "article": "interne 3", "maximum": maximum} | more


def schedule(*rules, **more):
    classes = [klass("ordinary", "P1Y"), klass("invoices", "P10Y", minimum="P10Y", start="sent")]
    return {"classes": classes, "rules": list(rules), "default": "ordinary", "domains": ["ex.fr"]} | more


INVOICES = {"id": "invoices", "class": "invoices", "subject": ["facture"]}


def set_schedule(api, whole=None, **more):
    body = {"schedule": whole or schedule(INVOICES), "reason": "mise à jour"} | more
    return api.approved(api.call("POST", "/v1/schedules", "records_manager", "rob", **body))


def archived(api, tmp_path, source="feed"):
    mail(tmp_path / "m", "one", "a@ex.fr", "b@dehors.fr", "facture 7")
    mail(tmp_path / "m", "two", "a@ex.fr", "b@ex.fr", "déjeuner")
    taken(api, tmp_path / "m", name=source)
    return {hit["subject"]: hit["id"] for hit in found(api)["hits"]}


def view(api, message):
    answer = api.call("GET", f"/v1/messages/{message}", "compliance_officer", "anne")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_message_says_how_long_it_is_kept_and_why(api, tmp_path):
    ids = archived(api, tmp_path)
    assert view(api, ids["facture 7"])["retention"].keys() == {"lock_until", "captures"}
    set_schedule(api)
    said = view(api, ids["facture 7"])["retention"]
    assert (said["class"], said["basis"], said["article"]) == ("invoices", "politique", "interne 3")
    assert said["keep_until"] == said["dispose_after"] == "2036-03-02T10:00:00.000000Z"
    assert (said["rule"], said["schedule_version"], len(said["captures"])) == ("invoices", 1, 1)
    other = view(api, ids["déjeuner"])["retention"]
    assert (other["class"], other["rule"], other["keep_until"]) == ("ordinary", None, None)


def test_four_eyes_a_schedule_needs_two_people_and_is_what_was_asked(api):
    asked = api.call(
        "POST", "/v1/schedules", "records_manager", "rob", schedule=schedule(INVOICES), reason="r"
    ).json()
    own = api.call("POST", f"/v1/approvals/{asked['id']}/approve", "records_manager", "rob", reason="x")
    assert (own.status_code, own.json()["code"]) == (409, "approval.own")
    assert api.call("GET", "/v1/schedules", "auditor", "aude").json()["schedules"] == []
    done_ = api.call("POST", f"/v1/approvals/{asked['id']}/approve", "dpo", "paul", reason="vu").json()
    assert done_["result"]["version"] == 1
    (version,) = api.call("GET", "/v1/schedules", "auditor", "aude").json()["schedules"]
    assert (version["in_force"], version["set_by"], version["approval"]) == (True, "rob", asked["id"])
    assert version["schedule"]["rules"] == [INVOICES]
    again = api.call("POST", f"/v1/approvals/{asked['id']}/execute", "dpo", "paul")
    assert again.json()["code"] == "approval.executed"


def test_four_eyes_a_schedule_that_was_set_and_not_told_of_is_set_once(api, monkeypatch):
    """The append fails without and with its act standing: either way one version comes of one approval."""
    acts = api.tenants.get(api.tenant.id).four_eyes._acts
    real = acts.append
    for persist in (False, True):
        asked = api.call(
            "POST", "/v1/schedules", "records_manager", "rob", schedule=schedule(), reason="r"
        ).json()["id"]
        before = len(acts.schedules.versions)

        def cut(act, persist=persist):
            made = act(None)
            if made["act"] != "schedule.set":
                return real(lambda _: made)
            if persist:
                real(act)
            raise StoreError("away")

        with monkeypatch.context() as patched:
            patched.setattr(acts, "append", cut)
            answer = api.call("POST", f"/v1/approvals/{asked}/approve", "legal", "zoe", reason="vu").json()
        assert answer["error"] == "store.failed"
        api.call("POST", f"/v1/approvals/{asked}/execute", "legal", "zoe")
        acts.refresh()
        assert len(acts.schedules.versions) == before + 1


def test_a_dry_run_counts_what_each_rule_takes_and_the_difference_and_changes_nothing(api, tmp_path):
    archived(api, tmp_path)
    set_schedule(api)
    whole = schedule({"id": "inside", "class": "invoices", "direction": "internal"})
    said = api.call("POST", "/v1/schedules/dry-run", "auditor", "aude", schedule=whole).json()
    assert said["captures"] == 2
    assert [(each["rule"], each["captures"], each["kinds"]) for each in said["rules"]] == [
        ("inside", 1, {"generic": 1}),
        (None, 1, {"generic": 1}),
    ]
    assert said["moves"] == [
        {"from": "invoices", "to": "ordinary", "captures": 1},
        {"from": "ordinary", "to": "invoices", "captures": 1},
    ]
    assert (said["compared_with"], said["kept_longer"], said["kept_shorter"]) == (1, 1, 1)
    assert (said["minimum_longer"], said["minimum_shorter"]) == (1, 1)
    bare = schedule(INVOICES, classes=[klass("ordinary", "P1Y"), klass("invoices", "P10Y", start="sent")])
    said = api.call("POST", "/v1/schedules/dry-run", "auditor", "aude", schedule=bare).json()
    times = [said[f"{what}_{way}"] for what in ("kept", "minimum") for way in ("longer", "shorter")]
    assert times == [0, 0, 0, 1]  # nothing ends sooner, and nothing keeps it against a request any more
    (version,) = api.call("GET", "/v1/schedules", "auditor", "aude").json()["schedules"]
    assert version["schedule"]["rules"] == [INVOICES]


def test_a_version_is_in_force_from_its_time_on_and_not_before(api, tmp_path):
    ids = archived(api, tmp_path)
    set_schedule(api)
    later = "2099-01-01T00:00:00.000000Z"
    assert set_schedule(api, schedule(), effective_from=later)["effective_from"] == later
    assert view(api, ids["facture 7"])["retention"]["schedule_version"] == 1
    assert api.tenant.acts.refresh()
    assert api.tenant.acts.schedules.in_force("2099-06-01T00:00:00.000000Z").number == 2
    past = api.call("POST", "/v1/schedules", "records_manager", "rob", schedule=schedule(), reason="r",
                    effective_from="2001-01-01T00:00:00Z")  # fmt: skip
    assert (past.status_code, past.json()["code"]) == (422, "schedule.effective_from")


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"default": "nowhere"}, "schedule: "),
        ({"classes": [klass("ordinary", "P1Y", minimum="P2Y")]}, "classes.0: "),
        ({"rules": [{**INVOICES, "body": ["contrat"]}]}, "rules.0.body: "),
        ({"rules": [{**INVOICES, "words": ["--"]}]}, "rules.0.words.0: "),
        ({"rules": [{**INVOICES, "headers": ["deux mots: x"]}]}, "rules.0.headers.0: "),
        ({"rules": [{**INVOICES, "words": []}]}, "rule invoices: words is empty"),
        ({"rules": [{**INVOICES, "subject": ["--"]}]}, "rule invoices: a subject"),
        ({"rules": [{**INVOICES, "sources": ["snowhere"]}]}, "rule invoices: "),
        ({"rules": [{**INVOICES, "custodians": ["cnowhere"]}]}, "rule invoices: "),
        (
            {
                "classes": [klass("ordinary", "P1Y", start="matter", matter="mnowhere", event_by="P9Y")],
                "rules": [],
            },
            "class ordinary: ",
        ),
    ],
    ids=[
        "default",
        "minimum",
        "unknown",
        "no word",
        "no header",
        "empty",
        "no subject",
        "source",
        "custodian",
        "matter",
    ],
)
def test_a_senseless_schedule_is_refused_and_says_where(api, changes, where):
    for path, more in (("", {"reason": "r"}), ("/dry-run", {})):
        answer = api.call(
            "POST", f"/v1/schedules{path}", "dpo", "paul", schedule=schedule(INVOICES) | changes, **more
        )
        assert (answer.status_code, answer.json()["code"]) == (422, "schedule.invalid")
        assert answer.json()["detail"].startswith(where)


def test_a_schedule_from_the_command_line(api, tmp_path):
    archived(api, tmp_path)
    file = tmp_path / "schedule.json"
    file.write_text(json.dumps(schedule(INVOICES)), "utf-8")
    by = ("--tenant", "acme", "--data", api.data, "--token", token(api.data, "records_manager", "rob"))
    assert done("schedule", "dry-run", file, *by, "--json").answer["captures"] == 2
    made = done("schedule", "set", file, *by, "--reason", "mise à jour", "--json").answer["approval"]
    assert done("schedule", "show", *by).out == "no schedule was set\n"
    zoe = ("--tenant", "acme", "--data", api.data, "--token", token(api.data, "legal", "zoe"))
    done("approvals", "approve", made, *zoe, "--reason", "vu")
    assert "in force" in done("schedule", "show", *by).out
    assert "L123-22" in done("schedule", "templates", *by).out
    file.write_text("{", "utf-8")
    assert run("schedule", "set", file, *by, "--reason", "r").code == 2


def test_the_schedule_survives_everything_but_the_logs(api, tmp_path):
    ids = archived(api, tmp_path)
    set_schedule(api)
    before = view(api, ids["facture 7"])["retention"]
    api.__exit__(None, None, None)
    done("rebuild", "--data", api.data)
    with RealApi(api.data, api.pool) as again:
        assert view(again, ids["facture 7"])["retention"] == before


# --- locks


def lock_of(api, message):
    """The lock of its one object, in the store itself."""
    (capture,) = api.tenants.get(api.tenant.id).catalog.messages([message])[0].captures
    ((_, lock),) = api.core.store.stat(capture.object_key)
    return capture, lock


LAW = klass(
    "law",
    "P10Y",
    minimum="P10Y",
    start="sent",
    lock="COMPLIANCE",
    article="Code de commerce, article L123-22",
)


def test_l123_22_the_lock_is_made_as_long_as_the_minimum_and_no_other(api, tmp_path):
    ids = archived(api, tmp_path)
    before = {message: lock_of(api, message)[1].until for message in ids.values()}
    set_schedule(api, {**schedule(), "classes": [klass("ordinary", "P1Y"), LAW],
                       "rules": [{"id": "law", "class": "law", "subject": ["facture"]}]})  # fmt: skip
    api.follow()
    capture, lock = lock_of(api, ids["facture 7"])
    assert (rfc3339(lock.until), lock.mode) == ("2036-03-02T10:00:00.000000Z", LockMode.COMPLIANCE)
    assert lock_of(api, ids["déjeuner"])[1].until == before[ids["déjeuner"]]
    said = view(api, ids["facture 7"])["retention"]
    assert said["lock_until"] == said["keep_until"]
    with pytest.raises(Locked):
        api.core.store.delete(capture.object_key, api.core.store.stat(capture.object_key)[0][0].version)
    assert run("verify", "--data", api.data).code == 0


def test_a_lock_and_a_hold_do_not_undo_each_other(api, tmp_path):
    ids = archived(api, tmp_path)
    capture, lock = lock_of(api, ids["facture 7"])
    (stored, _), = api.core.store.stat(capture.object_key)  # fmt: skip
    api.core.store.protect(capture.object_key, stored.version, replace(lock, hold=True))
    set_schedule(api, {**schedule(), "classes": [LAW], "default": "law"})
    api.follow()
    now = lock_of(api, ids["facture 7"])[1]
    assert (now.hold, now.until > lock.until) == (True, True)


def test_a_lock_rolls_while_its_event_is_not_known_and_then_ends_with_the_minimum(api, tmp_path):
    ids = archived(api, tmp_path)
    matter = api.call("POST", "/v1/matters", "legal", "zoe", name="A", purpose="p", query="*").json()["id"]
    waiting = klass("ordinary", "P2Y", start="matter", matter=matter, event_by="P50Y", minimum="P2Y")
    set_schedule(api, {**schedule(), "classes": [waiting]})
    api.follow()
    now = api.core.clock()
    rolling = lock_of(api, ids["facture 7"])[1].until
    assert timedelta(days=89) < rolling - now <= timedelta(days=90)
    api.call("POST", f"/v1/matters/{matter}/close", "legal", "zoe")
    api.follow()
    closed = api.tenant.acts.matters.known[matter].closed
    assert lock_of(api, ids["facture 7"])[1].until == after(from_rfc3339(closed), "P2Y")


@pytest.mark.parametrize("persisted", [False, True], ids=["not persisted", "but persisted"])
def test_a_lock_that_could_not_be_made_longer_is_made_so_later(api, tmp_path, monkeypatch, persisted):
    ids = archived(api, tmp_path)
    store = type(api.core.raw)
    real, cut = store.protect, []

    def failing(self, key, version, lock):
        if not cut:
            cut.append(key)
            if persisted:
                real(self, key, version, lock)
            raise StoreError("away")
        real(self, key, version, lock)

    monkeypatch.setattr(store, "protect", failing)
    set_schedule(api, {**schedule(), "classes": [LAW], "default": "law"})
    api.follow()
    assert len(cut) == 1
    api.follow()
    for message in ids.values():
        assert rfc3339(lock_of(api, message)[1].until) == "2036-03-02T10:00:00.000000Z"


def test_gdpr_article_5_a_lock_is_never_longer_than_its_minimum():
    now = from_rfc3339("2026-01-01T00:00:00Z")
    whole = RetentionClass(**LAW)

    def at(until, is_open=False):
        return Assessment(whole, None, rfc3339(now), until, "2200-01-01T00:00:00.000000Z", is_open)

    assert wanted_until(at(None), None, now) is None
    assert wanted_until(at("2025-12-31T00:00:00.000000Z"), None, now) is None
    assert (
        rfc3339(wanted_until(at("2026-02-01T00:00:00.000000Z", True), None, now))
        == "2026-02-01T00:00:00.000000Z"
    )
    assert wanted_until(at("2076-01-01T00:00:00.000000Z", True), now + timedelta(days=46), now) is None


def test_a_capture_that_is_not_locked_as_its_class_asks_is_told_at_half_of_its_intake_lock(
    api, tmp_path, monkeypatch
):
    def used(days):
        catalog, owner = api.tenants.get(api.tenant.id).catalog, api.tenant.id
        logs = [log for log in api.core.census.logs(owner, 0) if log.kind == "capture"]
        now = api.core.clock() + timedelta(days=days)
        first = first_unkept(api.core.work, api.tenant.acts, catalog, rfc3339(now))
        found = unread(Logs(api.core.store), owner, logs, catalog, now.timestamp(), first)
        return next(each.value for each in found if each.metric == names.INTAKE_LOCK_USED)

    archived(api, tmp_path)
    api.follow()
    assert (used(14) < 0.5, used(16) > 0.5) == (True, True)  # without a schedule nothing has a class
    set_schedule(api, {**schedule(), "classes": [LAW], "default": "law"})
    api.follow()
    assert used(16) == 0
    with monkeypatch.context() as patched:
        patched.setattr(LockKeeper, "_keep", lambda *_: (_ for _ in ()).throw(StoreError("away")))
        mail(tmp_path / "m", "three", "a@ex.fr", "b@dehors.fr", "facture 8")
        taken(api, tmp_path / "m")
        api.follow()
        assert (used(14) < 0.5, used(16) > 0.5) == (True, True)
    api.follow()
    assert used(16) == 0


def test_a_source_decides_the_lock_that_its_mail_is_born_with_and_a_class_raises_it(api, tmp_path):
    add = ("source", "add", "--tenant", "acme", "--kind", "generic", "--data", api.data, "--json")
    for wrong in (("--intake-days", "0"), ("--intake-days", "366")):
        said = run(*add, "--name", "x", *wrong)
        assert (said.code, said.answer["error"]["code"]) == (2, "source.intake")
    body = {"name": "léger", "kind": "generic", "intake_days": 3, "lock_mode": "GOVERNANCE"}
    assert api.call("POST", "/v1/sources", "admin", "paul", **body).status_code == 201
    done(*add, "--name", "imports", "--intake-days", "5", "--lock-mode", "GOVERNANCE")
    light = next(each for each in api.tenant.acts.sources() if each.name == "léger")
    assert (light.intake_days, light.lock_mode) == (3, "GOVERNANCE")
    ids = archived(api, tmp_path, source="imports")
    lock = lock_of(api, ids["facture 7"])[1]
    days = (lock.until - api.core.clock()).total_seconds() / 86400
    assert (lock.mode, 4.9 < days < 5) == (LockMode.GOVERNANCE, True)
    set_schedule(api, {**schedule(), "classes": [klass("ordinary", "P1Y"), LAW],
                       "rules": [{"id": "law", "class": "law", "subject": ["facture"]}]})  # fmt: skip
    api.follow()
    assert lock_of(api, ids["facture 7"])[1].mode is LockMode.COMPLIANCE
    assert lock_of(api, ids["déjeuner"])[1].mode is LockMode.GOVERNANCE
    assert run("verify", "--data", api.data).code == 0
