"""The door of the HTTP API: who may call what, and no answer without its access entry."""

import pytest
from fastapi import APIRouter

from archive_service.access.events import RoleName
from archive_service.access.policy import Right
from archive_service.api.app import create_app
from archive_service.api.guard import GuardedRoute, needs
from tests.flow.api_fakes import (
    OF_BROWSERS,
    TABLE,
    TRACED,
    UNTRACED,
    WRITE_FAILED,
    archive_with_export,
    is_problem,
    search,
    with_cases,
)


@pytest.fixture
def archive(tmp_path):
    return archive_with_export(tmp_path)


def call(archive, key, role):
    _, path, body = TABLE[key]
    if "{" in path:
        path = path.format(**with_cases(archive))
    if isinstance(body, bytes):
        return archive.call(key[0], path, role, content=body)
    return archive.call(key[0], path, role, **({"json": body} if body is not None else {}))


# --- policy


def all_routes(app):
    routes = []
    pending = list(app.routes)
    while pending:
        route = pending.pop()
        inner = getattr(route, "original_router", None)
        if inner is not None:
            pending += inner.routes
        else:
            routes.append(route)
    return routes


def test_every_route_stands_behind_the_door_and_in_the_table(archive):
    routes = all_routes(archive.app)
    assert all(isinstance(route, GuardedRoute) for route in routes)
    assert {(method, route.path) for route in routes for method in route.methods} == set(TABLE) | OF_BROWSERS
    assert {
        route.path for route in routes if not route.traced and route.right is not Right.PUBLIC
    } == UNTRACED


@pytest.mark.parametrize("role", [*RoleName, "nobody"])
@pytest.mark.parametrize("key", TABLE, ids=" ".join)
def test_a_role_may_call_a_route_or_is_refused(archive, key, role):
    allowed = TABLE[key][0]
    response = call(archive, key, None if role == "nobody" else str(role))
    if role in allowed:
        assert response.status_code < 300
    elif role == "nobody":
        is_problem(response, 401, "auth.required")
        assert archive.one.access_log.events == []
    else:
        is_problem(response, 403, "auth.forbidden")
        (event,) = archive.one.access_log.events
        assert (event.outcome, event.role, event.actor) == ("refused", str(role), "lea")
        assert event.detail["route"].startswith(key[0])


def test_a_route_that_declares_no_right_does_not_start():
    def forgotten() -> None:
        """Nothing."""

    router = APIRouter(route_class=GuardedRoute)
    with pytest.raises(ValueError, match="does not declare"):
        router.add_api_route("/v1/forgotten", forgotten, methods=["GET"])


def test_an_answer_that_nobody_recorded_is_withheld(archive):
    router = APIRouter(route_class=GuardedRoute)

    @router.get("/v1/leak", openapi_extra=needs(Right.READ, "leak"))
    def leak() -> dict[str, str]:
        return {"subject": "secret"}

    archive.app = create_app(archive.services())  # its own: the others share their routes
    archive.app.include_router(router)
    response = archive.call("GET", "/v1/leak", "legal")
    is_problem(response, 500, "access_log.missing")
    assert "secret" not in response.text


def test_the_door_opens_before_the_body_is_read(archive):
    headers = {"Content-Type": "application/json"}
    is_problem(archive.call("POST", "/v1/search", content=b"{", headers=headers), 401, "auth.required")
    response = archive.call("POST", "/v1/search", "auditor", content=b"{", headers=headers)
    is_problem(response, 403, "auth.forbidden")


@pytest.mark.parametrize(
    "value", ["", "Bearer", "Bearer ", "Basic bGVhOmxlYQ==", "Bearer x.y.z", "Bearer \udcff", "x" * 9000]
)
def test_a_bad_token_is_challenged(archive, value):
    headers = {"Authorization": value.encode("latin-1", "replace")}
    response = archive.call("GET", "/v1/messages/m1", headers=headers)
    is_problem(response, 401, "auth.required")
    assert response.headers["www-authenticate"] == 'Bearer realm="archive-service", error="invalid_token"'


