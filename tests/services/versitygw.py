"""An S3 service with Object Lock on loopback: versitygw over temporary folders.

``python -m tests.services.versitygw`` brings one up, prints what to set, and takes it down at Ctrl-C.
"""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.services.tools import find_tool, free_port

HOW = "go install github.com/versity/versitygw/cmd/versitygw@v1.8.0 into .venv/tools, or set ARCHIVE_TEST_S3_URL"
PATIENCE = 30.0  # seconds until a server that does not answer fails the run


@dataclass(frozen=True)
class S3Service:
    """A running service and its root credentials."""

    url: str
    access_key: str
    secret_key: str


def given() -> S3Service | None:
    """The service that ``ARCHIVE_TEST_S3_URL`` names, with its credentials beside it."""
    url = os.environ.get("ARCHIVE_TEST_S3_URL")
    if not url:
        return None
    return S3Service(
        url.rstrip("/"),
        os.environ["ARCHIVE_TEST_S3_ACCESS_KEY"],
        os.environ["ARCHIVE_TEST_S3_SECRET_KEY"],
    )


@contextmanager
def running(tool: str, *, keep: Path | None = None) -> Iterator[S3Service]:
    """Bring a versitygw up, wait until it answers, and take it down with all it holds."""
    folder = keep or Path(tempfile.mkdtemp(prefix="versitygw-"))
    data, versions = folder / "data", folder / "versions"
    for each in (data, versions):
        each.mkdir(parents=True, exist_ok=True)
    service = S3Service(f"http://127.0.0.1:{free_port()}", "root", secrets.token_hex(16))
    command = [tool, "--port", service.url.removeprefix("http://"), "--quiet", "--keep-alive"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "posix", "--versioning-dir", str(versions), str(data)],
            env={**os.environ, "ROOT_ACCESS_KEY": service.access_key, "ROOT_SECRET_KEY": service.secret_key},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _await(process, service, folder / "log")
        yield service
    finally:
        process.terminate()
        process.wait(PATIENCE)
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def _await(process: "subprocess.Popen[bytes]", service: S3Service, log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            urllib.request.urlopen(service.url, timeout=PATIENCE).close()
        except urllib.error.HTTPError:
            return  # it refuses us without a signature: it is up
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError(f"versitygw did not come up: {log.read_text('utf-8', 'replace')[-500:]}")


def main() -> None:
    """Bring one up until Ctrl-C."""
    tool = find_tool("versitygw")
    if tool is None:
        raise SystemExit(f"versitygw is not here: {HOW}")
    with running(tool) as service:
        print(f"ARCHIVE_TEST_S3_URL={service.url}")
        print(f"ARCHIVE_TEST_S3_ACCESS_KEY={service.access_key}")
        print(f"ARCHIVE_TEST_S3_SECRET_KEY={service.secret_key}", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    main()
