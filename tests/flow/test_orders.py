"""Orders of a court or authority over a real archive: above everything else, and never against each other."""

import base64
import hashlib
import io
import random
from datetime import timedelta
from functools import partial

import pytest
from pypdf import PdfReader

from archive_service import bootstrap
from archive_service.disposal.disposing import advance
from archive_service.disposal.erasing import run_batch
from archive_service.ledger.acts import Acts
from archive_service.ledger.note import Verifier
from archive_service.model.canonical import canonical
from archive_service.model.clock import require_day_gone_by
from archive_service.model.errors import Invalid, Refused, StoreError
from archive_service.model.mail import Source
from archive_service.vault.key_layout import LogId
from archive_service.vault.stores.base import Lock, LockMode
from retention.elimination import record_visa
from retention.erasure import Capture, withdraw
from retention.orders import Words, require_words
from tests.flow.archive_fixtures import done, no_settings_around, run
from tests.flow.test_compartments import found, made_compartment, mail, taken
from tests.flow.test_holds import forget, opened, placed, seen
from tests.flow.test_retention import klass, set_schedule

__all__ = ["no_settings_around"]

PAPER = b"%PDF-1.7 " + b"".join(hashlib.sha256(bytes([each])).digest() for each in range(256)) * 3
PAPER += random.Random(7).randbytes(24_000)
WORDS = {
    "issuer": "Tribunal judiciaire de Paris",
    "reference": "RG 26/01234",
    "dated": "2026-01-05",
    "text": "Ordonnance",
    "reason": "signifiée ce jour",
}


@pytest.fixture(autouse=True)
def at_once(monkeypatch, no_settings_around):
    """Nothing waits for days: no intake lock, no grace."""
    monkeypatch.setattr(bootstrap, "Source", partial(Source, intake_days=0))
    for name in ("DISPOSITION_GRACE_HOURS", "ERASURE_GRACE_HOURS"):
        monkeypatch.setenv(f"ARCHIVE_{name}", "0")


def archived(api, tmp_path, *subjects):
    """Capture by subject."""
    for number, subject in enumerate(subjects):
        mail(tmp_path / subject, f"m{number}", f"{number}@ex.fr", "b@ex.fr", subject)
        taken(api, tmp_path / subject)
    api.follow()
    rows = api.tenant, api.core.engines.live(api.tenant.id).catalog
    return {
        row.captures[0].finding.parsed.subject: row.captures[0].id
        for row in rows[1].changed(0, rows[1].position().rows)
    }


def asked(api, kind, **more):
    more.setdefault("document", {"name": "o.pdf", "type": "application/pdf", "content": b64(PAPER)})
    return api.call("POST", "/v1/orders", "legal", "zoe", **WORDS, kind=kind, **more)


def ordered(api, kind, **more):
    return api.approved(asked(api, kind, **more), "dpo", "paul")["order"]


def ended(api, order):
    return api.approved(
        api.call("POST", f"/v1/orders/{order}/end", "legal", "zoe", reason="mainlevée"), "dpo", "paul"
    )


def view(api, order):
    answer = api.call("GET", f"/v1/orders/{order}", "auditor", "aude")
    assert answer.status_code == 200, answer.text
    return answer.json()


def forward(api):
    """What the scheduler and the follower do, once round."""
    advance(api.core, api.tenant)
    api.follow()
    outcome = run_batch(api.core, api.tenant, today_too=True)
    api.call("GET", "/v1/schedules", "auditor", "aude")  # 503: the access log's generation was closed
    advance(api.core, api.tenant)
    return outcome


def stands(api, capture):
    return api.call("GET", f"/v1/captures/{capture}/raw", "legal", "zoe").status_code == 200


def gone(api, capture):
    return capture in api.tenant.acts.erasures.gone()


