"""Dispositions over a real archive: what is past its maximum goes, under two people, and leaves but its proof."""

import base64
import hashlib
import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from functools import partial
from pathlib import Path

import pytest
from pypdf import PdfReader

from archive_service import bootstrap
from archive_service.bounded_time import bounded_now
from archive_service.disposal.disposing import advance
from archive_service.disposal.erasing import run_batch
from archive_service.disposal.tidying import Tidying
from archive_service.ledger.note import Verifier
from archive_service.model.canonical import canonical
from archive_service.model.errors import Refused, StoreError
from archive_service.model.grounds import KeepGround
from archive_service.model.mail import Source
from retention.keeping import lift_keep, place_keep
from search.indexes.tantivy_index import TantivyIndex
from tests.flow.archive_fixtures import done, no_settings_around, run, token
from tests.flow.real_api import RealApi
from tests.flow.test_compartments import found, mail, taken
from tests.flow.test_retention import klass, set_schedule

__all__ = ["no_settings_around"]

WORD = "zebrasubject"
# They stand in an attachment's text alone, and in its name alone; long, for a short one is found in base64 by chance.
ATTACHED, NAMED = "quaggaattachment", "okapifilename"
OLD = klass("old", "P1Y", start="sent", article="GDPR, article 5(1)(e)")
LAW = klass("law", "P90Y", start="sent", minimum="P90Y", article="Code de commerce, article L123-22")
SCHEDULE = {
    "classes": [OLD, LAW],
    "rules": [{"id": "law", "class": "law", "subject": ["facture"]}],
    "default": "old",
}


@pytest.fixture(autouse=True)
def at_once(monkeypatch, no_settings_around):
    """Nothing waits for days: no intake lock, no grace."""
    monkeypatch.setattr(bootstrap, "Source", partial(Source, intake_days=0))
    for name in ("DISPOSITION_GRACE_HOURS", "ERASURE_GRACE_HOURS"):
        monkeypatch.setenv(f"ARCHIVE_{name}", "0")


def archived(api, tmp_path: Path):
    """Three captures: two of class old, past its end; one that the law keeps."""
    for name, subject in (("one", WORD), ("two", "autre"), ("three", "facture 7")):
        mail(tmp_path / "m", name, f"{name}@ex.fr", "b@ex.fr", subject)
        file = tmp_path / "m" / f"{name}.eml"
        written = message_from_bytes(file.read_bytes(), policy=policy.SMTP)
        written.replace_header("Date", "Mon, 02 Mar 2015 10:00:00 +0000")
        if subject == WORD:
            written.add_attachment(f"{ATTACHED} seul", filename=f"{NAMED}.txt")
        file.write_bytes(written.as_bytes())
    taken(api, tmp_path / "m")
    ids = {hit["subject"]: hit["id"] for hit in found(api)["hits"]}
    set_schedule(api, SCHEDULE)
    captures = {}
    for subject, message in ids.items():
        shown = api.call("GET", f"/v1/messages/{message}", "legal", "zoe").json()
        captures[subject] = shown["captures"][0]["id"]
    return captures


def asked(api, **more):
    return api.call("POST", "/v1/dispositions", "records_manager", "rob", reason="échéance", **more)


def decided(api, **more):
    return api.approved(asked(api, **more))["disposition"]


def forward(api):
    """What the scheduler and the follower do, once round."""
    api.follow()
    advance(api.core, api.tenant)
    api.follow()
    run_batch(api.core, api.tenant, today_too=True)
    api.call(
        "GET", "/v1/schedules", "auditor", "aude"
    )  # 503: the batch has closed the access log's generation
    advance(api.core, api.tenant)
    api.follow()


def state(api, name):
    return api.call("GET", f"/v1/dispositions/{name}", "auditor", "aude").json()


def objects(api):
    return sorted(path for path in api.data.glob("objects/**/*") if path.is_file() and path.name[0] != ".")


