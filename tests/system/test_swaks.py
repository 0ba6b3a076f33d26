"""The real service guarded, and swaks as the sender: TLS, AUTH, client certificates, PROXY headers."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.tools import find_tool, missing
from tests.system.test_service import Running, command, make, start
from tests.unit.smtp_tls import Certificate, issue

PASSWORD = "correct horse battery"
RCPT_REFUSED, AUTH_REFUSED = 24, 28  # what swaks exits with


class Site:
    """A service with a guarded source, and what swaks gets there."""

    def __init__(self, folder: Path, **environment: str) -> None:
        found = find_tool("swaks")
        if found is None:
            missing("swaks", "apt-get install swaks libnet-ssleay-perl")
        self.swaks = found
        self.folder = folder
        self.data = folder / "archive"
        self.server = issue("archive.localhost")
        certificate, key = self.server.write(folder / "server")
        source = make(self.data, "generic")
        self.where = ["--data", str(self.data), "--tenant", "acme", "--source", "feed"]
        tls = {"ARCHIVE_SMTP_TLS_CERTIFICATE": str(certificate), "ARCHIVE_SMTP_TLS_KEY": str(key)}
        one = {"ARCHIVE_SMTP_WORKERS": "1"}
        running = start(self.data, source, "--role", "smtp", **tls, **one, **environment)
        self.running: Running = running

    def guard(self, *words: str) -> dict:
        os.environ["SWAKS_TEST_PASSWORD"] = PASSWORD
        return command("source", "set", *self.where, *words)

    def settle(self, *words: str) -> None:
        """A stranger has the process read the acts to their head: from then on it knows what was decided."""
        assert self.send("--to", "nobody@example.com", *words)[0] == RCPT_REFUSED

    def send(self, *words: str) -> tuple[int, str]:
        host, _, port = self.running.where["smtp"].rpartition(":")
        envelope = [
            "--server",
            host,
            "--port",
            port,
            "--from",
            "a@example.fr",
            "--to",
            self.running.source["address"],
        ]
        done = subprocess.run(
            [self.swaks, *envelope, "--timeout", "60", *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return done.returncode, done.stdout + done.stderr

    def verify(self) -> int:
        return int(command("verify", "--data", self.data)["checked"]["objects"])


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    assert made.running.stop() == 0


@pytest.fixture
def balanced(tmp_path: Path) -> Iterator[Site]:
    """Behind a balancer that is this machine; the test stops it, or its failure does."""
    made = Site(tmp_path, ARCHIVE_SMTP_PROXY_NETWORKS="127.0.0.0/8")
    yield made
    if made.running.process.poll() is None:
        made.running.stop()


def own(site: Site, certificate: Certificate, name: str) -> tuple[str, ...]:
    chain, key = certificate.write(site.folder / name)
    return "--tls-cert", str(chain), "--tls-key", str(key)


def test_tls_and_auth(site: Site) -> None:
    user = site.running.source["id"]
    assert site.send()[0] == 0, "nothing is asked for yet"
    site.guard("--tls", "--password-env", "SWAKS_TEST_PASSWORD")
    site.settle()
    login = ("--auth-user", user, "--auth-password", PASSWORD)
    for mechanism in ("PLAIN", "LOGIN"):
        code, said = site.send("--tls", "--auth", mechanism, *login)
        assert code == 0, said
        assert "235 2.7.0" in said and "250 2.0.0 archived" in said
    code, said = site.send()
    assert code == RCPT_REFUSED and "530 5.7.0" in said
    code, said = site.send("--tls")
    assert code == RCPT_REFUSED and "530 5.7.0" in said
    code, said = site.send("--tls", "--auth", "PLAIN", "--auth-user", user, "--auth-password", "wrong")
    assert code == AUTH_REFUSED and "535 5.7.8" in said
    code, said = site.send("--auth", "PLAIN", *login)
    assert code == AUTH_REFUSED, "in clear it is not offered"
    assert site.verify() == 3


def test_client_certificates(site: Site) -> None:
    root = issue("root", authority=True)
    leaf, stranger = issue("sender", root), issue("stranger")
    (site.folder / "root.pem").write_bytes(root.pem)
    assert site.guard("--certificate", str(site.folder / "root.pem"))["guard"] == {
        "certificates": [root.fingerprint]
    }
    site.settle()
    code, said = site.send("--tls", *own(site, leaf, "leaf"))
    assert code == 0, said
    code, said = site.send("--tls")
    assert code == RCPT_REFUSED and "554 5.7.0" in said
    assert site.send("--tls", *own(site, stranger, "stranger"))[0] != 0
    (site.folder / "stranger.pem").write_bytes(stranger.pem)
    site.guard("--certificate", str(site.folder / "stranger.pem"))
    site.settle()
    code, said = site.send("--tls", *own(site, stranger, "stranger"))
    assert code == 0, said
    assert site.verify() == 2


def test_proxy_headers_and_networks_and_what_is_recorded(balanced: Site) -> None:
    site = balanced
    site.guard("--network", "192.0.2.0/24", "--max-size", "2000")

    def proxied(source: str, version: int, *words: str) -> tuple[int, str]:
        family = {1: ("TCP4",), 2: ("AF_INET", "--proxy-protocol", "STREAM", "--proxy-command", "PROXY")}[
            version
        ]
        proxy = ["--proxy-version", str(version), "--proxy-family", *family, "--proxy-source", source]
        more = ["--proxy-source-port", "4000", "--proxy-dest", "192.0.2.99", "--proxy-dest-port", "25"]
        return site.send(*proxy, *more, *words)

    assert proxied("192.0.2.7", 1, "--to", "nobody@example.com")[0] == RCPT_REFUSED, "the acts are read"
    for version in (1, 2):
        code, said = proxied("192.0.2.7", version)
        assert code == 0, said
    code, said = proxied("198.51.100.7", 1)
    assert code == RCPT_REFUSED and "550 5.1.1" in said
    code, said = proxied("192.0.2.7", 1, "--body", "x" * 3000)
    assert code != 0 and "552 5.3.4" in said
    assert site.send()[0] != 0, "without a header"
    assert site.running.stop() == 0
    reading = start(site.data, site.running.source, "--role", "api")
    try:
        status, answer = reading.http("GET", "/v1/access-log?action=smtp.refused", "auditor")
        assert status == 200
        told = [(entry["actor"], entry["detail"]) for entry in json.loads(answer)["entries"]]
        refused = [
            ("smtp", {"source": site.running.source["id"], "reason": reason, "count": 1})
            for reason in ("too_large", "unknown_recipient")
        ]
        assert sorted(told, key=repr) == sorted(refused, key=repr)
    finally:
        assert reading.stop() == 0
    assert site.verify() == 2


def test_a_rotated_address_takes_mail_through_its_overlap(site: Site) -> None:
    old = site.running.source["address"]
    new = command("source", "rotate", *site.where, "--overlap", "30m")["address"]
    assert site.send()[0] == 0
    assert site.send("--to", new)[0] == 0
    newest = command("source", "rotate", *site.where, "--overlap", "0m")["address"]
    assert site.send("--to", newest)[0] == 0
    assert site.send("--to", old)[0] == 0, "its own overlap is not over"
    code, said = site.send("--to", new)
    assert code == RCPT_REFUSED and "550 5.1.1" in said
    assert site.verify() == 4