def test_order_to_erase_takes_what_a_hold_and_a_legal_minimum_keep_and_says_so(api, tmp_path):
    captures = archived(api, tmp_path, "contrat", "facture", "autre")
    law = klass("law", "P90Y", start="sent", minimum="P90Y", article="Code de commerce, article L123-22")
    set_schedule(api, {"classes": [law], "rules": [], "default": "law"})
    matter = opened(api)
    hold = placed(api, matter, query="contrat")
    assert seen(api, matter, hold)["progress"]["locked"] == 1
    forget(api, captures["facture"])
    forget(api, captures["contrat"])
    assert forward(api).erased == 0
    order = ordered(
        api,
        "erase",
        captures=[captures["contrat"], captures["facture"]],
        document={"name": "ordonnance.pdf", "type": "application/pdf", "content": b64(PAPER)},
    )
    assert forward(api).erased == 2
    assert (
        gone(api, captures["contrat"]) and gone(api, captures["facture"]) and stands(api, captures["autre"])
    )
    forward(api)
    said = view(api, order)
    assert (said["captures"], said["progress"]["keys_gone"]) == (2, 2)
    assert said["progress"]["unreadable_since"] and said["state"] == "going"  # the law's locks run on
    assert seen(api, matter, hold)["taken"] == {order: 1}
    checked = run(
        *("holds", "check", hold, "--data", api.data, "--tenant", "acme"),
        *("--token", api.token("legal", "zoe"), "--json"),
    )
    assert (checked.code, checked.answer["taken"], checked.answer["missing"]) == (0, 1, 0)
    assert run("verify", "--data", api.data).code == 0


def b64(content):
    return base64.b64encode(content).decode("ascii")


def test_order_document_comes_back_byte_for_byte_and_a_changed_one_never(api, tmp_path):
    captures = archived(api, tmp_path, "contrat")
    document = {"name": 'ordonnance "1".pdf', "type": "application/pdf", "content": b64(PAPER)}
    order = ordered(api, "keep", captures=[captures["contrat"]], document=document)
    got = api.call("GET", f"/v1/orders/{order}/document", "auditor", "aude")
    assert got.content == PAPER
    assert view(api, order)["document"]["sha256"] == hashlib.sha256(PAPER).hexdigest()
    known = api.tenant.acts.orders.documents[view(api, order)["document"]["id"]]
    assert known.size == len(PAPER)
    scan = random.Random(1).randbytes(4 << 20)
    large = ordered(api, "keep", captures=[captures["contrat"]], document={**document, "content": b64(scan)})
    assert api.call("GET", f"/v1/orders/{large}/document", "auditor", "aude").content == scan
    beyond = asked(api, "keep", query="contrat", document={**document, "content": b64(scan + b"more")})
    assert (beyond.status_code, beyond.json()["code"]) == (422, "request.invalid")
    broken = asked(api, "keep", query="contrat", document={**document, "content": "!!!!"})
    assert broken.json()["code"] == "order.document"
    for path in api.data.glob("objects/**/*acts*/**/*"):  # the payload object that holds it
        if path.is_file() and path.stat().st_size > len(PAPER) // 2:
            path.chmod(0o600)
            content = path.read_bytes()
            path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert api.call("GET", f"/v1/orders/{order}/document", "auditor", "aude").status_code == 500


def test_certificate_of_an_order_names_it_and_is_signed(api, tmp_path):
    captures = archived(api, tmp_path, "contrat")
    hold = placed(api, opened(api), query="contrat")
    api.follow()
    order = ordered(api, "erase", query="contrat")
    early = api.call("GET", f"/v1/orders/{order}/certificate", "auditor", "aude")
    assert early.json()["code"] == "order.not_done"
    for _ in range(2):
        forward(api)
    whole = certified(api, order)
    said = whole["certificate"]
    assert (said["reference"], said["issuer"], said["captures"]) == (WORDS["reference"], WORDS["issuer"], 1)
    assert said["made_unreadable_on"] and said["ciphertext_deleted_on"]
    assert api.tenant.acts.holds.known[hold].locked == 1  # its object bore a hold, and went all the same
    note = Verifier(whole["keys"]["root"]).check(whole["note"], f"archive-service/order/v1/{order}")
    assert (note.size, note.root) == (1, hashlib.sha256(canonical(said)).digest())
    assert {each["act"] for each in whole["proofs"]} >= {"order.place", "erasure.ask", "disposition.done"}
    paper = api.call("GET", f"/v1/orders/{order}/certificate?format=pdf", "auditor", "aude")
    text = " ".join(page.extract_text() for page in PdfReader(io.BytesIO(paper.content)).pages)
    assert "RG 26/01234" in text
    assert captures["contrat"] not in str(said)