def test_gdpr_article_5_what_is_past_its_maximum_goes_and_what_the_law_keeps_stays(api, tmp_path):
    captures = archived(api, tmp_path)
    preview = api.call("POST", "/v1/dispositions/preview", "auditor", "aude").json()
    assert (preview["captures"], preview["classes"], preview["more"]) == (2, {"old": 2}, False)
    assert set(preview["samples"]) == {captures[WORD], captures["autre"]}
    name = decided(api)
    assert state(api, name)["state"] == "waiting"
    forward(api)
    said = state(api, name)
    assert (said["state"], said["captures"], said["keys_gone"]) == ("done", 2, 2)
    assert [hit["subject"] for hit in found(api)["hits"]] == ["facture 7"]
    names = "".join(path.name for path in objects(api))
    assert captures[WORD] not in names
    assert captures["facture 7"] in names
    checked = run("verify", "--data", api.data)
    assert checked.code == 0, checked.out
    assert asked(api).json()["code"] == "disposition.nothing"


def test_disposition_leaves_no_word_in_any_file(api, tmp_path):
    """Store, keys, catalog, index, work folder: in clear, in UTF-16, in base64."""
    archived(api, tmp_path)
    for word in (WORD, ATTACHED, f"filename:{NAMED}.txt"):
        assert found(api, query=word)["total"] == 1
    name = decided(api)
    assert holding(api.data)
    before = segments(api.data)
    forward(api)
    assert state(api, name)["state"] == "done"
    assert holding(api.data) == []
    assert not before & segments(
        api.data
    )  # compressed words are not seen as such: the files themselves are gone


def test_disposition_is_not_over_while_words_stand_in_the_index(api, tmp_path, monkeypatch):
    archived(api, tmp_path)
    name = decided(api)
    with monkeypatch.context() as idle:
        idle.setattr(TantivyIndex, "expunge", lambda _: False)
        idle.setattr(Tidying, "__call__", lambda _: 0)
        forward(api)
        assert (state(api, name)["state"], state(api, name)["keys_gone"]) == ("going", 2)
    forward(api)
    assert state(api, name)["state"] == "done"


def holding(folder: Path) -> list[str]:
    """Files that hold a word of what went, in clear, in UTF-16 or in base64."""
    words = (WORD, WORD.upper(), "one@ex.fr", ATTACHED, NAMED)
    forms = [word.encode(code) for word in words for code in ("utf-8", "utf-16-le", "utf-16-be")]
    once = (WORD, ATTACHED, NAMED)
    forms += [base64.b64encode(b" " * pad + word.encode())[4:-4] for word in once for pad in range(3)]
    files = (path for path in folder.rglob("*") if path.is_file())
    return [
        str(path.relative_to(folder)) for path in files if any(form in path.read_bytes() for form in forms)
    ]


def segments(data: Path) -> set[str]:
    return {path.stem for path in data.rglob("index/*.store")}


def test_certificate_says_what_went_and_since_when_and_names_nobody(api, tmp_path):
    captures = archived(api, tmp_path)
    name = decided(api)
    early = api.call("GET", f"/v1/dispositions/{name}/certificate", "auditor", "aude")
    assert (early.status_code, early.json()["code"]) == (409, "disposition.not_done")
    forward(api)
    made = api.call("GET", f"/v1/dispositions/{name}/certificate", "auditor", "aude")
    assert made.status_code == 200, made.text
    whole = made.json()
    said = whole["certificate"]
    assert said["captures"] == 2
    assert said["classes"] == [
        {"class": "old", "article": "GDPR, article 5(1)(e)", "captures": 2, "minimum": None, "maximum": "P1Y",
         "starts_with": "sent"}
    ]  # fmt: skip
    assert said["decided_at"] < said["made_unreadable_on"] <= said["ciphertext_deleted_on"]
    note = Verifier(whole["keys"]["root"]).check(whole["note"], f"archive-service/disposition/v1/{name}")
    assert note.root == hashlib.sha256(canonical(said)).digest()
    assert note.size == 2
    assert [each["act"] for each in whole["proofs"]] == ["disposition.run", "erasure.ask", "disposition.done"]
    assert base64.b64decode(whole["proofs"][0]["inclusion"]["hashes"][0])
    for word in (WORD, "ex.fr", *captures.values()):
        assert word not in made.text
    for word in ("rob", "zoe", "acme"):
        assert word not in str(said)
    paper = api.call("GET", f"/v1/dispositions/{name}/certificate?format=pdf", "auditor", "aude")
    assert (paper.status_code, paper.headers["content-type"]) == (200, "application/pdf")
    text = " ".join(page.extract_text() for page in PdfReader(io.BytesIO(paper.content)).pages)
    for word in (name, "GDPR, article 5(1)(e)", said["made_unreadable_on"], said["ciphertext_deleted_on"]):
        assert word in text
    for word in (WORD, "ex.fr"):
        assert word not in text
    assert "\u2014 " in text  # the note's dash has a glyph
    signature = whole["note"].split()[-1]
    assert signature not in text  # it is broken into lines, all of it on the page
    assert signature in text.replace(" ", "").replace("\n", "")


