"""The command line: exit codes, one JSON object, settings, what is recorded, what survives a rebuild."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from archive_service.access.log import LedgerAccessLog
from archive_service.access.tokens import TokenVerifier
from archive_service.bootstrap import open_core
from archive_service.catalog.sql import SqlCatalog
from archive_service.commands import mail as mail_commands
from archive_service.commands.tokens import duration
from archive_service.ledger.payloads import open_capture
from archive_service.ledger.reader import LogReader
from archive_service.model.errors import Invalid, StoreError
from archive_service.places.leases import FileLeases
from archive_service.settings import Settings
from archive_service.vault import key_layout
from archive_service.vault.key_layout import LogId
from search.indexes.tantivy_index import TantivyIndex
from tests.flow.archive_fixtures import SAMPLES, Copy, Said, built, copy, mail, run, token, verify

__all__ = ["built", "copy"]  # fixtures


@pytest.fixture(autouse=True)
def no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("ARCHIVE_") and not name.startswith("ARCHIVE_TEST"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Said]:
    """Made and filled by the command line alone. Not to be changed but by what adds to it."""
    data = tmp_path_factory.mktemp("commands") / "archive"
    assert run("init", "--data", data, "--tenant", "acme").code == 0
    return data, run("import", "eml", SAMPLES, "--tenant", "acme", "--kind", "m365", "--data", data, "--json")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """An archive with a tenant and no mail."""
    data = tmp_path / "archive"
    assert run("init", "--data", data, "--tenant", "acme").code == 0
    return data


def refused(said: Said, code: int, error: str) -> None:
    """The exit code, and the same words for programs and for people."""
    assert said.code == code, said.out + said.err
    assert said.answer["error"]["code"] == error
    assert said.err == f"archive-service: {said.answer['error']['message']} ({error})\n"


# --- init and source ------------------------------------------------------------------------------------


def test_init_makes_an_archive_and_says_its_keys(tmp_path: Path) -> None:
    data = tmp_path / "deep" / "archive"
    said = run("init", "--data", data, "--tenant", "acme", "--json").answer
    assert set(said) == {"tenant", "id", "archive", "verifier_key"}
    assert said["verifier_key"].startswith(said["id"] + "+")
    assert (data / "objects").is_dir() and (data / "projections").is_dir()
    assert sorted(path.name for path in (data / "keys").iterdir() if path.is_dir()) == ["a", "b"]
    assert verify(data).code == 0


def test_init_adds_a_tenant_to_an_archive(small: Path) -> None:
    said = run("init", "--data", small, "--tenant", "beta", "--json").answer
    assert [tenant.name for tenant in tenants(small)] != []
    assert {tenant.name for tenant in tenants(small)} == {"acme", "beta"}
    assert said["id"] in {tenant.id for tenant in tenants(small)}


def tenants(data: Path) -> list[Any]:
    core = open_core(Settings(data=data))
    try:
        return core.tenants()
    finally:
        core.close()


def test_init_of_a_tenant_that_exists_is_refused(small: Path) -> None:
    refused(run("init", "--data", small, "--tenant", "acme", "--json"), 1, "tenant.exists")


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 201])
def test_init_with_a_senseless_name_is_wrong_use(tmp_path: Path, name: str) -> None:
    refused(run("init", "--data", tmp_path / "a", "--tenant", name, "--json"), 2, "tenant.name")


def test_text_that_is_not_utf8_is_wrong_use(small: Path) -> None:
    refused(run("init", "--data", small, "--tenant", "caf\udce9", "--json"), 2, "input.encoding")
    refused(run("search", "caf\udce9", "--data", small, "--json"), 2, "input.encoding")


def test_init_in_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    refused(run("init", "--data", tmp_path / "file" / "a", "--tenant", "acme", "--json"), 2, "store.denied")


def test_a_folder_that_may_not_be_entered(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "is_dir", refuse)
    refused(run("verify", "--data", small, "--json"), 1, "file.failed")


def test_a_lease_folder_that_cannot_be_written(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: FileLeases, name: str) -> bool:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(FileLeases, "take", refuse)
    refused(run("search", "*", "--data", small, "--json"), 1, "file.failed")


def test_source_add_prints_a_secret_address(small: Path) -> None:
    one = run("source", "add", "--tenant", "acme", "--kind", "exchange", "--name", "siège", "--data", small)
    assert re.fullmatch(r"[a-z2-7]{32}@archive\.localhost\n", one.out) and one.code == 0
    two = run(
        "source", "add", "--tenant", "acme", "--kind", "google", "--name", "Lyon", "--data", small, "--json"
    )
    assert set(two.answer) == {"id", "address", "seq"}
    assert two.answer["address"] != one.out.strip()
    listed = run("source", "list", "--tenant", "acme", "--data", small, "--json").answer["sources"]
    assert [(each["name"], each["kind"]) for each in listed] == [("siège", "exchange"), ("Lyon", "google")]
    assert "siège" in run("source", "list", "--tenant", "acme", "--data", small).out


def test_source_add_refuses(small: Path) -> None:
    add = ("source", "add", "--data", small, "--json", "--kind")
    assert run(*add, "zimbra", "--tenant", "acme", "--name", "a").code == 0
    refused(run(*add, "zimbra", "--tenant", "acme", "--name", "a"), 1, "source.exists")
    refused(run(*add, "zimbra", "--tenant", "acme", "--name", ""), 2, "source.name")
    refused(run(*add, "zimbra", "--tenant", "none", "--name", "b"), 1, "tenant.unknown")
    assert run(*add, "lotus", "--tenant", "acme", "--name", "b").code == 2


# --- an archive that is not there -----------------------------------------------------------------------

EVERY = {
    "source-add": ("source", "add", "--tenant", "acme", "--kind", "m365", "--name", "n"),
    "source-list": ("source", "list", "--tenant", "acme"),
    "token": ("token", "--tenant", "acme", "--role", "legal"),
    "import": ("import", "eml", SAMPLES, "--tenant", "acme"),
    "search": ("search", "*"),
    "export": ("export", "*", "--output", "never.zip"),
    "verify": ("verify",),
    "rebuild": ("rebuild",),
    "doctor": ("doctor",),
    "keys-status": ("keys", "status"),
}


@pytest.mark.parametrize("name", EVERY)
def test_a_missing_archive_is_said_and_not_made(name: str, tmp_path: Path) -> None:
    data = tmp_path / "nothing"
    refused(run(*EVERY[name], "--data", data, "--json"), 1, "archive.missing")
    assert not data.exists()


@pytest.mark.parametrize("name", EVERY)
def test_no_archive_at_all_is_wrong_use(name: str) -> None:
    refused(run(*EVERY[name], "--json"), 2, "settings.invalid")


@pytest.mark.parametrize("name", ["source-add", "source-list", "token", "import"])
def test_an_unknown_tenant_is_not_found(name: str, small: Path) -> None:
    arguments = ["none" if each == "acme" else each for each in EVERY[name]]
    refused(run(*arguments, "--data", small, "--json"), 1, "tenant.unknown")


@pytest.mark.parametrize("name", ["search", "export", "rebuild"])
def test_an_unknown_tenant_is_not_found_where_it_may_be_left_out(name: str, small: Path) -> None:
    refused(run(*EVERY[name], "--tenant", "none", "--data", small, "--json"), 1, "tenant.unknown")


@pytest.mark.parametrize(
    "arguments", [(), ("nothing",), ("import",), ("source",), ("keys",), ("import", "docx", ".")]
)
def test_no_such_command_is_wrong_use(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).code == 2


@pytest.mark.parametrize("key", ["v1.key", "lock-state.key"])
@pytest.mark.parametrize("damage", ["missing", "damaged"])
@pytest.mark.parametrize("name", [name for name in EVERY if name != "keys-status"])
def test_a_key_service_without_its_key_is_said(small: Path, name: str, damage: str, key: str) -> None:
    path = small / "kms" / key
    path.unlink()
    if damage == "damaged":
        path.write_bytes(b"no hex \xff")
    said = run(*EVERY[name], "--data", small, "--json")
    assert said.code == 1
    named = "key service" if (key, damage) == ("v1.key", "missing") else key.removesuffix(".key")
    assert named in said.out
    assert path.exists() == (damage == "damaged")  # and no other key is made in its place


# --- settings -------------------------------------------------------------------------------------------


def test_the_archive_may_come_from_the_environment(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHIVE_DATA", str(small))
    assert run("doctor").code == 0


def test_the_archive_may_come_from_a_file(small: Path, tmp_path: Path) -> None:
    config = tmp_path / "archive.toml"
    config.write_text(f'data = "{small}"\nsmtp_domain = "archives.exemple.fr"\n')
    said = run(
        "source", "add", "--tenant", "acme", "--kind", "m365", "--name", "n", "--config", config, "--json"
    ).answer
    assert said["address"].endswith("@archives.exemple.fr")


def test_the_command_line_is_above_the_environment_and_that_above_the_file(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "archive.toml"
    config.write_text(f'data = "{small}"\n')
    monkeypatch.setenv("ARCHIVE_DATA", str(tmp_path / "elsewhere"))
    refused(run("doctor", "--config", config, "--json"), 1, "archive.missing")
    assert run("doctor", "--config", config, "--data", small).code == 0


@pytest.mark.parametrize("text", ["dta = 1", "data = [", 'parser_seconds = "many"', b"\xff"])
def test_a_file_that_is_not_understood_is_wrong_use(tmp_path: Path, text: str | bytes) -> None:
    config = tmp_path / "archive.toml"
    config.write_bytes(text if isinstance(text, bytes) else text.encode())
    refused(run("doctor", "--config", config, "--json"), 2, "settings.invalid")
    refused(run("doctor", "--config", tmp_path / "none.toml", "--json"), 2, "settings.invalid")


# --- token ----------------------------------------------------------------------------------------------


def test_a_token_is_one_that_the_api_takes(small: Path) -> None:
    token = run(
        "token", "--tenant", "acme", "--role", "legal", "--subject", "marie", "--data", small
    ).out.strip()
    (tenant,) = tenants(small)
    actor = TokenVerifier({tenant.id: tenant.token_public_key()}.get).verify(token)
    assert (actor.subject, actor.role.value, actor.tenant) == ("marie", "legal", tenant.id)


def test_a_tokens_subject_is_its_role_unless_said(small: Path) -> None:
    said = run("token", "--tenant", "acme", "--role", "auditor", "--data", small, "--json")
    assert set(said.answer) == {"token"}
    (tenant,) = tenants(small)
    actor = TokenVerifier({tenant.id: tenant.token_public_key()}.get).verify(said.answer["token"])
    assert actor.subject == "auditor"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("15m", 900), ("1h", 3600), ("7d", 7 * 86400), ("99999999d", 99999999 * 86400)],
)
def test_durations(text: str, seconds: int) -> None:
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "1", "h", "0h", "-1h", "1.5h", "1w", "1h ", "²h", "1h30m", "999999999d"]
)
def test_what_is_no_duration_is_wrong_use(small: Path, text: str) -> None:
    with pytest.raises(Invalid):
        duration(text)
    said = run("token", "--tenant", "acme", "--role", "legal", f"--ttl={text}", "--data", small, "--json")
    refused(said, 2, "input.duration")


def test_a_token_for_longer_than_a_year_is_wrong_use(small: Path) -> None:
    said = run("token", "--tenant", "acme", "--role", "legal", "--ttl", "400d", "--data", small, "--json")
    refused(said, 2, "token.ttl_invalid")
    assert run("token", "--tenant", "acme", "--role", "king", "--data", small).code == 2


# --- import ---------------------------------------------------------------------------------------------


def test_import_says_what_it_archived(imported: tuple[Path, Said]) -> None:
    data, said = imported
    assert said.code == 0
    assert set(said.answer) == {"imported", "already", "failed", "reasons", "source", "captures"}
    assert said.answer["imported"] == len(said.answer["captures"]) == len(list(SAMPLES.glob("*.eml")))
    (source,) = run("source", "list", "--tenant", "acme", "--data", data, "--json").answer["sources"]
    assert (source["id"], source["kind"]) == (said.answer["source"], "m365")


def test_import_keeps_every_byte_and_the_name(imported: tuple[Path, Said]) -> None:
    data, said = imported
    core = open_core(Settings(data=data))
    try:
        (tenant,) = core.tenants()
        log = LogId(tenant.id, "capture-1")
        entries = [entry for entry in LogReader(core.store, log).entries() if entry.type == "capture"]
        opened = [open_capture(core.store, tenant.keyring, log, entry.fields) for entry in entries]
    finally:
        core.close()
    assert [entry.fields["capture"] for entry in entries] == said.answer["captures"]
    names = [json.loads(each.record)["origin"] for each in opened]
    assert names == sorted(path.name for path in SAMPLES.glob("*.eml"))
    assert [each.raw for each in opened] == [(SAMPLES / name).read_bytes() for name in names]


def test_a_second_import_goes_to_the_same_source(small: Path, tmp_path: Path) -> None:
    mails = tmp_path / "mails" / "deep"
    mails.mkdir(parents=True)
    (mails / "one.EML").write_bytes(mail(1))
    (mails / "notes.txt").write_bytes(b"no mail")
    (mails.parent / "two.eml").write_bytes(mail(2))
    one = run("import", "eml", mails.parent, "--tenant", "acme", "--data", small, "--json").answer
    two = run("import", "eml", mails / "one.EML", "--tenant", "acme", "--data", small, "--json").answer
    assert (one["imported"], two["imported"]) == (2, 1)
    assert one["source"] == two["source"]
    found = run("search", "subject:essai", "--data", small, "--json").answer
    assert found["total"] == 2  # the same mail twice is one message of two captures
    assert verify(small).code == 0


def test_an_import_of_nothing_archives_nothing(small: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    said = run("import", "eml", tmp_path / "empty", "--tenant", "acme", "--data", small, "--json")
    assert (said.code, said.answer["imported"]) == (0, 0)
    refused(
        run("import", "eml", tmp_path / "none", "--tenant", "acme", "--data", small, "--json"),
        2,
        "import.folder",
    )
    assert (
        run("import", "eml", tmp_path / "empty", "--tenant", "acme", "--kind", "lotus", "--data", small).code
        == 2
    )


def test_a_name_that_is_not_utf8_is_imported(small: Path, tmp_path: Path) -> None:
    mails = tmp_path / "mails"
    mails.mkdir()
    (mails / os.fsdecode(b"re\xe7u.eml")).write_bytes(mail(1))
    assert run("import", "eml", mails, "--tenant", "acme", "--data", small).code == 0


# --- search ---------------------------------------------------------------------------------------------


def test_search_finds_and_says_so(imported: tuple[Path, Said]) -> None:
    data, _ = imported
    said = run("search", "devis", "--data", data, "--json")
    assert said.code == 0
    assert set(said.answer) == {"total", "hits", "not_fully_indexed", "drafts_left_out"}
    (hit,) = said.answer["hits"]
    assert set(hit) == {"id", "sent_at", "from", "to", "subject"}
    assert hit["from"] == "tanaka@example.com" and "devis №42" in hit["subject"]
    plain = run("search", "devis", "--data", data)
    assert "devis №42" in plain.out and "1 found" in plain.out


def test_search_that_finds_nothing_says_no(imported: tuple[Path, Said]) -> None:
    said = run("search", "introuvable", "--data", imported[0], "--json")
    assert (said.code, said.answer["total"], said.answer["hits"]) == (1, 0, [])


@pytest.mark.parametrize("query", ["(", '"', "a NEAR/x b", "", "subject:"])
def test_a_query_that_does_not_parse_is_wrong_use(imported: tuple[Path, Said], query: str) -> None:
    said = run("search", query, "--data", imported[0], "--json")
    assert said.code == 2 and said.answer["error"]["code"].startswith("query.")
    assert re.search(r" at character [0-9]+ \(query\.[a-z_]+\)\n$", said.err)
    assert run("export", query, "-o", imported[0] / "never.zip", "--data", imported[0]).code == 2


@pytest.mark.parametrize("limit", ["0", "1001", "-5", "x"])
def test_a_limit_out_of_bounds_is_wrong_use(imported: tuple[Path, Said], limit: str) -> None:
    assert run("search", "*", f"--limit={limit}", "--data", imported[0]).code == 2


def test_a_limit_is_kept(imported: tuple[Path, Said]) -> None:
    said = run("search", "*", "--limit", 2, "--data", imported[0], "--json").answer
    assert len(said["hits"]) == 2 < said["total"]


def test_which_tenant_must_be_said_when_there_are_several(small: Path) -> None:
    run("init", "--data", small, "--tenant", "beta")
    refused(run("search", "*", "--data", small, "--json"), 2, "tenant.unclear")
    assert run("search", "*", "--tenant", "beta", "--data", small).code == 1


def access_entries(data: Path) -> list[dict[str, Any]]:
    core = open_core(Settings(data=data))
    try:
        (tenant,) = core.tenants()
        log = LogId(tenant.id, "access-1")
        entries = [entry for entry in LogReader(core.store, log).entries() if entry.type == "access"]
        return [tenant.vault.open(log, entry.fields["payload"]) for entry in entries]
    finally:
        core.close()


def test_search_is_recorded(imported: tuple[Path, Said], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail_commands.getpass, "getuser", lambda: "marie")
    said = run("search", "devis", "--purpose", "contrôle", "--data", imported[0], "--json").answer
    entry = access_entries(imported[0])[-1]
    assert entry["actor"] == "cli:marie" and entry["action"] == "search"
    assert entry["ids"] == [hit["id"] for hit in said["hits"]]
    assert (entry["purpose"], entry["detail"]["query"]) == ("contrôle", "devis")


def test_a_user_without_a_name_is_recorded_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may run under any user id."""

    def nameless() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr(mail_commands.getpass, "getuser", nameless)
    assert mail_commands.operator() == f"cli:uid-{os.getuid()}"


