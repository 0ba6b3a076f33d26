"""The event journal over a real archive: every event of its life once, in one order, each with a certificate that
anybody can check, and nothing of another tenant or of a compartment."""

import base64
import hashlib
import io
import json
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest
from pypdf import PdfReader

from archive_service import bootstrap
from archive_service.access.log import LedgerAccessLog
from archive_service.event_journal.certificate import certify
from archive_service.event_journal.desk import EventJournal
from archive_service.event_journal.events import Kind
from archive_service.export.proving import LedgerProofs
from archive_service.following import make_checkpointer
from archive_service.ledger.acts import Acts
from archive_service.ledger.merkle import leaf_hash, verify_inclusion
from archive_service.ledger.moves import KIND
from archive_service.ledger.note import Verifier
from archive_service.model.canonical import canonical
from archive_service.model.errors import StoreError, Tampered
from archive_service.model.mail import Source
from tests.flow.archive_fixtures import done, in_days, no_settings_around, run, token
from tests.flow.real_api import RealApi
from tests.flow.test_compartments import found, made_compartment, mail, report, taken
from tests.flow.test_disposition import archived, decided, forward
from tests.flow.test_retention import set_schedule

__all__ = ["no_settings_around"]

JOURNAL = "/v1/event-journal"


@pytest.fixture(autouse=True)
def at_once(monkeypatch, no_settings_around):
    monkeypatch.setattr(bootstrap, "Source", partial(Source, intake_days=0))
    for name in ("DISPOSITION_GRACE_HOURS", "ERASURE_GRACE_HOURS"):
        monkeypatch.setenv(f"ARCHIVE_{name}", "0")


def page(api, words="", role="auditor", who="aude"):
    answer = api.call("GET", f"{JOURNAL}?{words}", role, who)
    assert answer.status_code == 200, answer.text
    return answer.json()


def events(api, words="", role="auditor", who="aude"):
    """All of them, page by page."""
    shown, following = [], None
    while True:
        turned = page(api, words + (f"&cursor={following}" if following else ""), role, who)
        shown += turned["events"]
        following = turned["next"]
        if following is None:
            return shown


def sealed(api):
    make_checkpointer(api.core, 0).run_once()


def certificate(api, event):
    answer = api.call("GET", f"{JOURNAL}/{event['id']}/certificate", "auditor", "aude")
    assert answer.status_code == 200, answer.text
    return answer.json()


def a_life(api, tmp_path):
    """One of each: three deposits, a look, an export's request, a class by hand, an end by hand, a disposition."""
    captures = archived(api, tmp_path)
    rob = ("records_manager", "rob")
    asked = api.call(
        "POST", "/v1/dispositions/relabel", *rob,
        captures=[captures["facture 7"]], reason="r", **{"class": "law"},
    )  # fmt: skip
    api.approved(asked)
    kept = api.call(
        "POST", "/v1/dispositions/extend", *rob,
        captures=[captures["facture 7"]], until=in_days(400), reason="r",
    )  # fmt: skip
    assert kept.status_code == 200, kept.text
    decided(api)
    forward(api)
    return captures


def test_every_event_of_a_life_stands_in_it_once(api, tmp_path):
    captures = a_life(api, tmp_path)
    shown = events(api, "limit=3")
    counted = Counter((each["kind"], each["what"]) for each in shown)
    assert counted == {
        ("deposit", "capture"): 3,
        ("access", "search"): 1,
        ("access", "message.view"): 3,
        ("class_change", "schedule.set"): 1,
        ("class_change", "retention.relabel"): 1,
        ("class_change", "retention.extend"): 1,
        ("destruction", "erasure.ask"): 1,
        ("destruction", "erasure.done"): 1,
        ("destruction", "erasure.kms"): 1,
        ("destruction", "disposition.done"): 1,
    }
    assert len({each["id"] for each in shown}) == len(shown)
    assert [each["time"] for each in shown] == sorted(each["time"] for each in shown)
    assert {each["facts"]["capture"] for each in shown if each["kind"] == "deposit"} == set(captures.values())
    (ended,) = (each for each in shown if each["what"] == "disposition.done")
    assert ended["facts"]["captures"] == 2
    sealed(api)
    assert all(each["proven"] for each in events(api))


