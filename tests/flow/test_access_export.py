"""Many access entries in one file, proven to somebody who has the file alone; nothing of it can be changed unseen."""

import json
from hashlib import sha256

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archive_service.export import access_file
from archive_service.export.verify_access import verify_access
from archive_service.following import make_checkpointer
from archive_service.ledger.note import Signer
from archive_service.ledger.payloads import PayloadVault
from archive_service.model.canonical import canonical
from archive_service.model.errors import StoreError
from tests.flow.archive_fixtures import done, no_settings_around, run
from tests.flow.real_api import RealApi

__all__ = ["no_settings_around"]


@pytest.fixture
def api(tmp_path, pool):
    with RealApi(tmp_path / "archive", pool) as made:
        made.follow()
        for who, query in (("anne", "secret"), ("zoe", "public"), ("anne", "facture")):
            made.call("POST", "/v1/search", "legal", who, query=query, purpose="enquête")
        made.call("POST", "/v1/exports", "legal", "anne", query="*", formats=["bundle"], purpose="x" * 400)
        make_checkpointer(made.core, 0).run_once()
        yield made


def exported(api, tmp_path, query="", name="log.jsonl"):
    answer = api.call("GET", f"/v1/access-log/export{query}", "auditor", "aude")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/jsonl"
    path = tmp_path / name
    path.write_bytes(answer.content)
    return path


def said(path):
    head, *lines, _ = map(json.loads, path.read_text("utf-8").splitlines())
    return head, [(line["event"]["actor"], line["event"]["detail"].get("query")) for line in lines]


def kinds(path, *keys):
    return {line.split(" ")[0] for line in verify_access(path, keys)}


def test_what_a_person_did_is_proven_by_the_file_alone(api, tmp_path):
    path = exported(api, tmp_path, "?actor=anne&action=search")
    head, lines = said(path)
    assert lines == [("anne", "secret"), ("anne", "facture")]
    assert (head["by"], head["asked"], head["entries"]) == ("aude", {"actor": "anne", "action": "search"}, 2)
    assert done("verify-bundle", path, "--json").answer == {"ok": True, "problems": []}
    keys = [*head["keys"]["log"], *head["keys"]["root"]]
    assert not kinds(path, *keys)
    other = Signer("somebody", b"s" * 32).vkey
    assert "seal" in kinds(path, other)
    assert run("verify-bundle", path, "--key", other).code == 1


def test_its_reading_is_recorded_with_which_entries_it_showed(api, tmp_path):
    head, _ = said(exported(api, tmp_path, "?actor=anne"))
    entries = api.call("GET", "/v1/access-log?action=access_log.export", "auditor", "aude").json()["entries"]
    assert entries[0]["detail"]["places"] == {"access-1": "1,3-4"}
    assert (entries[0]["actor"], entries[0]["detail"]["export"]) == ("aude", head["id"])
    assert entries[0]["detail"]["asked"] == {"actor": "anne"}


def test_nothing_leaves_before_its_entry_is_durable(api, monkeypatch):
    log = api.tenants.get(api.tenant.id).access_log
    monkeypatch.setattr(log, "record", lambda event: (_ for _ in ()).throw(StoreError("away")))
    answer = api.call("GET", "/v1/access-log/export", "auditor", "aude")
    assert (answer.status_code, answer.json()["code"]) == (503, "access_log.unavailable")


def test_a_span_and_nothing_found(api, tmp_path):
    everything = exported(api, tmp_path)
    _, lines = said(everything)
    assert len(lines) == 4
    times = [
        json.loads(json.loads(line)["entry"])["time"] for line in everything.read_text().splitlines()[1:-1]
    ]
    middle = exported(api, tmp_path, f"?since={times[1]}&until={times[3]}", "middle")
    assert said(middle)[1] == lines[1:3]
    nothing = exported(api, tmp_path, "?until=2001-01-01T00:00:00%2B02:00", "nothing")
    assert said(nothing)[1] == []
    assert not kinds(everything) | kinds(middle) | kinds(nothing)
    listed = api.call("GET", f"/v1/access-log?since={times[1]}&until={times[3]}", "auditor", "aude").json()
    assert [each["time"] for each in listed["entries"]] == [times[2], times[1]]
    answer = api.call("GET", "/v1/access-log/export?since=gestern", "auditor", "aude")
    assert (answer.status_code, answer.json()["code"]) == (422, "input.time")


