"""The yearly pack over a real archive: rights and their use, holds, disposals, integrity, quantities; signed."""

import hashlib
import io
import json
from datetime import timedelta
from decimal import Decimal
from functools import partial

import pytest
from pypdf import PdfReader

from archive_service import bootstrap
from archive_service.disposal.disposing import advance
from archive_service.following import make_checkpointer
from archive_service.ledger.note import Verifier
from archive_service.model.canonical import canonical
from archive_service.model.clock import from_rfc3339, rfc3339
from archive_service.model.mail import Source
from archive_service.yearly_pack.pack import YearlyPack
from archive_service.yearly_pack.prices import Price
from archive_service.yearly_pack.span import Span
from tests.flow.api_fakes import a_hold
from tests.flow.archive_fixtures import done, no_settings_around, run, token
from tests.flow.real_api import RealApi
from tests.flow.test_compartments import found, made_compartment, mail, taken
from tests.flow.test_disposition import archived, decided, forward
from tests.flow.test_event_journal import included
from tests.flow.test_orders import ordered

__all__ = ["no_settings_around"]


@pytest.fixture(autouse=True)
def at_once(monkeypatch, no_settings_around):
    monkeypatch.setattr(bootstrap, "Source", partial(Source, intake_days=0))
    for name in ("DISPOSITION_GRACE_HOURS", "ERASURE_GRACE_HOURS"):
        monkeypatch.setenv(f"ARCHIVE_{name}", "0")


def year(api):
    return api.core.clock().year


def whole(api, of=None, role="auditor"):
    make_checkpointer(api.core, 0).run_once()
    answer = api.call("GET", f"/v1/yearly-pack?year={of or year(api)}", role, "aude")
    assert answer.status_code == 200, answer.text
    return answer.json()


def pack(api, of=None):
    return whole(api, of)["pack"]


def granted(api, subject, role="reviewer", **more):
    asked = {"subject": subject, "role": role, "reason": "revue"} | more
    return api.approved(api.call("POST", "/v1/grants", "admin", "paul", **asked))["grant"]


def recertify(api, who="anne", note="revue annuelle", **said):
    return api.call("POST", "/v1/recertifications", "compliance_officer", who, note=note, **said)


# --- rights


def test_every_right_in_force_stands_in_it_with_who_gave_it_and_its_last_use(api):
    used, idle, gone = granted(api, "rita"), granted(api, "max"), granted(api, "lou")
    api.call("POST", f"/v1/grants/{gone}/revoke", "admin", "paul", reason="parti")
    found(api, "reviewer", "rita")
    api.call("POST", "/v1/search", "reviewer", "lou", query="*")  # refused: no use of a right
    ends = rfc3339(api.core.clock() + timedelta(days=30))
    account = {"name": "siem", "role": "auditor", "only": ["access_log"], "ends": ends}
    made = api.call("POST", "/v1/accounts", "admin", "paul", **account).json()
    reading = {"name": "finder", "role": "legal", "only": ["search"], "ends": ends}
    asked = {"action": "account.make", "request": reading, "reason": "recherches"}
    finder = api.approved(api.call("POST", "/v1/approvals", "admin", "paul", **asked))["account"]
    rights = pack(api)["rights"]
    rows = {each["id"]: each for each in rights["in_force"]}
    assert rows.keys() == {used, idle, made["id"], finder}
    assert rows[used]["last_used"] is not None
    assert (rows[idle]["last_used"], rows[idle]["unused"]) == (None, True)
    assert set(rights["unused"]) == {idle, made["id"], finder}
    assert rights["uses_complete"]
    assert (rows[used]["asked_by"], rows[used]["approved_by"]) == ("paul", "zoe")
    assert (rows[finder]["asked_by"], rows[finder]["approved_by"]) == ("paul", "zoe")
    assert (rows[made["id"]]["subject"], rows[made["id"]]["approved_by"]) == ("account:siem", None)
    assert set(rights["not_looked_at"]) == rows.keys()
    assert "secret" not in json.dumps(rights)