def test_restitution_and_migration_stand_in_it(api, tmp_path):
    mail(tmp_path / "m", "one", "a@ex.fr", "b@ex.fr", "contrat")
    taken(api, tmp_path / "m")
    hit = found(api)["hits"][0]
    done("export", "--id", hit["id"], "--tenant", "acme", "--data", api.data, "-o", tmp_path / "out.zip")
    slot = api.core.slots(api.tenant.id, KIND).take()
    slot.append([("moved", {"moves": [{"key": "objects/x", "from": "1", "to": "2", "sha256": "ab" * 32}]})])
    api.tenant.acts.append(lambda _: {"version": 1, "act": "archive.moved"})
    api.tenant.acts.append(lambda _: {"version": 1, "act": "archive.arrived"})
    shown = events(api, "kind=restitution&kind=migration")
    assert [(each["kind"], each["what"]) for each in shown] == [
        ("restitution", "export.make"),
        ("migration", "moved"),
        ("migration", "archive.moved"),
        ("migration", "archive.arrived"),
    ]
    assert shown[1]["facts"] == {"objects": 1}
    assert shown[0]["who"]["ids"] == [hit["id"]]


def test_events_keep_their_ids_and_proofs_in_another_store(tmp_path, pool):
    here, there = tmp_path / "here", tmp_path / "there"
    with RealApi(here, pool) as api:
        mail(tmp_path / "m", "one", "a@ex.fr", "b@ex.fr", "contrat")
        taken(api, tmp_path / "m")
        found(api)
        before = events(api)
    done("relocate", "--data", here, "--to-data", there)
    with RealApi(there, pool) as api:
        after = events(api)
        kept = [each for each in after if each["kind"] != "migration"]
        assert [without_proof(each) for each in kept] == [without_proof(each) for each in before]
        moves = [each["what"] for each in after if each["kind"] == "migration"]
        assert moves == ["archive.moved", "moved", "archive.arrived"]
        sealed(api)
        for event in after:
            checked(certificate(api, event), event)


def without_proof(event):
    return {name: event[name] for name in event if name != "proven"}


# --- certificates


def checked(whole, event):
    """What somebody who does not trust the archive finds out from a certificate alone."""
    said = whole["certificate"]
    note = Verifier(whole["keys"]["root"]).check(whole["note"], f"archive-service/event/v1/{event['id']}")
    assert note.root == hashlib.sha256(canonical(said)).digest()
    assert note.size == len(whole["proofs"])
    for each in whole["proofs"]:
        included(each, whole["keys"]["log"])
        included(each["root"], whole["keys"]["root"])
    line = whole["proofs"][-1]["entry"].encode()
    assert hashlib.sha256(line).hexdigest() == said["entry_sha256"] == event["entry_sha256"]
    entry = json.loads(line)
    assert (entry["log"], entry["seq"], entry["time"]) == (said["log"], said["seq"], said["time"])
    return said, entry


def included(proof, keys):
    point = Verifier(keys).check(proof["checkpoint"], proof["log"])
    hashes = [base64.b64decode(each) for each in proof["inclusion"]["hashes"]]
    index, size = proof["inclusion"]["index"], proof["inclusion"]["tree_size"]
    assert size == point.size
    leaf = leaf_hash(proof["entry"].encode())
    assert verify_inclusion(leaf, index, size, hashes, point.root)
    assert not verify_inclusion(leaf_hash(proof["entry"].encode() + b" "), index, size, hashes, point.root)


def test_certificate_of_each_kind_is_checked_by_itself_and_on_paper(api, tmp_path):
    captures = a_life(api, tmp_path)
    shown = {each["what"]: each for each in events(api)}
    sealed(api)
    papers = {}
    for what, event in shown.items():
        papers[what] = certificate(api, event)
        checked(papers[what], event)
        text = json.dumps(papers[what]["certificate"])
        assert not any(word in text for word in ("ex.fr", "zebra", "anne", "zoe", "rob", "acme"))
        on_paper(api, event)
    said, entry = checked(papers["capture"], shown["capture"])
    assert said["facts"]["object"]["sha256"] == entry["object"]["sha256"]
    assert said["facts"]["lock_until"] == entry["lock_until"]
    assert said["facts"]["capture"] in captures.values()
    words = [each["entry_of"] for each in papers["disposition.done"]["proofs"]]
    assert words == ["disposition.run", "erasure.ask", "disposition.done"]
    words = [each["entry_of"] for each in papers["erasure.done"]["proofs"]]
    assert words == ["erasure.begin", "erasure.done"]


