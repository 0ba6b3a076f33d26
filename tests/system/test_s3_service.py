"""The real service over S3: buckets on a server with Object Lock, settings in variables, projections in a work folder
that may be lost; two machines on the same buckets. Imports nothing of the program."""

import json
import os
import shutil
import signal
import smtplib
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.services.s3 import admin, s3_service
from tests.services.versitygw import S3Service

PROGRAM = Path(sys.executable).parent / "archive-service"
SAMPLES = Path(__file__).resolve().parent.parent / "samples"
PATIENCE = 90.0  # seconds until something that never comes fails the test; nothing is measured by it

__all__ = ["s3_service"]


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

    def serve(self) -> None:
        with (self.work.parent / f"{self.work.name}.log").open("a") as log:
            self.process = subprocess.Popen(
                [PROGRAM, "serve", "--smtp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--json"],
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
            assert status < 500, answer
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


@pytest.fixture
def site(s3_service: S3Service, tmp_path: Path) -> Iterator[Site]:
    unique = f"{os.getpid()}-{time.monotonic_ns()}"
    made = Site(
        tmp_path,
        {
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
        },
    )
    yield made
    for machine in made.machines:
        machine.kill()


def start(site: Site) -> tuple[Machine, str, str]:
    """A machine that made the archive, a source's address, and a token that may search."""
    one = site.machine("one")
    one.command("init", "--tenant", "acme", "--create-buckets")
    source = one.command("source", "add", "--tenant", "acme", "--kind", "m365", "--name", "feed")
    token = one.command("token", "--tenant", "acme", "--role", "legal", "--ttl", "1d")["token"]
    return one, source["address"], token


def test_s3_from_init_to_a_lost_work_folder(site: Site, tmp_path: Path) -> None:
    one, address, token = start(site)
    one.serve()
    report = (SAMPLES / "m365-recipient.eml").read_bytes()
    assert one.send(address, report) == 250
    for number in range(5):
        assert one.send(address, mail(number)) == 250
    one.kill()  # what was answered 250 is in the buckets
    one.serve()
    assert one.send(address, mail(5)) == 250
    before = one.found(token, "*", 7)

    hit = one.found(token, "subject:numero3", 1)["hits"][0]["id"]
    assert one.http("GET", f"/v1/messages/{hit}/raw", token) == (200, mail(3))
    status, proof = one.http("GET", f"/v1/messages/{hit}/proof", token)
    assert status == 200 and json.loads(proof)
    status, answer = one.http("POST", "/v1/exports", token, {"ids": [hit], "formats": ["bundle"]})
    assert status == 202
    job = f"/v1/exports/{json.loads(answer)['id']}"

    def done() -> dict | None:
        state = json.loads(one.http("GET", job, token)[1])
        assert state["state"] != "failed", state
        return state if state["state"] == "done" else None

    until(done, one.log)
    bundle = tmp_path / "bundle.zip"
    bundle.write_bytes(one.http("GET", f"{job}/download", token)[1])
    assert one.command("verify-bundle", bundle)["ok"] is True
    assert one.command("verify")["clean"] is True  # beside the running service
    one.stop()

    shutil.rmtree(one.work)  # the machine is lost: buckets and key service alone remain
    one.command("rebuild")
    verified = one.command("verify")
    assert verified["clean"] is True and verified["checked"]["rows"] > 0
    one.serve()
    assert one.found(token, "*", 7)["hits"] == before["hits"]
    assert one.http("GET", f"/v1/messages/{hit}/raw", token) == (200, mail(3))
    one.stop()


def test_s3_two_machines_take_mail_and_one_orders(site: Site) -> None:
    one, address, token = start(site)
    two = site.machine("two")
    one.serve()
    one.found(token, "*", 0)
    two.serve()
    for number in range(6):
        assert (one, two)[number % 2].send(address, mail(number)) == 250
    first = one.found(token, "*", 6)
    assert two.found(token, "*", 6)["hits"] == first["hits"]  # it projects what the other one ordered
    one.kill()
    for number in range(6, 9):
        assert two.send(address, mail(number)) == 250
    two.found(token, "*", 9)  # and orders itself, once the other one has been silent
    one.serve()
    assert one.send(address, mail(9)) == 250
    assert two.found(token, "*", 10)["hits"] == one.found(token, "*", 10)["hits"]
    for machine in (one, two):
        machine.stop()
    assert two.command("verify")["clean"] is True


def test_s3_init_and_serve_refuse_an_unfit_bucket(site: Site, s3_service: S3Service) -> None:
    one = site.machine("one")
    admin(s3_service).create_bucket(Bucket=site.settings["ARCHIVE_S3_BUCKET"])  # without Object Lock
    code, _, err = one.run("init", "--tenant", "acme", "--create-buckets")
    assert code == 1
    assert "store.unfit" in err and "object-lock-enabled-for-bucket" in err
    code, out, _ = one.run("doctor", "--json")
    assert code == 1 and json.loads(out)["healthy"] is False
    code, _, err = one.run("serve", "--smtp", "127.0.0.1:0", "--http", "127.0.0.1:0")
    assert code == 1 and "archive bucket" in err
    assert not (site.folder / "kms").exists()  # nothing was made


def test_s3_doctor_says_what_it_saw(site: Site) -> None:
    one, _, _ = start(site)
    checks = one.command("doctor")["checks"]
    assert {"store", "clock", "key service", "tenants", "writing"} <= set(checks)
    assert any(name.startswith("archive bucket: ") for name in checks)
    assert any(name.startswith("key place b: ") for name in checks)
    assert any(name.endswith("/acts") for name in checks)
    secret = site.settings["ARCHIVE_S3_SECRET_KEY"]
    _, out, err = one.run("doctor")
    assert secret not in out + err
