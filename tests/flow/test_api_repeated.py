"""Requests that come twice, or too often."""

import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from archive_service.api.errors import TooMany
from archive_service.api.rates import ActorRates
from tests.flow.api_fakes import NOW, archive_with_export, is_problem, search

BODY = {"query": "*", "formats": ["bundle"]}
GRANT = {
    "subject": "rita",
    "role": "reviewer",
    "reason": "why",
    "until": "2026-03-20T00:00:00Z",
    "from": "2026-03-02T00:00:00Z",
}


@pytest.fixture
def archive(tmp_path):
    return archive_with_export(tmp_path)


def keyed(archive, path, role, body, key, **more):
    return archive.call("POST", path, role, json=body, headers={"Idempotency-Key": key}, **more)


def test_an_export_asked_for_twice_with_one_key_is_one(archive):
    first, again = (keyed(archive, "/v1/exports", "legal", BODY, "k1") for _ in range(2))
    assert (first.status_code, again.status_code, again.json()) == (202, 202, first.json())
    assert len(archive.one.jobs.jobs) == 2  # the fixture's own, and this one
    assert keyed(archive, "/v1/exports", "legal", BODY, "k2").json()["id"] != first.json()["id"]


def test_an_export_keeps_the_purpose_that_a_query_parameter_says_and_is_met_again(archive):
    """It is asked for once more when the export is made, and by a repetition."""
    archive.one.authority.required = frozenset({"purpose"})
    is_problem(keyed(archive, "/v1/exports", "legal", BODY, "k1"), 422, "purpose.required")
    first = keyed(archive, "/v1/exports?purpose=x", "legal", BODY, "k1")
    again = keyed(archive, "/v1/exports", "legal", BODY | {"purpose": "x"}, "k1")
    assert (first.status_code, again.status_code, again.json()) == (202, 202, first.json())
    assert archive.one.jobs.jobs[first.json()["id"]].request["purpose"] == "x"
    assert [event.purpose for event in archive.one.access_log.events] == [None, "x", "x"]
    other = keyed(archive, "/v1/exports?purpose=y", "legal", BODY, "k1")
    is_problem(other, 409, "idempotency.mismatch")


def test_an_export_asked_for_again_whose_mail_was_erased_is_gone(archive):
    first = keyed(archive, "/v1/exports", "legal", BODY, "k1").json()["id"]
    known = archive.one.jobs.jobs[first]
    archive.one.jobs.jobs[first] = replace(known, state="done", request={}, result={"expired_at": "2026"})
    is_problem(keyed(archive, "/v1/exports", "legal", BODY, "k1"), 410, "export.expired")


def test_a_repetition_is_known_by_what_was_asked_though_times_are_filled_in_anew(archive, monkeypatch):
    body = {"subject": "rita", "role": "reviewer", "reason": "why"}
    first = keyed(archive, "/v1/grants", "admin", body, "k1").json()
    monkeypatch.setattr(archive.one.cases, "_clock", lambda: NOW + timedelta(minutes=1))
    assert keyed(archive, "/v1/grants", "admin", body, "k1").json() == first
    is_problem(
        keyed(archive, "/v1/grants", "admin", body | {"subject": "max"}, "k1"), 409, "idempotency.mismatch"
    )


def test_a_strong_change_asked_for_twice_with_one_key_is_one(archive):
    first, again = (keyed(archive, "/v1/grants", "admin", GRANT, "k1") for _ in range(2))
    assert (first.status_code, again.json()) == (202, first.json())
    assert len(archive.one.acts.approvals.known) == 1


@pytest.mark.parametrize(
    ("path", "role", "body", "other"),
    [
        ("/v1/exports", "legal", BODY, BODY | {"query": "secret"}),
        ("/v1/grants", "admin", GRANT, GRANT | {"subject": "max"}),
    ],
    ids=["export", "grant"],
)
def test_a_key_for_another_request_is_refused(archive, path, role, body, other):
    keyed(archive, path, role, body, "k1")
    is_problem(keyed(archive, path, role, other, "k1"), 409, "idempotency.mismatch")


def test_a_key_is_ones_own(archive):
    mine = keyed(archive, "/v1/exports", "legal", BODY, "k1").json()["id"]
    theirs = keyed(archive, "/v1/exports", "legal", BODY, "k1", tenant=archive.two).json()["id"]
    assert mine != theirs


@pytest.mark.parametrize(
    "key",
    ["", "a b", "é".encode("latin-1").decode("latin-1"), "x" * 129],
    ids=["empty", "space", "letter", "long"],
)
def test_a_senseless_key_is_refused(archive, key):
    headers = [(b"Idempotency-Key", key.encode("latin-1"))]
    answer = archive.call("POST", "/v1/exports", None, json=BODY, headers=[
        *headers, (b"Authorization", f"Bearer {archive.one.token('legal')}".encode())])  # fmt: skip
    is_problem(answer, 422, "idempotency.key")


def test_who_asks_too_often_hears_when_there_is_room_again():
    now = [0.0]
    rates = ActorRates(60, lambda: now[0])
    for _ in range(60):
        rates.take("t", "anne")
    with pytest.raises(TooMany) as refused:
        rates.take("t", "anne")
    assert refused.value.seconds == 2
    rates.take("t", "bob")
    rates.take("u", "anne")
    now[0] = 1.0
    rates.take("t", "anne")
    with pytest.raises(TooMany):
        rates.take("t", "anne")


def test_no_rate_bounds_nothing_and_no_room_is_lost_by_asking():
    free = ActorRates(None)
    for _ in range(1000):
        free.take("t", "anne")
    now = [0.0]
    rates = ActorRates(1, lambda: now[0])
    rates.take("t", "anne")
    for _ in range(100):
        with pytest.raises(TooMany):
            rates.take("t", "anne")
    now[0] = 60.0
    rates.take("t", "anne")


def test_actors_side_by_side_never_get_more_than_the_rate():
    rates = ActorRates(100, lambda: 0.0)
    let = []

    def ask():
        for _ in range(50):
            try:
                rates.take("t", "anne")
                let.append(1)
            except TooMany:
                pass

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(let) == 100


def test_over_the_rate_is_429_with_retry_after(archive):
    services = archive.services(rates=ActorRates(2, lambda: 0.0))
    archive.app.state.services = services
    assert [search(archive).status_code for _ in range(2)] == [200, 200]
    answer = search(archive)
    is_problem(answer, 429, "rate.exceeded")
    assert answer.headers["retry-after"] == "31"


def test_one_key_at_two_routes_is_two_requests(archive):
    first = keyed(archive, "/v1/grants", "admin", GRANT, "k1")
    request = {name: GRANT[name] for name in GRANT if name != "reason"}
    body = {"action": "grant.give", "request": request, "reason": "why"}
    second = keyed(archive, "/v1/approvals", "admin", body, "k1")
    assert (first.status_code, second.status_code) == (202, 201)
    assert first.json()["id"] != second.json()["id"]


def test_one_key_of_two_people_is_two_requests(archive):
    made = []
    for subject in ("lea", "max"):
        headers = {"Authorization": f"Bearer {archive.one.token('legal', subject)}", "Idempotency-Key": "k1"}
        made.append(archive.call("POST", "/v1/exports", None, headers=headers, json=BODY))
    assert [each.status_code for each in made] == [202, 202]
    assert made[0].json()["id"] != made[1].json()["id"]