def test_certificate_is_made_over_no_entry_but_the_one_under_the_checkpoint(api, tmp_path):
    """Who answers the second look with another entry than the first gets no signature over it."""
    archived(api, tmp_path)
    make_checkpointer(api.core, 0).run_once()
    desk = api.tenants.get(api.tenant.id).journal
    shown = desk.page(100, kinds=(Kind.DEPOSIT,))["events"][0]["id"]
    event = desk._find(shown)
    other = replace(event, entry=replace(event.entry, line=event.entry.line + b" "))
    with pytest.raises(Tampered):
        certify(other, desk.acts, desk.owner, desk.proofs)
    assert certify(event, desk.acts, desk.owner, desk.proofs)["certificate"]["event"] == shown


def on_paper(api, event):
    paper = api.call("GET", f"{JOURNAL}/{event['id']}/certificate?format=pdf", "auditor", "aude")
    assert (paper.status_code, paper.headers["content-type"]) == (200, "application/pdf")
    text = " ".join(each.extract_text() for each in PdfReader(io.BytesIO(paper.content)).pages)
    assert event["id"] in text
    assert event["time"] in text
    assert event["entry_sha256"] in text.replace(" ", "").replace("\n", "")


def test_certificate_waits_for_a_checkpoint(api, tmp_path, monkeypatch):
    monkeypatch.setattr(LedgerProofs.__init__, "__kwdefaults__", {"wait": 0.0})
    with RealApi(api.data, api.pool) as impatient:
        set_schedule(impatient)
        (event,) = events(impatient, "kind=class_change")
        assert not event["proven"]
        early = impatient.call("GET", f"{JOURNAL}/{event['id']}/certificate", "auditor", "aude")
        assert (early.status_code, early.json()["code"]) == (503, "proof.pending")
        sealed(impatient)
        certificate(impatient, event)


@pytest.mark.parametrize(
    "place",
    [
        "acts-99999",
        "acts-0",
        "access-1-99999",
        "order-1-0",
        "capture-9-0",
        "root-0",
        "acts",
        "acts-00",
        "x.y",
    ],
)
def test_what_is_no_event_is_not_found(api, place):
    mailless = api.call("GET", f"{JOURNAL}/{place}/certificate", "auditor", "aude")
    assert (mailless.status_code, mailless.json()["code"]) == (404, "not_found")


# --- order, pages, spans


def test_pages_lose_and_repeat_nothing_while_logs_grow(api, tmp_path):
    mail(tmp_path / "m", "one", "a@ex.fr", "b@ex.fr", "contrat")
    taken(api, tmp_path / "m")
    for _ in range(5):
        found(api)
    before = [each["id"] for each in events(api, "limit=100")]
    shown, following = [], None
    for number in range(100):
        turned = page(api, "limit=2" + (f"&cursor={following}" if following else ""))
        shown += [each["id"] for each in turned["events"]]
        following = turned["next"]
        if following is None:
            break
        found(api)  # a log grows
        mail(tmp_path / f"n{number}", "more", "a@ex.fr", "b@ex.fr", f"autre {number}")
        taken(api, tmp_path / f"n{number}")  # a writer takes another slot
    assert shown == before
    after = [each["id"] for each in events(api, "limit=3")]
    assert after[: len(before)] == before
    assert len(after) == len(set(after)) > len(before)


