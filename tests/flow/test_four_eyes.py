"""Strong changes by API and command line: never by one person, never twice, never anything but what was asked."""

from datetime import timedelta

import pytest

from archive_service.access.four_eyes import LIFE
from tests.flow.api_fakes import NOW, FakeTenant, archive_with_export, is_problem
from tests.flow.archive_fixtures import SAMPLES, approve, done, no_settings_around, run, token

__all__ = ["no_settings_around"]


@pytest.fixture
def archive(tmp_path):
    return archive_with_export(tmp_path)


def by(archive, method, path, capacity, who, **body):
    bearer = {"Authorization": f"Bearer {archive.one.token(capacity, who)}"}
    return archive.call(method, path, None, headers=bearer, **({"json": body} if body else {}))


def asked(archive, subject="paul", role="dpo", **changes):
    body = {
        "messages": ["m1"],
        "ground": "request",
        "basis": "RGPD article 17",
        "reason": "demande 12",
    } | changes
    response = by(archive, "POST", "/v1/erasures", role, subject, **body)
    assert response.status_code == 202, response.text
    return response.json()["id"]


def test_four_eyes_an_erasure_is_asked_by_one_and_carried_out_when_another_approves(archive):
    approval = asked(archive)
    assert archive.one.acts.erasures.asked == {}
    view = by(archive, "GET", f"/v1/approvals/{approval}", "dpo", "paul").json()
    assert (view["state"], view["asked_by"], view["reason"]) == ("asked", "paul", "demande 12")
    answer = by(archive, "POST", f"/v1/approvals/{approval}/approve", "legal", "zoe", reason="vu")
    assert (answer.status_code, answer.json()["state"]) == (200, "executed")
    assert set(archive.one.acts.erasures.asked) == {"m1c0", "m1c1"}
    states = {
        each["capture"]: each["state"]
        for each in by(archive, "GET", "/v1/erasures", "dpo", "paul").json()["erasures"]
    }
    assert states == {"m1c0": "barred", "m1c1": "barred"}


@pytest.mark.parametrize("role", ["dpo", "legal"])
def test_four_eyes_nobody_approves_his_own_request_in_any_role(archive, role):
    approval = asked(archive, "paul")
    answer = by(archive, "POST", f"/v1/approvals/{approval}/approve", role, "paul", reason="moi")
    is_problem(answer, 409, "approval.own")
    assert archive.one.acts.erasures.asked == {}
    assert archive.one.acts.approvals.get(approval).decided is None


def test_four_eyes_a_refused_request_is_never_carried_out(archive):
    approval = asked(archive)
    answer = by(archive, "POST", f"/v1/approvals/{approval}/refuse", "legal", "zoe", reason="en litige")
    assert answer.json()["state"] == "refused"
    for verb, body in (("approve", {"reason": "x"}), ("execute", {})):
        again = by(archive, "POST", f"/v1/approvals/{approval}/{verb}", "legal", "zoe", **body)
        assert again.status_code == 409
    assert archive.one.acts.erasures.asked == {}


def test_four_eyes_an_approval_is_spent_once(archive):
    approval = asked(archive)
    by(archive, "POST", f"/v1/approvals/{approval}/approve", "legal", "zoe", reason="vu")
    again = by(archive, "POST", f"/v1/approvals/{approval}/execute", "legal", "zoe")
    is_problem(again, 409, "approval.executed")
    assert len(archive.one.acts.erasures.erasures) == 1


def test_four_eyes_what_could_not_be_carried_out_stays_approved_and_is_tried_again(archive, monkeypatch):
    approval = asked(archive)
    monkeypatch.setattr("archive_service.strong_actions.ask", _away)
    answer = by(archive, "POST", f"/v1/approvals/{approval}/approve", "legal", "zoe", reason="vu").json()
    assert (answer["state"], answer["error"]) == ("approved", "store.failed")
    monkeypatch.undo()
    again = by(archive, "POST", f"/v1/approvals/{approval}/execute", "legal", "zoe").json()
    assert again["state"] == "executed"


def _away(*_args):
    from archive_service.model.errors import StoreError

    raise StoreError("away")


def test_four_eyes_only_one_of_the_two_carries_out_again(archive, monkeypatch):
    approval = asked(archive)
    monkeypatch.setattr("archive_service.strong_actions.ask", _away)
    by(archive, "POST", f"/v1/approvals/{approval}/approve", "legal", "zoe", reason="vu")
    monkeypatch.undo()
    third = by(archive, "POST", f"/v1/approvals/{approval}/execute", "compliance_officer", "max")
    is_problem(third, 403, "auth.forbidden")
    assert (
        by(archive, "POST", f"/v1/approvals/{approval}/execute", "dpo", "paul").json()["state"] == "executed"
    )


