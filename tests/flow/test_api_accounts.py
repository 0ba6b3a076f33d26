"""``/v1/accounts``: made with an end, shown once, revoked at once; and what such a caller may not."""

from dataclasses import replace
from datetime import timedelta

import pytest

from archive_service.access import accounts
from archive_service.access.events import RoleName
from archive_service.access.identity import Identity
from archive_service.access.policy import Right
from archive_service.access.tokens import TokenVerifier
from archive_service.model.errors import Overloaded
from tests.flow.api_fakes import NOW, Archive, is_problem

ASKED = {"name": "siem", "role": "auditor", "only": ["access_log"], "ends": "2026-06-01T00:00:00Z"}


@pytest.fixture
def archive():
    made = Archive()
    keys = {made.one.id: made.one.public_pem}

    def holder(token):
        """The acts in memory have an owner's id of their own."""
        return replace(made.one.accounts.holder(token), tenant=made.one.id)

    bearers = Identity(TokenVerifier(keys.get, lambda: NOW), (), holder)
    made.app.state.services = made.services(bearers=bearers)
    return made


def make(archive, **changes):
    return archive.call("POST", "/v1/accounts", "admin", json=ASKED | changes)


def as_account(archive, token, method, path, **options):
    return archive.call(method, path, headers={"Authorization": f"Bearer {token}"}, **options)


def test_an_account_is_made_used_seen_and_revoked(archive):
    made = make(archive)
    assert made.status_code == 201
    token, account = made.json()["token"], made.json()["id"]
    assert made.json()["subject"] == "account:siem"

    assert as_account(archive, token, "GET", "/v1/access-log").status_code == 200
    event = archive.one.access_log.events[-1]
    assert (event.actor, event.role, event.action) == ("account:siem", "auditor", "access_log.read")

    (listed,) = archive.call("GET", "/v1/accounts", "admin").json()["accounts"]
    assert (listed["state"], listed["last_used"]) == ("open", "2026-03-01T12:00:00.000000Z")
    assert token not in archive.call("GET", "/v1/accounts", "admin").text
    assert "secret" not in listed

    revoked = archive.call("DELETE", f"/v1/accounts/{account}?reason=lost", "admin")
    assert revoked.json()["state"] == "revoked"
    is_problem(as_account(archive, token, "GET", "/v1/access-log"), 401, "auth.required")
    assert archive.call("GET", "/v1/accounts?open=true", "admin").json()["accounts"] == []


def test_the_entry_names_the_account_and_never_the_token(archive):
    token = make(archive).json()["token"]
    event = archive.one.access_log.events[-1]
    assert (event.action, event.detail["account"]) == ("account.make", "siem")
    assert token.rpartition("_")[2] not in str(event)


def test_a_right_outside_the_scope_is_refused_and_recorded(archive):
    token = make(archive).json()["token"]
    is_problem(as_account(archive, token, "GET", "/v1/integrity"), 403, "auth.forbidden")
    event = archive.one.access_log.events[-1]
    assert (event.actor, event.outcome) == ("account:siem", "refused")


def test_an_account_has_one_role(archive):
    token = make(archive).json()["token"]
    headers = {"Authorization": f"Bearer {token}", "X-Archive-Role": "admin"}
    is_problem(archive.call("GET", "/v1/access-log", headers=headers), 403, "auth.role_not_held")
    event = archive.one.access_log.events[-1]
    assert (event.actor, event.role, event.outcome) == ("account:siem", "none", "refused")
    assert event.detail["reason"] == "auth.role_not_held"


def test_an_account_is_never_one_of_two_people(archive, monkeypatch):
    """Not the one who asks either, whatever rights its role has (four eyes)."""
    ends = NOW + timedelta(days=9)
    monkeypatch.setattr(accounts, "ALONE", frozenset(Right))  # as if two people had made it
    rights = ["erasures.ask", "approvals"]
    _, token, _ = archive.one.accounts.make("paul", "bot", RoleName.LEGAL, rights, ends)
    body = {"ground": "request", "basis": "GDPR 17", "messages": ["m1"], "reason": "asked"}
    answer = as_account(archive, token, "POST", "/v1/erasures", json=body)
    is_problem(answer, 403, "approval.person")
    for right in ("approvals.decide", "grants.change", "accounts"):
        is_problem(make(archive, name="x", role="admin", only=[right]), 422, "account.scope")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"ends": "2026-03-01T12:00:00Z"}, "account.ends"),
        ({"ends": "2027-06-01T00:00:00Z"}, "account.ends"),
        ({"ends": "2026-06-01T00:00:00"}, "request.invalid"),
        ({"ends": None}, "request.invalid"),
        ({"only": []}, "request.invalid"),
        ({"only": ["search"]}, "account.scope"),
        ({"name": "a:b"}, "account.name"),
        ({"role": "root"}, "request.invalid"),
        ({"token": "asa_x"}, "request.invalid"),
    ],
    ids=repr,
)
def test_what_cannot_be_made(archive, changes, code):
    is_problem(make(archive, **changes), 422, code)


def test_a_name_is_used_once(archive):
    assert make(archive).status_code == 201
    is_problem(make(archive), 409, "account.exists")


@pytest.mark.parametrize("account", ["nothing", "0" * 16, "a%00b"])
def test_an_unknown_account_is_not_found(archive, account):
    is_problem(archive.call("DELETE", f"/v1/accounts/{account}", "admin"), 404, "not_found")


def test_a_provider_that_is_away_is_no_fault_of_the_token(archive):
    class Away:
        def identify(self, token):
            raise Overloaded("the identity provider cannot be asked", code="identity.provider_away")

    archive.app.state.services = archive.services(bearers=Away())
    answer = archive.call("GET", "/v1/access-log", "auditor")
    is_problem(answer, 503, "identity.provider_away")
    assert int(answer.headers["retry-after"]) > 0