def certified(api, order):
    """A checkpoint must cover the acts first: the command makes one."""
    words = ("--data", api.data, "--tenant", "acme", "--token", api.token("auditor", "aude"), "--json")
    return done("orders", "certificate", order, *words).answer


def test_order_to_keep_stops_requests_dispositions_and_exclusion_until_it_ends(api, tmp_path):
    captures = archived(api, tmp_path, "contrat", "autre")
    order = ordered(api, "keep", query="contrat")
    api.follow()
    row = api.core.engines.live(api.tenant.id).catalog.capture(captures["contrat"])
    withdraw(api.tenant.acts, Capture(LogId.parse(row.log), row.seq, row.id), "exclusion list")
    forget(api, captures["autre"])
    outcome = forward(api)
    assert outcome.erased == 1 and sum(outcome.kept.values()) == 1
    assert not gone(api, captures["contrat"])
    assert view(api, order)["captures"] == 0  # what was withdrawn is kept, and counted nowhere
    for word in ("release", "review"):
        assert "hold.of_order" in refused_as_hold(api, order, word), word
    ended(api, order)
    api.follow()
    assert forward(api).erased == 1
    assert gone(api, captures["contrat"])


def refused_as_hold(api, order, word):
    """What people of the archive may do to a hold, they may not to an order."""
    day = (api.core.clock() + timedelta(days=30)).isoformat()
    more = {"release": ("--reason", "fini"), "review": ("--until", day, "--note", "vu")}
    words = ("--data", api.data, "--tenant", "acme", "--token", api.token("legal", "zoe"), "--json")
    said = run("holds", word, order, *more[word], *words)
    assert said.code != 0
    return said.out + said.err


def test_order_that_comes_after_the_request_keeps_what_waits_for_the_batch(api, tmp_path):
    """Found by its own bytes: the request has taken it out of catalog and index."""
    captures = archived(api, tmp_path, "contrat")
    forget(api, captures["contrat"])
    api.follow()
    ordered(api, "keep", query="contrat")
    assert forward(api).erased == 0
    assert forward(api).erased == 0
    assert not gone(api, captures["contrat"])


def test_order_against_an_order_is_refused_by_name_until_the_first_is_ended(api, tmp_path):
    captures = archived(api, tmp_path, "contrat", "autre")
    keep = ordered(api, "keep", captures=[captures["contrat"]])
    against = asked(api, "erase", captures=list(captures.values()))
    assert (against.status_code, against.json()["code"]) == (409, "order.contradicts")
    assert keep in against.json()["detail"]
    ended(api, keep)
    erase = ordered(api, "erase", captures=[captures["contrat"]])
    back = asked(api, "keep", captures=[captures["contrat"]])
    assert back.json()["code"] == "order.contradicts" and erase in back.json()["detail"]
    assert ended(api, erase)["order"] == erase
    assert view(api, erase)["state"] == "stopped"
    assert forward(api).erased == 0 and stands(api, captures["contrat"])
    assert asked(api, "keep", captures=[captures["contrat"]]).status_code == 202
    assert api.call("POST", f"/v1/orders/{erase}/end", "legal", "zoe", reason="x").json()["code"] == (
        "order.ended"
    )


def test_order_decided_after_another_one_came_is_refused_at_the_head(api, tmp_path):
    captures = archived(api, tmp_path, "contrat")
    erase = asked(api, "erase", captures=[captures["contrat"]])
    keep = ordered(api, "keep", captures=[captures["contrat"]])
    path = f"/v1/approvals/{erase.json()['id']}/approve"
    answer = api.call("POST", path, "dpo", "paul", reason="vu").json()
    assert (answer["state"], answer["error"]) == ("approved", "order.contradicts"), answer
    forward(api)
    assert stands(api, captures["contrat"]) and view(api, keep)["contradicts"] == []


def test_order_to_keep_found_by_search_what_another_has_erased_it_is_kept_and_both_say_so(api, tmp_path):
    captures = archived(api, tmp_path, "contrat")
    erase = ordered(api, "erase", captures=[captures["contrat"]])
    advance(api.core, api.tenant)
    api.follow()
    keep = ordered(api, "keep", query="contrat")
    assert forward(api).erased == 0
    assert (view(api, erase)["contradicts"], view(api, keep)["contradicts"]) == ([keep], [erase])
    ended(api, keep)
    api.follow()
    assert forward(api).erased == 1


