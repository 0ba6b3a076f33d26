"""Queries that are meant to cost: each is refused by a bound before an index sees it, or is small after all; and what a
caller writes never ends up in a header."""

import pytest

from archive_service.api.middleware import LARGEST_BODY
from tests.flow.api_fakes import archive_with_export, is_problem, search


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return archive_with_export(tmp_path_factory.mktemp("exports"))


BOMBS = {
    "characters": "a" * 10_001,
    "terms": " ".join("a" for _ in range(1_001)),
    "or-terms": " OR ".join("a" for _ in range(1_100)),
    "nesting": "(" * 60 + "a" + ")" * 60,
    "negations": "NOT " * 60 + "a",
    "wildcards-in-a-word": "a" + "*a" * 20,
    "leading-wildcards": " ".join(f"*a{number}" for number in range(40)),
    "question-marks": "a" + "?a" * 40,
    "many-wildcards": " OR ".join(f"a{number}*b*c*d" for number in range(100)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_query_bomb_is_refused_before_an_index_sees_it(archive, name):
    before = len(archive.one.index.queries)
    answer = search(archive, query=BOMBS[name])
    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] in ("query.too_complex", "request.invalid")
    assert len(archive.one.index.queries) == before


@pytest.mark.parametrize(
    "query",
    ["a NEAR/99999999999999999999 b", "a NEAR/0 b", "a PRE/-1 b", "a NEAR/5 b NEAR/5 c", "abc~9", "size:>9e999",
     "sent:0000-99-99", "sent:2024-01..0001-01", "/(a+)+$/", "header:X:(.*)*", "\u202efrom:x", "a\x00b", "\ufeff",
     "' OR 1=1 --"],
    ids=ascii,
)  # fmt: skip
def test_what_is_no_query_of_ours_is_refused_or_a_plain_word(archive, query):
    answer = search(archive, query=query)
    assert answer.status_code in (200, 422), answer.text
    if answer.status_code == 422:
        assert answer.json()["code"].startswith("query.")
        assert "position" in answer.json()


@pytest.mark.parametrize("field", ["facets", "sort", "cursor", "purpose", "matter"])
def test_no_field_beside_the_query_is_unbounded(archive, field):
    large = ["a" * 500] * 1000 if field == "facets" else "a" * 100_000
    answer = search(archive, **{field: large})
    assert answer.status_code == 422
    assert len(answer.content) < 10_000


def test_a_list_of_ids_is_bounded_by_the_body(archive):
    body = {"ids": ["m1"] * 20_001, "formats": ["bundle"]}
    assert len(str(body)) < LARGEST_BODY
    is_problem(archive.call("POST", "/v1/exports", "legal", json=body), 422, "request.invalid")


@pytest.mark.parametrize(
    "name",
    ["a%0D%0AX-Injected:%201", "a%0AX-Injected:%201", "..%2F..%2Fetc%2Fpasswd", "a%22;b", "%E2%80%AEgpj"],
)
@pytest.mark.parametrize(
    "path", ["messages/{}/raw", "captures/{}/raw", "exports/{}/download", "dispositions/{}/certificate"]
)
def test_no_id_reaches_a_header_or_a_file(archive, path, name):
    role = "auditor" if path.startswith("dispositions") else "legal"
    answer = archive.call("GET", f"/v1/{path.format(name)}", role)
    assert "x-injected" not in answer.headers
    assert not any("\n" in value or "passwd" in value for value in answer.headers.values())
    if role == "legal":
        is_problem(answer, 404, "not_found")


@pytest.mark.parametrize(
    "header", ["X-Request-Id", "X-Archive-Role", "If-Match", "Idempotency-Key", "Range", "Origin", "Host"]
)
def test_no_header_of_a_request_is_echoed(archive, header):
    hostile = "bytes=0-9,5-8,\u00ff<script>"
    answer = archive.call("GET", "/v1/messages/m1", "legal", headers=[(header, hostile.encode("latin-1"))])
    assert answer.status_code < 500
    assert "<script>" not in str(answer.headers) + answer.text
