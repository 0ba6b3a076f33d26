"""``/v1/custodians`` on the real app: lists, changes guarded by versions, imports, and people named in queries."""

from typing import Any

import pytest

from search.query_language import And, Sent, Text, walk
from tests.flow.api_fakes import Archive, archive_with_export, is_problem, search
from tests.flow.directory_fakes import THERE


@pytest.fixture
def archive(tmp_path) -> Archive:
    return archive_with_export(tmp_path)


def get(archive: Archive, path: str, role: str = "legal") -> dict[str, Any]:
    response = archive.call("GET", path, role)
    assert response.status_code == 200, response.text
    return dict(response.json())


def test_a_person_is_added_read_and_found(archive):
    body = {
        "name": "Zoé Roux",
        "addresses": [{"address": "Zoe@Ex.fr", "kind": "primary", "from": "2024-01-01"}],
        "groups": [{"group": "g-there", "until": "2025-01-01"}],
        "entity": "Exemple SA",
        "joined": "2024-01-01",
        "external": {"hr": "77"},
    }
    made = archive.call("POST", "/v1/custodians", "admin", json=body)
    assert made.status_code == 201
    view = made.json()
    assert view["addresses"] == [
        {"address": "zoe@ex.fr", "kind": "primary", "from": "2024-01-01", "until": None}
    ]
    assert view["groups"] == [
        {
            "group": "g-there",
            "from": None,
            "until": "2025-01-01",
            "name": "Achats",
            "address": "achats@ex.fr",
        }
    ]
    assert (view["seq"], made.headers["etag"]) == (view["version"] + 1, f'"{view["version"]}"')
    read = get(archive, f"/v1/custodians/{view['id']}")
    assert read["resolved"]["addresses"] == [{"address": "zoe@ex.fr", "from": "2024-01-01", "until": None}]
    for query in ("q=zo%C3%A9", "q=ZOE%40ex.fr", "q=roux+77", "entity=exemple%20sa"):
        assert [each["id"] for each in get(archive, f"/v1/custodians?{query}")["custodians"]] == [view["id"]]
    assert get(archive, "/v1/custodians?q=nobody") == {"custodians": [], "next": None}
    active = get(archive, "/v1/custodians?active_on=2023-06-01")["custodians"]
    assert [each["id"] for each in active] == ["c-there", "c-scim"]


def test_a_list_goes_on_where_it_stopped(archive):
    for number in range(4):
        archive.call("POST", "/v1/custodians", "admin", json={"name": f"Person {number}"})
    names, cursor = [], ""
    while cursor is not None:
        page = get(archive, f"/v1/custodians?limit=2{cursor and '&cursor=' + cursor}")
        names += [each["name"] for each in page["custodians"]]
        cursor = page["next"]
    there = [each for each in names if not each.startswith("Person ")]
    assert names == [*there, *(f"Person {number}" for number in range(4))]
    assert "Anne Martin" in there
    for wrong in ("x", "-1", "9" * 10):
        is_problem(archive.call("GET", f"/v1/custodians?cursor={wrong}", "legal"), 422, "cursor.invalid")


def test_a_change_says_what_it_changes(archive):
    first = archive.call("GET", "/v1/custodians/c-there", "admin").headers["etag"]
    put = {"name": "Anne M", "addresses": THERE["addresses"]}

    def change(**headers):
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return archive.call("PUT", "/v1/custodians/c-there", "records_manager", json=put, headers=given)

    is_problem(change(), 428, "precondition.required")
    is_problem(change(If_Match='"1"'), 412, "custodian.changed")
    is_problem(change(If_Match="anne"), 412, "custodian.changed")
    changed = change(If_Match=first)
    assert changed.status_code == 200 and changed.headers["etag"] != first
    is_problem(change(If_Match=first), 412, "custodian.changed")
    assert change(If_Match="*").status_code == 200
    missing = archive.call("PUT", "/v1/custodians/c-none", "admin", json=put, headers={"If-Match": "*"})
    is_problem(missing, 404, "not_found")
    is_problem(archive.call("GET", "/v1/custodians/c%2F..", "admin"), 404, "not_found")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "request.invalid"),
        ({"name": "x", "nickname": "y"}, 422, "request.invalid"),
        ({"name": "x", "addresses": [{"address": "no"}]}, 422, "custodian.invalid"),
        ({"name": "x", "joined": "2024-02-31"}, 422, "custodian.invalid"),
        ({"name": "x", "addresses": [{"address": "a.martin@ex.fr"}]}, 409, "custodian.address_taken"),
    ],
    ids=str,
)
def test_a_record_that_cannot_be_is_refused(archive, body, status, code):
    document = is_problem(archive.call("POST", "/v1/custodians", "admin", json=body), status, code)
    assert "ex.fr" not in document["detail"]


