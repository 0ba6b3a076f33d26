"""What holds for every route: hostile input, problem documents, headers, metrics, description."""

import asyncio
import json

import pytest
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st

from archive_service.api.app import create_app
from archive_service.api.middleware import LARGEST_BODY, LARGEST_DOCUMENT, BodyLimit
from archive_service.model.errors import Tampered
from tests.flow.api_fakes import (
    OF_BROWSERS,
    TABLE,
    Archive,
    archive_with_export,
    is_problem,
    search,
)


@pytest.fixture
def archive(tmp_path):
    return archive_with_export(tmp_path)


# --- hostile input


@pytest.mark.parametrize(
    "body",
    [
        b'{"query": "\\ud800"}',
        b'{"query": "*", "purpose": "\\udfff"}',
        b'{"query": "*", "\\ud800~/": 1}',
        b'{"query": "*", "facets": ["\\ud800"]}',
        b'{"query": "*", "limit": NaN}',
        b'{"query": "*", "limit": 1e999}',
        b'{"query": ["secret"]}',
        b'{"secret": 1}',
        b"[]",
        b"null",
        b"",
        b"{",
        b"\xff\xfe",
        b'{"query": "\xff"}',
        b"[" * 100_000,
        b"1" * 100_000,
    ],
    ids=lambda body: repr(body[:40]),
)
def test_a_body_of_another_form_is_a_problem_and_is_not_echoed(archive, body):
    headers = {"Content-Type": "application/json"}
    response = archive.call("POST", "/v1/search", "legal", content=body, headers=headers)
    assert response.status_code in (400, 422)
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"].startswith("request.")
    assert '"secret"' not in response.text


def test_a_nul_in_a_query_breaks_nothing(archive):
    response = search(archive, query="a\x00b", purpose="p\x00q")
    assert response.status_code in (200, 422)


def test_no_json_makes_the_service_fail():
    archive = Archive()
    simple = st.none() | st.booleans() | st.integers() | st.text()
    nested = st.recursive(
        simple, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
    )

    @settings(max_examples=60, deadline=None)
    @given(nested, st.sampled_from(["/v1/search", "/v1/exports"]))
    def check(value, path):
        for body in (value, {"query": value, "formats": ["bundle"]}):
            headers = {"Content-Type": "application/json"}
            content = json.dumps(body).encode()
            response = archive.call("POST", path, "legal", content=content, headers=headers)
            assert response.status_code < 500

    check()


def test_a_body_is_bounded_whether_or_not_its_length_is_told(archive):
    async def chunks():
        for _ in range(40):
            yield b" " * 65536

    token = {"Authorization": f"Bearer {archive.one.token('legal')}", "Content-Type": "application/json"}
    large = b'{"query": "*"}'.ljust(LARGEST_BODY + 1)
    for content in (large, chunks()):
        response = archive.call("POST", "/v1/search", headers=token, content=content)
        is_problem(response, 413, "request.too_large")
        assert response.headers["x-content-type-options"] == "nosniff"
    assert archive.call("POST", "/v1/search", headers=token, content=large[:-1]).status_code == 200
    huge = b"{}".ljust(LARGEST_DOCUMENT + 1)
    for path in ("/v1/orders", "/v1/eliminations/n1/visa"):
        is_problem(archive.call("POST", path, headers=token, content=huge), 413, "request.too_large")
        is_problem(archive.call("POST", path, headers=token, content=huge[:-1]), 422, "request.invalid")
    is_problem(
        archive.call("POST", "/v1/orders/n1/end", headers=token, content=huge[:-1]), 413, "request.too_large"
    )
    lying = token | {"Content-Length": "9" * 5000}
    is_problem(archive.call("POST", "/v1/search", headers=lying, content=b"{}"), 413, "request.too_large")


def test_a_body_that_a_server_hands_over_in_one_piece_is_bounded_too():
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"x" * 11, "more_body": False}

    async def send(message):
        sent.append(message)

    async def app(scope, receive, send):
        raise AssertionError("must not be reached")

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/search",
        "headers": [],
        "state": {"request_id": "r"},
    }
    asyncio.run(BodyLimit(app, largest=10)(scope, receive, send))
    assert sent[0]["status"] == 413


@pytest.mark.parametrize(
    "identifier",
    ["nothing", "z1", "z1c0", "m1%00", "m1%2F", "..%2Fm1", "%FF", "m1 ", "x" * 129, "m1'--", "é"],
)
def test_an_unknown_malformed_or_foreign_id_is_one_and_the_same_404(archive, identifier):
    documents = []
    for path in (
        "messages/{}",
        "messages/{}/raw",
        "messages/{}/proof",
        "captures/{}/raw",
        "exports/{}",
        "exports/{}/download",
        "jobs/{}",
    ):
        response = archive.call("GET", "/v1/" + path.format(identifier), "legal")
        documents.append(is_problem(response, 404, "not_found"))
    outcomes = [event.outcome for event in archive.one.access_log.events]
    reached = "%2F" not in identifier  # a slash makes it another path, which is no route's
    assert outcomes == (["refused"] * len(documents) if reached else [])
    assert all(each.isalnum() for each in archive.one.catalog.asked)


