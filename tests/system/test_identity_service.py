"""The service with a real identity provider, from outside: tokens, a browser's sign-in, the built-in issuer off."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.services.oidc_provider import AUDIENCE, OidcProvider, running
from tests.services.tools import free_port
from tests.system.test_service import Running, command, start


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, OidcProvider, str]]:
    """An archive that believes one provider, and tokens of its own no more."""
    data: Path = tmp_path_factory.mktemp("archive")
    command("init", "--data", data, "--tenant", "acme")
    admin = command("token", "--data", data, "--tenant", "acme", "--role", "admin")["token"]
    public = f"http://127.0.0.1:{free_port()}"
    with running(started=False) as idp:
        idp.redirect = f"{public}/v1/auth/callback"
        idp.start()
        said = {
            "name": "idp",
            "issuer": idp.issuer,
            "tenant": "acme",
            "audiences": [AUDIENCE],
            "roles": {"Archive.Auditor": "auditor", "Archive.Legal": "auditor"},
            "client": "console",
        }
        environment = {
            "ARCHIVE_OIDC": json.dumps([said]),
            "ARCHIVE_OIDC_SECRETS": json.dumps({"idp": idp.secret}),
            "ARCHIVE_PUBLIC_URL": public,
            "ARCHIVE_BUILTIN_TOKENS": "false",
        }
        (data / "run").mkdir(exist_ok=True)
        service = start(data, {}, "--http", public.removeprefix("http://"), **environment)
        try:
            yield service, idp, admin
        finally:
            service.stop()


def ask(service: Running, path: str, token: str) -> httpx.Response:
    url = f"http://{service.where['http']}{path}"
    return httpx.get(url, headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=60)


def test_tokens_of_the_provider_and_no_others(world: tuple[Running, OidcProvider, str]) -> None:
    service, idp, builtin = world
    assert ask(service, "/v1/access-log", idp.robot()).status_code == 200
    assert ask(service, "/v1/auth/me", idp.robot()).json()["subject"] == "idp:robot"
    assert ask(service, "/v1/sources", builtin).status_code == 401
    assert ask(service, "/v1/access-log", idp.robot("nobody")).status_code == 403


def test_a_browser_signs_in_at_one_process_and_every_sign_in_is_in_the_log(
    world: tuple[Running, OidcProvider, str],
) -> None:
    service, idp, _ = world
    where = f"http://{service.where['http']}"
    with httpx.Client(trust_env=False, timeout=60, follow_redirects=False) as browser:
        answer = browser.get(f"{where}/v1/auth/login?return_to=/v1/auth/me")
        url = answer.headers["location"] + "&login_hint=anne"
        for _ in range(12):
            answer = browser.get(url)
            if not answer.is_redirect:
                break
            url = str(answer.url.join(answer.headers["location"]))
        assert answer.json()["subject"] == "idp:anne", answer.text
        entries = browser.get(f"{where}/v1/access-log?action=auth.sign_in").json()["entries"]
        assert [entry["actor"] for entry in entries] == ["idp:anne"]
        out = browser.post(f"{where}/v1/auth/logout", headers={"X-Archive-CSRF": "1"})
        assert out.status_code == 200
        assert browser.get(f"{where}/v1/access-log").status_code == 401
    entries = ask(service, "/v1/access-log?action=auth.sign_out", idp.robot()).json()["entries"]
    assert [entry["actor"] for entry in entries] == ["idp:anne"]


def test_no_log_of_the_service_holds_a_token_or_a_code(world: tuple[Running, OidcProvider, str]) -> None:
    service, idp, builtin = world
    token = idp.robot()
    ask(service, "/v1/access-log", token)
    said = (service.data / "run" / "serve.log").read_text("utf-8")
    assert token not in said
    assert builtin not in said
    assert idp.secret not in said
    assert not re.search(r"[?&]code=", said)
