"""What ``make audit`` says, by a real pip-audit against a small service of advisories of the form of OSV."""

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.packaging.error_codes import ROOT
from tests.services.tools import missing

LOCK = "".join(
    f"{pin} \\\n    --hash=sha256:{'0' * 64}\n" for pin in ("aiosmtpd==1.4.6", "zstandard==0.25.0")
)
NOT_CLEAN = "audit: NOT clean"


def advisory(name: str, version: str) -> dict[str, object]:
    affected = {"package": {"name": name, "ecosystem": "PyPI"}, "versions": [version]}
    return {"id": "GHSA-made-up-0001", "summary": "made up", "affected": [affected]}


class Service(BaseHTTPRequestHandler):
    """Knows one version of one package that is not to be used."""

    bad: tuple[str, str] | None = None
    status = 200

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        found = (asked["package"]["name"], asked["version"])
        body = json.dumps({"vulns": [advisory(*found)]} if found == self.bad else {}).encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Not on the terminal."""


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()
        thread.join()


def audited(url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The recipe of the Makefile, over another lock file."""
    found = shutil.which("pip-audit", path=f"{ROOT / '.audit/bin'}") or shutil.which("pip-audit")
    if found is None:
        missing("pip-audit", "make .audit/bin/pip-audit")
    flags = f"AUDIT=-s osv --osv-url {url} --progress-spinner off --cache-dir {folder}"
    # Below ``make test`` this make would tell the folder it enters and leaves among what it prints.
    asked = ["make", "-n", "--no-print-directory", "audit", flags]
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    recipe = subprocess.run(asked, cwd=ROOT, env=outside, capture_output=True, text=True, check=True)
    command = recipe.stdout.splitlines()[-1]
    (folder / "lock").write_text(LOCK)
    command = command.replace(".audit/bin/pip-audit", found).replace(
        "requirements.lock", str(folder / "lock")
    )
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=120)


def test_a_pin_without_advisories_is_clean(service: str, tmp_path: Path) -> None:
    said = audited(service, tmp_path)
    assert (said.returncode, NOT_CLEAN in said.stderr) == (0, False), said.stderr


def test_a_pin_with_an_advisory_is_named_and_is_a_failure(
    service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Service, "bad", ("zstandard", "0.25.0"))
    said = audited(service, tmp_path)
    assert (said.returncode, NOT_CLEAN in said.stderr) == (1, True)
    assert "GHSA-made-up-0001" in said.stdout


@pytest.mark.parametrize("away", ["nobody listens", "refuses"])
def test_a_service_that_cannot_be_asked_is_not_clean(
    service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, away: str
) -> None:
    monkeypatch.setattr(Service, "status", 500)
    said = audited("http://127.0.0.1:1/v1/query" if away == "nobody listens" else service, tmp_path)
    assert (said.returncode, NOT_CLEAN in said.stderr) == (1, True), said.stdout
    assert "No known vulnerabilities" not in said.stdout + said.stderr