def test_order_to_erase_that_ends_midway_gives_back_the_request_with_its_hold(api, tmp_path):
    """What was asked for before counts again, and a hold that came meanwhile is held against it."""
    captures = archived(api, tmp_path, "contrat", "autre")
    forget(api, captures["contrat"])
    api.follow()
    erase = ordered(api, "erase", captures=list(captures.values()))
    advance(api.core, api.tenant)
    api.follow()
    matter = opened(api)
    hold = placed(api, matter, query="contrat")
    api.follow()
    ended(api, erase)
    api.follow()
    assert view(api, erase)["left"] == 2
    outcome = forward(api)
    assert outcome.erased == 0
    assert seen(api, matter, hold)["progress"]["covered"] == 1
    assert not gone(api, captures["contrat"]) and not gone(api, captures["autre"])
    assert stands(api, captures["autre"])  # nobody else asks for it to go: it is shown again
    assert [hit["subject"] for hit in found(api)["hits"]] == ["autre"]
    assert run("verify", "--data", api.data).code == 0


def test_order_to_erase_under_a_compliance_lock_is_unreadable_first_and_deleted_later(api, tmp_path):
    captures = archived(api, tmp_path, "contrat")
    row = api.core.engines.live(api.tenant.id).catalog.capture(captures["contrat"])
    until = api.core.clock().replace(year=api.core.clock().year + 5)
    (stored, _) = api.core.raw.stat(row.object_key)[0]
    api.core.raw.protect(row.object_key, stored.version, Lock(LockMode.COMPLIANCE, until))
    order = ordered(api, "erase", query="contrat")
    for _ in range(2):
        forward(api)
    said = view(api, order)
    assert (said["state"], said["progress"]["keys_gone"]) == ("going", 1)
    assert said["progress"]["unreadable_since"] and said["progress"]["deleted_at"] is None
    certificate = certified(api, order)["certificate"]
    assert certificate["made_unreadable_on"] and certificate["ciphertext_deleted_on"] is None


def test_order_needs_two_people_and_what_it_covers_is_in_the_request(api, tmp_path):
    captures = archived(api, tmp_path, "contrat", "autre")
    made = asked(api, "erase", query="contrat").json()
    assert [each["capture"] for each in made["request"]["captures"]] == [captures["contrat"]]
    own = api.call("POST", f"/v1/approvals/{made['id']}/approve", "legal", "zoe", reason="moi")
    assert own.json()["code"] == "approval.own"
    forward(api)
    assert stands(api, captures["contrat"])
    wrong = {"query": "rien-de-tel"}, {"captures": ["nope"]}, {"query": "contrat", "captures": ["x"]}
    codes = [asked(api, "erase", **each).json()["code"] for each in wrong]
    assert codes[0] == "order.nothing" and codes[1] == "not_found"


@pytest.mark.parametrize("persisted", [False, True], ids=["not-written", "written"])
def test_order_whose_barring_act_failed_is_carried_on_by_the_next_look(api, tmp_path, monkeypatch, persisted):
    captures = archived(api, tmp_path, "contrat")
    order = ordered(api, "erase", captures=[captures["contrat"]])
    real = Acts.append

    def append(acts, act):
        if persisted:
            real(acts, act)
        raise StoreError("away", code="store.failed")

    monkeypatch.setattr(Acts, "append", append)
    with pytest.raises((StoreError, Refused)):
        advance(api.core, api.tenant)
    monkeypatch.setattr(Acts, "append", real)
    for _ in range(2):
        forward(api)
    assert view(api, order)["state"] == "done"


@pytest.mark.parametrize("ground", ["order", "exclusion"])
def test_order_is_not_had_by_naming_its_ground_in_an_erasure(api, tmp_path, ground):
    captures = archived(api, tmp_path, "contrat")
    body = {"captures": [captures["contrat"]], "ground": ground, "basis": "RG 1", "reason": "r"}
    refused = api.call("POST", "/v1/erasures", "dpo", "paul", **body)
    assert (refused.status_code, refused.json()["code"]) == (422, "erasure.ground")


