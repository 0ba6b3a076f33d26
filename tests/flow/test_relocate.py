"""An archive moved to another store: what stands there is what stood here, and only one of the two goes on."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from archive_service.bootstrap import Core, open_core
from archive_service.ledger.moves import move_log, recorded
from archive_service.ledger.payloads import open_capture
from archive_service.ledger.reader import LogReader, logs, owners
from archive_service.model.errors import Refused, StoreError
from archive_service.relocation.copying import same_lock
from archive_service.settings import Settings
from archive_service.vault.stores.base import Lock
from archive_service.vault.stores.filesystem import FileSystemKeyPlace, FileSystemStore
from ingest.archive_intake import ArchiveIntake, TenantIntake
from ingest.smtp.replies import for_error
from tests.flow.archive_fixtures import Copy, Unfollowed, built, copy, mail, run
from tests.flow.test_rebuild import index_of, tables
from tests.services.s3 import S3Service, new_bucket, s3_service

__all__ = ["built", "copy", "s3_service"]


class Archive:
    """An archive by the arguments that open it, and the arguments that make it a target."""

    def __init__(self, settings: dict[str, Any], folder: Path) -> None:
        self.settings = settings
        self.folder = folder

    @property
    def work(self) -> Path:
        return Path(self.settings.get("data") or self.settings["work"])

    def arguments(self) -> list[str]:
        return self._as("--data", "--config")

    def as_target(self) -> list[str]:
        return self._as("--to-data", "--to-config")

    def _as(self, data: str, config: str) -> list[str]:
        if "data" in self.settings:
            return [data, str(self.settings["data"])]
        file = self.folder / "settings.toml"
        file.write_text("".join(f'{name} = "{value}"\n' for name, value in self.settings.items()))
        return [config, str(file)]

    def open(self) -> Core:
        return open_core(Settings(**self.settings))

    def run(self, command: str, *more: object) -> Any:
        return run(command, *self.arguments(), "--json", *more)


def embedded(folder: Path) -> Archive:
    return Archive({"data": str(folder)}, folder)


def on_s3(service: S3Service, folder: Path) -> Archive:
    """An archive in a fresh bucket, its keys in two others, its key service in a folder."""
    names = [new_bucket(service, locked=locked).bucket for locked in (True, False, False)]
    folder.mkdir()
    settings = {
        "store": "s3",
        "s3_endpoint": service.url,
        "s3_access_key": service.access_key,
        "s3_secret_key": service.secret_key,
        "s3_bucket": names[0],
        "keys_a": f"s3://{names[1]}",
        "keys_b": f"s3://{names[2]}",
        "kms_folder": str(folder / "kms"),
        "work": str(folder / "work"),
    }
    return Archive(settings, folder)


@pytest.fixture(params=["filesystem", "s3"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Archive:
    """An empty place to move to."""
    if request.param == "s3":
        return on_s3(request.getfixturevalue("s3_service"), tmp_path / "target")
    return embedded(tmp_path / "target")


def relocate(source: Archive, target: Archive, *more: object) -> Any:
    return source.run("relocate", *target.as_target(), *more)


def held(archive: Archive) -> dict[str, tuple[bytes, Lock]]:
    """Every object of a store by key: its bytes and lock."""
    core = archive.open()
    try:
        keys = [stored.key for prefix in ("objects/", "ledger/") for stored in core.store.list(prefix)]
        return {key: (core.store.read(key), core.store.stat(key)[0][1]) for key in keys}
    finally:
        core.close()


def content(archive: Archive) -> dict[str, bytes]:
    """Every capture that opens, by id: the mail."""
    core = archive.open()
    try:
        return {
            str(entry.fields["capture"]): open_capture(core.store, tenant.keyring, log, entry.fields).raw
            for tenant in core.tenants()
            for log in logs(core.store, tenant.id)
            if log.kind == "capture"
            for entry in LogReader(core.store, log).entries()
            if entry.type == "capture"
        }
    finally:
        core.close()


def projected(archive: Archive, owner: str) -> list[Any]:
    """Rows and documents; without the position, for the closing claims every slot once more."""
    rows = tables(archive.work, owner)
    del rows["position"]
    return [rows, index_of(archive.work, owner)]


def closed(archive: Archive) -> set[bool]:
    core = archive.open()
    try:
        return {tenant.acts.moved for tenant in core.tenants()}
    finally:
        core.close()


def hold_one(archive: Archive) -> str:
    """A legal hold upon a capture; its key."""
    core = archive.open()
    try:
        key = next(stored.key for stored in core.store.list("objects/") if "capture" in stored.key)
        stored, lock = core.store.stat(key)[0]
        core.store.protect(key, stored.version, Lock(lock.mode, lock.until, hold=True))
        return key
    finally:
        core.close()


def require_same(before: dict[str, tuple[bytes, Lock]], after: dict[str, tuple[bytes, Lock]]) -> None:
    for key, (data, lock) in before.items():
        assert after[key][0] == data, key
        assert same_lock(after[key][1], lock), key


def require_clean(archive: Archive) -> dict[str, Any]:
    said = archive.run("verify")
    assert said.code == 0, said.damage
    answer: dict[str, Any] = said.answer
    return answer


# --- there and back ------------------------------------------------------------------------------------


def test_a_whole_archive_moves(copy: Copy, target: Archive) -> None:
    source = embedded(copy.data)
    key = hold_one(source)
    before, mails = held(source), content(source)
    rows = projected(source, copy.of.tenant)
    said = relocate(source, target)
    assert said.code == 0, said.out
    assert said.answer["moved"] and not said.answer["problems"]
    after = held(target)
    require_same(before, after)
    assert after[key][1].hold
    assert content(target) == mails
    require_clean(target)
    assert target.run("rebuild").code == 0
    require_clean(target)
    assert projected(target, copy.of.tenant) == rows
    assert closed(source) == {True} and closed(target) == {False}


def test_back_again_from_s3(copy: Copy, s3_service: S3Service, tmp_path: Path) -> None:
    """Two moves on end: versions of three stores, one after the other, in one log."""
    source, bucket, back = (
        embedded(copy.data),
        on_s3(s3_service, tmp_path / "s3"),
        embedded(tmp_path / "back"),
    )
    mails = content(source)
    assert relocate(source, bucket).code == 0
    said = relocate(bucket, back)
    assert said.code == 0, said.out
    require_same(held(bucket), held(back))
    assert content(back) == mails
    require_clean(back)
    core = back.open()
    try:
        moves = recorded(core.store, copy.of.tenant)
    finally:
        core.close()
    by_key: dict[str, int] = {}
    for move in moves:
        by_key[move.key] = by_key.get(move.key, 0) + 1
    assert set(by_key.values()) == {2}


def test_what_was_moved_is_anchored(copy: Copy, tmp_path: Path) -> None:
    source, target = embedded(copy.data), embedded(tmp_path / "target")
    assert relocate(source, target).code == 0
    core = target.open()
    try:
        assert move_log(copy.of.tenant) in logs(core.store, copy.of.tenant)
        assert recorded(core.store, copy.of.tenant)
    finally:
        core.close()
    answer = require_clean(target)
    assert answer["checked"]["unsigned"] <= 1  # the root log's own last entry
    assert not [problem for problem in answer["problems"] if "anchored" in problem["detail"]]


# --- only one of the two goes on -----------------------------------------------------------------------


def test_the_source_takes_no_more(copy: Copy, tmp_path: Path) -> None:
    source, target = embedded(copy.data), embedded(tmp_path / "target")
    assert relocate(source, target).code == 0
    said = (
        source.run("source", "add", "--tenant", "acme", "--kind", "m365", "--name", "late") if False else None
    )
    assert said is None
    refused = run(
        "source", "add", "--data", copy.data, "--tenant", "acme", "--kind", "m365", "--name", "x", "--json"
    )
    assert refused.code == 1 and refused.answer["error"]["code"] == "archive.moved"
    core = source.open()
    try:
        tenant = core.tenant("acme")
        intake = ArchiveIntake(lambda: [TenantIntake(tenant.id, tenant.acts, no_writer)], core.clock)
        try:
            intake.refresh()
            with pytest.raises(Refused) as caught:
                asyncio.run(intake.match(tenant.acts.sources()[0].address))
        finally:
            intake.close()
        assert caught.value.code == "archive.moved"
        assert for_error(caught.value).wire.startswith(b"451 ")
    finally:
        core.close()
    require_clean(source)


def no_writer() -> Any:
    raise AssertionError("nothing may be written")


def test_import_into_the_source_is_refused(copy: Copy, tmp_path: Path) -> None:
    assert relocate(embedded(copy.data), embedded(tmp_path / "target")).code == 0
    folder = tmp_path / "mails"
    folder.mkdir()
    (folder / "a.eml").write_bytes(mail(77))
    said = run("import", "eml", folder, "--tenant", "acme", "--data", copy.data, "--json")
    assert said.code == 1 and said.answer["error"]["code"] == "archive.moved"


def test_doctor_says_that_the_source_has_moved(copy: Copy, tmp_path: Path) -> None:
    assert run("doctor", "--data", copy.data, "--json").code == 0
    assert relocate(embedded(copy.data), embedded(tmp_path / "target")).code == 0
    said = run("doctor", "--data", copy.data, "--json")
    assert said.code == 1 and "archive.moved" in said.answer["checks"]["here"]
    assert run("doctor", "--data", tmp_path / "target", "--json").code == 0


def test_the_target_goes_on(copy: Copy, target: Archive) -> None:
    assert relocate(embedded(copy.data), target).code == 0
    core = target.open()
    try:
        tenant = core.tenant("acme")
        Unfollowed(core, tenant, tenant.acts.sources()[0]).write([mail(60)])
    finally:
        core.close()
    require_clean(target)
    assert target.run("search", "subject:60", "--tenant", "acme").code == 0
    require_clean(target)


def test_a_relocation_that_is_given_up_opens_the_source(copy: Copy, tmp_path: Path) -> None:
    source = embedded(copy.data)
    assert relocate(source, embedded(tmp_path / "target")).code == 0
    assert source.run("relocate", "--abandon").code == 0
    assert closed(source) == {False}
    assert source.run("relocate", "--abandon").code == 1
    require_clean(source)


def test_a_running_service_stops_the_last_pass_only(copy: Copy, tmp_path: Path) -> None:
    source, target = embedded(copy.data), embedded(tmp_path / "target")
    service = source.open()
    tenant = service.tenant("acme")
    writer = Unfollowed(service, tenant, tenant.acts.sources()[0])
    try:
        writer.write([mail(70)])  # its slot's lease stays held
        said = relocate(source, target)
        assert said.code == 1 and said.answer["error"]["code"] == "relocate.busy"
        assert not owners_of(target)
        first = relocate(source, target, "--first-pass")
        assert first.code == 0 and not first.answer["moved"]
        writer.write([mail(71)])
    finally:
        service.close()
    assert closed(source) == {False}
    last = relocate(source, target)
    assert last.code == 0 and last.answer["standing"] > last.answer["copied"] > 0
    assert content(target) == content(source)
    require_clean(target)


def owners_of(archive: Archive) -> list[str]:
    core = open_core(Settings(**archive.settings), create=True)
    try:
        return owners(core.store)
    finally:
        core.close()


# --- damage --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", ["small", "large"])
def test_tamper_a_source_object_is_named_and_not_copied(copy: Copy, target: Archive, size: str) -> None:
    log = copy.of.captures
    large = copy.entries(log)[copy.of.large.seq]["object"]["key"]
    key = large if size == "large" else next(each for each in copy.objects(log) if each != large)
    copy.flip(key)
    source = embedded(copy.data)
    said = relocate(source, target)
    assert said.code == 1 and not said.answer["moved"]
    assert [problem["name"] for problem in said.answer["problems"]] == [key]
    assert key not in held(target)
    assert closed(source) == {False}
    despite = relocate(source, target, "--despite-damage")
    assert despite.code == 1 and despite.answer["moved"]
    assert key not in held(target)
    damage = target.run("verify").damage
    assert {problem["name"] for problem in damage} == {key}


@pytest.mark.parametrize("what", ["missing", "lock"])
def test_tamper_other_damage_of_the_source_is_named(copy: Copy, tmp_path: Path, what: str) -> None:
    key = copy.objects(copy.of.captures)[0]
    if what == "missing":
        copy.delete(key)
    else:
        copy.flip(f"{key.rpartition('/')[0]}/.locks")
    said = relocate(embedded(copy.data), embedded(tmp_path / "target"))
    assert said.code == 1
    assert key in {problem["name"] for problem in said.answer["problems"]}


def test_tamper_a_broken_chain_is_named_and_nothing_behind_it_copied_as_good(
    copy: Copy, tmp_path: Path
) -> None:
    batch = copy.batches(copy.of.captures)[2]
    copy.edit(batch, lambda data: data.replace(b'"prev":"', b'"prev":"0', 1))
    said = relocate(embedded(copy.data), embedded(tmp_path / "target"))
    assert said.code == 1
    assert str(copy.of.captures) in {problem["name"] for problem in said.answer["problems"]}
    first = copy.first_seq(batch)
    named = [
        entry["object"]["key"]
        for entry in copy.entries(copy.of.captures)
        if "object" in entry and entry["seq"] > first
    ]
    assert named and not set(named) & set(held(embedded(tmp_path / "target")))


def test_tamper_key_places_that_differ_are_refused(copy: Copy, tmp_path: Path) -> None:
    name = next((copy.data / "keys" / "a" / copy.of.tenant / "records").rglob("0*"))
    file = next(
        path for path in (copy.data / "keys" / "a" / copy.of.tenant / "records").rglob("*") if path.is_file()
    )
    assert name.exists()
    copy.write(str(file.relative_to(copy.data)), file.read_bytes() + b" ")
    said = relocate(embedded(copy.data), embedded(tmp_path / "target"))
    assert said.code == 1 and said.answer["error"]["code"] == "relocate.places"


def test_tamper_a_move_that_lies_is_named(copy: Copy, tmp_path: Path) -> None:
    target = embedded(tmp_path / "target")
    assert relocate(embedded(copy.data), target).code == 0
    there = Copy(tmp_path / "target", copy.of)
    batches = there.batches(move_log(copy.of.tenant))
    there.edit(batches[-1], lambda data: data.replace(b'"to":"1"', b'"to":"2"', 1))
    assert any("its move" in problem["detail"] for problem in target.run("verify").damage)


# --- interrupted, repeated, refused --------------------------------------------------------------------


def test_a_target_that_is_not_empty_is_refused(copy: Copy, target: Archive) -> None:
    run("init", "--tenant", "other", *target.arguments())
    said = relocate(embedded(copy.data), target)
    assert said.code == 1 and said.answer["error"]["code"] == "relocate.target"
    assert closed(embedded(copy.data)) == {False}


def test_a_target_that_went_on_is_refused(copy: Copy, tmp_path: Path) -> None:
    source, target = embedded(copy.data), embedded(tmp_path / "target")
    assert relocate(source, target).code == 0
    assert source.run("relocate", "--abandon").code == 0
    core = source.open()
    try:
        tenant = core.tenant("acme")
        Unfollowed(core, tenant, tenant.acts.sources()[0]).write([mail(80)])
    finally:
        core.close()
    core = target.open()
    try:
        tenant = core.tenant("acme")
        Unfollowed(core, tenant, tenant.acts.sources()[0]).write([mail(81)])
    finally:
        core.close()
    said = relocate(source, target)
    assert said.code == 1 and said.answer["error"]["code"] == "relocate.diverged"


def test_a_second_run_finds_all_done(copy: Copy, target: Archive) -> None:
    source = embedded(copy.data)
    first = relocate(source, target)
    second = relocate(source, target)
    assert first.code == second.code == 0
    assert second.answer["copied"] == 0 and second.answer["moves"] == 0
    require_clean(target)


_KILLED = """
import os, signal, sys
from archive_service.relocation import copying, relocating
from archive_service.cli import main
where, count = sys.argv[1], int(sys.argv[2])
seen = 0
def counted(whole, after):
    def act(*given, **named):
        global seen
        seen += 1
        if seen == count and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = whole(*given, **named)
        if seen == count and after:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return act
