"""``source watch``, ``canary``, ``undeliverable``, ``show``: what is set is an act, shown without secrets, the same in
every process."""

import json
from pathlib import Path
from typing import Any

import pytest

from archive_service.bootstrap import open_core
from archive_service.model.mail import Canary, Source, Watch
from archive_service.settings import Settings
from tests.flow.archive_fixtures import Said, done, no_settings_around, run

__all__ = ["no_settings_around"]  # fixture

CANARY = ("--server", "mail.example.fr:587", "--from", "canary@example.fr", "--to", "bob@example.fr")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    done("init", "--data", folder, "--tenant", "acme")
    done("source", "add", "--tenant", "acme", "--kind", "m365", "--name", "feed", "--data", folder)
    return folder


def source(data: Path, action: str, *more: object) -> Said:
    return run("source", action, "--tenant", "acme", "--source", "feed", "--data", data, "--json", *more)


def known(data: Path) -> Source:
    """As a process that starts now reads it."""
    core = open_core(Settings(data=data))
    try:
        tenant = core.tenant("acme")
        tenant.acts.refresh()
        return tenant.acts.sources()[0]
    finally:
        core.close()


def test_what_is_not_set_is_as_the_kind_has_it(data: Path) -> None:
    said = source(data, "show")
    assert said.code == 0
    assert "watch" not in said.answer
    assert "canary" not in said.answer
    assert known(data).watch == Watch()


def test_a_watch_is_set_field_by_field_and_put_back(data: Path) -> None:
    assert source(data, "watch", "--silence", "6h", "--slow", "3h").answer["watch"]["silence_minutes"] == 360
    watch = source(data, "watch", "--lag", "off").answer["watch"]
    assert (watch["silence_minutes"], watch["slow_hours"], watch["lag_minutes"]) == (360, 3, 0)
    source(data, "watch", "--silence", "kind")
    found = known(data).watch
    assert (found.silence_minutes, found.slow_hours, found.lag_minutes) == (None, 3, 0)
    assert found.at is not None


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ((), "input.usage"),
        (("--silence", "soon"), "source.span"),
        (("--slow", "90m"), "source.watch"),
        (("--silence", "99999d"), "source.watch"),
    ],
)
def test_a_watch_that_cannot_be(data: Path, more: tuple[str, ...], code: str) -> None:
    said = source(data, "watch", *more)
    assert (said.code, said.answer["error"]["code"]) == (2, code)
    assert known(data).watch == Watch()


def test_a_canary_is_set_and_its_password_shown_by_nothing(data: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a word that nobody sees\n")
    said = source(data, "canary", *CANARY, "--user", "canary", "--password-file", secret)
    assert said.code == 0
    assert said.answer["canary"]["password"] is True
    for shown in (
        said,
        source(data, "show"),
        run("source", "list", "--tenant", "acme", "--data", data, "--json"),
    ):
        assert "nobody sees" not in shown.out + shown.err
    found = known(data).canary
    assert found is not None
    assert (found.password, found.every_minutes, found.within_minutes) == ("a word that nobody sees", 60, 15)
    assert "nobody sees" not in repr(found)
    assert source(data, "canary", "--off").code == 0
    assert known(data).canary is None


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ((), "input.usage"),
        ((*CANARY, "--user", "x"), "input.usage"),
        ((*CANARY[:-1], "not an address"), "source.canary"),
        ((*CANARY[:-1], "a@b>\r\nX: y"), "source.canary"),
        ((*CANARY, "--every", "10m", "--within", "10m"), "source.canary"),
        ((*CANARY, "--every", "1m"), "source.canary"),
        (("--server", "nowhere", *CANARY[2:]), "settings.invalid"),
    ],
)
def test_a_canary_that_cannot_be(data: Path, more: tuple[str, ...], code: str) -> None:
    said = source(data, "canary", *more)
    assert (said.code, said.answer["error"]["code"]) == (2, code)
    assert known(data).canary is None


def test_a_canary_sends_no_password_in_clear(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY_SECRET", "x")
    login = ("--user", "u", "--password-env", "CANARY_SECRET")
    assert (
        source(data, "canary", *CANARY, *login, "--security", "none").answer["error"]["code"]
        == "source.canary"
    )
    assert source(data, "canary", *CANARY, *login).code == 0


def test_a_source_of_reports_has_an_address_for_those_that_came_back(data: Path) -> None:
    address = source(data, "show").answer["undeliverable"]
    assert address.startswith("ndr-")
    assert address != known(data).address
    assert source(data, "undeliverable").answer["undeliverable"] == address  # asked again: the same


def test_any_other_source_gets_one_when_it_is_asked_for(data: Path) -> None:
    done("source", "add", "--tenant", "acme", "--kind", "generic", "--name", "other", "--data", data)
    words: tuple[Any, ...] = ("--tenant", "acme", "--source", "other", "--data", data)
    assert "undeliverable" not in run("source", "show", *words, "--json").answer
    given = done("source", "undeliverable", *words).out.strip()
    assert json.loads(done("source", "show", *words, "--json").out)["undeliverable"] == given


def test_a_new_one_ends_the_one_there_was(data: Path) -> None:
    former = source(data, "show").answer["undeliverable"]
    given = source(data, "undeliverable", "--new").answer["undeliverable"]
    assert given != former
    core = open_core(Settings(data=data))
    try:
        acts = core.tenant("acme").acts
        acts.refresh()
        assert acts.source_at(former) is None
        assert acts.source_at(given) == acts.sources()[0]
    finally:
        core.close()


def test_mail_to_either_address_is_the_sources(data: Path) -> None:
    core = open_core(Settings(data=data))
    try:
        acts = core.tenant("acme").acts
        acts.refresh()
        (found,) = acts.sources()
        assert found.undeliverable is not None
        for address in (found.address, found.undeliverable, found.undeliverable.upper()):
            assert acts.source_at(address) == found
        assert acts.source_at("ndr-" + found.address) is None
    finally:
        core.close()


def test_acts_hold_all_of_a_canary_and_what_is_shown_does_not() -> None:
    canary = Canary(host="h", port=25, sender="a@b", recipient="c@d", password="p", ca="pem")
    assert Canary.model_validate(canary.plain()) == canary
    assert canary.shown()["password"] is True
    assert canary.shown()["ca"] is True
