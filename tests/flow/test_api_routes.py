"""The routes of the HTTP API over an archive in memory: what the contract says they take and give."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archive_service.api.cursors import cursor
from archive_service.catalog.base import EvidenceRow, Position
from archive_service.model.errors import KeyUnavailable, Overloaded, StoreError, Tampered
from archive_service.model.evidence import Evidence, Malware
from search.query_language import render
from tests.flow.api_fakes import INNER, NOW, RAW, archive_with_export, is_problem, search

UNSEEN = {"malware": "not_scanned", "names": [], "looks": []}


@pytest.fixture
def archive(tmp_path):
    return archive_with_export(tmp_path)


# --- search


def test_drafts_are_left_out_and_counted_unless_somebody_asks_for_them(archive):
    archive.one.index.drafts = 2
    assert search(archive, query="contrat").json()["drafts_left_out"] == 2
    assert search(archive, query="contrat", include_drafts=True).json()["drafts_left_out"] == 0
    assert search(archive, query="contrat flag:draft").json()["drafts_left_out"] == 0
    asked = [render(query) for query in archive.one.index.queries]
    assert asked == ["contrat AND NOT flag:draft", "contrat", "contrat AND flag:draft"]


def test_a_hit_has_the_fields_of_the_contract(archive):
    answer = search(archive).json()
    assert set(answer) == {"total", "hits", "facets", "next", "not_fully_indexed", "drafts_left_out"}
    assert (answer["total"], answer["facets"], answer["next"], answer["not_fully_indexed"]) == (
        3,
        {},
        None,
        1,
    )
    assert [hit["id"] for hit in answer["hits"]] == ["m3", "m2", "m1"]
    assert answer["hits"][2] == {
        "id": "m1",
        "sent_at": "2026-02-01T00:00:00.000000Z",
        "from": "anne@ex.fr",
        "to": ["bob@ex.fr"],
        "subject": "Contrat m1",
        "snippets": ["un <b>contrat</b>"],
        "attachments": [
            {
                "filename": "devis.pdf",
                "content_type": "application/pdf",
                "size": 1234,
                "sha256": "ab" * 32,
                "path": "2",
            }
        ],
    }


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
def test_pages_follow_each_other_without_gap_or_repetition(archive, limit):
    seen, following, pages = [], None, 0
    while pages == 0 or following:
        answer = search(archive, limit=limit, cursor=following).json()
        seen += [hit["id"] for hit in answer["hits"]]
        following, pages = answer["next"], pages + 1
    assert seen == ["m3", "m2", "m1"]
    assert pages == -(-3 // limit)


def test_a_hit_that_the_catalog_does_not_show_is_not_shown_nor_recorded(archive):
    del archive.one.catalog.rows["m2"]
    archive.one.catalog.rows["m3"] = replace(archive.one.catalog.rows["m3"], captures=())
    assert [hit["id"] for hit in search(archive).json()["hits"]] == ["m1"]
    assert archive.one.access_log.events[0].ids == ("m1",)


@pytest.mark.parametrize(
    "text", ["", "x", "AAAA", "é", cursor("other", 5), cursor("*", 5)[:-1], cursor("*", 5) + "AAAA"]
)
def test_a_cursor_of_another_search_is_refused(archive, text):
    is_problem(search(archive, cursor=text), 422, "cursor.invalid")


@settings(max_examples=50)
@given(st.integers(-(2**80), 2**80), st.text(st.characters(exclude_categories=["Cs"])))
def test_a_cursor_keeps_any_rank(rank, query):
    from archive_service.api.cursors import rank_below

    assert rank_below(query, cursor(query, rank)) == rank


@pytest.mark.parametrize("limit", [0, -1, 1001, "5", 5.5, True, None, 10**30])
def test_a_page_holds_one_to_a_thousand(archive, limit):
    document = is_problem(search(archive, limit=limit), 422, "request.invalid")
    assert document["errors"][0]["pointer"] == "#/limit"
    assert search(archive, limit=1000).status_code == 200


def test_a_query_that_does_not_parse_says_where(archive):
    document = is_problem(search(archive, query="contrat AND ("), 422, document_code(archive))
    assert isinstance(document["position"], int)
    assert archive.one.access_log.shown == []


def document_code(archive):
    code = search(archive, query="contrat AND (").json()["code"]
    assert code.startswith("query.")
    return code


def test_only_newest_is_a_sort_and_nothing_is_a_facet(archive):
    assert search(archive, sort="newest", facets=[]).status_code == 200
    is_problem(search(archive, sort="relevance"), 422, "query.sort_unsupported")
    is_problem(search(archive, facets=["sender"]), 422, "query.facet_unsupported")


# --- messages


def test_a_message_has_the_fields_of_the_contract(archive):
    message = archive.call("GET", "/v1/messages/m1", "legal").json()
    assert message == {
        "id": "m1",
        "sender": "anne@ex.fr",
        "on_behalf_of": None,
        "subject": "Contrat m1",
        "sent_at": "2026-02-01T00:00:00.000000Z",
        "message_id": None,
        "label": "confidentiel",
        "flags": ["journal_report", "no_message_id"],
        "recipients": [
            {"address": "bob@ex.fr", "role": "to", "on_report": True},
            {"address": "carl@ex.fr", "role": "bcc", "on_report": True, "expanded_from": "all@ex.fr"},
        ],
        "envelope_complete": True,
        "captures": [
            {
                "id": "m1c0",
                "source": "src1",
                "received_at": "2026-02-01T00:00:00.000000Z",
                "evidence": UNSEEN,
            },
            {
                "id": "m1c1",
                "source": "src1",
                "received_at": "2026-02-02T00:00:00.000000Z",
                "evidence": UNSEEN,
            },
        ],
        "attachments": [
            {
                "filename": "devis.pdf",
                "content_type": "application/pdf",
                "size": 1234,
                "sha256": "ab" * 32,
                "path": "2",
            }
        ],
        "holds": [],
        "retention": {"lock_until": "2026-04-02T00:00:00.000000Z"},
    }


def looks_at(capture, *results):
    """Evidence rows of scans that said this: a name, or a word."""
    for number, result in enumerate(results):
        found = {"result": "found", "name": result} if result.startswith("Test") else {"result": result}
        malware = Malware(size=9, **found)
        told = {
            "capture": capture,
            "look": "malware",
            "at": "2026-02-01T00:00:01.000000Z",
            "program": "ClamAV",
        }
        yield EvidenceRow(50 + number, Evidence(**told, attempt=number + 1, malware=malware))


def test_a_mark_is_shown_with_its_capture_and_warned_of_beside_the_bytes(archive):
    archive.one.catalog.looks = {"m1c1": list(looks_at("m1c1", "Test.Böse\r\nX: y", "clean"))}
    first, second = archive.call("GET", "/v1/messages/m1", "legal").json()["captures"]
    assert first["evidence"] == UNSEEN
    assert (second["evidence"]["malware"], second["evidence"]["names"]) == ("found", ["Test.Böse\r\nX: y"])
    assert [look["attempt"] for look in second["evidence"]["looks"]] == [1, 2]
    for path, data in (("messages/m1", INNER), ("captures/m1c1", RAW)):
        response = archive.call("GET", f"/v1/{path}/raw", "legal")
        assert response.content == data  # marked, and otherwise what it was
        assert response.headers["x-archive-malware"] == "Test.B_se_X:_y"
    assert "x-archive-malware" not in archive.call("GET", "/v1/captures/m1c0/raw", "legal").headers


def test_what_was_not_scanned_is_never_called_clean(archive):
    for results, shown in (
        (("too_large",), "too_large"),
        (("failed", "clean"), "clean"),
        ((), "not_scanned"),
    ):
        archive.one.catalog.looks = {"m1c0": list(looks_at("m1c0", *results))}
        captures = archive.call("GET", "/v1/messages/m1", "legal").json()["captures"]
        assert captures[0]["evidence"]["malware"] == shown


def test_the_mailbox_that_a_journal_names_is_shown_with_its_capture(archive):
    (row,) = archive.one.catalog.messages(["m1"])
    first, second = row.captures
    parsed = first.finding.parsed.model_copy(update={"mailbox": "bob@ex.fr"})
    first = replace(first, finding=first.finding.model_copy(update={"parsed": parsed}))
    archive.one.catalog.rows["m1"] = replace(row, captures=(first, second))
    shown = archive.call("GET", "/v1/messages/m1", "legal").json()["captures"]
    assert [capture.get("mailbox") for capture in shown] == ["bob@ex.fr", None]
    assert "mailbox" not in shown[1]


def test_bytes_come_as_they_are_and_never_open_in_a_browser(archive):
    for path, data, name in (("messages/m1", INNER, "m1"), ("captures/m1c1", RAW, "m1c1")):
        response = archive.call("GET", f"/v1/{path}/raw", "legal")
        assert response.content == data
        assert response.headers["content-type"] == "message/rfc822"
        assert response.headers["content-disposition"] == f'attachment; filename="{name}.eml"'


def test_what_outlook_saved_is_given_as_what_it_is(archive):
    (row,) = archive.one.catalog.messages(["m1"])
    captures = tuple(_saved_by_outlook(capture) for capture in row.captures)
    archive.one.catalog.rows["m1"] = replace(row, captures=captures)
    for path, name in (("messages/m1", "m1"), ("captures/m1c1", "m1c1")):
        response = archive.call("GET", f"/v1/{path}/raw", "legal")
        assert response.headers["content-type"] == "application/vnd.ms-outlook"
        assert response.headers["content-disposition"] == f'attachment; filename="{name}.msg"'


def _saved_by_outlook(capture):
    parsed = capture.finding.parsed.model_copy(update={"flags": ("outlook_msg",)})
    return replace(capture, finding=capture.finding.model_copy(update={"parsed": parsed}))


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (Tampered("the object is not what its entry says"), 500, "integrity.tampered"),
        (KeyUnavailable("the key is gone"), 410, "key.unavailable"),
        (StoreError("the store does not answer"), 503, "store.failed"),
    ],
)
def test_what_cannot_be_read_as_it_was_written_is_never_shown(archive, fault, status, code):
    archive.one.contents.broken = fault
    for path in ("messages/m1/raw", "captures/m1c0/raw"):
        is_problem(archive.call("GET", f"/v1/{path}", "legal"), status, code)


def test_a_proof_without_a_checkpoint_yet_asks_to_come_back(archive):
    archive.one.proofs.broken = Overloaded("no checkpoint covers it yet", code="proof.pending")
    response = archive.call("GET", "/v1/messages/m1/proof", "legal")
    is_problem(response, 503, "proof.pending")
    assert int(response.headers["retry-after"]) > 0


# --- exports


def test_an_export_is_a_job(archive):
    body = {"ids": ["m2", "m1", "m2"], "formats": ["bundle"], "purpose": "CNIL"}
    response = archive.call("POST", "/v1/exports", "legal", json=body)
    assert response.status_code == 202
    view = response.json()
    assert view == {
        "id": view["id"],
        "state": "queued",
        "progress": {"done": 0, "total": 2},
        "error": None,
        "drafts_left_out": None,
    }
    job = archive.one.jobs.jobs[view["id"]]
    assert (job.kind, job.actor) == ("export", "lea")
    assert job.request == {"ids": ["m2", "m1"], "formats": ["bundle"], "purpose": "CNIL", "role": "legal"}
    assert job.created_at.startswith(NOW.strftime("%Y-%m-%dT%H:%M:%S"))
    (event,) = archive.one.access_log.events
    assert (event.action, event.ids, event.purpose) == ("export.request", ("m2", "m1"), "CNIL")
    assert event.detail == {"job": job.id, "formats": ["bundle"]}
    assert archive.call("GET", f"/v1/exports/{job.id}", "compliance_officer").json() == view


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"query": "*", "formats": ["mbox"]}, 422, "export.format_unsupported"),
        ({"query": "*", "formats": ["bundle", "eml"]}, 422, "export.format_unsupported"),
        ({"query": "*", "formats": []}, 422, "request.invalid"),
        ({"query": "*"}, 422, "request.invalid"),
        ({"formats": ["bundle"]}, 422, "request.invalid"),
        ({"query": "*", "ids": ["m1"], "formats": ["bundle"]}, 422, "request.invalid"),
        ({"ids": [], "formats": ["bundle"]}, 422, "request.invalid"),
        ({"ids": ["m1", "m9"], "formats": ["bundle"]}, 404, "not_found"),
        ({"ids": ["m1", "z1"], "formats": ["bundle"]}, 404, "not_found"),
        ({"ids": ["m1", "\x00"], "formats": ["bundle"]}, 404, "not_found"),
    ],
)
def test_an_export_that_cannot_be_is_refused_at_once(archive, body, status, code):
    is_problem(archive.call("POST", "/v1/exports", "legal", json=body), status, code)
    assert set(archive.one.jobs.jobs) == {"done"}
    assert archive.one.access_log.shown == []


def test_an_export_whose_query_does_not_parse_says_where(archive):
    body = {"query": "contrat AND (", "formats": ["bundle"]}
    response = archive.call("POST", "/v1/exports", "legal", json=body)
    assert response.status_code == 422
    assert "position" in response.json()


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"state": "queued"}, 409, "export.not_ready"),
        ({"state": "running"}, 409, "export.not_ready"),
        ({"state": "failed"}, 409, "export.failed"),
        ({"state": "cancelled"}, 409, "export.failed"),
        ({"result": None}, 410, "export.gone"),
        ({"request": {}, "result": {"expired_at": "2026"}}, 410, "export.expired"),
        ({"kind": "import"}, 404, "not_found"),
    ],
)
def test_only_a_finished_export_can_be_downloaded(archive, changes, status, code):
    archive.one.jobs.update(replace(archive.one.jobs.jobs["done"], **changes))
    is_problem(archive.call("GET", "/v1/exports/done/download", "legal"), status, code)
    assert archive.one.access_log.shown == []


def test_an_export_whose_file_is_gone_says_so(archive):
    (archive.one.exports / "done.zip").unlink()
    is_problem(archive.call("GET", "/v1/exports/done/download", "legal"), 410, "export.gone")


def test_the_jobs_table_does_not_choose_which_file_leaves(archive, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"PK-secret")
    job = archive.one.jobs.jobs["done"]
    archive.one.jobs.jobs["done"] = replace(job, result={"path": str(secret), "messages": ["m1"]})
    whole = archive.call("GET", "/v1/exports/done/download", "legal")
    assert whole.content == b"PK-zip-bytes"


def test_a_download_is_a_zip_that_can_be_resumed(archive):
    whole = archive.call("GET", "/v1/exports/done/download", "legal")
    assert (whole.status_code, whole.content) == (200, b"PK-zip-bytes")
    assert whole.headers["content-type"] == "application/zip"
    assert whole.headers["content-disposition"] == 'attachment; filename="done.zip"'
    rest = archive.call("GET", "/v1/exports/done/download", "legal", headers={"Range": "bytes=3-"})
    assert (rest.status_code, rest.content) == (206, b"zip-bytes")
    for senseless in ("bytes=99-", "bytes=5-2", "bytes=-", "bytes=0-1,3-4", "lines=1-2", "x"):
        again = archive.call("GET", "/v1/exports/done/download", "legal", headers={"Range": senseless})
        assert (again.status_code, again.content) == (200, b"PK-zip-bytes")


# --- access log


def read_log(archive, **params):
    return archive.call("GET", "/v1/access-log", "auditor", params=params).json()


def test_the_access_log_is_newest_first_and_notes_its_own_reading(archive):
    search(archive, purpose="p")
    archive.call("GET", "/v1/messages/m1", "legal")
    answer = read_log(archive)
    assert [entry["action"] for entry in answer["entries"]] == ["message.view", "search"]
    assert answer["entries"][1]["ids"] == ["m3", "m2", "m1"]
    assert answer["entries"][1]["purpose"] == "p"
    assert set(answer["entries"][0]) == {
        *("log", "seq", "time", "actor", "role", "action", "outcome", "ids"),
        *("purpose", "matter", "origin", "request", "detail"),
    }
    assert read_log(archive)["entries"][0]["action"] == "access_log.read"


def fill(archive, count):
    """Message m1 in every tenth entry, m2 in the others."""
    archive.call("GET", "/v1/messages/m1", "legal")
    event = archive.one.access_log.events.pop()
    archive.one.access_log.events += [
        event.model_copy(update={"ids": ("m1" if number % 10 == 0 else "m2",), "request": str(number)})
        for number in range(count)
    ]


@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_filtered_pages_lose_and_repeat_nothing(archive, limit):
    fill(archive, 300)
    seen, following, first = [], None, True
    while first or following:
        params = {"message": "m1", "limit": limit} | ({"cursor": following} if following else {})
        answer = read_log(archive, **params)
        assert len(answer["entries"]) <= limit
        seen += [int(entry["request"]) for entry in answer["entries"]]
        following, first = answer["next"], False
    assert seen == list(range(290, -1, -10))


def test_filters_by_actor_and_action(archive):
    search(archive)
    archive.call("GET", "/v1/messages/m1", "admin")
    assert [entry["outcome"] for entry in read_log(archive, action="message.view")["entries"]] == ["refused"]
    assert read_log(archive, actor="somebody")["entries"] == []
    assert len(read_log(archive, actor="lea", action="search")["entries"]) == 1


def test_a_filter_that_finds_nothing_reads_a_bounded_stretch(archive):
    fill(archive, 30_000)
    answer = read_log(archive, message="m9")
    assert answer["entries"] == []
    assert answer["next"] is not None
    assert sum(archive.one.access_log.reads) < 22_000


@pytest.mark.parametrize(
    "params", [{"cursor": "x"}, {"limit": "0"}, {"limit": "1001"}, {"limit": "x"}, {"actor": ""}]
)
def test_senseless_parameters_are_problems(archive, params):
    response = archive.call("GET", "/v1/access-log", "auditor", params=params)
    assert response.status_code == 422
    assert response.json()["code"] in ("cursor.invalid", "request.invalid")


# --- integrity, sources, jobs


def test_the_logs_can_be_audited(archive):
    status = archive.call("GET", "/v1/integrity", "auditor").json()
    assert status["logs"][0]["size"] == 3
    assert status["position"] == {"rows": 7, "indexed": 7, "acts": 3, "acts_log": 4}
    note = archive.call("GET", "/v1/integrity/logs/acts/checkpoint", "auditor")
    assert note.headers["content-type"] == "text/plain; charset=utf-8"
    assert note.text.startswith("origin\n3\n")
    tile = archive.call("GET", "/v1/integrity/logs/acts/tile/0/000.p/3", "auditor")
    assert (len(tile.content), tile.headers["content-type"]) == (96, "application/octet-stream")


@pytest.mark.parametrize(
    "path",
    [
        "capture-9/checkpoint",
        "..%2Facts/checkpoint",
        "acts/tile/0/001",
        "acts/tile/0/../../x",
        "acts/tile/64/000",
        "acts/tile/0/000.p/0",
        "acts/tile/%00",
        "acts/tile/",
        "capture-0/checkpoint",
    ],
)
def test_what_is_no_log_or_tile_is_not_found(archive, path):
    is_problem(archive.call("GET", f"/v1/integrity/logs/{path}", "auditor"), 404, "not_found")


def test_a_source_is_made_and_listed(archive):
    archive.one.sources.sources.clear()
    made = archive.call("POST", "/v1/sources", "admin", json={"name": "Siège", "kind": "m365"})
    assert (made.status_code, made.json()) == (201, {"id": "s0", "address": "x@in.example", "seq": 1})
    listed = archive.call("GET", "/v1/sources", "admin").json()
    assert listed["sources"][0]["name"] == "Siège"
    assert [event.action for event in archive.one.access_log.events] == ["source.add", "source.list"]
    for body in ({"name": "x", "kind": "fax"}, {"name": " ", "kind": "m365"}, {"name": "x"}):
        is_problem(archive.call("POST", "/v1/sources", "admin", json=body), 422, "request.invalid")


def test_a_source_s_guard_is_changed_and_its_address_rotated(archive):
    asked = {"tls": True, "rate": None, "password": "a password that nobody sees"}
    answered = archive.call("PATCH", "/v1/sources/s-there", "admin", json=asked)
    assert (answered.status_code, answered.json()) == (200, {"id": "s-there", "seq": 9})
    turned = archive.call("POST", "/v1/sources/s-there/rotations", "admin", json={})
    assert (turned.status_code, turned.json()["address"]) == (201, "y@in.example")
    assert archive.one.sources.changes == [("s-there", asked), ("s-there", {"overlap": 14 * 86400})]
    entries = archive.one.access_log.events
    assert [event.action for event in entries] == ["source.set", "source.rotate"]
    assert entries[0].detail == {"source": "s-there", "fields": ["password", "rate", "tls"]}
    assert "nobody" not in repr(entries)


@pytest.mark.parametrize(
    "body",
    [{"tls": "yes"}, {"rate": 0}, {"rate": "many"}, {"address": "x@y"}, {"networks": "10.0.0.0/8"}, [], 1],
)
def test_a_guard_that_cannot_be_is_refused_without_repeating_it(archive, body):
    response = archive.call("PATCH", "/v1/sources/s-there", "admin", json=body)
    is_problem(response, 422, "request.invalid")
    response = archive.call("PATCH", "/v1/sources/s-there", "admin", json={"password": ["hush hush hush"]})
    is_problem(response, 422, "request.invalid")
    assert "hush" not in response.text
    assert archive.one.sources.changes == []


@pytest.mark.parametrize("source", ["s-none", "..", "%00", "s-there%2F"])
def test_a_source_that_is_not_there_is_not_found(archive, source):
    is_problem(archive.call("PATCH", f"/v1/sources/{source}", "admin", json={"tls": True}), 404, "not_found")
    path = f"/v1/sources/{source}/rotations"
    is_problem(archive.call("POST", path, "admin", json={}), 404, "not_found")
    assert archive.one.sources.changes == []


def test_jobs_tell_nothing_of_what_they_are_about(archive):
    response = archive.call("GET", "/v1/jobs", "admin")
    assert [job["id"] for job in response.json()["jobs"]] == ["done"]
    single = archive.call("GET", "/v1/jobs/done", "admin")
    assert single.json() == response.json()["jobs"][0]
    assert "secret" not in response.text
    assert "export.zip" not in response.text


# --- min_seq


def test_a_read_waits_for_what_was_written(archive):
    archive.app.state.services = archive.services(projection_wait=60.0)
    archive.one.catalog.positions = [Position(1, 1, 1), Position(2, 2, 2), Position(3, 3, 3)]
    assert archive.call("GET", "/v1/messages/m1?min_seq=3", "legal").status_code == 200
    assert len(archive.one.catalog.positions) == 1


def test_a_read_that_waited_in_vain_shows_nothing(archive):
    for method, path, body in (
        ("GET", "/v1/messages/m1", None),
        ("GET", "/v1/captures/m1c0/raw", None),
        ("POST", "/v1/search", {"query": "*"}),
    ):
        response = archive.call(method, f"{path}?min_seq=4", "legal", **({"json": body} if body else {}))
        is_problem(response, 503, "projection.behind")
        assert "retry-after" in response.headers
    assert archive.one.access_log.shown == []
    is_problem(archive.call("GET", "/v1/messages/m1?min_seq=-1", "legal"), 422, "request.invalid")


def test_a_read_does_not_wait_for_what_nobody_has_written(archive):
    archive.app.state.services = archive.services(projection_wait=600.0)
    is_problem(archive.call("GET", "/v1/messages/m1?min_seq=5", "legal"), 422, "projection.min_seq")


# --- what an act bars


def test_gdpr_article_17_a_barred_capture_is_shown_by_no_route(archive):
    """The catalog still holds it: the acts at their head decide."""
    row = archive.one.catalog.rows["m1"]
    gone, left = row.captures
    archive.one.barred = {gone.id}
    shown = archive.call("GET", "/v1/messages/m1", "legal").json()
    assert [capture["id"] for capture in shown["captures"]] == [left.id]
    is_problem(archive.call("GET", f"/v1/captures/{gone.id}/raw", "legal"), 404, "not_found")
    assert archive.call("GET", f"/v1/captures/{left.id}/raw", "legal").status_code == 200
    assert [hit["id"] for hit in search(archive).json()["hits"]] == ["m3", "m2"]
    archive.one.barred = {gone.id, left.id}
    for path in ("m1", "m1/raw", "m1/proof"):
        is_problem(archive.call("GET", f"/v1/messages/{path}", "legal"), 404, "not_found")


def test_when_the_acts_cannot_be_read_nothing_is_shown(archive, monkeypatch):
    def away(captures):
        raise StoreError("away")

    services = archive.one.services
    monkeypatch.setattr(archive.one, "services", lambda: replace(services(), barred=away))
    for path in ("/v1/messages/m1", "/v1/messages/m1/raw", "/v1/messages/m1/proof"):
        is_problem(archive.call("GET", path, "legal"), 503, "store.failed")
    is_problem(search(archive), 503, "store.failed")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/dispositions/d1/certificate?format=pdf",
        "/v1/orders/o1/certificate?format=pdf",
        "/v1/event-journal/acts-7/certificate?format=pdf",
        "/v1/yearly-pack?year=2026&format=pdf",
    ],
)
def test_what_is_certified_is_to_be_had_on_paper(archive, path):
    answer = archive.call("GET", path, "auditor")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/pdf"), answer.text
    assert answer.content.startswith(b"%PDF-")
    assert answer.headers["content-disposition"].endswith('.pdf"')
