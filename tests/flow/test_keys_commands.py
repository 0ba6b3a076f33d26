"""``keys``: what it says, what it refuses, and that an archive outlives every change of its keys."""

import json
import secrets
import shutil
from pathlib import Path
from typing import Any

import pytest

from archive_service.bootstrap import open_core
from archive_service.places.leases import FileLeases
from archive_service.settings import Settings
from archive_service.vault import key_layout
from archive_service.vault.keyring import owners
from tests.flow.archive_fixtures import SAMPLES, Said, no_settings_around, run, verify
from tests.services.softhsm import softhsm
from tests.services.vault import vault

__all__ = ["no_settings_around"]  # fixture


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """An archive with a tenant and some mail."""
    folder = tmp_path / "archive"
    assert run("init", "--data", folder, "--tenant", "acme").code == 0
    assert run("import", "eml", SAMPLES, "--tenant", "acme", "--kind", "m365", "--data", folder).code == 0
    return folder


def keys(data: Path, *arguments: object) -> Said:
    return run("keys", *arguments, "--data", data, "--json")


def refused(said: Said, code: str, exit_code: int = 1) -> None:
    assert said.code == exit_code, said.out + said.err
    assert said.answer["error"]["code"] == code


def secret(data: Path, place: str) -> Path:
    core = open_core(Settings(data=data))
    try:
        owner = owners(core.keys)[0]
    finally:
        core.close()
    return data / "keys" / place / key_layout.secret_name(owner, "signing")


def versions(said: Said) -> dict[str, int]:
    return {each["version"]: each["records"] for each in said.answer["versions"]}


def test_status_shows_versions_records_generations_and_that_the_places_agree(data: Path) -> None:
    said = keys(data, "status")
    assert said.code == 0
    (records,) = versions(said).values()
    assert records == sum(1 for path in (data / "keys/a").glob("*/secrets/*")) + sum(
        1 for path in (data / "keys/a").glob("*/table/*")
    )
    assert (said.answer["elsewhere"], said.answer["places_differ"]) == ({}, [])
    assert all(owner["destroyed"] == [] for owner in said.answer["owners"])
    text = run("keys", "status", "--data", data).out
    assert f"v1: wraps {records} records" in text and "both places hold the same" in text


def test_rotate_rewrap_destroy_and_the_archive_is_whole(data: Path) -> None:
    records = versions(keys(data, "status"))["v1"]
    assert keys(data, "rotate").answer == {"provider": "local-file", "version": "v2"}
    assert versions(keys(data, "status")) == {"v1": records, "v2": 0}
    refused(keys(data, "destroy-version", "v1"), "kms.in_use")
    done = keys(data, "rewrap")
    assert (done.code, done.answer["rewrapped"], done.answer["version"]) == (0, records, "v2")
    assert keys(data, "rewrap").answer["rewrapped"] == 0
    assert versions(keys(data, "status")) == {"v1": 0, "v2": records}
    assert keys(data, "destroy-version", "v1").answer == {"provider": "local-file", "destroyed": "v1"}
    assert not (data / "kms" / "v1.key").exists()
    assert versions(keys(data, "status")) == {"v2": records}
    assert verify(data).code == 0
    assert run("search", "*", "--data", data, "--json").answer["total"] > 0


def test_the_words_for_people(data: Path) -> None:
    assert run("keys", "rotate", "--data", data).out.startswith("v2 is the newest key version now")
    assert "wrapped anew under v2" in run("keys", "rewrap", "--data", data).out
    assert run("keys", "destroy-version", "v1", "--data", data).out.startswith("v1 is destroyed")


def test_a_backup_of_the_key_store_opens_nothing_once_its_version_is_destroyed(
    data: Path, tmp_path: Path
) -> None:
    shutil.copytree(data / "keys", tmp_path / "backup")
    for action in (("rotate",), ("rewrap",), ("destroy-version", "v1")):
        assert keys(data, *action).code == 0
    shutil.rmtree(data / "keys")
    shutil.copytree(tmp_path / "backup", data / "keys")
    said = keys(data, "status")
    assert said.code == 1
    assert all(owner["secrets"] == [] for owner in said.answer["owners"])
    (elsewhere,) = said.answer["elsewhere"]
    assert elsewhere == "local-file v1"


@pytest.mark.parametrize("version", ["v2", "v9", "", "../v1"])
def test_a_version_that_is_not_there_is_refused(data: Path, version: str) -> None:
    refused(keys(data, "destroy-version", version), "kms.no_such_version")


def test_the_newest_version_is_not_destroyed(data: Path) -> None:
    assert keys(data, "rotate").code == 0
    refused(keys(data, "destroy-version", "v2"), "kms.newest")


@pytest.mark.parametrize("place", ["a", "b"])
def test_a_version_that_one_place_may_still_need_is_not_destroyed(data: Path, place: str) -> None:
    for action in ("rotate", "rewrap"):
        assert keys(data, action).code == 0
    (data / "keys" / place).rename(data / "keys" / "away")
    refused(keys(data, "destroy-version", "v1"), "kms.places_differ")
    assert (data / "kms" / "v1.key").exists()


