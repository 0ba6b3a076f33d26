"""Importing over S3: one machine is killed in the middle, another goes on, and each item is there once."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.s3 import s3_service
from tests.services.versitygw import S3Service
from tests.system.machines import PATIENCE, PROGRAM, Machine, Site, mail, s3_settings, start, until

__all__ = ["s3_service"]

ITEMS = 120


@pytest.fixture
def site(s3_service: S3Service, tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, s3_settings(s3_service, tmp_path))
    yield made
    for machine in made.machines:
        machine.kill()


def killed(machine: Machine, mails: Path, report: Path) -> None:
    """An import, killed as soon as it says that some items are durable."""
    asked = ["import", "eml", mails, "--tenant", "acme", "--report", report]
    running = subprocess.Popen(
        [PROGRAM, *map(str, asked)], env=machine.environment, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + PATIENCE
    while not (report.exists() and report.read_bytes().count(b"taken") >= 40):
        assert running.poll() is None and time.monotonic() < deadline, "it did not get that far"
        time.sleep(0.001)
    running.kill()
    running.wait()


def imported(machine: Machine, mails: Path) -> tuple[int, int, int]:
    """The counts, once the lease of one that died far away has ended."""

    def ask() -> dict | None:
        code, out, err = machine.run("import", "eml", mails, "--tenant", "acme", "--json")
        answer = json.loads(out.splitlines()[-1])
        assert code == 0 or answer["error"]["code"] == "import.busy", out + err
        return answer if code == 0 else None

    found = until(ask, machine.log if machine.process else str)
    return found["imported"], found["already"], found["failed"]


def test_another_machine_goes_on_where_one_was_killed(site: Site, tmp_path: Path) -> None:
    one, _, token = start(site)
    two = site.machine("two")
    mails = tmp_path / "mails"
    mails.mkdir()
    for number in range(ITEMS):
        (mails / f"{number:03}.eml").write_bytes(mail(number))
    killed(one, mails, tmp_path / "report")
    taken, already, failed = imported(two, mails)
    assert (taken + already, failed) == (ITEMS, 0)
    assert 20 <= already < ITEMS
    assert imported(one, mails) == (0, ITEMS, 0)
    one.serve()
    one.found(token, "*", ITEMS)
    (mails / "new.eml").write_bytes(mail(ITEMS))
    assert imported(two, mails) == (1, ITEMS, 0), "beside a running service"
    one.stop()
    verified = two.command("verify")
    assert verified["clean"] is True
    assert verified["checked"]["objects"] == ITEMS + 1, "none twice"
