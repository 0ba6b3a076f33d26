"""``grants``, ``matters`` and ``compartments`` from the command line: asked by one, decided by another."""

import pytest

from archive_service.bootstrap import open_core
from archive_service.settings import load
from archive_service.tenant_services import open_tenant
from tests.flow.archive_fixtures import done, no_settings_around, run

assert no_settings_around


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cases") / "archive"
    done("init", "--data", folder, "--tenant", "acme")
    return folder


@pytest.fixture(scope="module")
def who(data):
    def token(role, subject):
        words = ("--tenant", "acme", "--role", role, "--subject", subject, "--json")
        return done("token", "--data", data, *words).answer["token"]

    return {
        name: token(role, name)
        for name, role in {
            "paul": "admin",
            "pia": "admin",
            "zoe": "legal",
            "lea": "compliance_officer",
        }.items()
    }


def by(data, token, *words, tenant="acme"):
    return run(*words, "--data", data, "--tenant", tenant, "--token", token, "--json")


def approved(data, token, approval):
    said = by(data, token, "approvals", "approve", approval, "--reason", "seen")
    assert said.code == 0, said.err
    return said.answer["result"]


def opened(data, token, name):
    said = by(data, token, "matters", "open", "--name", name, "--purpose", "litige")
    assert said.code == 0, said.err
    return said.answer["id"]


def granted(data, who, matter, subject="rita"):
    words = ("--subject", subject, "--role", "reviewer", "--matter", matter, "--reason", "revue")
    approval = by(data, who["paul"], "grants", "ask", *words).answer["approval"]
    return approved(data, who["lea"], approval)


def test_four_eyes_a_grant_is_asked_approved_listed_and_revoked(data, who):
    matter = opened(data, who["zoe"], "one")
    granted(data, who, matter)
    (row,) = by(data, who["paul"], "grants", "list", "--subject", "rita").answer["grants"]
    assert (row["role"], row["matter"], row["state"], row["asked_by"]) == ("reviewer", matter, "open", "paul")
    gone = by(data, who["pia"], "grants", "revoke", row["id"], "--reason", "over")
    assert gone.answer["state"] == "revoked"
    text = run("grants", "list", "--data", data, "--tenant", "acme", "--token", who["paul"]).out
    assert "revoked" in text
    assert matter in text


def test_four_eyes_nobody_approves_his_own_grant(data, who):
    matter = opened(data, who["zoe"], "own")
    words = ("--subject", "rita", "--role", "reviewer", "--matter", matter, "--reason", "revue")
    approval = by(data, who["paul"], "grants", "ask", *words).answer["approval"]
    said = by(data, who["paul"], "approvals", "approve", approval, "--reason", "mine")
    assert said.code == 1


def test_four_eyes_a_matter_with_open_grants_is_changed_by_two(data, who):
    matter = opened(data, who["zoe"], "two")
    granted(data, who, matter, "ron")
    change = ("matters", "change", matter, "--name", "two", "--purpose", "litige", "--query", "contrat")
    said = by(data, who["zoe"], *change)
    assert said.code == 1
    assert "matter.granted" in said.out + said.err
    approval = by(data, who["zoe"], *change, "--reason", "wider").answer["approval"]
    approved(data, who["lea"], approval)
    (row,) = [
        each for each in by(data, who["zoe"], "matters", "list").answer["matters"] if each["id"] == matter
    ]
    assert (row["query"], row["version"]) == ("contrat", 2)
    assert by(data, who["zoe"], "matters", "close", matter).answer["closed_at"] is not None


def test_four_eyes_a_compartment_is_asked_and_listed_to_its_officers_alone(data, who):
    words = ("--name", "alerts", "--officer", "ann=alert_officer", "--officer", "lea=compliance_officer")
    approval = by(data, who["paul"], "compartments", "ask", *words, "--reason", "loi").answer["approval"]
    approved(data, who["lea"], approval)
    (row,) = by(data, who["lea"], "compartments", "list").answer["compartments"]
    assert row["name"] == "alerts"
    assert by(data, who["zoe"], "compartments", "list").answer["compartments"] == []


@pytest.mark.parametrize("officer", ["ann", "ann=emperor", "=legal"])
def test_an_officer_that_is_none_is_named(data, who, officer):
    words = ("--name", "x", "--officer", officer, "--officer", "lea=legal", "--reason", "loi")
    said = by(data, who["paul"], "compartments", "ask", *words)
    assert said.code in (1, 2)
    assert said.answer["error"]["code"] in ("compartment.officer", "grant.subject")


def test_who_may_not_is_refused(data, who):
    for words in (
        ("matters", "open", "--name", "x", "--purpose", "y"),
        ("grants", "revoke", "g1", "--reason", "z"),
        (
            "compartments",
            "ask",
            "--name",
            "x",
            "--officer",
            "a=legal",
            "--officer",
            "b=legal",
            "--reason",
            "z",
        ),
    ):
        said = by(data, who["paul" if words[0] == "matters" else "zoe"], *words)
        assert said.code == 1
        assert "auth.forbidden" in said.out + said.err


def test_the_access_log_says_what_a_command_was_about(data, who):
    asked = by(data, who["paul"], "grants", "ask", "--subject", "max", "--role", "reviewer", "--reason", "r")
    approval = asked.answer["approval"]
    assert by(data, who["paul"], "approvals", "approve", approval, "--reason", "r").code == 1
    capture = "c" + "0" * 20
    words = ("--capture", capture, "--ground", "request", "--basis", "RGPD 17")
    assert by(data, who["zoe"], "erasures", "ask", *words).code == 1  # there is no such capture
    core = open_core(load(data=data))
    try:
        log = open_tenant(core, core.tenant("acme")).services.access_log
        last, shown, before, _ = (each.event for each in log.newest(4, None)[0])
    finally:
        core.close()
    assert (before.actor, before.ids) == ("paul", ())
    assert before.detail == {"command": "approvals approve", "named": [approval]}
    for event, outcome in ((shown, "shown"), (last, "refused"), (before, "refused")):
        assert event.outcome == outcome
    for event in (shown, last):
        assert (event.actor, event.ids, event.detail) == ("zoe", (capture,), {"command": "erasures ask"})
