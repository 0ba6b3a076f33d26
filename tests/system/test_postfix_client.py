"""Postfix's own SMTP client, smtp-source, as the sender."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.system.test_service import command, make, start

SOURCE = shutil.which("smtp-source", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@pytest.mark.parametrize("connections", [["-d"], []], ids=["kept", "new"])
def test_smtp_source_delivers_everything(tmp_path: Path, connections: list[str]) -> None:
    if SOURCE is None:
        if os.environ.get("ARCHIVE_REQUIRE_SERVICES") == "1":
            pytest.fail("smtp-source (Debian package postfix) is required here")
        pytest.skip("smtp-source: install the Debian package postfix")
    data = tmp_path / "archive"
    running = start(data, make(data, "generic"), "--role", "smtp")
    host, _, port = running.where["smtp"].rpartition(":")
    load = ["-s", "10", "-m", "300", "-l", "20000", "-f", "a@example.fr", "-t", running.source["address"]]
    subprocess.run([SOURCE, *connections, *load, f"{host}:{port}"], check=True, timeout=120)
    assert running.stop() == 0
    assert command("verify", "--data", data)["checked"]["objects"] == 300