def test_a_span_holds_what_came_from_its_beginning_until_before_its_end(api, tmp_path):
    for name in "abc":
        mail(tmp_path / name, name, "a@ex.fr", "b@ex.fr", name)
        taken(api, tmp_path / name)
    times = [each["time"] for each in events(api, "kind=deposit")]
    assert len(times) == 3
    within = events(api, f"kind=deposit&from={quote(times[1])}&to={quote(times[2])}")
    assert [each["time"] for each in within] == [times[1]]
    assert events(api, "kind=deposit&to=2026-01-01") == []
    assert len(events(api, "kind=deposit&from=2020-01-01")) == 3
    for words in ("from=hier", "to=2026-13-01", "from=2026-01-01T00:00:00"):
        refused = api.call("GET", f"{JOURNAL}?{words}", "auditor", "aude")
        assert (refused.status_code, refused.json()["code"]) == (422, "journal.time")


def test_a_cursor_is_of_its_own_reading(api, tmp_path):
    for name in "ab":
        mail(tmp_path / name, name, "a@ex.fr", "b@ex.fr", name)
        taken(api, tmp_path / name)
    following = page(api, "kind=deposit&limit=1")["next"]
    foreign = {"of": json.loads(base64.urlsafe_b64decode(following + "=="))["of"], "at": {"root": [0, 1]}}
    forged = base64.urlsafe_b64encode(json.dumps(foreign).encode()).decode().rstrip("=")
    for words in (f"cursor={following}", "kind=deposit&cursor=x", f"kind=deposit&cursor={forged}"):
        refused = api.call("GET", f"{JOURNAL}?{words}", "auditor", "aude")
        assert (refused.status_code, refused.json()["code"]) == (422, "cursor.invalid"), words


def test_an_act_that_comes_while_the_journal_is_read_is_counted_too(api, monkeypatch):
    acts = api.tenant.acts
    acts.append(lambda _: {"version": 1, "act": "archive.arrived"})
    journal = EventJournal(api.tenant.vault, Acts(api.tenant.vault, api.tenant.id), None, api.tenant.id)
    monkeypatch.setattr(EventJournal, "_verifier", lambda _: None)
    read = Acts.refresh

    def then_more(one):
        seen = read(one)
        monkeypatch.setattr(Acts, "refresh", read)
        empty = {"captures": ["x"], "generations": [], "tables": [], "kms": []}
        acts.append(lambda _: {"version": 1, "act": "erasure.begin", "batch": "b1", **empty})
        acts.append(lambda _: {"version": 1, "act": "erasure.done", "batch": "b1", "destroy_after": "2027"})
        return seen

    monkeypatch.setattr(Acts, "refresh", then_more)
    shown = journal.page(10, kinds=[Kind.DESTRUCTION])["events"]
    assert [(each["what"], each["facts"]["captures"]) for each in shown] == [("erasure.done", 1)]
    assert shown[0]["facts"]["backups_readable_until"] is None  # nobody has seen the key version go


# --- who sees what


def test_who_looked_is_said_to_those_who_may_read_the_access_log(api, tmp_path):
    mail(tmp_path / "m", "one", "a@ex.fr", "b@ex.fr", "contrat")
    taken(api, tmp_path / "m")
    hit = found(api)["hits"][0]
    for role, clear in (
        ("auditor", True),
        ("dpo", True),
        ("records_manager", False),
        ("compliance_officer", False),
    ):
        (look,) = events(api, "kind=access", role, "aude")
        assert look["facts"] == {"role": "compliance_officer", "items": 1}
        assert look["who"] == ({"actor": "anne", "ids": [hit["id"]]} if clear else None), role
    entries = api.call("GET", "/v1/access-log", "auditor", "aude").json()["entries"]
    assert entries[0]["action"] == "event_journal.read"
    assert entries[0]["detail"]["kinds"] == ["access"]


def test_a_grant_for_a_part_of_the_mail_does_not_show_the_journal(api):
    matter = api.call("POST", "/v1/matters", "legal", "zoe", name="A", purpose="p", query="contrat").json()[
        "id"
    ]
    part = {"subject": "ext", "role": "external_auditor", "matter": matter, "reason": "r"}
    api.approved(api.call("POST", "/v1/grants", "admin", "paul", **part))
    assert api.call("GET", JOURNAL, "external_auditor", "ext").status_code == 403
    whole = {"subject": "ext", "role": "external_auditor", "reason": "r"}
    api.approved(api.call("POST", "/v1/grants", "admin", "paul", **whole))
    assert api.call("GET", JOURNAL, "external_auditor", "ext").status_code == 200