def test_no_token_is_challenged_without_an_error(archive):
    response = archive.call("GET", "/v1/messages/m1")
    assert response.headers["www-authenticate"] == 'Bearer realm="archive-service"'


def test_one_token_of_any_spelling_of_its_scheme_is_taken_and_two_are_none(archive):
    token = archive.one.token("legal")
    for scheme, times, status in (("Bearer", 1, 200), ("bearer", 1, 200), ("Bearer", 2, 401)):
        headers = [("Authorization", f"{scheme} {token}")] * times
        assert archive.call("GET", "/v1/messages/m1", headers=headers).status_code == status


def test_a_token_of_a_tenant_that_is_gone_is_no_token(archive):
    token = archive.one.token("legal")
    archive.app.state.services = archive.services(tenants=lambda tenant: None)
    response = archive.call("GET", "/v1/messages/m1", headers={"Authorization": f"Bearer {token}"})
    is_problem(response, 401, "auth.required")


# --- traces


@pytest.mark.parametrize("key", TRACED, ids=" ".join)
def test_the_entry_is_durable_before_the_answer_begins(archive, key):
    role = sorted(TABLE[key][0])[0]
    assert call(archive, key, role).status_code < 300
    assert archive.one.access_log.too_late == [False]
    assert archive.started


@pytest.mark.parametrize("key", TRACED, ids=" ".join)
@pytest.mark.parametrize("fault", [WRITE_FAILED, OSError(28, "no space")], ids=["store", "os"])
def test_nothing_is_shown_when_the_access_log_cannot_be_written(archive, key, fault):
    archive.one.access_log.broken = fault
    sources = archive.one.sources
    before = dict(archive.one.jobs.jobs), list(sources.sources), list(sources.changes)
    response = call(archive, key, sorted(TABLE[key][0])[0])
    document = is_problem(response, 503, "access_log.unavailable")
    if not key[1].startswith("/scim/"):
        assert set(document) == {"type", "title", "status", "detail", "code", "request_id"}
    assert int(response.headers["retry-after"]) > 0
    assert (archive.one.jobs.jobs, sources.sources, sources.changes) == before


def test_a_refusal_that_cannot_be_recorded_tells_nothing(archive):
    archive.one.access_log.broken = WRITE_FAILED
    is_problem(archive.call("GET", "/v1/messages/m1", "admin"), 503, "access_log.unavailable")


def test_an_entry_says_who_saw_what_and_why(archive):
    response = search(archive, limit=2, purpose="enquête 7", matter="m-1")
    (event,) = archive.one.access_log.events
    assert (event.actor, event.role, event.action, event.outcome) == ("lea", "legal", "search", "shown")
    assert list(event.ids) == [hit["id"] for hit in response.json()["hits"]] == ["m3", "m2"]
    assert (event.purpose, event.matter) == ("enquête 7", "m-1")
    assert event.origin == "192.0.2.7"
    assert event.request == response.headers["x-request-id"]
    assert event.detail == {"query": "*", "total": 3, "drafts_left_out": 0, "page": "first"}


def test_each_kind_of_reading_has_its_action_and_ids(archive):
    for path in (
        "messages/m1",
        "messages/m1/raw",
        "messages/m1/proof",
        "captures/m1c1/raw",
        "exports/done/download",
    ):
        assert archive.call("GET", f"/v1/{path}", "legal").status_code == 200
    assert [(event.action, event.ids) for event in archive.one.access_log.events] == [
        ("message.view", ("m1",)),
        ("message.raw", ("m1", "m1c0")),
        ("message.proof", ("m1",)),
        ("capture.raw", ("m1", "m1c1")),
        ("export.download", ("m1", "m2")),
    ]


def test_a_refusal_names_what_was_asked_for(archive):
    archive.call("GET", "/v1/messages/m2/raw", "admin")
    archive.call("GET", "/v1/messages/m2%00/raw", "admin")
    first, second = archive.one.access_log.events
    assert (first.action, first.ids) == ("message.raw", ("m2",))
    assert second.ids == ()