def test_an_import_says_what_it_would_do_and_then_does_it(archive):
    text = "id,name,address\n7,Zoé,zoe@ex.fr\n8,Bad,no\n".encode()
    dry = archive.call("POST", "/v1/custodians/import?dry_run=true", "admin", content=text).json()
    assert (dry["applied"], dry["added"], dry["changes"][0]["what"]) == (False, 1, "added")
    assert [(each["place"], each["code"]) for each in dry["troubles"]] == [(3, "row.address")]
    assert get(archive, "/v1/custodians?q=zoe")["custodians"] == []
    strict = archive.call("POST", "/v1/custodians/import?strict=true", "admin", content=text).json()
    assert strict["applied"] is False
    done = archive.call("POST", "/v1/custodians/import", "admin", content=text).json()
    assert (done["applied"], done["added"]) == (True, 1)
    assert len(get(archive, "/v1/custodians?q=zoe%40ex.fr")["custodians"]) == 1
    wrong = archive.call("POST", "/v1/custodians/import", "admin", content=b"anne@ex.fr\n")
    assert "ex.fr" not in is_problem(wrong, 422, "csv.columns")["detail"]


def test_a_search_that_names_a_person_prints_the_addresses_it_used(archive):
    answer = search(archive, query="contrat custodian:c-there").json()
    used = [
        {"address": "anne@ex.fr", "from": None, "until": "2025-12-31"},
        {"address": "a.martin@ex.fr", "from": "2026-01-01", "until": None},
    ]
    named = {"id": "c-there", "name": "Anne Martin", "addresses": used, "unresolved": []}
    assert answer["custodians"] == [named]
    assert archive.one.access_log.events[-1].detail["custodians"] == [named]
    (query,) = archive.one.index.queries
    assert And((Text("anne@ex.fr", "participants"), Sent(None, "2025-12-31"))) in list(walk(query))
    assert "custodians" not in search(archive).json()


@pytest.mark.parametrize(
    ("query", "position", "code"),
    [("a custodian:c-none", 12, "custodian.unknown"), ("custodian:nobody@ex.fr", 10, "custodian.unknown")],
)
def test_a_search_for_nobody_known_is_an_error_at_its_place(archive, query, position, code):
    for path, body in (
        ("/v1/search", {"query": query}),
        ("/v1/exports", {"query": query, "formats": ["bundle"]}),
    ):
        document = is_problem(archive.call("POST", path, "legal", json=body), 422, code)
        assert document["position"] == position


def test_an_export_that_names_a_person_says_so_when_asked_and_when_done(archive):
    asked = archive.call(
        "POST", "/v1/exports", "legal", json={"query": "custodian:c-there", "formats": ["bundle"]}
    ).json()
    assert [each["id"] for each in asked["custodians"]] == ["c-there"]
    assert archive.one.access_log.events[-1].detail["custodians"] == asked["custodians"]
    assert get(archive, f"/v1/exports/{asked['id']}")["custodians"] == asked["custodians"]
    assert "custodians" not in get(archive, "/v1/exports/done")
    assert "custodians" not in get(archive, f"/v1/jobs/{asked['id']}")


def test_whoever_reads_the_directory_leaves_a_trace_of_whom(archive):
    get(archive, "/v1/custodians/c-there", "dpo")
    get(archive, "/v1/custodians?q=anne", "dpo")
    events = archive.one.access_log.events
    assert [event.action for event in events] == ["custodian.view", "custodian.list"]
    assert all(event.detail["custodians"] == ["c-there"] for event in events)