def test_nothing_is_shown_that_is_not_recorded(
    imported: tuple[Path, Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: LedgerAccessLog, event: object) -> None:
        raise StoreError("a planned fault")

    monkeypatch.setattr(LedgerAccessLog, "record", fail)
    said = run("search", "devis", "--data", imported[0], "--json")
    refused(said, 1, "store.failed")
    assert "devis" not in said.out


# --- export ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(imported: tuple[Path, Said], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Said]:
    target = tmp_path_factory.mktemp("export") / "out" / "bundle.zip"
    return target, run("export", "devis", "-o", target, "--data", imported[0], "--json")


def test_export_writes_a_bundle_that_verifies(
    imported: tuple[Path, Said], exported: tuple[Path, Said]
) -> None:
    target, said = exported
    assert said.code == 0, said.err
    assert {"path", "size", "manifest_sha256", "captures", "pages", "messages"} <= set(said.answer)
    assert said.answer["size"] == target.stat().st_size
    assert run("verify-bundle", target, "--json").answer == {"ok": True, "problems": []}
    assert [entry["action"] for entry in access_entries(imported[0])].count("export.make") == 1


def test_a_bundle_that_was_changed_does_not_verify(exported: tuple[Path, Said], tmp_path: Path) -> None:
    data = bytearray(exported[0].read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "bundle.zip").write_bytes(data)
    said = run("verify-bundle", tmp_path / "bundle.zip", "--json")
    assert said.code == 1 and said.answer["problems"] and not said.answer["ok"]
    (tmp_path / "no.zip").write_bytes(b"no bundle")
    assert run("verify-bundle", tmp_path / "no.zip", "--json").code == 1
    refused(run("verify-bundle", tmp_path / "none.zip", "--json"), 2, "bundle.path")


def test_an_export_is_of_a_query_or_of_ids(imported: tuple[Path, Said], tmp_path: Path) -> None:
    data, _ = imported
    out = ("-o", tmp_path / "x.zip", "--data", data, "--json")
    refused(run("export", *out), 2, "export.selection")
    refused(run("export", "devis", "--id", "m1", *out), 2, "export.selection")
    refused(run("export", "introuvable", *out), 1, "export.empty")
    assert run("export", "--id", "m" + "a" * 32, *out).code == 1
    assert not (tmp_path / "x.zip").exists()
    assert run("export", "devis", "--data", data).code == 2  # without --output


def test_an_export_replaces_no_file(imported: tuple[Path, Said], tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"kept")
    refused(
        run("export", "devis", "-o", tmp_path / "x.zip", "--data", imported[0], "--json"), 2, "export.output"
    )
    assert (tmp_path / "x.zip").read_bytes() == b"kept"


# --- rebuild --------------------------------------------------------------------------------------------


def projections(data: Path, tenant: str) -> tuple[list[dict[str, Any]], dict[str, int]]:
    folder = data / "projections" / tenant
    catalog = SqlCatalog.sqlite(folder / "catalog.sqlite")
    try:
        return list(catalog.dump()), TantivyIndex(folder / "index").ids()
    finally:
        catalog.close()


def test_rebuild_gives_the_same_rows_ids_and_index(copy: Copy) -> None:
    before = projections(copy.data, copy.of.tenant)
    found = run("search", "devis", "--tenant", "acme", "--data", copy.data, "--json").answer
    shutil.rmtree(copy.data / "projections")
    said = run("rebuild", "--tenant", "acme", "--data", copy.data, "--json")
    assert said.code == 0
    assert said.answer == {"projected": {"acme": len(copy.entries(copy.of.order))}, "unreadable": {}}
    assert projections(copy.data, copy.of.tenant) == before
    assert run("search", "devis", "--tenant", "acme", "--data", copy.data, "--json").answer == found
    assert verify(copy.data).code == 0


def test_rebuild_of_all_tenants(copy: Copy) -> None:
    said = run("rebuild", "--data", copy.data)
    assert said.code == 0 and "acme: " in said.out and "beta: " in said.out


def test_rebuild_beside_a_running_service_is_refused(copy: Copy) -> None:
    before = projections(copy.data, copy.of.tenant)
    service = FileLeases(copy.data / "run")
    assert service.take("follower")
    try:
        refused(run("rebuild", "--data", copy.data, "--json"), 1, "rebuild.busy")
    finally:
        service.close()
    assert projections(copy.data, copy.of.tenant) == before


def test_rebuild_says_what_it_cannot_read(copy: Copy) -> None:
    """A capture entry whose log has gone: the other mails are there again all the same."""
    copy.delete(*copy.batches(copy.of.captures)[2:])
    said = run("rebuild", "--tenant", "acme", "--data", copy.data, "--json")
    assert said.code == 1
    assert said.answer["unreadable"]["acme"] > 0
    rows, indexed = projections(copy.data, copy.of.tenant)
    assert len({row["id"] for row in rows if row["table"] == "messages"}) == len(indexed) > 0


def test_rebuild_over_a_damaged_catalog(copy: Copy) -> None:
    before = projections(copy.data, copy.of.tenant)
    folder = copy.data / "projections" / copy.of.tenant
    (folder / "catalog.sqlite").write_bytes(b"no database at all")
    (folder / "index" / "meta.json").write_bytes(b"no index")
    assert run("rebuild", "--tenant", "acme", "--data", copy.data).code == 0
    assert projections(copy.data, copy.of.tenant) == before


# --- doctor and keys ------------------------------------------------------------------------------------


def test_doctor_of_a_healthy_archive(small: Path) -> None:
    said = run("doctor", "--data", small, "--json")
    assert said.code == 0 and said.answer["healthy"]
    assert set(said.answer["checks"]) == {"store", "key service", "tenants", "here", "writing"}
    assert said.answer["checks"]["tenants"] == "acme"


def test_doctor_names_what_is_wrong(small: Path) -> None:
    (small / "kms" / "v1.key").unlink()
    said = run("doctor", "--data", small, "--json")
    assert said.code == 1 and not said.answer["healthy"]
    assert said.answer["checks"]["key service"].startswith("FAILED (kms.away)")
    assert said.answer["checks"]["writing"].startswith("both key places")


def test_a_misspelt_variable_is_told_by_doctor_and_at_the_start(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARCHIVE_STROE", "s3cret")
    said = run("doctor", "--data", small, "--json")
    assert (said.code, said.answer["healthy"]) == (0, True)
    assert said.answer["checks"]["variable ARCHIVE_STROE"] == "ARCHIVE_STROE is no setting; ARCHIVE_STORE is"
    program = [Path(sys.executable).parent / "archive-service", "serve", "--data", tmp_path / "none"]
    done = subprocess.run(program, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    assert "ARCHIVE_STROE is no setting; ARCHIVE_STORE is" in done.stderr
    assert "s3cret" not in done.stderr


def test_keys_status(small: Path) -> None:
    said = run("keys", "status", "--data", small, "--json")
    assert said.code == 0 and said.answer["provider"] == "local-file"
    (tenant,) = tenants(small)
    (owner,) = [each for each in said.answer["owners"] if each["owner"] == tenant.id]
    assert sorted(owner["generations"]) == ["1", "2"]
    assert owner["secrets"] == ["identity", "root-salt", "signing", "token"]
    assert owner["broken"] == []


def test_keys_status_names_what_does_not_open(small: Path) -> None:
    (tenant,) = tenants(small)
    for place in "ab":
        (small / "keys" / place / tenant.id / "generations" / "latest").write_bytes(b"{}")
        (small / "keys" / place / key_layout.secret_name(tenant.id, "token")).write_bytes(b"{}")
    said = run("keys", "status", "--data", small, "--json")
    assert said.code == 1
    (owner,) = [each for each in said.answer["owners"] if each["owner"] == tenant.id]
    assert len(owner["broken"]) == 2 and "identity" in owner["secrets"]
    assert "latest" in run("keys", "status", "--data", small).out


# --- the end --------------------------------------------------------------------------------------------


def test_an_interrupt_ends_with_130(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> Iterator[None]:
        raise KeyboardInterrupt

    monkeypatch.setattr(FileLeases, "take", interrupt)
    assert run("search", "*", "--data", small).code == 130


def test_a_reader_that_goes_away_is_no_failure_of_ours(small: Path) -> None:
    program = Path(sys.executable).parent / "archive-service"
    with subprocess.Popen(
        [program, "source", "list", "--tenant", "acme", "--data", small],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode == 1 and said == b""


def test_an_input_file_that_is_not_there_is_wrong_use(small: Path, tmp_path: Path) -> None:
    none, at = tmp_path / "none", ("--data", small, "--json")
    by = ("--tenant", "acme", "--token", token(small, "legal", "zoe"))
    order = ("--issuer", "i", "--reference", "r", "--dated", "2026-01-01", "--text", "t", "--query", "*")
    for words, code in (
        (("orders", "ask", "keep", *order, "--document", none, "--reason", "x", *by), "input.file"),
        (("custodians", "set", "--record", none, "--tenant", "acme"), "input.file"),
        (("custodians", "import", "csv", none, "--origin", "hr", "--tenant", "acme"), "input.file"),
        (("schedule", "dry-run", none, *by), "schedule.file"),
        (("verify-bundle", none), "bundle.path"),
        (("import", "eml", none, "--tenant", "acme"), "import.folder"),
        (("import", "mbox", none, "--tenant", "acme"), "import.folder"),
    ):
        refused(run(*words, *at), 2, code)