@pytest.mark.parametrize("place", ["a", "b"])
def test_a_missing_place_stops_a_rewrap(data: Path, place: str) -> None:
    assert keys(data, "rotate").code == 0
    (data / "keys" / place).rename(data / "keys" / "away")
    refused(keys(data, "rewrap"), "key.place_missing")
    (data / "keys" / "away").rename(data / "keys" / place)
    assert keys(data, "rewrap").code == 0
    assert verify(data).code == 0


@pytest.mark.parametrize("place", ["a", "b"])
def test_status_names_a_record_that_the_places_hold_differently(data: Path, place: str) -> None:
    path = secret(data, place)
    path.unlink()
    said = keys(data, "status")
    assert said.code == 1
    assert said.answer["places_differ"] == [str(path.relative_to(data / "keys" / place))]
    assert keys(data, "rewrap").answer["healed"] == 1
    assert keys(data, "status").code == 0


def test_rewrap_names_what_opens_nowhere_and_does_the_rest(data: Path) -> None:
    for place in "ab":
        path = secret(data, place)
        path.write_bytes(path.read_bytes().replace(b'"sealed":"', b'"sealed":"AAAA'))
    assert keys(data, "rotate").code == 0
    said = keys(data, "rewrap")
    assert said.code == 1 and len(said.answer["broken"]) == 1
    assert said.answer["rewrapped"] == said.answer["records"] - 1
    assert said.answer["broken"][0]["name"] in run("keys", "rewrap", "--data", data).out


@pytest.mark.parametrize("action", [("rewrap",), ("destroy-version", "v1")])
def test_not_beside_an_erasure_batch(data: Path, action: tuple[str, ...]) -> None:
    assert keys(data, "rotate").code == 0
    leases = FileLeases(data / "run")
    assert leases.take("erasure")
    try:
        refused(keys(data, *action), "erasure.busy")
    finally:
        leases.close()


def test_a_key_service_whose_disk_is_not_mounted_is_away_and_gets_no_new_key(data: Path) -> None:
    (data / "kms" / "v1.key").unlink()
    said = keys(data, "status")
    assert said.code == 1 and said.answer["versions"] == []
    refused(keys(data, "rotate"), "kms.away")
    refused(keys(data, "rewrap"), "kms.away")
    assert not list((data / "kms").glob("v*.key"))


@pytest.mark.parametrize("arguments", [(), ("nothing",), ("destroy-version",)])
def test_wrong_use(data: Path, arguments: tuple[str, ...]) -> None:
    assert run("keys", *arguments, "--data", data).code == 2


def test_a_move_to_the_same_provider_is_wrong_use(data: Path, tmp_path: Path) -> None:
    old = settings_file(tmp_path / "old.toml", kms="local-file", kms_folder=str(data / "kms"))
    refused(keys(data, "rewrap", "--old-config", old), "kms.same_provider", 2)


def settings_file(path: Path, **settings: Any) -> Path:
    path.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items()))
    return path


def moved(data: Path, tmp_path: Path, **service: str) -> None:
    """The archive goes from its folder of keys to a service, and no longer needs the folder's keys."""
    old = settings_file(tmp_path / "old.toml", kms="local-file", kms_folder=str(data / "kms"))
    new = settings_file(tmp_path / "new.toml", **service)
    said = run("keys", "rewrap", "--old-config", old, "--config", new, "--data", data, "--json")
    assert said.code == 0, said.out + said.err
    assert said.answer["rewrapped"] == said.answer["records"] > 0
    (data / "kms" / "v1.key").unlink()
    status = run("keys", "status", "--config", new, "--data", data, "--json")
    assert status.code == 0 and status.answer["provider"] == service["kms"]
    assert sum(versions(status).values()) == said.answer["records"]
    for action in ("rotate", "rewrap"):
        assert run("keys", action, "--config", new, "--data", data).code == 0
    (first, _) = versions(run("keys", "status", "--config", new, "--data", data, "--json"))
    assert run("keys", "destroy-version", first, "--config", new, "--data", data).code == 0
    assert run("verify", "--config", new, "--data", data).code == 0
    assert run("search", "*", "--config", new, "--data", data, "--json").answer["total"] > 0


def test_a_move_to_a_pkcs11_token(data: Path, tmp_path: Path) -> None:
    with softhsm() as token:
        moved(
            data,
            tmp_path,
            kms="pkcs11",
            pkcs11_module=token.module,
            pkcs11_token=token.token,
            pkcs11_pin=token.pin,
            pkcs11_label=f"t{secrets.token_hex(4)}",
        )


def test_a_move_to_vault(data: Path, tmp_path: Path) -> None:
    with vault() as server:
        moved(
            data,
            tmp_path,
            kms="vault",
            vault_address=server.url,
            vault_token=server.token,
            vault_key=f"t{secrets.token_hex(4)}",
        )