def test_another_tenants_events_are_not_there(api, tmp_path):
    done("init", "--data", api.data, "--tenant", "beta")
    mail(tmp_path / "m", "one", "a@ex.fr", "b@ex.fr", "contrat")
    taken(api, tmp_path / "m", tenant="beta")
    assert events(api) == []
    other = api.core.tenant("beta")
    by = api.token("auditor", "aude", other)
    (theirs,) = api.with_token("GET", f"{JOURNAL}?kind=deposit", by).json()["events"]
    assert api.call("GET", f"{JOURNAL}/{theirs['id']}/certificate", "auditor", "aude").status_code == 404


def test_sapin_article_8_a_compartment_has_a_journal_of_its_own_and_the_tenants_says_nothing_of_it(
    api, tmp_path
):
    compartment = made_compartment(api)
    where = f"compartment={compartment}"
    mail(tmp_path / "alerts", "alert", "lanceur@ex.fr", "alerte@ex.fr", "corruption")
    taken(api, tmp_path / "alerts", "acme/alertes")
    found(api, "alert_officer", "rita", where=f"?{where}")
    assert events(api) == []
    text = json.dumps(page(api))
    assert compartment not in text
    granted = {"subject": "ann", "role": "auditor", "reason": "r"}
    asked = api.call("POST", f"/v1/grants?{where}", "compliance_officer", "max", **granted)
    api.approved(asked, "legal", "lou", f"?{where}")
    shown = events(api, where, "auditor", "ann")
    assert [each["kind"] for each in shown] == ["deposit", "access"]
    for event in shown:
        there = api.call("GET", f"{JOURNAL}/{event['id']}/certificate", "auditor", "ann")
        assert there.status_code == 404


def test_a_moved_stray_and_an_excluded_capture_read_the_same(api, tmp_path):
    compartment = made_compartment(api)
    body = {"name": "médecin", "basis": "L4624-8", "reason": "r", "addresses": ["dr@ex.fr", "inf@ex.fr"]}
    body |= {"domains": ["ex.fr"], "compartment": compartment}
    mail(tmp_path / "m", "stray", "lanceur@ex.fr", "alerte@ex.fr", "corruption")
    taken(api, tmp_path / "m")
    stray = found(api, query="corruption")["hits"][0]["id"]
    request = {"messages": [stray], "compartment": compartment}
    api.approved(
        api.call(
            "POST",
            "/v1/approvals",
            "compliance_officer",
            "anne",
            action="reseal",
            request=request,
            reason="r",
        )
    )
    api.approved(api.call("POST", "/v1/exclusions", "dpo", "paul", **body))
    report(tmp_path / "n", "alone", "dr@ex.fr", "inf@ex.fr", "visite")
    taken(api, tmp_path / "n", name="reported", kind="exchange")
    api.follow()
    assert api.call("GET", "/v1/exclusions", "dpo", "paul").json()["withdrawn"] == 2
    both = events(api, "kind=destruction")
    assert [(each["what"], each["facts"]) for each in both] == [("capture.withdraw", {"captures": 1})] * 2
    assert len(events(api, "kind=deposit")) == 2
    sealed(api)
    papers = [certificate(api, each) for each in both]
    sizes = {len(whole["proofs"][0]["entry"]) for whole in papers}
    assert max(sizes) - min(sizes) <= 2  # seq and position alone may have a digit more
    assert compartment not in json.dumps([both, papers])


# --- tampering: the journal says so, and shows nothing


def batches(api, log):
    return sorted(api.data.glob(f"ledger/{api.tenant.id}/{log}/batch/*/[0-9]*"))


def written(path: Path, data: bytes):
    path.chmod(0o600)
    path.parent.chmod(0o700)
    path.write_bytes(data)


def three_deposits(api, tmp_path):
    mail(tmp_path / "m", "one", "a@ex.fr", "b@ex.fr", "un")
    taken(api, tmp_path / "m")
    for _ in range(3):
        found(api)
    sealed(api)
    assert page(api)["events"]


def retold(data: bytes) -> bytes:
    """The same entries with another time, canonical all the same."""
    lines = [json.loads(line) for line in data.splitlines()]
    return b"".join(canonical(line | {"time": "2020" + line["time"][4:]}) + b"\n" for line in lines)


