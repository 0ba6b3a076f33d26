"""The real service from outside: command line, SMTP, HTTP. Imports nothing of the program."""

import json
import os
import shutil
import smtplib
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAM = Path(sys.executable).parent / "archive-service"
SAMPLES = Path(__file__).resolve().parent.parent / "samples"
REQUIRED = os.environ.get("ARCHIVE_REQUIRE_SERVICES") == "1"


def command(*arguments: object) -> dict:
    done = subprocess.run(
        [PROGRAM, *map(str, arguments), "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@dataclass
class Running:
    data: Path
    source: dict
    where: dict
    process: subprocess.Popen

    def smtp(self) -> smtplib.SMTP:
        host, _, port = self.where["smtp"].rpartition(":")
        smtp = smtplib.SMTP(host, int(port), timeout=60)
        smtp.ehlo("exchange.example.fr")
        return smtp

    def send(self, mail: bytes) -> tuple[int, str]:
        with self.smtp() as smtp:
            smtp.mail("<>")
            code, reply = smtp.rcpt(self.source["address"])
            if code == 250:
                code, reply = smtp.data(mail)
        return code, reply.decode()

    def token(self, role: str) -> str:
        return command("token", "--data", self.data, "--tenant", "acme", "--role", role)["token"]

    def http(
        self, method: str, path: str, role: str | None = "legal", body: dict | None = None
    ) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json"}
        if role:
            headers["Authorization"] = f"Bearer {self.token(role)}"
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"http://{self.where['http']}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def found(self, query: str, at_least: int = 1) -> dict:
        deadline = time.monotonic() + 60
        while True:
            status, answer = self.http("POST", "/v1/search", body={"query": query})
            if status == 200 and json.loads(answer)["total"] >= at_least:
                return json.loads(answer)
            assert time.monotonic() < deadline, answer
            time.sleep(0.1)

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(90)


def start(data: Path, source: dict, *more: str, **environment: str) -> Running:
    arguments = ["serve", "--data", data, "--smtp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--json", *more]
    with (data / "run" / "serve.log").open("a") as log:
        process = subprocess.Popen(
            [PROGRAM, *arguments],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, **environment},
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    process.stdout.close()
    assert line, (data / "run" / "serve.log").read_text()
    return Running(data, source, json.loads(line), process)


def make(data: Path, kind: str = "m365") -> dict:
    command("init", "--data", data, "--tenant", "acme")
    return command("source", "add", "--data", data, "--tenant", "acme", "--kind", kind, "--name", "feed")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    data = tmp_path_factory.mktemp("archive")
    running = start(data, make(data))
    yield running
    assert running.stop() == 0


def test_journal_report_to_bundle(service: Running, tmp_path: Path) -> None:
    mail = (SAMPLES / "m365-recipient.eml").read_bytes()
    expected = json.loads((SAMPLES / "expected.json").read_text())["m365-recipient.eml"]
    code, reply = service.send(mail)
    assert code == 250
    assert reply.startswith("2.0.0 archived log=")
    hit = service.found("*")["hits"][0]
    message = json.loads(service.http("GET", f"/v1/messages/{hit['id']}")[1])
    assert message["subject"] == expected["subject"]
    assert [each["address"] for each in message["recipients"]] == [
        e["address"] for e in expected["recipients"]
    ]
    status, raw = service.http("GET", f"/v1/captures/{message['captures'][0]['id']}/raw")
    assert status == 200
    assert raw == mail
    status, answer = service.http("POST", "/v1/exports", body={"ids": [hit["id"]], "formats": ["bundle"]})
    assert status == 202
    job = json.loads(answer)["id"]
    deadline = time.monotonic() + 60
    while json.loads(service.http("GET", f"/v1/exports/{job}")[1])["state"] != "done":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    status, zipped = service.http("GET", f"/v1/exports/{job}/download")
    assert status == 200
    bundle = tmp_path / "bundle.zip"
    bundle.write_bytes(zipped)
    assert command("verify-bundle", bundle)["ok"] is True
    entries = json.loads(service.http("GET", "/v1/access-log", "auditor")[1])["entries"]
    seen = [row["action"] for row in entries if hit["id"] in row.get("ids", [])]
    assert {"export.download", "export.make", "export.request", "message.view"} <= set(seen)
    assert command("verify", "--data", service.data)["clean"] is True


def test_a_report_that_does_not_parse_is_whole_flagged_and_counted(service: Running) -> None:
    mail = (SAMPLES / "exchange-unparsed.eml").read_bytes()
    before = json.loads(service.http("GET", "/v1/integrity", "auditor")[1])["counts"].get(
        "flag:report_unparsed", 0
    )
    total = json.loads(service.http("POST", "/v1/search", body={"query": "*"})[1])["total"]
    assert service.send(mail)[0] == 250
    hits = service.found("*", total + 1)["hits"]
    messages = [json.loads(service.http("GET", f"/v1/messages/{hit['id']}")[1]) for hit in hits]
    flagged = next(message for message in messages if "report_unparsed" in message["flags"])
    assert service.http("GET", f"/v1/messages/{flagged['id']}/raw")[1] == mail
    counts = json.loads(service.http("GET", "/v1/integrity", "auditor")[1])["counts"]
    assert counts["flag:report_unparsed"] == before + 1


def test_roles_hold_on_the_real_routes(service: Running) -> None:
    assert service.http("POST", "/v1/search", None, {"query": "*"})[0] == 401
    assert service.http("POST", "/v1/search", "admin", {"query": "*"})[0] == 403
    assert service.http("POST", "/v1/search", "auditor", {"query": "*"})[0] == 403
    assert service.http("GET", "/v1/access-log", "legal")[0] == 403
    assert service.http("GET", "/v1/sources", "admin")[0] == 200
    assert service.http("GET", "/health/ready", None)[0] == 200


def test_a_large_mail_streams_and_comes_back_whole(service: Running) -> None:
    body = b"".join(b"%08d %s\r\n" % (n, b"x" * 60) for n in range(400_000))
    mail = b"Subject: large one\r\nMessage-ID: <large@example.fr>\r\n\r\n" + body
    code, _ = service.send(mail)
    assert code == 250
    hit = service.found("subject:large")["hits"][0]
    status, raw = service.http("GET", f"/v1/messages/{hit['id']}/raw")
    assert status == 200
    assert raw == mail


def test_a_stranger_is_refused_and_a_new_source_is_known_at_once(service: Running) -> None:
    with service.smtp() as smtp:
        smtp.mail("<>")
        assert smtp.rcpt("nobody@example.com")[0] == 550
    body = {"name": "second feed", "kind": "generic"}
    status, answer = service.http("POST", "/v1/sources", "admin", body)
    assert status == 201
    with service.smtp() as smtp:
        smtp.mail("<>")
        assert smtp.rcpt(json.loads(answer)["address"])[0] == 250


def certificate(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "cert.pem", folder / "key.pem"
    what = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    subprocess.run([*what, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


def test_starttls_with_a_certificate_from_the_settings(tmp_path: Path) -> None:
    source = make(tmp_path / "archive", "generic")
    pem, key = certificate(tmp_path)
    running = start(
        tmp_path / "archive",
        source,
        "--role",
        "smtp",
        ARCHIVE_SMTP_TLS_CERTIFICATE=str(pem),
        ARCHIVE_SMTP_TLS_KEY=str(key),
        ARCHIVE_SMTP_WORKERS="1",
    )
    context = ssl.create_default_context(cafile=str(pem))
    context.check_hostname = False
    with running.smtp() as smtp:
        smtp.starttls(context=context)
        smtp.ehlo("example.fr")
        smtp.mail("<>")
        smtp.rcpt(source["address"])
        assert smtp.data(b"Subject: over TLS\r\n\r\nx\r\n")[0] == 250
    assert running.stop() == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MB that can really be full."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "none", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        if REQUIRED:
            pytest.fail("mounting a small file system is required here and failed")
        pytest.skip("mount: needs root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_answers_4xx_and_recovers(small_disk: Path) -> None:
    data = small_disk / "archive"
    running = start(data, make(data, "generic"), "--role", "smtp", ARCHIVE_SMTP_WORKERS="1")
    try:
        filler = small_disk / "filler"
        first = running.send(b"Subject: before\r\n\r\nx\r\n")
        free = shutil.disk_usage(small_disk).free
        filler.write_bytes(bytes(max(0, free - 65_536)))
        code, reply = running.send(b"Subject: no room\r\n\r\n" + os.urandom(300_000).hex().encode() + b"\r\n")
        assert code == 452, reply
        assert reply.startswith("4.3.1")
        filler.unlink()
        after = running.send(b"Subject: after\r\n\r\nx\r\n")
        assert first[0] == after[0] == 250
    finally:
        assert running.stop() == 0
    report = command("verify", "--data", data)
    assert report["clean"] is True
    assert report["checked"]["objects"] == 2


def test_what_is_wrong_is_said_at_start(tmp_path: Path) -> None:
    def fails(*arguments: object) -> str:
        done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, check=False)
        assert done.returncode in (1, 2), done.stdout
        assert "Traceback" not in done.stderr
        return done.stderr

    assert "init" in fails("serve", "--data", tmp_path / "nowhere")
    blocked = tmp_path / "file"
    blocked.write_text("x")
    assert "folder" in fails("init", "--data", blocked / "archive", "--tenant", "acme")
    make(tmp_path / "archive")
    assert "port" in fails("serve", "--data", tmp_path / "archive", "--smtp", "127.0.0.1:99999")
    (tmp_path / "archive" / "kms" / "v1.key").unlink()
    assert "key" in fails(
        "serve", "--data", tmp_path / "archive", "--smtp", "127.0.0.1:0", "--http", "127.0.0.1:0"
    )