@pytest.mark.parametrize("role", ["legal", "admin", "records_manager"])
def test_who_may_not_read_the_log_gets_no_file(api, role):
    assert api.call("GET", "/v1/access-log/export", role, "x").status_code == 403


def test_more_than_fits_is_refused_whole(api, monkeypatch):
    monkeypatch.setattr(access_file, "MOST", 2)
    answer = api.call("GET", "/v1/access-log/export", "auditor", "aude")
    assert (answer.status_code, answer.json()["code"]) == (409, "access_log.too_many")


def test_an_entry_that_no_checkpoint_covers_yet_is_waited_for(api, monkeypatch):
    api.call("POST", "/v1/search", "legal", "anne", query="neu")
    monkeypatch.setattr(api.tenants._open[api.tenant.id].proofs, "_wait", 0.0)
    answer = api.call("GET", "/v1/access-log/export", "auditor", "aude")
    assert (answer.status_code, answer.json()["code"]) == (503, "proof.pending")


def edited(number, change):
    def tamper(lines):
        value = json.loads(lines[number])
        change(value)
        lines[number] = canonical(value)

    return tamper


def dropped(number):
    return lambda lines: lines.pop(number)


def swapped(lines):
    lines[1], lines[2] = lines[2], lines[1]


def other_key(line):
    line["key"] = "0" * 64


def other_path(line):
    line["inclusion"] = ["0" * 64 for _ in line["inclusion"]]


def other_note(line):
    line["logs"][0]["note"] = line["logs"][0]["note"].replace("\n4\n", "\n3\n").replace("\n5\n", "\n4\n")


TAMPERINGS = {
    "event": (edited(1, lambda line: line["event"].update(actor="max")), {"event"}),
    "entry": (
        edited(1, lambda line: line.update(entry=line["entry"].replace('"time":"2', '"time":"1'))),
        {"entry", "inclusion"},
    ),
    "key": (edited(1, other_key), {"entry"}),
    "inclusion": (edited(1, other_path), {"inclusion"}),
    "checkpoint": (edited(0, other_note), {"checkpoint"}),
    "anchor": (edited(0, lambda head: head["logs"][0]["root"].update(salt="0" * 64)), {"anchor"}),
    "asked": (edited(0, lambda head: head.update(asked={"actor": "max"})), {"seal"}),
    "count": (edited(0, lambda head: head.update(entries=9)), {"count"}),
    "dropped": (dropped(1), {"count", "seal"}),
    "last": (dropped(-2), {"count", "seal"}),
    "seal": (dropped(-1), {"seal"}),
    "swapped": (swapped, {"entry", "seal"}),
    "twice": (lambda lines: lines.insert(1, lines[1]), {"entry", "count", "seal"}),
    "added": (lambda lines: lines.append(b"{}"), {"seal"}),
    "head": (dropped(0), {"head"}),
    "empty": (lambda lines: lines.clear(), {"head"}),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory, pool):
    folder = tmp_path_factory.mktemp("good")
    with RealApi(folder / "archive", pool) as made:
        made.follow()
        for query in ("un", "deux", "trois"):
            made.call("POST", "/v1/search", "legal", "anne", query=query)
        make_checkpointer(made.core, 0).run_once()
        return exported(made, folder)


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tamper_with_the_file_is_noticed(good, tmp_path, name):
    tamper, expected = TAMPERINGS[name]
    lines = good.read_bytes().splitlines()
    tamper(lines)
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    assert not kinds(good)
    assert kinds(path) & expected, kinds(path)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_tamper_with_any_byte_or_value_is_noticed_and_breaks_nothing(good, tmp_path, data):
    """Whatever is in the file, it is told and never a fault: it comes from people who are not trusted."""
    plain = good.read_bytes()
    lines = plain.splitlines()
    if data.draw(st.booleans()):
        place = data.draw(st.integers(0, len(plain) - 1))
        changed = plain[:place] + bytes([data.draw(st.integers(0, 255))]) + plain[place + 1 :]
    else:
        number = data.draw(st.integers(0, len(lines) - 1))
        value = json.loads(lines[number])
        name = data.draw(st.sampled_from(sorted(value)))
        odd = [None, True, -1, "", "x", [], {}, [{}], {"log": [], "root": []}, 2**60]
        lines[number] = json.dumps(value | {name: data.draw(st.sampled_from(odd))}).encode()
        changed = b"".join(line + b"\n" for line in lines)
    path = tmp_path / "log.jsonl"
    path.write_bytes(changed)
    assert bool(kinds(path)) == (changed != plain)


