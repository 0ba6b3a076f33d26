"""Answers that are long in leaving, over a real archive: what let them begin is over before their end."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from archive_service.access.identity import Identity
from archive_service.access.tokens import TokenVerifier
from archive_service.api import long_answer
from archive_service.api.middleware import AnswerBrokenOff
from archive_service.following import make_checkpointer
from archive_service.model.clock import rfc3339
from tests.flow.archive_fixtures import no_settings_around
from tests.flow.test_bypasses import asked_grant, matter, two_mails
from tests.flow.test_compartments import made_compartment, mail, taken
from tests.flow.test_exports_expire import work
from tests.flow.test_walls_attacked import ended, erased, exported, last, matter_named, services_of

__all__ = ["no_settings_around"]


class Interrupted:
    """The app, and something that happens once an answer has begun. ``body``: what left of it."""

    def __init__(self, app, meanwhile):
        self.app, self.meanwhile, self.body = app, meanwhile, b""

    async def __call__(self, scope, receive, send):
        async def sending(message):
            if message["type"] == "http.response.start":
                await asyncio.to_thread(self.meanwhile)
            self.body += message.get("body", b"")
            await send(message)

        await self.app(scope, receive, sending)


def begun(api, path, token, meanwhile):
    """What left of an answer while something happened; whether it was broken off."""
    whole, api.app = api.app, Interrupted(api.app, lambda: after(api, whole, meanwhile))
    interrupted = api.app
    try:
        api.with_token("GET", path, token)
    except AnswerBrokenOff:
        return interrupted.body, True
    finally:
        api.app = whole
    return interrupted.body, False


def after(api, whole, meanwhile):
    api.app = whole
    meanwhile()


def test_a_download_under_way_is_cut_when_its_door_is_shut(api, tmp_path, monkeypatch):
    """Grant, erasure, incident: each of them after the answer has begun."""
    ids = two_mails(api, tmp_path)
    about = matter(api, "subject:alpha")
    grant = api.approved(asked_grant(api, subject="rita", role="alert_officer", matter=about))["grant"]
    within = exported(api, "alert_officer", "rita", ids["alpha"])
    beta, alpha = (exported(api, "legal", "lou", ids[name]) for name in ("beta", "alpha"))
    token = api.token("legal", "lou")
    monkeypatch.setattr(long_answer, "EVERY", 0.0)
    whole, cut = begun(api, alpha, token, lambda: None)
    assert (whole[:2], cut) == (b"PK", False)

    def incident():
        api.later()
        assert api.call("POST", "/v1/incidents", "dpo", "paul", reason="r").status_code == 201

    for path, who, role, meanwhile, reason in (
        (within, "rita", "alert_officer", lambda: ended(api, grant), "auth.forbidden"),
        (beta, "lou", "legal", lambda: erased(api, ids["beta"]), "export.expired"),
        (alpha, "lou", "legal", incident, "auth.required"),
    ):
        assert begun(api, path, api.token(role, who), meanwhile) == (b"", True), reason
        if reason == "auth.required":
            api.later()
        entry = last(api, "export.download")
        assert (entry["actor"], entry["outcome"]) == (who, "refused")
        assert (entry["detail"]["reason"], entry["detail"]["broken_off"]) == (reason, True)


def test_a_download_goes_on_within_what_its_grant_still_holds(api, tmp_path, monkeypatch):
    ids = two_mails(api, tmp_path)
    first, other = (
        matter_named(api, name, f"subject:{word}") for name, word in (("A", "alpha"), ("B", "beta"))
    )
    grants = [
        api.approved(asked_grant(api, subject="rita", role="alert_officer", matter=each))["grant"]
        for each in (first, other)
    ]
    path = exported(api, "alert_officer", "rita", ids["alpha"])
    monkeypatch.setattr(long_answer, "EVERY", 0.0)
    token = api.token("alert_officer", "rita")
    assert begun(api, path, token, lambda: ended(api, grants[1]))[1] is False
    grants.append(api.approved(asked_grant(api, subject="rita", role="alert_officer", matter=other))["grant"])
    assert begun(api, path, token, lambda: ended(api, grants[0])) == (b"", True)
    assert last(api, "export.download")["detail"]["reason"] == "not_found"


def test_an_access_log_file_under_way_is_cut_when_its_grant_ends(api, monkeypatch):
    api.call("POST", "/v1/search", "legal", "lou", query="x")
    api.follow()
    make_checkpointer(api.core, 0).run_once()
    grant = api.approved(asked_grant(api, subject="ext", role="external_auditor"))["grant"]
    token = api.token("external_auditor", "ext")
    monkeypatch.setattr(long_answer, "EVERY", 0.0)
    body, cut = begun(api, "/v1/access-log/export?actor=lou", token, lambda: ended(api, grant))
    assert (body, cut) == (b"", True)
    entry = last(api, "access_log.export")
    assert (entry["outcome"], entry["detail"]["reason"]) == ("refused", "auth.forbidden")


def test_what_a_service_account_is_reading_is_cut_when_it_is_revoked(api, monkeypatch):
    whose = Identity(TokenVerifier(api.tenants.token_key), accounts=services_of(api).accounts.holder)
    api.app.state.services = replace(api.app.state.services, bearers=whose)
    ends = rfc3339(api.core.clock() + timedelta(days=1))
    body = {"name": "siem", "role": "auditor", "only": ["access_log"], "ends": ends}
    made = api.call("POST", "/v1/accounts", "admin", "eve", **body).json()
    make_checkpointer(api.core, 0).run_once()
    monkeypatch.setattr(long_answer, "EVERY", 0.0)
    path = "/v1/access-log/export?actor=eve"
    whole, cut = begun(api, path, made["token"], lambda: None)
    assert (whole.count(b"account.make"), cut) == (1, False)

    def revoked():
        assert api.call("DELETE", f"/v1/accounts/{made['id']}", "admin", "eve").status_code == 200

    assert begun(api, path, made["token"], revoked) == (b"", True)
    entry = last(api, "access_log.export")
    assert (entry["actor"], entry["detail"]["reason"]) == ("account:siem", "auth.required")


class Session:
    """Whoever shows a token, as if his browser's session had said so."""

    def __init__(self, bearers):
        self._bearers = bearers

    def identify(self, token):
        return replace(self._bearers.identify(token), session="s1")