def test_certificate_by_the_command_line(api, tmp_path):
    archived(api, tmp_path)
    by = ("--tenant", "acme", "--data", api.data, "--token", token(api.data, "records_manager", "rob"))
    zoe = ("--tenant", "acme", "--data", api.data, "--token", token(api.data, "legal", "zoe"))
    assert done("dispositions", "preview", *by, "--json").answer["captures"] == 2
    approval = done("dispositions", "ask", *by, "--reason", "échéance", "--json").answer["approval"]
    name = done("approvals", "approve", approval, *zoe, "--reason", "vu", "--json").answer["result"][
        "disposition"
    ]
    here = ("--tenant", "acme", "--data", api.data)
    done("dispositions", "run", *here)
    done("erasures", "run", *here, "--today-too")
    assert done("dispositions", "run", *here, "--json").answer == {"ended": 1, "done": 1}
    assert done("dispositions", "certificate", name, *by, "--json").answer["certificate"]["captures"] == 2
    assert f"{name}  done" in done("dispositions", "list", *by).out


def test_four_eyes_a_disposition_needs_two_people(api, tmp_path):
    archived(api, tmp_path)
    made = asked(api).json()
    own = api.call("POST", f"/v1/approvals/{made['id']}/approve", "records_manager", "rob", reason="x")
    assert own.json()["code"] == "approval.own"
    forward(api)
    assert len(found(api)["hits"]) == 3
    refused = api.call("POST", f"/v1/approvals/{made['id']}/refuse", "legal", "zoe", reason="non")
    assert refused.status_code == 200
    assert api.call("GET", "/v1/dispositions", "auditor", "aude").json()["dispositions"] == []


def test_disposition_leaves_out_what_a_reviewer_omits_and_other_classes(api, tmp_path):
    captures = archived(api, tmp_path)
    assert asked(api, classes=["law"]).json()["code"] == "disposition.nothing"
    name = decided(api, omit=[captures["autre"]])
    forward(api)
    assert state(api, name)["captures"] == 1
    assert sorted(hit["subject"] for hit in found(api)["hits"]) == ["autre", "facture 7"]


def test_disposition_can_be_stopped_while_its_grace_runs_and_not_after(tmp_path, pool, monkeypatch):
    monkeypatch.setenv("ARCHIVE_DISPOSITION_GRACE_HOURS", "72")
    with RealApi(tmp_path / "archive", pool) as api:
        archived(api, tmp_path)
        name = decided(api)
        forward(api)
        assert state(api, name)["state"] == "waiting"
        assert len(found(api)["hits"]) == 3
        assert asked(api).json()["code"] == "disposition.nothing"
        stopped = api.call("POST", f"/v1/dispositions/{name}/stop", "dpo", "paul", reason="litige")
        assert stopped.json()["state"] == "stopped"
        again = api.call("POST", f"/v1/dispositions/{name}/stop", "dpo", "paul", reason="litige")
        assert (again.status_code, again.json()["code"]) == (409, "disposition.begun")
        assert asked(api).status_code == 202


@pytest.mark.parametrize("ground", [KeepGround.HOLD, KeepGround.ORDER])
def test_hold_placed_at_any_time_before_the_key_goes_keeps_it(api, tmp_path, ground):
    captures = archived(api, tmp_path)
    place_keep(api.tenant.acts, [captures["autre"]], ground, "litige", "paul")
    name = decided(api)  # not offered at all
    api.follow()
    advance(api.core, api.tenant)  # barred
    api.follow()
    keep = place_keep(api.tenant.acts, [captures[WORD]], ground, "litige", "paul")
    forward(api)
    assert (state(api, name)["state"], state(api, name)["keys_gone"]) == ("going", 0)
    assert captures[WORD] in "".join(path.name for path in objects(api))
    lift_keep(api.tenant.acts, keep, "paul")
    forward(api)
    assert state(api, name)["state"] == "done"
    assert captures["autre"] in "".join(path.name for path in objects(api))