def test_four_eyes_requests_expire(archive, monkeypatch):
    approval = asked(archive)
    path = f"/v1/approvals/{approval}/approve"
    monkeypatch.setattr(archive.one.four_eyes, "_clock", lambda: NOW + LIFE)
    is_problem(by(archive, "POST", path, "legal", "zoe", reason="vu"), 409, "approval.expired")
    monkeypatch.setattr(archive.one.four_eyes, "_clock", lambda: NOW + LIFE - timedelta(microseconds=1))
    assert by(archive, "POST", path, "legal", "zoe", reason="vu").json()["state"] == "executed"


def test_four_eyes_what_was_approved_is_not_carried_out_after_its_time(archive, monkeypatch):
    approval = asked(archive)
    with monkeypatch.context() as away:
        away.setattr("archive_service.strong_actions.ask", _away)
        by(archive, "POST", f"/v1/approvals/{approval}/approve", "legal", "zoe", reason="vu")
    monkeypatch.setattr(archive.one.four_eyes, "_clock", lambda: NOW + LIFE)
    late = by(archive, "POST", f"/v1/approvals/{approval}/execute", "legal", "zoe")
    is_problem(late, 409, "approval.expired")
    assert archive.one.acts.erasures.asked == {}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"ground": "request", "basis": "x", "reason": "y"}, "erasure.invalid"),
        (
            {"messages": ["m1"], "captures": ["m1c0"], "ground": "request", "basis": "x", "reason": "y"},
            "erasure.invalid",
        ),
        ({"messages": ["m1"], "ground": "request", "basis": " ", "reason": "y"}, "erasure.invalid"),
        ({"messages": ["m1"], "ground": "whim", "basis": "x", "reason": "y"}, "request.invalid"),
    ],
    ids=["nothing", "both", "no basis", "ground"],
)
def test_a_senseless_erasure_is_refused_before_anybody_is_asked(archive, body, code):
    is_problem(by(archive, "POST", "/v1/erasures", "dpo", "paul", **body), 422, code)


@pytest.mark.parametrize("what", ["messages", "captures"])
def test_an_erasure_of_what_is_not_there_looks_like_any_unknown_id(archive, what):
    body = {what: ["nowhere"], "ground": "request", "basis": "x", "reason": "y"}
    is_problem(by(archive, "POST", "/v1/erasures", "dpo", "paul", **body), 404, "not_found")


def test_another_tenants_approval_is_not_found(archive):
    approval = asked(archive)
    two: FakeTenant = archive.two
    bearer = {"Authorization": f"Bearer {two.token('legal', 'zoe')}"}
    is_problem(archive.call("GET", f"/v1/approvals/{approval}", None, headers=bearer), 404, "not_found")
    body = {"json": {"reason": "x"}}
    is_problem(
        archive.call("POST", f"/v1/approvals/{approval}/approve", None, headers=bearer, **body),
        404,
        "not_found",
    )


def test_four_eyes_nobody_asks_for_a_grant_for_himself(archive):
    answer = by(archive, "POST", "/v1/grants", "admin", "paul", subject="paul", role="legal", reason="x")
    is_problem(answer, 422, "grant.own")


def test_four_eyes_by_the_command_line(tmp_path):
    data = tmp_path / "archive"
    done("init", "--data", data, "--tenant", "acme")
    captures = done(
        "import", "eml", SAMPLES, "--tenant", "acme", "--kind", "m365", "--data", data, "--json"
    ).answer["captures"]
    paul = ("--token", token(data, "dpo", "paul"), "--tenant", "acme", "--data", data, "--json")
    because = ("--ground", "request", "--basis", "RGPD 17")
    refused = run(
        "erasures",
        "ask",
        "--capture",
        captures[0],
        *because,
        "--token",
        token(data, "admin", "eve"),
        *paul[2:],
    )
    assert (refused.code, refused.answer["error"]["code"]) == (1, "auth.forbidden")
    made = done("erasures", "ask", "--capture", captures[0], *because, *paul).answer["approval"]
    own = approve(data, made, role="legal", subject="paul")
    assert (own.code, own.answer["error"]["code"]) == (1, "approval.own")
    assert done("erasures", "list", "--tenant", "acme", "--data", data, "--json").answer["erasures"] == []
    assert approve(data, made).answer["state"] == "executed"
    (row,) = done("erasures", "list", "--tenant", "acme", "--data", data, "--json").answer["erasures"]
    assert (row["capture"], row["state"]) == (captures[0], "barred")
    (listed,) = done("approvals", "list", *paul).answer["approvals"]
    assert (listed["state"], listed["asked_by"], listed["decided_by"]) == ("executed", "paul", "zoe")


@pytest.mark.parametrize("given", [1.5, {"é": 1}, 2**60, {"c-there": 1.5}], ids=repr)
def test_a_request_that_no_act_can_hold_is_refused_and_no_fault(archive, given):
    for action, body in (
        ("grant.give", {"subject": "rita", "role": "reviewer", "custodians": given}),
        ("grant.give", {"subject": "rita", "role": "reviewer", "more": given}),
    ):
        answer = by(
            archive, "POST", "/v1/approvals", "admin", "paul", action=action, request=body, reason="r"
        )
        is_problem(answer, 422, "approval.request")
    assert archive.one.acts.approvals.known == {}
