"""A tool that no one here wrote audits every log over HTTP: Tessera's fsck reads our C2SP checkpoints and tiles."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.system.test_service import Running, make, start

FSCK = Path(sys.executable).parent.parent / "tools" / "fsck"


@pytest.fixture
def auditor() -> Path:
    if not FSCK.exists():
        if os.environ.get("ARCHIVE_REQUIRE_SERVICES") == "1":
            pytest.fail("Tessera's fsck is required here: .ci/run installs it")
        pytest.skip("Tessera's fsck is not installed (.ci/run shows how)")
    return FSCK


def send_many(running: Running, count: int) -> None:
    with running.smtp() as smtp:
        for number in range(count):
            smtp.mail("<>")
            smtp.rcpt(running.source["address"])
            assert smtp.data(b"Subject: %d\r\n\r\nx\r\n" % number)[0] == 250


def checkpointed(running: Running, log: str, size: int) -> dict:
    deadline = time.monotonic() + 60
    while True:
        status = json.loads(running.http("GET", "/v1/integrity", "auditor")[1])
        found = {each["log"]: each for each in status["logs"]}
        point = found.get(log, {}).get("checkpoint")
        if point and point["size"] >= size:
            return status
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_tessera_fsck_passes_on_every_log(auditor: Path, tmp_path: Path) -> None:
    data = tmp_path / "archive"
    running = start(data, make(data, "generic"), ARCHIVE_SMTP_WORKERS="1", ARCHIVE_CHECKPOINT_SECONDS="0.3")
    send_many(running, 600)
    status = checkpointed(running, "capture-1", 601)
    checked = []
    for log in status["logs"]:
        key = tmp_path / f"{log['log']}.key"
        key.write_text(status["keys"]["root" if log["log"] == "root" else "log"][0])
        url = f"http://{running.where['http']}/v1/integrity/logs/{log['log']}/"
        arguments = [f"--storage_url={url}", f"--origin={log['origin']}", f"--public_key={key}", "--ui=false"]
        token = f"--bearer_token={running.token('auditor')}"
        done = subprocess.run([auditor, *arguments, token], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        checked.append(log["log"])
    assert {"acts", "capture-1", "order-1", "root"} <= set(checked)
    assert running.stop() == 0