def test_order_after_a_request_rebuilds_to_the_same_rows_and_may_be_placed_again(api, tmp_path):
    """Two acts bar one capture: which of them its row names does not hang on how many are taken at once."""
    captures = archived(api, tmp_path, "contrat", "autre", "reste")
    forget(api, captures["contrat"])
    api.follow()
    erase = ordered(api, "erase", captures=[captures["contrat"], captures["autre"]])
    advance(api.core, api.tenant)
    api.follow()
    keep = ordered(api, "keep", query="reste")
    api.follow()
    ended(api, erase)
    for _ in range(2):
        forward(api)
    assert gone(api, captures["contrat"]) and not gone(api, captures["autre"])
    done("rebuild", "--data", api.data)
    checked = run("verify", "--data", api.data)
    assert checked.code == 0, checked.out
    assert view(api, keep)["captures"] == 1 and stands(api, captures["autre"])
    ordered(api, "erase", captures=[captures["autre"]])
    for _ in range(2):
        forward(api)
    assert gone(api, captures["autre"])


@pytest.mark.parametrize("asked_before", [False, True], ids=["alone", "after_a_request"])
def test_order_that_was_ended_destroys_nothing_when_another_after_it_is_ended_too(
    api, tmp_path, asked_before
):
    """Each leaves what was before it: an order that was ended is not among that, a request is."""
    (capture,) = archived(api, tmp_path, "contrat").values()
    if asked_before:
        forget(api, capture)
        api.follow()
    for _ in range(2):
        erase = ordered(api, "erase", captures=[capture])
        advance(api.core, api.tenant)
        api.follow()
        ended(api, erase)
        api.follow()
    assert forward(api).erased == asked_before
    assert gone(api, capture) is asked_before
    if not asked_before:
        ordered(api, "erase", captures=[capture])
    for _ in range(2):
        forward(api)
    assert gone(api, capture)


def test_order_to_erase_holds_a_move_into_a_compartment_up_until_it_is_over(api, tmp_path):
    """It stands above resealing; said to be moved would be what is shown again when the order ends."""
    (capture,) = archived(api, tmp_path, "contrat").values()
    compartment = made_compartment(api)
    request = {"captures": [capture], "compartment": compartment}
    body = {"action": "reseal", "request": request, "reason": "égarée"}
    move = api.call("POST", "/v1/approvals", "compliance_officer", "anne", **body).json()["id"]
    erase = ordered(api, "erase", captures=[capture])
    advance(api.core, api.tenant)
    api.follow()
    early = api.call("POST", f"/v1/approvals/{move}/approve", "legal", "lou", reason="vu").json()
    assert (early["state"], early["error"]) == ("approved", "reseal.ordered")
    ended(api, erase)
    api.follow()
    assert stands(api, capture)
    done_now = api.call("POST", f"/v1/approvals/{move}/execute", "legal", "lou").json()
    assert done_now["state"] == "executed", done_now
    api.follow()
    assert not stands(api, capture)


@pytest.mark.parametrize("dated", ["2999-01-01", "20260105", "2026-W02-1", "hier", ""])
def test_order_and_visa_are_dated_by_a_day_that_has_begun_somewhere(api, dated):
    asked = api.call(
        "POST", "/v1/orders", "legal", "zoe", **{**WORDS, "dated": dated}, kind="keep", query="*"
    )
    code = "order.invalid" if dated == "2999-01-01" else "request.invalid"
    assert (asked.status_code, asked.json()["code"]) == (422, code)
    words = Words("i", "r", dated, "t", None)
    with pytest.raises(Invalid, match="order is dated"):
        require_words(api.tenant.acts, words, api.core.clock)
    visa = {"reference": "r", "issuer": "i", "dated": dated, "sha256": "0" * 64}
    with pytest.raises(Invalid, match="visa is dated"):
        record_visa(api.tenant.acts, "x1", visa, "rob", api.core.clock)
    farthest = (api.core.clock() + timedelta(hours=14)).date()
    require_day_gone_by(farthest.isoformat(), api.core.clock())
    with pytest.raises(ValueError, match="to come"):
        require_day_gone_by((farthest + timedelta(days=1)).isoformat(), api.core.clock())
