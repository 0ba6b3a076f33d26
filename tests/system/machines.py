"""Machines that serve one archive over S3, as the system tests drive them: commands, SMTP, HTTP. Imports nothing of the
program."""

import json
import os
import signal
import smtplib
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.services.versitygw import S3Service

PROGRAM = Path(sys.executable).parent / "archive-service"
PATIENCE = 90.0  # seconds until something that never comes fails the test; nothing is measured by it


@dataclass
class Machine:
    """One machine: its work folder, and its settings for the shared buckets."""

    work: Path
    settings: dict[str, str]
    process: "subprocess.Popen[str] | None" = None
    where: dict = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ARCHIVE_")}
        return {**kept, **self.settings, "ARCHIVE_WORK": str(self.work)}

    def run(self, *arguments: object) -> tuple[int, str, str]:
        done = subprocess.run(
            [PROGRAM, *map(str, arguments)], capture_output=True, text=True, check=False, env=self.environment
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout, done.stderr

    def command(self, *arguments: object) -> dict:
        code, out, err = self.run(*arguments, "--json")
        assert code == 0, out + err
        return json.loads(out.splitlines()[-1])

    def serve(self, *roles: str) -> None:
        with (self.work.parent / f"{self.work.name}.log").open("a") as log:
            self.process = subprocess.Popen(
                [PROGRAM, "serve", "--smtp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--json", *roles],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self.environment,
                start_new_session=True,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.process.stdout.close()
        assert line, self.log()
        self.where = json.loads(line)

    def log(self) -> str:
        return (self.work.parent / f"{self.work.name}.log").read_text()

    def kill(self) -> None:
        """All its processes at once, as a power cut would."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(PATIENCE)

    def signal(self, number: int) -> None:
        """To all its processes."""
        assert self.process is not None
        os.killpg(self.process.pid, number)

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        assert self.process.wait(PATIENCE) == 0

    def send(self, address: str, mail: bytes) -> int:
        host, _, port = self.where["smtp"].rpartition(":")
        with smtplib.SMTP(host, int(port), timeout=PATIENCE) as smtp:
            smtp.ehlo("exchange.example.fr")
            smtp.mail("<>")
            code, _ = smtp.rcpt(address)
            if code == 250:
                code, _ = smtp.data(mail)
        return code

    def http(self, method: str, path: str, token: str, body: dict | None = None) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"http://{self.where['http']}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def found(self, token: str, query: str, total: int) -> dict:
        """The answer of a search, once it finds so many."""

        def look() -> dict | None:
            status, answer = self.http("POST", "/v1/search", token, {"query": query, "limit": 100})
            assert status < 500 or json.loads(answer)["code"].endswith(".unavailable"), answer
            return json.loads(answer) if status == 200 and json.loads(answer)["total"] >= total else None

        found = until(look, self.log)
        assert found["total"] == total
        return found


def until(look: Callable[[], dict | None], why: Callable[[], str]) -> dict:
    deadline = time.monotonic() + PATIENCE
    while (found := look()) is None:
        assert time.monotonic() < deadline, why()
        time.sleep(0.1)
    return found


def mail(number: int) -> bytes:
    return (
        b"From: anne@example.fr\r\nTo: bob@example.fr\r\nSubject: numero%d\r\n"
        b"Message-ID: <s3-%d@example.fr>\r\nDate: Mon, 2 Mar 2026 10:00:00 +0100\r\n\r\nbonjour\r\n"
        % (number, number)
    )


@dataclass
class Site:
    """An archive on S3 with one tenant and one feed, and the machines that serve it."""

    folder: Path
    settings: dict[str, str]
    machines: list[Machine] = field(default_factory=list)

    def machine(self, name: str) -> Machine:
        made = Machine(self.folder / name, self.settings)
        self.machines.append(made)
        return made


def s3_settings(s3_service: S3Service, tmp_path: Path) -> dict[str, str]:
    """An archive in buckets that no other test has."""
    unique = f"{os.getpid()}-{time.monotonic_ns()}"
    return {
        "ARCHIVE_STORE": "s3",
        "ARCHIVE_S3_ENDPOINT": s3_service.url,
        "ARCHIVE_S3_BUCKET": f"archive-{unique}",
        "ARCHIVE_S3_ACCESS_KEY": s3_service.access_key,
        "ARCHIVE_S3_SECRET_KEY": s3_service.secret_key,
        "ARCHIVE_KEYS_A": f"s3://keys-a-{unique}",
        "ARCHIVE_KEYS_B": f"s3://keys-b-{unique}",
        "ARCHIVE_KMS_FOLDER": str(tmp_path / "kms"),
        "ARCHIVE_SLOT_TAKEOVER_SECONDS": "5",
        "ARCHIVE_SMTP_WORKERS": "1",
    }


def start(site: Site) -> tuple[Machine, str, str]:
    """A machine that made the archive, a source's address, and a token that may search."""
    one = site.machine("one")
    one.command("init", "--tenant", "acme", "--create-buckets")
    source = one.command("source", "add", "--tenant", "acme", "--kind", "m365", "--name", "feed")
    token = one.command("token", "--tenant", "acme", "--role", "legal", "--ttl", "1d")["token"]
    return one, source["address"], token