def test_disposition_of_which_nothing_may_go_any_more_is_stopped(api, tmp_path):
    archived(api, tmp_path)
    name = decided(api)
    longer = {**SCHEDULE, "classes": [{**OLD, "maximum": "P90Y"}, LAW]}
    set_schedule(api, longer)
    api.follow()
    forward(api)
    assert state(api, name)["state"] == "stopped"
    assert len(found(api)["hits"]) == 3


def test_disposition_waits_for_the_lock_and_goes_when_it_is_over(tmp_path, pool, monkeypatch):
    monkeypatch.setattr(bootstrap, "Source", Source)
    with RealApi(tmp_path / "archive", pool) as api:
        archived(api, tmp_path)
        before = objects(api)
        name = decided(api)
        forward(api)
        said = state(api, name)
        assert (said["state"], said["keys_gone"], said["deleted_at"]) == ("going", 2, None)
        assert objects(api)[: len(before)]
        assert set(before) <= set(objects(api))
        assert run("verify", "--data", api.data).code == 0


@pytest.mark.parametrize("persisted", [False, True], ids=["not persisted", "but persisted"])
@pytest.mark.parametrize("word", ["disposition.run", "erasure.ask", "disposition.done"])
def test_disposition_comes_to_the_same_end_after_a_fault_at_any_act(
    api, tmp_path, monkeypatch, word, persisted
):
    archived(api, tmp_path)
    acts = api.tenant.acts
    real = type(acts).append
    cut = []

    def failing(self, act):
        kinds = []

        def seen(place):
            made = act(place)
            kinds.append(made["act"])
            if made["act"] == word and not cut and not persisted:
                cut.append(word)
                raise StoreError("away")
            return made

        done_ = real(self, seen)
        if kinds[-1] == word and not cut:
            cut.append(word)
            raise StoreError("away")
        return done_

    monkeypatch.setattr(type(acts), "append", failing)
    made = asked(api).json()["id"]
    first = api.call("POST", f"/v1/approvals/{made}/approve", "legal", "zoe", reason="vu").json()
    if first["state"] != "executed":
        api.call("POST", f"/v1/approvals/{made}/execute", "legal", "zoe")
    for _ in range(3):
        try:
            forward(api)
        except StoreError:
            continue
    assert cut == [word]
    listed = api.call("GET", "/v1/dispositions", "auditor", "aude")
    assert listed.status_code == 200, listed.text
    (one,) = listed.json()["dispositions"]
    assert (one["state"], one["captures"]) == ("done", 2)
    assert len([path for path in objects(api) if "capture-" in str(path)]) == 1


@pytest.mark.parametrize("persisted", [False, True], ids=["not persisted", "but persisted"])
def test_disposition_comes_to_the_same_end_after_a_fault_at_a_deletion(api, tmp_path, monkeypatch, persisted):
    archived(api, tmp_path)
    name = decided(api)
    store = type(api.core.raw)
    real, cut = store.delete, []

    def failing(self, key, version):
        if not cut:
            if persisted:
                real(self, key, version)
            cut.append(key)
            raise StoreError("away")
        real(self, key, version)

    monkeypatch.setattr(store, "delete", failing)
    with pytest.raises(StoreError):
        forward(api)
    assert state(api, name)["state"] == "going"
    forward(api)
    assert (len(cut), state(api, name)["state"]) == (1, "done")
    assert run("verify", "--data", api.data).code == 0


def test_an_object_that_is_there_again_after_its_disposition_is_named(api, tmp_path):
    archived(api, tmp_path)
    kept = {path: path.read_bytes() for path in objects(api)}
    decided(api)
    forward(api)
    missing = [path for path in kept if not path.exists()]
    assert len(missing) == 2
    missing[0].write_bytes(kept[missing[0]])
    checked = run("verify", "--data", api.data)
    assert checked.code == 1


def test_an_object_that_goes_without_a_disposition_is_named(api, tmp_path):
    captures = archived(api, tmp_path)
    (path,) = [each for each in objects(api) if captures["facture 7"] in each.name]
    path.unlink()
    assert run("verify", "--data", api.data).code == 1