def test_a_look_that_did_not_reach_the_years_beginning_calls_nothing_unused(api, monkeypatch):
    from archive_service.yearly_pack import rights

    granted(api, "max")
    for _ in range(3):
        found(api)
    monkeypatch.setattr(rights, "_STEP", 1)
    monkeypatch.setattr(YearlyPack.make, "__defaults__", (2,))
    said = pack(api)["rights"]
    assert (said["uses_complete"], said["unused"]) == (False, [])
    assert said["in_force"][0]["last_used"] is None


def test_rights_are_looked_at_again_by_an_act_that_the_pack_proves(api):
    keep, end = granted(api, "rita"), granted(api, "max")
    answer = recertify(api, confirmed=[keep], withdraw=[end])
    assert answer.status_code == 201, answer.text
    listed = api.call("GET", "/v1/recertifications", "auditor", "aude").json()["recertifications"]
    assert listed == [answer.json()]
    made = whole(api)
    rights = made["pack"]["rights"]
    verdicts = {each["id"]: each["recertified"]["verdict"] for each in rights["in_force"]}
    assert verdicts == {keep: "confirmed", end: "withdraw"}
    assert (rights["to_withdraw"], rights["not_looked_at"]) == ([end], [])
    (proof,) = made["proofs"]
    included(proof, made["keys"]["log"])
    assert proof["inclusion"]["index"] == answer.json()["seq"]
    api.call("POST", f"/v1/grants/{end}/revoke", "admin", "paul", reason="revue")
    assert [each["id"] for each in pack(api)["rights"]["in_force"]] == [keep]
    assert run("verify", "--data", api.data).code == 0


def test_four_eyes_nobody_confirms_a_right_of_his_own(api):
    own, other = granted(api, "anne", "legal"), granted(api, "rita")
    refused = recertify(api, confirmed=[other, own])
    assert (refused.status_code, refused.json()["code"]) == (409, "recertification.own")
    spelt = recertify(api, "Anne", confirmed=[own])
    assert spelt.json()["code"] == "recertification.own"
    assert recertify(api, "max", confirmed=[other, own]).status_code == 201
    assert recertify(api, withdraw=[own]).status_code == 201  # to give it up is another thing


def test_what_cannot_be_looked_at_again_is_refused_whole(api):
    grant = granted(api, "rita")
    assert recertify(api, confirmed=[grant, "g-never"]).status_code == 404
    for said in ({}, {"confirmed": [grant], "withdraw": [grant]}):
        assert recertify(api, **said).json()["code"] == "recertification.rights"
    assert recertify(api, confirmed=[grant], note="  ").json()["code"] == "reason.missing"
    api.call("POST", f"/v1/grants/{grant}/revoke", "admin", "paul", reason="fini")
    assert recertify(api, confirmed=[grant]).json()["code"] == "recertification.ended"
    assert api.call("GET", "/v1/recertifications", "auditor", "aude").json()["recertifications"] == []


# --- holds, disposals, integrity, quantities


def test_hold_that_was_to_be_reviewed_is_named(api, monkeypatch):
    matter = api.call("POST", "/v1/matters", "legal", "zoe", name="A", purpose="litige").json()["id"]
    review = rfc3339(api.core.clock() + timedelta(days=90))
    held = [
        api.call(
            "POST", f"/v1/matters/{matter}/holds", "legal", "zoe", **a_hold(name) | {"review": review}
        ).json()
        for name in ("un", "deux")
    ]
    assert pack(api)["holds"]["overdue"] == []
    known = api.tenant.acts.holds.known[held[0]["id"]]
    monkeypatch.setattr(known, "review", rfc3339(api.core.clock() - timedelta(days=1)))
    holds = pack(api)["holds"]
    assert {each["id"] for each in holds["in_force"]} == {each["id"] for each in held}
    assert (holds["overdue"], holds["placed"], holds["released"]) == ([held[0]["id"]], 2, [])