def test_another_tenant_sees_its_own_archive_only(archive):
    foreign = archive.call("GET", "/v1/messages/z1", "legal").json()
    absent = archive.call("GET", "/v1/messages/z9", "legal").json()
    assert {**foreign, "request_id": ""} == {**absent, "request_id": ""}
    assert archive.call("GET", "/v1/messages/z1", "legal", tenant=archive.two).status_code == 200
    is_problem(archive.call("GET", "/v1/exports/done", "legal", tenant=archive.two), 404, "not_found")
    outcomes = [[event.outcome for event in each.access_log.events] for each in (archive.one, archive.two)]
    assert outcomes == [["refused", "refused"], ["shown", "refused"]]


# --- the frame


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/search", 405, "method_not_allowed"),
        ("DELETE", "/v1/messages/m1", 405, "method_not_allowed"),
        ("GET", "/v1/nowhere", 404, "not_found"),
        ("GET", "/v1/messages/", 404, "not_found"),
        ("GET", "/docs", 404, "not_found"),
        ("GET", "/", 404, "not_found"),
    ],
)
def test_what_is_not_there_is_a_problem_too(archive, method, path, status, code):
    is_problem(archive.call(method, path, "legal"), status, code)


def test_every_answer_has_an_id_of_ours_and_is_locked_down(archive):
    for path in ("/v1/messages/m1", "/health/live", "/nowhere"):
        response = archive.call("GET", path, "legal", headers={"X-Request-Id": "mine"})
        assert len(response.headers["x-request-id"]) == 32
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["content-security-policy"].startswith("default-src 'none'")


def test_a_fault_nobody_foresaw_shows_and_logs_no_content(archive, caplog):
    archive.one.contents.broken = RuntimeError("subject: licenciement")
    response = archive.call("GET", "/v1/messages/m1/raw", "legal")
    document = is_problem(response, 500, "internal")
    assert "licenciement" not in response.text + caplog.text
    assert document["request_id"] in caplog.text
    assert "RuntimeError" in caplog.text


def test_tampering_is_an_alarm_in_the_log(archive, caplog):
    archive.one.contents.broken = Tampered("the object is not what its entry says")
    archive.call("GET", "/v1/messages/m1/raw", "legal")
    assert [record.levelname for record in caplog.records if "integrity" in record.message] == ["CRITICAL"]


def test_readiness_names_what_is_wrong(archive):
    assert archive.call("GET", "/health/ready").json() == {"status": "ready"}
    archive.problems = ["store.failed", "key.unavailable"]
    document = is_problem(archive.call("GET", "/health/ready"), 503, "not_ready")
    assert document["problems"] == ["store.failed", "key.unavailable"]
    assert archive.call("GET", "/health/live").status_code == 200


def test_metrics_count_by_template_and_name_nobody(archive):
    archive.call("GET", "/v1/messages/m1", "legal")
    archive.call("GET", "/v1/messages/m2", "legal")
    archive.call("GET", "/v1/messages/m2")
    archive.call("PURGE", "/somewhere")
    text = archive.call("GET", "/metrics").text
    name = "archive_http_requests_total"
    assert f'{name}{{method="GET",route="/v1/messages/{{id}}",status="200"}} 2\n' in text
    assert f'{name}{{method="GET",route="/v1/messages/{{id}}",status="401"}} 1\n' in text
    assert f'{name}{{method="OTHER",route="unmatched",status="404"}} 1\n' in text
    assert "m1" not in text


def test_the_description_says_what_each_route_needs(archive):
    description = archive.call("GET", "/openapi.json").json()
    assert description["openapi"].startswith("3.1")
    described = {
        (method.upper(), path): operation
        for path, operations in description["paths"].items()
        for method, operation in operations.items()
    }
    assert set(described) == {(method, path.replace(":path", "")) for method, path in TABLE} | OF_BROWSERS
    for (method, path), operation in described.items():
        is_public = operation["x-archive-right"] == "public"
        by_link = path.startswith("/v1/acknowledgements/")  # what it holds proves who may
        open_to_all = by_link or not path.startswith(("/v1/", "/scim/"))
        assert is_public is ((method, path) in OF_BROWSERS or open_to_all)
        assert operation.get("security") == (None if is_public else [{"bearer": []}])
        form = "scim" if path.startswith("/scim/") else "problem"
        answers = {
            status: answer
            if "$ref" not in answer
            else description["components"]["responses"][answer["$ref"].rpartition("/")[2]]
            for status, answer in operation["responses"].items()
        }
        assert "default" not in answers
        assert {"400", "413", "422", "500", "503"} | (set() if is_public else {"401", "403", "404"}) <= set(
            answers
        )
        assert all(
            f"application/{form}+json" in answers[each]["content"] for each in answers if each >= "400"
        )
    hit = description["components"]["schemas"]["HitView"]
    assert {"id", "sent_at", "from", "to", "subject", "snippets", "attachments"} == set(hit["properties"])


def test_an_app_is_built_from_its_services_alone(archive):
    assert isinstance(create_app(archive.services()), FastAPI)
