"""Role by route by whose: one's own, another tenant's, a compartment's; and what must be said before mail is shown."""

import json

import pytest

from archive_service.access.events import RoleName
from archive_service.ledger.grants import Grant
from tests.flow.api_fakes import PUBLIC, TABLE, archive_with_export, is_problem, search, with_cases

ROLES = [str(role) for role in RoleName]
SAME_IN_BOTH = (
    "/v1/sources",
    "/v1/custodians",
    "/scim",
    "/v1/dispositions",
)  # these stand-ins hold the same things for every tenant
WITH_ID = [
    key
    for key in TABLE
    if "{id}" in key[1] and TABLE[key][0] is not PUBLIC and not key[1].startswith(SAME_IN_BOTH)
]
WITH_TOKEN = [
    key for key in TABLE if TABLE[key][0] is not PUBLIC and not key[1].startswith(("/v1/auth", "/scim"))
]


@pytest.fixture
def archive(tmp_path):
    return archive_with_export(tmp_path)


def call(archive, key, role, path, **more):
    body = TABLE[key][2]
    options = {"content": body} if isinstance(body, bytes) else {"json": body} if body is not None else {}
    return archive.call(key[0], path, role, **options, **more)


def shown(response):
    """An answer without what differs between any two requests."""
    document = {**response.json(), "request_id": ""}
    return response.status_code, json.dumps(document, sort_keys=True), sorted(response.headers.keys())


@pytest.mark.parametrize("key", WITH_ID, ids=" ".join)
def test_another_tenants_id_looks_like_one_that_never_was(archive, key):
    ids = with_cases(archive) if "{" in TABLE[key][1] else {}
    path = TABLE[key][1].format(**ids)
    for role in ROLES:
        theirs = call(archive, key, role, path, tenant=archive.two)
        never = call(archive, key, role, path.replace(path.split("/")[3], "never-was"), tenant=archive.two)
        assert shown(theirs) == shown(never), role
        assert theirs.status_code in ({404} if role in TABLE[key][0] else {403, 404}), role


@pytest.mark.parametrize("key", WITH_TOKEN, ids=" ".join)
def test_a_compartment_without_a_grant_looks_like_none(archive, key):
    sealed = archive.two
    sealed.parent, sealed.authority.always = archive.one.id, True
    path = TABLE[key][1]
    path = path.format(**with_cases(archive)) if "{" in path else path
    joint = "&" if "?" in path else "?"
    for role in ROLES:
        there = call(archive, key, role, f"{path}{joint}compartment={sealed.id}")
        never = call(archive, key, role, f"{path}{joint}compartment={'c' * 20}")
        is_problem(there, 404, "not_found")
        assert shown(there) == shown(never), role
    assert sealed.access_log.events == []
    refused = [event for event in archive.one.access_log.events if event.outcome == "refused"]
    assert len(refused) == 2 * len(ROLES)


def test_with_a_grant_there_a_compartment_answers_and_keeps_its_own_record(archive):
    sealed = archive.two
    sealed.parent, sealed.authority.always = archive.one.id, True
    times = ("2026-01-01T00:00:00.000000Z", "2026-12-31T00:00:00.000000Z")
    sealed.authority.given = [Grant("g1", "lea", "alert_officer", *times, reason="r", by="paul")]
    there = archive.call("POST", f"/v1/search?compartment={sealed.id}", "alert_officer", json={"query": "*"})
    assert {hit["id"] for hit in there.json()["hits"]} == {"z1", "z2"}
    assert [event.action for event in sealed.access_log.events] == ["search"]
    assert archive.one.access_log.events == []
    for role in set(ROLES) - {"alert_officer"}:
        other = archive.call("POST", f"/v1/search?compartment={sealed.id}", role, json={"query": "*"})
        is_problem(other, 404, "not_found")


def test_a_grant_in_another_tenants_compartment_opens_nothing(archive):
    """Two tenants may have people of one name."""
    sealed = archive.two
    sealed.parent, sealed.authority.always = "c" * 20, True
    times = ("2026-01-01T00:00:00.000000Z", "2026-12-31T00:00:00.000000Z")
    sealed.authority.given = [Grant("g1", "lea", "alert_officer", *times, reason="r", by="paul")]
    there = archive.call("POST", f"/v1/search?compartment={sealed.id}", "alert_officer", json={"query": "*"})
    is_problem(there, 404, "not_found")
    assert sealed.access_log.events == []


@pytest.mark.parametrize(
    "times", [("2026-03-02", "2026-12-31"), ("2026-01-01", "2026-02-28")], ids=["yet", "over"]
)
def test_a_grant_counts_between_its_times_only(archive, times):
    begins, ends = (f"{day}T00:00:00.000000Z" for day in times)
    archive.one.authority.given = [Grant("g1", "lea", "reviewer", begins, ends, reason="r", by="paul")]
    is_problem(search(archive, "reviewer"), 403, "auth.forbidden")


def test_where_grants_are_required_no_role_is_enough(archive):
    archive.one.authority.always = True
    for role in ROLES:
        is_problem(search(archive, role), 403, "auth.forbidden")


@pytest.mark.parametrize(
    "path", ["/v1/messages/m1", "/v1/messages/m1/raw", "/v1/messages/m1/proof", "/v1/captures/m1c0/raw"]
)
def test_a_purpose_is_asked_for_before_mail_is_shown(archive, path):
    archive.one.authority.required = frozenset({"purpose"})
    is_problem(archive.call("GET", path, "legal"), 422, "purpose.required")
    is_problem(archive.call("GET", f"{path}?purpose=%20", "legal"), 422, "purpose.required")
    assert [(event.outcome, event.detail["reason"]) for event in archive.one.access_log.events] == [
        ("refused", "purpose.required")
    ] * 2
    assert archive.call("GET", f"{path}?purpose=enqu%C3%AAte", "legal").status_code == 200
    assert archive.one.access_log.events[-1].purpose == "enquête"


def test_a_purpose_is_asked_for_before_a_search_or_an_export(archive):
    archive.one.authority.required = frozenset({"purpose"})
    is_problem(search(archive), 422, "purpose.required")
    body = {"query": "*", "formats": ["bundle"]}
    is_problem(archive.call("POST", "/v1/exports", "legal", json=body), 422, "purpose.required")
    assert search(archive, purpose="enquête").status_code == 200


def test_a_matter_is_asked_for_and_must_be_open(archive):
    archive.one.authority.required = frozenset({"matter"})
    matter = with_cases(archive)["matter"]
    is_problem(search(archive), 422, "matter.required")
    is_problem(search(archive, matter="nowhere"), 422, "matter.unknown")
    assert search(archive, matter=matter).status_code == 200
    archive.call("POST", f"/v1/matters/{matter}/close", "legal")
    is_problem(search(archive, matter=matter), 422, "matter.unknown")


def test_nothing_is_asked_of_who_is_shown_no_mail(archive):
    archive.one.authority.required = frozenset({"purpose", "matter"})
    assert archive.call("GET", "/v1/integrity", "auditor").status_code == 200
    assert archive.call("GET", "/v1/access-log", "auditor").status_code == 200
