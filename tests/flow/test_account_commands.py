"""``accounts`` and ``token`` from the command line: by whom, what is printed, and what is refused."""

import json

import pytest

from tests.flow.archive_fixtures import done, no_settings_around, run

assert no_settings_around


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "archive"
    done("init", "--data", folder, "--tenant", "acme")
    return folder


def token(data, role, subject="paul"):
    words = ("--tenant", "acme", "--role", role, "--subject", subject, "--json")
    return done("token", "--data", data, *words).answer["token"]


def accounts(data, who, *words):
    return run("accounts", *words, "--data", data, "--tenant", "acme", "--token", who, "--json")


MAKE = ("make", "--name", "siem", "--role", "auditor", "--only", "access_log", "--ttl", "30d")


def test_made_listed_and_revoked(data):
    admin = token(data, "admin")
    made = accounts(data, admin, *MAKE).answer
    assert made["token"].startswith("asa_")
    (row,) = accounts(data, admin, "list").answer["accounts"]
    assert (row["name"], row["state"], row["made_by"], row["last_used"]) == ("siem", "open", "paul", None)
    assert accounts(data, admin, "revoke", "siem").answer["state"] == "revoked"
    assert accounts(data, admin, "list").answer["accounts"][0]["state"] == "revoked"
    text = run("accounts", "list", "--data", data, "--tenant", "acme", "--token", admin).out
    assert made["token"] not in text
    assert "siem" in text


def test_who_may_not_is_refused(data):
    said = accounts(data, token(data, "legal"), *MAKE)
    assert said.code == 1
    assert "auth.forbidden" in said.out + said.err


def test_an_account_acts_at_the_command_line_within_its_scope(data):
    made = accounts(data, token(data, "admin"), *MAKE).answer["token"]
    said = accounts(data, made, "list")
    assert said.code == 1
    assert "auth.forbidden" in said.out + said.err
    (row,) = accounts(data, token(data, "admin"), "list").answer["accounts"]
    assert row["last_used"] is not None  # the refusal was recorded


def test_a_subject_that_looks_like_anothers_is_refused(data, monkeypatch):
    for subject in ("account:siem", "idp:anne"):
        monkeypatch.setenv(
            "ARCHIVE_OIDC",
            json.dumps(
                [
                    {
                        "name": "idp",
                        "issuer": "https://x.example",
                        "tenant": "acme",
                        "audiences": ["a"],
                        "roles": {},
                    }
                ]
            ),
        )
        words = ("--tenant", "acme", "--role", "legal", "--subject", subject)
        said = run("token", "--data", data, *words, "--json")
        assert said.code == 2
        assert "token.subject_reserved" in said.out + said.err


def test_the_built_in_issuer_switched_off_prints_and_takes_nothing(data, monkeypatch):
    admin = token(data, "admin")
    monkeypatch.setenv("ARCHIVE_BUILTIN_TOKENS", "false")
    said = run("token", "--data", data, "--tenant", "acme", "--role", "legal", "--json")
    assert (said.code, "token.builtin_off" in said.out + said.err) == (1, True)
    said = accounts(data, admin, "list")
    assert (said.code, "auth.required" in said.out + said.err) == (1, True)
