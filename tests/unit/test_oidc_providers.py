"""The settings of identity providers: what is understood, and what is named when it is not."""

import json

import pytest

from archive_service.access.events import RoleName
from archive_service.access.oidc_providers import is_allowed, providers, secrets_of
from archive_service.model.errors import Invalid
from archive_service.settings import load

GOOD = {
    "name": "entra",
    "issuer": "https://login.microsoftonline.com/9d2e/v2.0",
    "tenant": "acme",
    "audiences": ["api://archive"],
    "roles": {"Archive.Legal": "legal"},
}


def read(*given):
    return providers(json.dumps(given))


def test_none_is_none():
    assert providers(None) == providers("") == providers("[]") == ()


def test_defaults_are_narrow():
    (one,) = read(GOOD)
    assert one.algorithms == ("RS256", "PS256", "ES256")
    assert (one.subject_claim, one.roles_claim, one.skew_seconds) == ("sub", ("roles",), 60.0)
    assert dict(one.roles) == {"Archive.Legal": (RoleName.LEGAL,)}
    assert (one.id_tokens, one.client) == (False, None)
    assert one.discovery == f"{GOOD['issuer']}/.well-known/openid-configuration"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"name": "Entra"}, "name"),
        ({"name": "a:b"}, "name"),
        ({"name": "account"}, "it"),
        ({"issuer": "http://login.example"}, "issuer"),
        ({"issuer": "https://user:pass@login.example"}, "issuer"),
        ({"issuer": "https://login.example/?x=1"}, "issuer"),
        ({"issuer": "https://login.example/#x"}, "issuer"),
        ({"issuer": "https:///x"}, "issuer"),
        ({"issuer": "ftp://login.example"}, "issuer"),
        ({"issuer": "https://login.example:99999"}, "issuer"),
        ({"audiences": []}, "audiences"),
        ({"audiences": "api://archive"}, "audiences"),
        ({"algorithms": ["none"]}, "algorithms, algorithms.0"),
        ({"algorithms": ["RS256", "HS256"]}, "algorithms.1"),
        ({"algorithms": []}, "algorithms"),
        ({"roles": {"x": "root"}}, "roles.x"),
        ({"roles_claim": "a..b"}, "roles_claim"),
        ({"skew_seconds": 3600}, "skew_seconds"),
        ({"client": "console", "scopes": ["profile"]}, "it"),
        ({"colour": "red"}, "colour"),
        ({"tenant": ...}, "tenant"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_wrong_is_named_and_no_value_shown(change, named):
    given = {name: value for name, value in (GOOD | change).items() if value is not ...}
    with pytest.raises(Invalid) as caught:
        read(GOOD | {"name": "other", "issuer": "https://other.example"}, given)
    assert caught.value.code == "settings.invalid"
    assert str(caught.value) == f"oidc[1] not understood: {named}"


@pytest.mark.parametrize("text", ["{", "{}", "7", '[{"name":"a","name":"b"}]', "[NaN]", "x" * 10])
def test_what_is_no_list_is_refused(text):
    with pytest.raises(Invalid):
        providers(text)


@pytest.mark.parametrize("what", ["name", "issuer"])
def test_two_of_one_kind_are_refused(what):
    other = {"name": "other", "issuer": "https://other.example"} | {what: GOOD[what]}
    with pytest.raises(Invalid, match=f"two oidc providers have one {what}"):
        read(GOOD, GOOD | other)


def test_the_settings_file_has_tables_and_the_environment_json(tmp_path, monkeypatch):
    config = tmp_path / "settings.toml"
    config.write_text(
        '[[oidc]]\nname = "entra"\nissuer = "https://login.example"\ntenant = "acme"\n'
        'audiences = ["api://archive"]\nroles = {"Archive.Legal" = "legal"}\n',
        "utf-8",
    )
    settings = load(config)
    (one,) = providers(settings.oidc)
    assert one.name == "entra"
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert providers(load().oidc) == (one,)


def test_a_wrong_provider_stops_the_start(monkeypatch):
    monkeypatch.setenv("ARCHIVE_OIDC", json.dumps([GOOD | {"issuer": "http://login.example"}]))
    with pytest.raises(Invalid, match=r"oidc\[0\] not understood: issuer"):
        load()


def test_secrets_are_by_name_and_never_shown():
    known = read(GOOD)
    assert secrets_of(None, known) == {}
    assert secrets_of('{"entra":"s3cret"}', known) == {"entra": "s3cret"}
    for text in ('{"other":"s3cret"}', '{"entra":7}', '{"entra":""}', "[]", "s3cret"):
        with pytest.raises(Invalid) as caught:
            secrets_of(text, known)
        assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "loopback", "allowed"),
    [
        ("https://login.example/x", False, True),
        ("https://10.0.0.5:8443/x", False, True),
        ("http://127.0.0.1:4000/x", True, True),
        ("http://[::1]:4000/x", True, True),
        ("http://localhost:4000/x", True, True),
        ("http://127.0.0.1:4000/x", False, False),
        ("http://127.0.0.1.evil.example/", True, False),
        ("http://localhost.evil.example/", True, False),
        ("http://login.example/", True, False),
        ("https://user@login.example/", False, False),
        ("https://login.example/#f", False, False),
        ("https://login.example/ x", False, False),
        ("https://lögin.example/", False, False),
        ("file:///etc/passwd", True, False),
        ("//login.example/", True, False),
    ],
)
def test_what_may_be_asked(url, loopback, allowed):
    assert is_allowed(url, loopback=loopback) is allowed