def test_gdpr_article_17_3_b_a_request_before_the_minimum_bars_and_the_key_stays_until_then(api, tmp_path):
    captures = archived(api, tmp_path)
    body = {"captures": [captures["facture 7"]], "ground": "request", "basis": "RGPD 17", "reason": "demande"}
    result = api.approved(api.call("POST", "/v1/erasures", "dpo", "paul", **body))
    assert result["kept_until"] == {captures["facture 7"]: "2105-03-02T10:00:00.000000Z"}
    api.follow()
    outcome = run_batch(api.core, api.tenant, today_too=True)
    assert (outcome.erased, sum(outcome.kept.values())) == (0, 1)
    assert "facture 7" not in [hit["subject"] for hit in found(api)["hits"]]


def test_l123_22_a_minimum_whose_term_has_not_begun_refuses_a_request(api, tmp_path):
    captures = archived(api, tmp_path)
    matter = api.call("POST", "/v1/matters", "legal", "zoe", name="A", purpose="p", query="*").json()["id"]
    waiting = klass("old", "P9Y", start="matter", matter=matter, event_by="P50Y", minimum="P9Y")
    set_schedule(api, {**SCHEDULE, "classes": [waiting, LAW]})
    body = {"captures": [captures["autre"]], "ground": "request", "basis": "RGPD 17", "reason": "demande"}
    asking = api.call("POST", "/v1/erasures", "dpo", "paul", **body).json()["id"]
    answer = api.call("POST", f"/v1/approvals/{asking}/approve", "legal", "zoe", reason="vu").json()
    assert (answer["state"], answer["error"]) == ("approved", "erasure.minimum_open")
    api.call("POST", f"/v1/matters/{matter}/close", "legal", "zoe")
    assert api.call("POST", f"/v1/approvals/{asking}/execute", "legal", "zoe").json()["state"] == "executed"


def test_an_archive_with_dispositions_is_handed_over_and_relocated_whole(tmp_path, pool):
    data, key, package = tmp_path / "archive", tmp_path / "key.json", tmp_path / "package"
    with RealApi(data, pool) as api:
        archived(api, tmp_path)
        name = decided(api)
        forward(api)
        assert state(api, name)["state"] == "done"
    asked_for = ("--tenant", "acme", "--to", package, "--key-file", key, "--data", data, "--json")
    said = run("handover", *asked_for)
    assert said.code == 0, said.out
    done("handover-load", package, "--key-file", key, "--data", tmp_path / "new")
    checked = run("verify", "--data", tmp_path / "new")
    assert checked.code == 0, checked.out
    said = run("relocate", "--to-data", tmp_path / "moved", "--data", data, "--json")
    assert said.code == 0, said.out
    checked = run("verify", "--data", tmp_path / "moved")
    assert checked.code == 0, checked.out


@pytest.mark.parametrize("offset", [301.0, -301.0], ids=["store-ahead", "store-behind"])
def test_disposition_stops_while_the_clocks_disagree_and_goes_on_when_they_are_right(api, tmp_path, offset):
    archived(api, tmp_path)
    name = decided(api)
    stores = api.core.stores
    api.core.stores = replace(stores, clock_offset=lambda: offset)
    for work in (advance, run_batch):
        with pytest.raises(Refused) as refused:
            work(api.core, api.tenant)
        assert refused.value.code == "clock.disagrees"
    asking = api.call("POST", "/v1/dispositions/preview", "auditor", "aude")
    assert (asking.status_code, asking.json()["code"]) == (409, "clock.disagrees")
    assert state(api, name)["state"] == "waiting"
    api.core.stores = stores
    forward(api)
    assert state(api, name)["state"] == "done"


def test_disposition_can_be_called_off_while_the_clocks_disagree(api, tmp_path):
    archived(api, tmp_path)
    name = decided(api)
    api.core.stores = replace(api.core.stores, clock_offset=lambda: 301.0)
    stopped = api.call("POST", f"/v1/dispositions/{name}/stop", "dpo", "paul", reason="litige")
    assert (stopped.status_code, stopped.json()["state"]) == (200, "stopped")


@pytest.mark.parametrize(("offset", "behind"), [(0.0, 0.0), (-240.0, 240.0), (240.0, 0.0)])
def test_disposition_goes_by_the_earlier_of_both_clocks(api, offset, behind):
    api.core.stores = replace(api.core.stores, clock_offset=lambda: offset)
    api.core.clock = lambda: datetime(2030, 1, 1, tzinfo=UTC)
    assert bounded_now(api.core) == datetime(2030, 1, 1, tzinfo=UTC) - timedelta(seconds=behind)