@pytest.mark.parametrize("name", ["payload", "log", "seq", "type", "version"])
def test_an_entry_of_another_form_under_keys_of_its_own_breaks_nothing(good, tmp_path, name):
    """Who signs anew with keys that he brings along gets no further than to be told that the proofs do not hold."""
    lines = good.read_bytes().splitlines()
    for odd in (None, 7, [], {"object": 7}, {"name": "x", "object": {}}, {"name": 7}, "x/y"):
        value = json.loads(lines[1])
        value["entry"] = canonical(json.loads(value["entry"]) | {name: odd}).decode()
        path = tmp_path / "log.jsonl"
        path.write_bytes(b"".join(each + b"\n" for each in [lines[0], canonical(value), *lines[2:]]))
        assert kinds(path)


@pytest.mark.parametrize("end", [0, 1, 40])
def test_a_file_that_broke_off_is_none(good, tmp_path, end):
    path = tmp_path / "log.jsonl"
    path.write_bytes(good.read_bytes()[: -end - 1])
    assert "seal" in kinds(path)


def test_a_payload_too_large_for_its_entry_comes_along(api, tmp_path):
    ids = [sha256(bytes([number % 256, number // 256])).hexdigest() for number in range(1000)]
    api.call("POST", "/v1/exports", "legal", "zoe", ids=ids, formats=["bundle"])  # refused, and recorded
    make_checkpointer(api.core, 0).run_once()
    path = exported(api, tmp_path, "?actor=zoe&action=export.request")
    (line,) = path.read_text().splitlines()[1:-1]
    assert ("object" in json.loads(line), kinds(path)) == (True, set())
    lines = path.read_bytes().splitlines()
    edited(1, lambda value: value.update(object=value["object"][:-8]))(lines)
    path.write_bytes(b"".join(each + b"\n" for each in lines))
    assert "entry" in kinds(path)


def test_it_is_written_a_line_at_a_time(api, monkeypatch):
    """Whatever the size of the log, no more than a line of it is held."""
    files = api.tenants.get(api.tenant.id).access_files
    chosen = files.choose(access_file.Wanted())
    opened, real = [], PayloadVault.key_of
    monkeypatch.setattr(PayloadVault, "key_of", lambda *given: opened.append(1) or real(*given))
    lines = files.lines(chosen, "n", "aude", "2026-01-01T00:00:00.000000Z")
    for written in range(chosen.count + 1):
        assert len(opened) == max(0, written - 1)
        next(lines)


def test_the_command_does_the_same(api, tmp_path):
    token = api.token("auditor", "aude")
    where = (*api.where, "--tenant", "acme", "--token", token)
    path = tmp_path / "out.jsonl"
    make_checkpointer(api.core, 0).run_once()
    assert (
        done("access-log", "export", "--out", path, "--actor", "anne", *where, "--json").answer["entries"]
        == 3
    )
    assert done("verify-bundle", path).code == 0
    assert run("access-log", "export", "--out", path, *where).code == 2
    whole = tmp_path / "whole.jsonl"
    done("access-log", "export", "--out", whole, *where)  # with the entry that this very command is
    assert done("verify-bundle", whole).code == 0
    span = ("--since", "2027-01-01T00:00:00Z", "--until", "2026-01-01T00:00:00Z")
    backwards = run("access-log", "export", "--out", tmp_path / "none.jsonl", *span, *where, "--json")
    assert (backwards.code, backwards.answer["error"]["code"]) == (2, "input.time")
    refused = (*api.where, "--tenant", "acme", "--token", api.token("legal", "lea"))
    assert run("access-log", "export", "--out", tmp_path / "no.jsonl", *refused).code == 1
    assert not (tmp_path / "no.jsonl").exists()