@pytest.mark.parametrize("sealed", [False, True])
def test_what_a_session_is_reading_is_cut_when_it_is_signed_out(api, tmp_path, monkeypatch, sealed):
    """In a compartment too: it is its tenant's acts that say so."""
    two_mails(api, tmp_path)
    compartment = made_compartment(api)
    mail(tmp_path / "sealed", "one", "a@ex.fr", "b@ex.fr", "alerte")
    taken(api, tmp_path / "sealed", "acme/alertes")
    api.follow()
    where = f"?compartment={compartment}" if sealed else ""
    asked = api.call("POST", f"/v1/exports{where}", "legal", "lou", query="*", formats=["bundle"]).json()
    work(api)
    path = f"/v1/exports/{asked['id']}/download{where}"
    services = api.app.state.services
    api.app.state.services = replace(services, bearers=Session(services.bearers))
    monkeypatch.setattr(long_answer, "EVERY", 0.0)
    token = api.token("legal", "lou")

    def signed_out(session):
        services_of(api).authority.sign_out(session, "lou", "2126-01-01T00:00:00.000000Z")

    whole, cut = begun(api, path, token, lambda: signed_out("another"))
    assert (whole[:2], cut) == (b"PK", False)
    assert begun(api, path, token, lambda: signed_out("s1")) == (b"", True)
    assert api.with_token("GET", path, token).status_code == 401
    log = api.tenants.get(compartment if sealed else api.tenant.id).access_log
    event = log.newest(1)[0][0].event
    assert (event.action, event.outcome, event.detail["reason"]) == (
        "export.download", "refused", "auth.required",
    )  # fmt: skip