def test_disposals_and_quantities_are_those_of_the_ledger(api, tmp_path):
    archived(api, tmp_path)
    name = decided(api)
    before = pack(api)
    assert before["costs"]["stands_now"] == before["costs"]["came"]
    forward(api)
    made = pack(api)
    (run_,) = made["disposals"]["dispositions"]
    assert (run_["disposition"], run_["captures"]) == (name, 2)
    assert run_["classes"][0]["article"] == "GDPR, article 5(1)(e)"
    assert "places" not in run_
    disposals = made["disposals"]
    assert (disposals["barred"], disposals["keys_destroyed"]) == ({"maximum": 2}, 2)
    for event in disposals["events"]:
        found_ = api.call("GET", f"/v1/event-journal/{event['id']}/certificate", "auditor", "aude")
        assert found_.status_code == 200
    costs = made["costs"]
    assert costs["came"] == before["costs"]["came"]
    assert costs["came"]["captures"] == 3
    assert costs["stands_now"]["captures"] == 1
    assert [(each["class"], each["captures"]) for each in costs["classes"]] == [("law", 1)]
    assert [each["bytes"] for each in costs["sources"]] == [costs["stands_now"]["bytes"]]
    objects = [each for each in api.data.glob("objects/*/capture-*/*/[0-9a-f]*") if each.is_file()]
    assert sum(each.stat().st_size for each in objects) == costs["stands_now"]["bytes"]


def test_an_object_that_an_order_took_from_a_disposition_was_deleted_once(api, tmp_path):
    captures = archived(api, tmp_path)
    name = decided(api)
    api.follow()
    advance(api.core, api.tenant)
    going = [each.id for each in api.tenant.acts.dispositions.known[name].going]
    assert len(going) == 2
    ordered(api, "erase", captures=going)
    for _ in range(2):
        forward(api)
    disposals = pack(api)["disposals"]
    assert (len(disposals["dispositions"]), len(disposals["orders"])) == (1, 1)
    assert (disposals["objects_deleted"], disposals["keys_destroyed"]) == (2, 2)
    assert captures["facture 7"] not in going


def test_costs_are_quantities_times_the_price_that_was_set():
    price, span = Price(Decimal("0.03"), "EUR"), Span.of(2026, from_rfc3339("2026-07-02T12:00:00Z"))
    stored = (1 << 30) * span.seconds_from("2020-01-01T00:00:00.000000Z")
    assert stored == (1 << 30) * 182.5 * 86400
    said = price.of(100 << 30, 100 * stored)
    assert (said["month"], said["span"], said["currency"]) == ("3.00", "17.99", "EUR")
    assert span.seconds_from("2026-07-02T11:59:00.000000Z") == 60
    assert span.seconds_from("2027-01-01T00:00:00.000000Z") == 0


def test_costs_name_no_price_unless_one_is_set(api, tmp_path, pool):
    archived(api, tmp_path)
    assert pack(api)["costs"]["price"] is None
    with RealApi(api.data, pool, storage_price=Decimal("0.025"), storage_currency="CHF") as priced:
        answer = priced.call(
            "GET", f"/v1/yearly-pack?year={api.core.clock().year}&format=pdf", "auditor", "aude"
        )
        text = " ".join(page.extract_text() for page in PdfReader(io.BytesIO(answer.content)).pages)
        assert "0.025 CHF" in text and "0.00 CHF" in text


def test_integrity_says_where_each_log_is_signed_and_when_all_was_read(api):
    assert pack(api)["integrity"]["last_verify"] is None
    assert run("verify", "--data", api.data).code == 0
    said = pack(api)["integrity"]
    assert said["last_verify"]["clean"]
    assert {"acts", "root"} <= {each["log"] for each in said["logs"]}
    assert all(0 < each["checkpoint"]["size"] <= each["size"] for each in said["logs"])


def test_a_year_that_has_not_begun_has_no_pack_and_one_that_is_over_all_of_it(api, tmp_path):
    ahead = api.call("GET", f"/v1/yearly-pack?year={year(api) + 1}", "auditor", "aude")
    assert (ahead.status_code, ahead.json()["code"]) == (422, "pack.year")
    granted(api, "rita")
    mail(tmp_path / "m", "one", "a@ex.fr", "b@ex.fr", "contrat")
    taken(api, tmp_path / "m")
    api.follow()
    last = pack(api, year(api) - 1)
    assert last["year_over"]
    assert last["rights"]["in_force"] == []
    assert last["costs"]["came"] == last["costs"]["stands_now"] == {"captures": 0, "bytes": 0}
    now = api.core.clock()
    assert Span.of(now.year - 1, now).ends == Span.of(now.year, now).begins