def rechained(data: bytes) -> bytes:
    """A batch whose entries were changed and chained anew."""
    made, prev = [], None
    for line in map(json.loads, data.splitlines()):
        line |= {"time": "2020" + line["time"][4:]} | ({"prev": prev} if prev else {})
        prev = hashlib.sha256(canonical(line)).hexdigest()
        made.append(canonical(line) + b"\n")
    return b"".join(made)


def cut(data: bytes) -> bytes:
    return data[:-2]


@pytest.mark.parametrize(
    ("kind", "place"), [("deposit", 0), ("access", 0), ("access", -1)], ids=["deposit", "first", "last"]
)
@pytest.mark.parametrize("change", [retold, rechained, cut])
def test_a_tampered_entry_alarms_and_nothing_is_shown(api, tmp_path, kind, place, change):
    three_deposits(api, tmp_path)
    event = events(api, f"kind={kind}")[place]
    (path,) = (each for each in batches(api, event["log"]) if int(each.name) == event["seq"])
    written(path, change(path.read_bytes()))
    answer = api.call("GET", f"{JOURNAL}?kind={kind}", "auditor", "aude")
    assert (answer.status_code, answer.json().get("code")) == (500, "integrity.tampered")
    assert "events" not in answer.json()
    paper = api.call("GET", f"{JOURNAL}/{event['id']}/certificate", "auditor", "aude")
    assert (paper.status_code, paper.json().get("code")) == (500, "integrity.tampered")


def test_a_batch_that_has_gone_alarms(api, tmp_path):
    three_deposits(api, tmp_path)
    path = batches(api, "access-1")[1]
    path.parent.chmod(0o700)
    path.unlink()
    answer = api.call("GET", f"{JOURNAL}?kind=access", "auditor", "aude")
    assert answer.status_code == 500
    assert answer.json()["code"] in ("integrity.missing", "integrity.tampered")


def test_without_an_access_entry_nothing_is_shown(api, tmp_path, monkeypatch):
    three_deposits(api, tmp_path)

    def away(*_):
        raise StoreError("away")

    monkeypatch.setattr(LedgerAccessLog, "record", away)
    answer = api.call("GET", JOURNAL, "auditor", "aude")
    assert answer.status_code == 503
    assert "events" not in answer.json()


# --- the command line


def test_the_journal_by_the_command_line(api, tmp_path):
    mail(tmp_path / "m", "one", "a@ex.fr", "b@ex.fr", "contrat")
    taken(api, tmp_path / "m")
    found(api)
    by = ("--tenant", "acme", "--data", api.data, "--token", token(api.data, "records_manager", "rob"))
    shown = done("journal", "list", *by, "--limit", "1", "--json").answer
    assert [each["kind"] for each in shown["events"]] == ["deposit"]
    rest = done("journal", "list", *by, "--cursor", shown["next"], "--json").answer
    assert [(each["kind"], each["who"]) for each in rest["events"]] == [("access", None)]
    lines = done("journal", "list", *by, "--kind", "access").out.splitlines()
    assert len(lines) == 1
    assert rest["events"][0]["id"] in lines[0]
    paper = tmp_path / "paper.pdf"
    event = shown["events"][0]
    whole = done("journal", "certificate", event["id"], *by, "--pdf", paper, "--json").answer
    checked(whole, event)
    assert paper.read_bytes().startswith(b"%PDF")
    again = run("journal", "certificate", event["id"], *by, "--pdf", paper, "--json")
    assert (again.code, again.answer["error"]["code"]) == (2, "export.output")  # no file is written over
    backwards = run("journal", "list", *by, "--from", "2027-01-01", "--to", "2026-01-01", "--json")
    assert (backwards.code, backwards.answer["error"]["code"]) == (2, "journal.time")
    unknown = run("journal", "certificate", "acts-4711", *by, "--json")
    assert (unknown.code, unknown.answer["error"]["code"]) == (1, "event.unknown")
    legal = ("--tenant", "acme", "--data", api.data, "--token", token(api.data, "legal", "zoe"))
    assert run("journal", "list", *legal, "--json").answer["error"]["code"] == "auth.forbidden"
