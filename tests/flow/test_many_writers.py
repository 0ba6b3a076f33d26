"""Orphans on a real file system: the command and the scheduler chain them, and verify takes them as ordinary."""

import json
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from archive_service.bootstrap import Core, make_tenant, open_core
from archive_service.catalog.base import Job
from archive_service.cli import main
from archive_service.ledger.reader import LogReader, logs
from archive_service.ledger.write_steps import CaptureDraft, WriteSteps
from archive_service.model.clock import rfc3339
from archive_service.model.errors import StoreError
from archive_service.model.mail import CaptureRecord
from archive_service.serving import scheduler as scheduler_module
from archive_service.serving.scheduler import Scheduler
from archive_service.settings import load
from archive_service.vault.key_places import in_turn
from archive_service.vault.stores.base import Lock


def leave_orphan(data: Path, mail: bytes, *, minutes: int) -> None:
    """What a writer leaves that is killed between its object and its entry, so long ago."""
    core = open_core(load(data=data))
    (tenant,) = core.tenants()
    steps = WriteSteps(core.store, tenant.keyring, core.slots(tenant.id, "capture"), core.clock, in_turn)
    now = core.clock()
    record = CaptureRecord(
        capture="", source="s1", received_at=rfc3339(now), mail_from="a@example.org", rcpt_to=("j@a",)
    )
    group = steps.seal([(CaptureDraft(record, Lock(until=now + timedelta(days=1)), 1), mail)])
    path = data / group.drafts[0][1]["object"]["key"]
    then = now.timestamp() - 60 * minutes
    os.utime(path, (then, then))
    core.close()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    core = open_core(load(data=folder), create=True)
    make_tenant(core, "acme")
    core.close()
    return folder


def answer(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    code = main([*map(str, arguments), "--json"])
    assert code == 0
    return dict(json.loads(capsys.readouterr().out))


def recovered(core: Core) -> list[bool]:
    """Of every capture, whether recovery chained it."""
    (tenant,) = core.tenants()
    return [
        bool(entry.fields.get("recovered"))
        for log in logs(core.store, tenant.id)
        if log.kind == "capture"
        for entry in LogReader(core.store, log).entries()
        if entry.type == "capture"
    ]


def test_the_command_chains_what_is_old(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leave_orphan(data, b"old", minutes=11)
    leave_orphan(data, b"young", minutes=9)
    assert answer(capsys, "recover", "--data", data) == {"chained": 1, "reported": {}, "busy": 0}
    assert answer(capsys, "recover", "--data", data) == {"chained": 0, "reported": {}, "busy": 0}
    assert answer(capsys, "verify", "--data", data)["clean"]


def test_the_command_names_what_cannot_be_chained(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leave_orphan(data, b"no key", minutes=11)
    for place in ("a", "b"):
        for path in (data / "keys" / place).glob("*/records/capture-1/*/*"):
            path.unlink()
    found = answer(capsys, "recover", "--data", data)
    assert found["chained"] == 0
    assert list(found["reported"].values()) == ["key.no_record"]
    assert main(["recover", "--data", str(data)]) == 0
    assert "1 cannot be" in capsys.readouterr().out


def test_the_scheduler_recovers_at_its_start_and_then_when_it_is_time(data: Path) -> None:
    leave_orphan(data, b"before", minutes=11)
    core = open_core(load(data=data))
    now = [0.0]
    scheduler = Scheduler(core, None, recovery=300.0, monotonic=lambda: now[0])  # type: ignore[arg-type]
    scheduler.step()
    assert recovered(core) == [True]
    core.leases.close()  # the writer below is another process
    leave_orphan(data, b"later", minutes=11)
    now[0] = 299.0
    scheduler.step()
    assert recovered(core) == [True]
    now[0] = 300.0
    scheduler.step()
    assert recovered(core) == [True, True]
    scheduler.close()
    core.close()


def test_exports_that_were_kept_long_enough_go_with_their_jobs(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = open_core(load(data=data, exports_keep_days=10))
    now, exports = [0.0], core.exports(core.tenants()[0].id)
    exports.mkdir(parents=True)
    days = {"old": 11, "young": 9}
    for name, age in days.items():
        (exports / f"{name}.zip").write_bytes(b"a bundle")
        written = time.time() - age * 86400
        os.utime(exports / f"{name}.zip", (written, written))
        ended = rfc3339(core.clock() - timedelta(days=age))
        jobs = core.engines.jobs(core.tenants()[0].id)
        jobs.add(Job(name, "export", "anne", {}, state="done", created_at=ended))
        jobs.close()
    scheduler = Scheduler(core, None, monotonic=lambda: now[0])  # type: ignore[arg-type]

    def left() -> tuple[list[str], list[str]]:
        opened = core.engines.jobs(core.tenants()[0].id)
        try:
            return sorted(file.stem for file in exports.glob("*.zip")), [each.id for each in opened.list(9)]
        finally:
            opened.close()

    def cannot(*_: object) -> int:
        raise PermissionError("a planned fault")

    with monkeypatch.context() as broken:
        broken.setattr(scheduler_module, "remove_older", cannot)
        scheduler.step()
    assert left() == (["old", "young"], ["young", "old"]), "a file that stays keeps its job"
    now[0] = 3599.0
    scheduler.step()
    assert left()[0] == ["old", "young"]
    now[0] = 3600.0
    scheduler.step()
    assert left() == (["young"], ["young"])
    scheduler.close()
    core.close()


def test_an_erasure_batch_that_was_cut_off_is_taken_up_soon(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it is finished, day keys may be sealed anew in one place only, and nobody writes under these."""
    core = open_core(load(data=data))
    now, runs = [0.0], list[float]()

    def cut_off(*_: object) -> None:
        runs.append(now[0])
        if len(runs) == 1:
            raise StoreError("a planned fault")

    monkeypatch.setattr(scheduler_module, "run_batch", cut_off)
    scheduler = Scheduler(core, None, monotonic=lambda: now[0])  # type: ignore[arg-type]
    for moment in (0.0, 29.0, 30.0, 60.0, 3629.0, 3630.0):
        now[0] = moment
        scheduler.step()
    assert runs == [0.0, 30.0, 3630.0]
    scheduler.close()
    core.close()
