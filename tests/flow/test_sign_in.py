"""Signing in with a browser through a real, certified provider: code with PKCE, session, sign-out, and every trace."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from archive_service.access.browser import Browser
from archive_service.access.cookies import SealedCookies
from archive_service.access.identity import Identity
from archive_service.access.oidc_providers import OidcProvider as Said
from archive_service.access.oidc_source import ProviderSource
from archive_service.access.oidc_tokens import OidcTokens
from archive_service.access.sign_in import SignIn
from archive_service.model.clock import utc_now
from archive_service.web import HttpWeb
from tests.flow.api_fakes import WRITE_FAILED, Archive, is_problem
from tests.services.oidc_provider import AUDIENCE, OidcProvider, running

PUBLIC = "http://127.0.0.1:1"
ROLES = {"Archive.Legal": "legal", "Archive.Dpo": "dpo", "Archive.Auditor": "auditor"}


@pytest.fixture(scope="module")
def idp() -> Iterator[OidcProvider]:
    with running() as server:
        yield server


class Clock:
    """The true time, and what a test adds to it."""

    def __init__(self) -> None:
        self.more = 0.0

    def __call__(self) -> Any:
        return utc_now() + timedelta(seconds=self.more)


def wired(idp: OidcProvider, *, client: str = "console", **changes: Any) -> Archive:
    """An archive whose people come from the provider."""
    archive = Archive()
    given = {
        "name": "idp",
        "issuer": idp.issuer,
        "tenant": "m",
        "audiences": [AUDIENCE],
        "roles": ROLES,
        "client": client,
        "scopes": ["openid", "profile"],
    }
    said, web, clock = Said.model_validate(given | changes), HttpWeb(), Clock()
    tokens = OidcTokens(said, ProviderSource(said, web), lambda: archive.one.id, clock)
    secret = idp.secret if client == "console" else None
    sign_in = SignIn(tokens, web, f"{PUBLIC}/v1/auth/callback", secret)
    cookies = SealedCookies({archive.one.id: b"s" * 32, archive.two.id: b"t" * 32}.get, clock)
    browser = Browser(PUBLIC, {"idp": sign_in}, cookies, 3600)
    archive.app.state.services = archive.services(bearers=Identity(None, [tokens]), browser=browser)
    archive.clock = clock  # type: ignore[attr-defined]
    return archive


@dataclass
class Surfer:
    """A browser: one jar for the archive, another for the provider."""

    archive: Archive
    jar: dict[str, str] = field(default_factory=dict)
    idp_jar: httpx.Cookies = field(default_factory=httpx.Cookies)
    set: list[str] = field(default_factory=list)

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = dict(options.pop("headers", {}))
        headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        answer = self.archive.call(method, path, headers=headers, **options)
        self.set = answer.headers.get_list("set-cookie")
        for line in self.set:
            for name, morsel in SimpleCookie(line).items():
                self.jar[name] = morsel.value
                if morsel["max-age"] == "0":
                    del self.jar[name]
        return answer

    def ask_provider(self, url: str) -> httpx.Response:
        with httpx.Client(trust_env=False, timeout=60, cookies=self.idp_jar) as client:
            answer = client.get(url)
            self.idp_jar = client.cookies
        return answer

    def to_provider(self, hint: str | None = "anne", path: str = "/v1/auth/login") -> str:
        """Begin; the address that the provider sends us back to."""
        begun = self.ask("GET", path)
        assert begun.status_code == 302, begun.text
        url = begun.headers["location"] + (f"&login_hint={hint}" if hint else "")
        for _ in range(10):
            if url.startswith(PUBLIC):
                return url
            answer = self.ask_provider(url)
            assert answer.is_redirect, answer.text
            url = str(answer.url.join(answer.headers["location"]))
        raise AssertionError("the provider goes round in circles")

    def come_back(self, url: str) -> httpx.Response:
        parts = urlsplit(url)
        return self.ask("GET", f"{parts.path}?{parts.query}")

    def sign_in(self, hint: str = "anne", path: str = "/v1/auth/login") -> httpx.Response:
        return self.come_back(self.to_provider(hint, path))


@pytest.mark.parametrize("client", ["console", "public"])
def test_a_person_signs_in_reads_and_signs_out_and_all_of_it_is_recorded(idp, client):
    archive = wired(idp, client=client)
    surfer = Surfer(archive)
    back = surfer.sign_in(path="/v1/auth/login?return_to=/console/search")
    assert (back.status_code, back.headers["location"]) == (303, "/console/search")
    me = surfer.ask("GET", "/v1/auth/me").json()
    assert (me["subject"], me["tenant"], me["roles"]) == ("idp:anne", "m", ["legal"])
    assert surfer.ask("GET", "/v1/messages/m1").status_code == 200
    out = surfer.ask("POST", "/v1/auth/logout", headers={"X-Archive-CSRF": "1", "Origin": PUBLIC})
    assert out.status_code == 200
    assert out.json()["provider"].startswith(f"{idp.issuer}/session/end?client_id={client}&")
    assert surfer.jar == {}
    events = [(e.action, e.actor, e.role, e.outcome) for e in archive.one.access_log.events]
    assert events == [
        ("auth.sign_in", "idp:anne", "none", "shown"),
        ("message.view", "idp:anne", "legal", "shown"),
        ("auth.sign_out", "idp:anne", "none", "shown"),
    ]


def test_the_request_to_the_provider_is_code_with_s256_state_and_nonce(idp):
    surfer = Surfer(wired(idp))
    begun = surfer.ask("GET", "/v1/auth/login")
    asked = {name: value[0] for name, value in parse_qs(urlsplit(begun.headers["location"]).query).items()}
    assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
    assert len(asked["state"]) == len(asked["nonce"]) == len(asked["code_challenge"]) == 43
    (kept,) = surfer.jar.values()
    assert not any(asked[name] in kept for name in ("state", "nonce", "code_challenge"))


def test_cookies_are_out_of_reach_of_scripts_and_other_sites(idp):
    surfer = Surfer(wired(idp))
    surfer.sign_in()
    for line in surfer.set:
        assert "HttpOnly" in line
        assert "samesite=lax" in line.lower()
        assert "Path=/" in line
        assert "Secure" not in line  # this archive is on loopback
    services = surfer.archive.app.state.services
    secured = Browser("https://archive.example", {}, services.browser.cookies, 3600)
    assert (secured.secure, secured.session_name) == (True, "__Host-archive_session")


def test_no_token_and_no_code_is_kept_or_recorded(idp):
    archive = wired(idp)
    surfer = Surfer(archive)
    url = surfer.to_provider()
    code = parse_qs(urlsplit(url).query)["code"][0]
    answer = surfer.come_back(url)
    everything = str(archive.one.access_log.events) + str(answer.headers) + answer.text
    assert code not in everything
    assert "eyJ" not in everything


def test_several_roles_are_chosen_from_by_the_header(idp):
    archive = wired(idp)
    surfer = Surfer(archive)
    surfer.sign_in("bob")
    assert surfer.ask("GET", "/v1/auth/me").json()["roles"] == ["dpo", "legal"]
    document = is_problem(surfer.ask("GET", "/v1/messages/m1"), 403, "auth.role_ambiguous")
    assert document["detail"].endswith("dpo, legal")
    assert surfer.ask("GET", "/v1/messages/m1", headers={"X-Archive-Role": "legal"}).status_code == 200
    is_problem(surfer.ask("GET", "/v1/messages/m1", headers={"X-Archive-Role": "dpo"}), 403, "auth.forbidden")
    is_problem(
        surfer.ask("GET", "/v1/messages/m1", headers={"X-Archive-Role": "admin"}), 403, "auth.role_not_held"
    )


# --- what fails, and its trace


def failed(archive: Archive, code: str, actor: str = "unknown") -> None:
    event = archive.one.access_log.events[-1]
    assert (event.action, event.actor, event.outcome) == ("auth.sign_in", actor, "refused")
    assert event.detail["reason"] == code


def test_somebody_who_says_no_is_not_signed_in(idp):
    archive = wired(idp)
    surfer = Surfer(archive)
    is_problem(surfer.sign_in("refuse"), 403, "auth.sign_in.refused")
    failed(archive, "auth.sign_in.refused")
    is_problem(surfer.ask("GET", "/v1/auth/me"), 401, "auth.required")


def test_somebody_without_a_role_is_not_signed_in(idp):
    archive = wired(idp)
    is_problem(Surfer(archive).sign_in("carl"), 403, "auth.no_role")
    failed(archive, "auth.no_role", actor="idp:carl")  # whoever gives roles finds out to whom


def test_a_code_is_good_once(idp):
    archive = wired(idp)
    surfer = Surfer(archive)
    url = surfer.to_provider()
    kept = dict(surfer.jar)
    assert surfer.come_back(url).status_code == 303
    again = Surfer(archive, kept)
    is_problem(again.come_back(url), 403, "auth.sign_in.exchange")
    failed(archive, "auth.sign_in.exchange")


def test_a_sign_in_ends_in_the_browser_that_began_it(idp):
    """Else a stranger signs his victim in as himself (RFC 6749 section 10.12)."""
    archive = wired(idp)
    url = Surfer(archive).to_provider()
    stranger, other = Surfer(archive), Surfer(archive)
    other.to_provider()  # has one of its own under way
    for victim in (stranger, other):
        is_problem(victim.come_back(url), 403, "auth.sign_in.state")
    assert archive.one.access_log.events == []  # a stranger cannot fill the log


SPOILED = {
    "another-state": lambda url: url.replace("state=", "state=x"),
    "a-state-that-begins-alike": lambda url: re.sub(r"(state=[^&]{12})[^&]*", r"\1x", url),
    "no-state": lambda url: url.replace("state=", "stale="),
    "state-twice": lambda url: url + "&state=x",
    "code-twice": lambda url: url + "&code=x",
}


@pytest.mark.parametrize("spoil", SPOILED)
def test_an_answer_that_was_changed_on_its_way(idp, spoil):
    surfer = Surfer(wired(idp))
    is_problem(surfer.come_back(SPOILED[spoil](surfer.to_provider())), 403, "auth.sign_in.state")


@pytest.mark.parametrize("iss", ["https://evil.example", None], ids=["another", "none"])
def test_an_answer_of_another_provider_is_refused(idp, iss):
    """RFC 9207: this provider says that it names itself."""
    archive = wired(idp)
    surfer = Surfer(archive)
    url = surfer.to_provider()
    query = {name: value[0] for name, value in parse_qs(urlsplit(url).query).items() if name != "iss"}
    query |= {} if iss is None else {"iss": iss}
    answer = surfer.ask("GET", "/v1/auth/callback", params=query)
    is_problem(answer, 403, "auth.sign_in.issuer")
    failed(archive, "auth.sign_in.issuer")


def test_a_code_of_another_sign_in_does_not_fit_the_verifier(idp):
    archive = wired(idp)
    one, two = Surfer(archive), Surfer(archive)
    code = parse_qs(urlsplit(one.to_provider("anne")).query)["code"][0]
    query = {name: value[0] for name, value in parse_qs(urlsplit(two.to_provider("bob")).query).items()}
    answer = two.ask("GET", "/v1/auth/callback", params=query | {"code": code})
    is_problem(answer, 403, "auth.sign_in.exchange")


def test_a_sign_in_that_takes_too_long_begins_again(idp):
    archive = wired(idp)
    surfer = Surfer(archive)
    url = surfer.to_provider()
    archive.clock.more = 601
    is_problem(surfer.come_back(url), 403, "auth.sign_in.state")


def test_nobody_is_signed_in_when_it_cannot_be_recorded(idp):
    archive = wired(idp)
    surfer = Surfer(archive)
    url = surfer.to_provider()
    archive.one.access_log.broken = WRITE_FAILED
    is_problem(surfer.come_back(url), 503, "access_log.unavailable")
    assert not any("session" in line for line in surfer.set)


@pytest.mark.parametrize(
    "to",
    ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "/a\tb", "", "evil"],
)
def test_the_way_back_is_a_path_of_ours(idp, to):
    surfer = Surfer(wired(idp))
    begun = surfer.ask("GET", "/v1/auth/login", params={"return_to": to})
    url = begun.headers["location"] + "&login_hint=anne"
    while not url.startswith(PUBLIC):
        answer = surfer.ask_provider(url)
        url = str(answer.url.join(answer.headers["location"]))
    assert surfer.come_back(url).headers["location"] == "/"


def test_an_unknown_provider(idp):
    surfer = Surfer(wired(idp))
    is_problem(surfer.ask("GET", "/v1/auth/login?provider=other"), 404, "not_found")


def test_where_nobody_signs_in_there_is_nothing():
    archive = Archive()
    for method, path in (("GET", "login"), ("GET", "callback"), ("POST", "logout")):
        is_problem(archive.call(method, f"/v1/auth/{path}"), 404, "not_found")
    is_problem(archive.call("GET", "/v1/auth/me"), 401, "auth.required")
    assert archive.call("GET", "/v1/auth/me", "legal").json()["roles"] == ["legal"]


# --- sessions


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Archive-CSRF": "1", "Origin": "https://evil.example"},
        {"X-Archive-CSRF": "1", "Origin": "null"},
        {"Origin": PUBLIC},
        {"X-Archive-CSRF": "1", "Origin": PUBLIC, "Sec-Fetch-Site": "cross-site"},
        {"X-Archive-CSRF": "1", "Origin": PUBLIC, "Sec-Fetch-Site": "same-site"},
    ],
    ids=["bare", "origin", "null", "no-header", "cross-site", "same-site"],
)
def test_a_change_that_another_site_asks_for_is_refused(idp, headers):
    surfer = Surfer(wired(idp))
    surfer.sign_in()
    search = surfer.ask("POST", "/v1/search", json={"query": "*"}, headers=headers)
    is_problem(search, 403, "auth.cross_site")
    is_problem(surfer.ask("POST", "/v1/auth/logout", headers=headers), 403, "auth.cross_site")
    good = {"X-Archive-CSRF": "1", "Origin": PUBLIC, "Sec-Fetch-Site": "same-origin"}
    assert surfer.ask("POST", "/v1/search", json={"query": "*"}, headers=good).status_code == 200


def test_a_look_that_another_site_asks_for_does_not_stand_in_the_persons_name(idp):
    archive = wired(idp)
    surfer = Surfer(archive)
    surfer.sign_in()
    before = len(archive.one.access_log.events)
    for site in ("cross-site", "same-site"):
        answer = surfer.ask("GET", "/v1/messages/m1/raw", headers={"Sec-Fetch-Site": site})
        is_problem(answer, 403, "auth.cross_site")
    assert len(archive.one.access_log.events) == before
    for site in ("same-origin", "none"):
        assert surfer.ask("GET", "/v1/messages/m1", headers={"Sec-Fetch-Site": site}).status_code == 200


def test_a_session_ends_by_itself(idp):
    archive = wired(idp)
    surfer = Surfer(archive)
    surfer.sign_in()
    archive.clock.more = 3599
    assert surfer.ask("GET", "/v1/messages/m1").status_code == 200
    archive.clock.more = 3601
    is_problem(surfer.ask("GET", "/v1/messages/m1"), 401, "auth.required")


@pytest.mark.parametrize("seconds", [1800, 7200], ids=["shorter", "longer"])
def test_a_session_began_when_it_did_though_the_settings_changed(idp, seconds):
    """An incident voids by that what it was opened after; and a time that was made shorter counts at once."""
    archive = wired(idp)
    surfer = Surfer(archive)
    surfer.sign_in()
    browser = archive.app.state.services.browser
    first = browser.session(surfer.jar)
    browser.session_seconds = seconds
    again = browser.session(surfer.jar)
    assert again.who.issued_at == first.who.issued_at
    assert again.ends == pytest.approx(min(first.ends, first.who.issued_at + seconds), abs=1)
    archive.clock.more = 1801
    assert surfer.ask("GET", "/v1/messages/m1").status_code == (401 if seconds == 1800 else 200)


def test_a_session_that_was_signed_out_opens_nothing_where_it_was(idp):
    surfer = Surfer(wired(idp))
    surfer.sign_in()
    copied = dict(surfer.jar)
    surfer.ask("POST", "/v1/auth/logout", headers={"X-Archive-CSRF": "1"})
    is_problem(Surfer(surfer.archive, copied).ask("GET", "/v1/messages/m1"), 401, "auth.required")


def test_a_session_of_a_provider_that_is_no_more_opens_nothing(idp):
    surfer = Surfer(wired(idp))
    surfer.sign_in()
    surfer.archive.app.state.services.browser.sign_ins = {}
    is_problem(surfer.ask("GET", "/v1/messages/m1"), 401, "auth.required")


FORGED = {
    "changed": lambda value: value[:-6] + ("AAAAAA" if not value.endswith("AAAAAA") else "BBBBBB"),
    "another-tenant": lambda value: "b" * 20 + value[20:],
    "unknown-tenant": lambda value: "c" * 20 + value[20:],
    "cut": lambda value: value[:60],
    "empty": lambda value: "",
    "text": lambda value: "anne",
}


@pytest.mark.parametrize("forge", FORGED)
def test_a_session_that_we_did_not_seal_opens_nothing(idp, forge):
    surfer = Surfer(wired(idp))
    surfer.sign_in()
    surfer.jar["archive_session"] = FORGED[forge](surfer.jar["archive_session"])
    is_problem(surfer.ask("GET", "/v1/messages/m1"), 401, "auth.required")


def test_a_sign_in_is_no_session(idp):
    surfer = Surfer(wired(idp))
    surfer.to_provider()
    (kept,) = surfer.jar.values()
    surfer.jar["archive_session"] = kept
    is_problem(surfer.ask("GET", "/v1/messages/m1"), 401, "auth.required")


def test_a_token_beside_a_session_is_what_counts(idp):
    archive = wired(idp)
    surfer = Surfer(archive)
    surfer.sign_in()
    is_problem(
        surfer.ask("GET", "/v1/messages/m1", headers={"Authorization": "Bearer x.y.z"}), 401, "auth.required"
    )
    robot = {"Authorization": f"Bearer {idp.robot()}"}
    is_problem(surfer.ask("GET", "/v1/messages/m1", headers=robot), 403, "auth.forbidden")
    assert archive.one.access_log.events[-1].actor == "idp:robot"