# --- signed, on paper, and of one tenant


def test_the_pack_is_signed_and_a_changed_one_is_seen(api):
    granted(api, "rita")
    made = whole(api)
    origin = f"archive-service/yearly-pack/v1/{year(api)}"
    note = Verifier(made["keys"]["root"]).check(made["note"], origin)
    assert (note.size, note.root) == (1, hashlib.sha256(canonical(made["pack"])).digest())
    made["pack"]["rights"]["in_force"][0]["subject"] = "lou"
    assert note.root != hashlib.sha256(canonical(made["pack"])).digest()


def test_a_tampered_log_has_no_pack(api, tmp_path):
    mail(tmp_path / "m", "one", "a@ex.fr", "b@ex.fr", "contrat")
    taken(api, tmp_path / "m")
    api.follow()
    whole(api)
    (path,) = api.data.glob(f"ledger/{api.tenant.id}/capture-1/batch/*/*1")
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-2])
    answer = api.call("GET", f"/v1/yearly-pack?year={year(api)}", "auditor", "aude")
    assert (answer.status_code, answer.json().get("code")) == (500, "integrity.tampered")


def test_the_pack_says_nothing_of_a_compartment(api, tmp_path):
    before = pack(api)
    compartment = made_compartment(api)
    mail(tmp_path / "alerts", "alert", "lanceur@ex.fr", "alerte@ex.fr", "corruption")
    taken(api, tmp_path / "alerts", "acme/alertes")
    found(api, "alert_officer", "rita", where=f"?compartment={compartment}")
    made = pack(api)
    for part in ("rights", "holds", "disposals", "costs"):
        kept = {**before[part], "uses_looked_back_to": ""}
        assert {**made[part], "uses_looked_back_to": ""} == kept
    text = json.dumps(made)
    assert not any(word in text for word in (compartment, "rita", "alert"))


def test_the_pack_by_the_command_line_and_on_paper(api, tmp_path):
    matter = api.call("POST", "/v1/matters", "legal", "zoe", name="A", purpose="litige").json()["id"]
    review = rfc3339(api.core.clock() + timedelta(days=90))
    hold = a_hold("Contrats") | {"review": review}
    api.call("POST", f"/v1/matters/{matter}/holds", "legal", "zoe", **hold)
    archived(api, tmp_path)
    name = decided(api)
    forward(api)
    grant = granted(api, "rita")
    by = ("--tenant", "acme", "--data", api.data, "--token")
    anne, aude = token(api.data, "compliance_officer", "anne"), token(api.data, "auditor", "aude")
    said = done("grants", "recertify", *by, anne, "--confirm", grant, "--note", "revue", "--json").answer
    assert said["confirmed"] == [grant]
    files = [tmp_path / "pack.json", tmp_path / "pack.pdf"]
    for file in files:
        done("yearly-pack", "--year", year(api), *by, aude, "--out", file, "--json")
    made = json.loads(files[0].read_text())
    assert made["pack"]["rights"]["in_force"][0]["recertified"]["by"] == "anne"
    text = " ".join(each.extract_text() for each in PdfReader(io.BytesIO(files[1].read_bytes())).pages)
    for word in (grant, "rita", "Contrats", name, "GDPR, article 5(1)(e)", "yearly-pack/v1"):
        assert word in text
    assert run("yearly-pack", "--year", year(api), *by, aude, "--out", files[0]).code == 2
    none = run("yearly-pack", "--year", year(api), *by, aude, "--looks", 0, "--json")
    assert (none.code, none.answer["error"]["code"]) == (2, "input.looks")
    legal = token(api.data, "legal", "zoe")
    assert (
        run("yearly-pack", "--year", year(api), *by, legal, "--json").answer["error"]["code"]
        == "auth.forbidden"
    )