after = where.endswith("+")
name = where.rstrip("+")
kind = copying.Copier if name == "_create" else relocating.Relocation
setattr(kind, name, counted(getattr(kind, name), after))
sys.exit(main(sys.argv[3:]))
"""


@pytest.mark.parametrize("place", ["_create", "_create+"])
@pytest.mark.parametrize("count", [1, 40, 90])
def test_killed_while_copying_and_resumed(copy: Copy, tmp_path: Path, place: str, count: int) -> None:
    cut_and_resumed(copy, tmp_path, place, count)


@pytest.mark.parametrize("place", ["_close", "_close_tenant+", "_close+", "_arrive", "_arrive+"])
def test_killed_between_the_steps_and_resumed(copy: Copy, tmp_path: Path, place: str) -> None:
    cut_and_resumed(copy, tmp_path, place, 1)


def cut_and_resumed(copy: Copy, tmp_path: Path, place: str, count: int) -> None:
    source, target = embedded(copy.data), embedded(tmp_path / "target")
    before, mails = held(source), content(source)
    command = ["relocate", "--data", str(copy.data), "--to-data", str(tmp_path / "target"), "--jobs", "1"]
    done = subprocess.run([sys.executable, "-c", _KILLED, place, str(count), *command], env={**os.environ})
    assert done.returncode == -signal.SIGKILL
    said = relocate(source, target)
    assert said.code == 0, said.out
    require_same(before, held(target))
    assert content(target) == mails
    assert closed(source) == {True} and closed(target) == {False}
    require_clean(target)


@pytest.mark.parametrize("kept", [False, True], ids=["lost", "kept"])
@pytest.mark.parametrize("call", ["create", "protect"])
def test_a_fault_of_the_target_is_said_and_made_good(
    copy: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: bool, call: str
) -> None:
    source, target = embedded(copy.data), embedded(tmp_path / "target")
    if call == "protect":  # a first pass, then a hold: its lock has to follow
        assert relocate(source, target, "--first-pass").code == 0
        hold_one(source)
    whole: Callable[..., Any] = getattr(FileSystemStore, call)
    count = 0

    def failing(store: Any, *given: Any) -> Any:
        nonlocal count
        count += 1
        if count == (30 if call == "create" else 1):
            if kept:
                whole(store, *given)
            raise StoreError("the answer was lost")
        return whole(store, *given)

    with monkeypatch.context() as patch:
        patch.setattr(FileSystemStore, call, failing)
        said = relocate(source, target, "--first-pass")
    assert said.code == 1 and said.answer["error"]["code"] == "store.failed"
    before = held(source)
    assert relocate(source, target).code == 0
    require_same(before, held(target))
    require_clean(target)


@pytest.mark.parametrize("kept", [False, True], ids=["lost", "kept"])
def test_a_fault_of_a_key_place_is_said_and_made_good(
    copy: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    source, target = embedded(copy.data), embedded(tmp_path / "target")
    whole: Callable[..., Any] = FileSystemKeyPlace.put
    count = 0

    def failing(place: Any, name: str, data: bytes) -> None:
        nonlocal count
        count += 1
        if count == 21:
            if kept:
                whole(place, name, data)
            raise StoreError("the answer was lost")
        whole(place, name, data)

    with monkeypatch.context() as patch:
        patch.setattr(FileSystemKeyPlace, "put", failing)
        said = relocate(source, target)
    assert said.code == 1 and said.answer["error"]["code"] == "store.failed"
    assert closed(source) == {False}
    mails = content(source)
    assert relocate(source, target).code == 0
    assert content(target) == mails
    require_clean(target)


def test_tamper_a_bucket_without_lock_is_refused(copy: Copy, s3_service: S3Service, tmp_path: Path) -> None:
    target = on_s3(s3_service, tmp_path / "target")
    target.settings["s3_bucket"] = new_bucket(s3_service, locked=False).bucket
    source = embedded(copy.data)
    assert relocate(source, target).code == 1
    assert closed(source) == {False}


# --- keys ----------------------------------------------------------------------------------------------


def test_the_target_opens_under_its_own_key_service_alone(copy: Copy, tmp_path: Path) -> None:
    target = embedded(tmp_path / "target")
    assert relocate(embedded(copy.data), target).code == 0
    shutil.rmtree(copy.data)
    assert content(target)
    require_clean(target)


def test_one_key_service_for_both_wraps_nothing_anew(copy: Copy, tmp_path: Path) -> None:
    target = Archive({"data": str(tmp_path / "target"), "kms_folder": str(copy.data / "kms")}, tmp_path)
    file = tmp_path / "target.toml"
    file.write_text("".join(f'{name} = "{value}"\n' for name, value in target.settings.items()))
    said = run("relocate", "--data", copy.data, "--to-config", file, "--json")
    assert said.code == 0, said.out
    for folder in ("table", "secrets"):
        for path in (copy.data / "keys" / "a" / copy.of.tenant / folder).iterdir():
            there = tmp_path / "target" / "keys" / "a" / copy.of.tenant / folder / path.name
            assert there.read_bytes() == path.read_bytes()


def test_what_is_destroyed_at_the_source_does_not_stay_in_the_target(copy: Copy, tmp_path: Path) -> None:
    source, target = embedded(copy.data), embedded(tmp_path / "target")
    assert relocate(source, target, "--first-pass").code == 0
    core = source.open()
    try:
        name = next(core.keys.list(f"{copy.of.tenant}/records/"))
        for place in core.keys.places:
            place.delete(name)
    finally:
        core.close()
    relocate(source, target)
    core = target.open()
    try:
        assert core.keys.copies(name) == [None, None]
    finally:
        core.close()


def test_the_environment_of_the_source_is_not_the_targets(
    copy: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARCHIVE_DATA", str(copy.data))
    file = tmp_path / "target.toml"
    file.write_text(f'data = "{tmp_path / "target"}"\n')
    said = run("relocate", "--to-config", file, "--json")
    assert said.code == 0, said.out
    assert content(embedded(tmp_path / "target"))


@pytest.mark.parametrize("text", ["data = 1\nno", 'unknown = "x"'])
def test_settings_of_a_target_that_are_not_understood(copy: Copy, tmp_path: Path, text: str) -> None:
    file = tmp_path / "target.toml"
    file.write_text(text)
    assert run("relocate", "--data", copy.data, "--to-config", file).code == 2
