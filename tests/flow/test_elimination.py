"""Public archives over a real archive: nothing is eliminated but by a list that has its visa."""

import hashlib

from tests.flow.real_api import RealApi
from tests.flow.test_disposition import SCHEDULE, WORD, archived, asked, at_once, forward, state
from tests.flow.test_disposition import no_settings_around as no_settings_around
from tests.flow.test_orders import b64
from tests.flow.test_retention import set_schedule

__all__ = ["at_once"]

VISA = {"reference": "AD75 2026-7", "issuer": "Archives de Paris", "dated": "2026-01-05"}
PAPER = b"%PDF visa"


def call(api: RealApi, method, path, **body):
    return api.call(method, f"/v1/eliminations{path}", "records_manager", "rob", **body)


def code(answer):
    return answer.status_code, answer.json().get("code")


def test_code_du_patrimoine_article_r212_14_without_a_visa_nothing_is_eliminated(api, tmp_path):
    captures = archived(api, tmp_path)
    before = asked(api)  # of a schedule that does not say so yet
    set_schedule(api, {**SCHEDULE, "public_service": True})
    approve = f"/v1/approvals/{before.json()['id']}/approve"
    late = api.call("POST", approve, "legal", "zoe", reason="vu").json()
    assert (late["state"], late["error"]) == ("approved", "disposition.no_visa")
    assert code(asked(api)) == (409, "disposition.no_visa")
    drawn = call(api, "POST", "", omit=[captures["autre"]]).json()
    assert drawn["captures"] == [captures[WORD]]
    assert drawn["sha256"] == hashlib.sha256(f"{captures[WORD]}\n".encode()).hexdigest()
    assert code(asked(api, elimination=drawn["id"])) == (409, "disposition.no_visa")
    assert asked(api, elimination="never-was").status_code == 404
    path, paper = (
        f"/{drawn['id']}/visa",
        {"name": "visa.pdf", "type": "application/pdf", "content": b64(PAPER)},
    )
    assert code(call(api, "POST", path, **VISA, sha256="0" * 64)) == (409, "visa.other_list")
    given = call(api, "POST", path, **VISA, sha256=drawn["sha256"], document=paper)
    assert given.status_code == 200, given.text
    assert code(call(api, "POST", path, **VISA, sha256=drawn["sha256"])) == (409, "visa.given")
    run = api.approved(asked(api, elimination=drawn["id"]))
    assert run["captures"] == 1  # the list's, though another one is past its maximum too
    forward(api)
    said = state(api, run["disposition"])
    assert (said["state"], said["elimination"]) == ("done", drawn["id"])
    made = api.call("GET", f"/v1/dispositions/{run['disposition']}/certificate", "auditor", "aude").json()
    digest = hashlib.sha256(PAPER).hexdigest()
    wanted = {"list": drawn["id"], "list_sha256": drawn["sha256"], "document_sha256": digest, **VISA}
    assert made["certificate"]["visa"] == wanted
    assert api.tenant.acts.erasures.barred(captures["autre"]) is False


def test_disposition_decided_before_the_archives_were_public_stops(api, tmp_path):
    captures = archived(api, tmp_path)
    name = api.approved(asked(api))["disposition"]
    set_schedule(api, {**SCHEDULE, "public_service": True})
    forward(api)
    assert state(api, name)["state"] == "stopped"
    assert not api.tenant.acts.erasures.barred(captures[WORD])
