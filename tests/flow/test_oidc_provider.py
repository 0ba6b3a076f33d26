"""Access tokens of a real, certified provider: by every algorithm, through a rotation of its keys, and without it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from archive_service.access.identity import Identity
from archive_service.access.oidc_providers import OidcProvider as Said
from archive_service.access.oidc_source import UNKNOWN_KID, ProviderSource
from archive_service.access.oidc_tokens import OidcTokens
from archive_service.model.backoff import Backoff
from archive_service.web import HttpWeb
from tests.flow.api_fakes import Archive, is_problem
from tests.services.oidc_provider import AUDIENCE, OidcProvider, new_key, running


@pytest.fixture
def idp() -> Iterator[OidcProvider]:
    with running(started=False) as server:
        yield server


@dataclass
class Ticking:
    """A clock that a test moves."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Wired:
    """An archive whose callers come from the provider."""

    idp: OidcProvider
    changes: dict[str, Any] = field(default_factory=dict)
    clock: Ticking = field(default_factory=Ticking)
    archive: Archive = field(default_factory=Archive)

    def __post_init__(self) -> None:
        given = {
            "name": "idp",
            "issuer": self.idp.issuer,
            "tenant": "m",
            "audiences": [AUDIENCE],
            "roles": {"Archive.Auditor": "auditor"},
        }
        said = Said.model_validate(given | self.changes)
        once = Backoff(tries=1)
        source = ProviderSource(said, HttpWeb(), self.clock, lambda work: work(), once)
        tokens = OidcTokens(said, source, lambda: self.archive.one.id)
        self.archive.app.state.services = self.archive.services(bearers=Identity(None, [tokens]))

    def ask(self, token: str) -> Any:
        return self.archive.call("GET", "/v1/access-log", headers={"Authorization": f"Bearer {token}"})


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256"])
def test_a_programs_token_is_taken_by_every_algorithm(algorithm):
    with running(algorithm) as idp:
        wired = Wired(idp, {"at_jwt": True, "clients": ["robot"]})
        assert wired.ask(idp.robot()).status_code == 200
        assert wired.archive.one.access_log.events[-1].actor == "idp:robot"
        only_other = Wired(idp, {"algorithms": ["RS512"]})
        is_problem(only_other.ask(idp.robot()), 401, "auth.required")


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"audiences": ["https://other.example"]}, 401, "auth.required"),
        ({"clients": ["console"]}, 401, "auth.required"),
        ({"require": {"hd": "ex.fr"}}, 401, "auth.required"),
        ({"subject_claim": "oid"}, 401, "auth.required"),
        ({"roles": {}}, 403, "auth.no_role"),
        ({"roles": {"Archive.Auditor": ["legal", "dpo"]}}, 403, "auth.role_ambiguous"),
        ({"roles": {"Archive.Auditor": "legal"}}, 403, "auth.forbidden"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_the_settings_do_not_let_in(idp, changes, status, code):
    idp.start()
    is_problem(Wired(idp, changes).ask(idp.robot()), status, code)


def test_a_client_without_a_role_is_known_and_refused_and_recorded(idp):
    idp.start()
    wired = Wired(idp)
    is_problem(wired.ask(idp.robot("nobody")), 403, "auth.no_role")
    event = wired.archive.one.access_log.events[-1]
    assert (event.actor, event.role, event.outcome) == ("idp:nobody", "none", "refused")


def test_a_rotation_of_keys_is_followed_and_old_keys_end(idp):
    idp.start()
    wired = Wired(idp)
    old = idp.robot()
    assert wired.ask(old).status_code == 200
    idp.stop()
    idp.keys = [new_key("RS256"), *idp.keys]  # the new one signs, the old one is still told
    idp.start()
    assert wired.ask(idp.robot()).status_code == 200  # a key id that was not known: one question
    assert wired.ask(old).status_code == 200
    idp.stop()
    idp.keys = [new_key("RS256")]
    idp.start()
    new = idp.robot()
    is_problem(wired.ask(new), 401, "auth.required")  # the last question was a moment ago
    wired.clock.now += UNKNOWN_KID
    assert wired.ask(new).status_code == 200
    is_problem(wired.ask(old), 401, "auth.required")


def test_a_provider_that_is_away_at_the_start_and_later(idp):
    wired = Wired(idp)
    is_problem(wired.ask("e30.e30.e30"), 401, "auth.required")  # no token of his: he is not even asked for
    idp.start()
    token = idp.robot()
    idp.stop()
    is_problem(wired.ask(token), 503, "identity.provider_away")
    idp.start()
    wired.clock.now += 300
    token = idp.robot()
    assert wired.ask(token).status_code == 200
    idp.stop()
    wired.clock.now += 3600
    assert wired.ask(token).status_code == 200  # by the keys that are known
    wired.clock.now += 24 * 3600
    is_problem(wired.ask(token), 503, "identity.provider_away")
