"""``kill -9`` at random moments: whatever got its 250 is there, once, byte for byte, and ``verify`` finds no damage."""

import hashlib
import json
import os
import random
import signal
import smtplib
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from archive_service.bootstrap import open_core
from archive_service.ledger.payloads import open_capture
from archive_service.ledger.reader import logs, read_from
from archive_service.settings import load

PROGRAM = Path(sys.executable).parent / "archive-service"
KILLS = 100 if os.environ.get("ARCHIVE_TEST_FULL") else 30
SENDERS = 4


def run(*arguments: object) -> dict:
    done = subprocess.run(
        [PROGRAM, *map(str, arguments), "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


class Service:
    """The real service in a process group of its own."""

    def __init__(self, data: Path) -> None:
        arguments = ["--smtp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--json"]
        self._log = (data / "run" / "serve.log").open("a")
        self.process = subprocess.Popen(
            [PROGRAM, "serve", "--data", data, *arguments],
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, (data / "run" / "serve.log").read_text()
        host, _, port = json.loads(line)["smtp"].rpartition(":")
        self.smtp = (host, int(port))

    def members(self) -> list[int]:
        found = subprocess.run(
            ["pgrep", "-g", str(self.process.pid)], capture_output=True, text=True, check=False
        )
        return [int(pid) for pid in found.stdout.split()]

    def kill(self, how: str, chance: random.Random) -> None:
        """All at once; the parent alone (its children must follow); or first one child, then all."""
        if how == "child":
            children = [pid for pid in self.members() if pid != self.process.pid]
            os.kill(chance.choice(children), signal.SIGKILL)
        if how == "parent":
            self.process.kill()
        else:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        deadline = time.monotonic() + 20
        while self.members():
            assert time.monotonic() < deadline, "children outlived their parent"
            time.sleep(0.02)
        self.process.stdout.close()
        self._log.close()


class Sender(threading.Thread):
    """Sends unique mails over one connection until it breaks; keeps what got 250."""

    def __init__(self, number: str, where: tuple[str, int], recipient: str, seed: int) -> None:
        super().__init__(daemon=True)
        self._number = number
        self._where = where
        self._recipient = recipient
        self._chance = random.Random(seed)
        self.sent: list[bytes] = []
        self.acknowledged: list[tuple[bytes, str]] = []

    def _mail(self, count: int) -> bytes:
        body = self._chance.randbytes(self._chance.choice([10, 3000, 30_000, 1_500_000])).hex()
        lines = "\r\n".join(body[place : place + 76] for place in range(0, len(body), 76))
        name = f"{self._number}-{count}"
        return f"From: a@example.fr\r\nMessage-ID: <{name}@example.fr>\r\nSubject: {name}\r\n\r\n{lines}\r\n".encode()

    def run(self) -> None:
        try:
            with smtplib.SMTP(*self._where, timeout=30) as smtp:
                smtp.ehlo("example.fr")
                for count in range(10_000):
                    mail = self._mail(count)
                    self.sent.append(mail)
                    smtp.mail("<>")
                    smtp.rcpt(self._recipient)
                    code, reply = smtp.data(mail)
                    if code == 250:
                        self.acknowledged.append((mail, reply.decode()))
        except (OSError, smtplib.SMTPException):
            return


def round_of_mail(data: Path, recipient: str, number: int, chance: random.Random) -> list[Sender]:
    service = Service(data)
    senders = [Sender(f"{number}-{n}", service.smtp, recipient, number * 100 + n) for n in range(SENDERS)]
    for sender in senders:
        sender.start()
    threading.Event().wait(chance.uniform(0.02, 0.9))  # the random moment; nothing is synchronised by it
    service.kill(chance.choice(["group", "parent", "child"]), chance)
    for sender in senders:
        sender.join(60)
        assert not sender.is_alive()
    return senders


def held(data: Path) -> tuple[Counter, dict[str, str]]:
    """How often each mail's bytes stand in the capture logs, and the digest at each place."""
    core = open_core(load(data=data))
    times: Counter = Counter()
    places: dict[str, str] = {}
    for tenant in core.tenants():
        for log in logs(core.store, tenant.id):
            if log.kind != "capture":
                continue
            for entry in read_from(core.store, log, 0):
                if entry.type == "capture":
                    raw = open_capture(core.store, tenant.keyring, log, entry.fields).raw
                    digest = hashlib.sha256(raw).hexdigest()
                    times[digest] += 1
                    places[f"log={log} seq={entry.seq}"] = digest
    core.close()
    return times, places


@pytest.mark.parametrize("store", ["filesystem"])
def test_every_acknowledged_mail_survives_kill_9(tmp_path: Path, store: str) -> None:
    data = tmp_path / store
    run("init", "--data", data, "--tenant", "acme")
    source = run("source", "add", "--data", data, "--tenant", "acme", "--kind", "generic", "--name", "kill")
    chance = random.Random(20261123)
    senders: list[Sender] = []
    for number in range(KILLS):
        senders.extend(round_of_mail(data, source["address"], number, chance))
    acknowledged = [pair for sender in senders for pair in sender.acknowledged]
    assert len(acknowledged) > KILLS, "the rounds were too short to prove anything"

    times, places = held(data)
    for mail, reply in acknowledged:
        digest = hashlib.sha256(mail).hexdigest()
        assert times[digest] == 1, "an acknowledged mail is missing or doubled"
        assert places[reply.removeprefix("2.0.0 archived ")] == digest, "the reply names another entry"
    sent = {hashlib.sha256(mail).hexdigest() for sender in senders for mail in sender.sent}
    assert set(times) <= sent
    assert max(times.values()) == 1

    found = run("search", "*", "--data", data, "--limit", "1")
    assert found["total"] == sum(times.values())
    report = run("verify", "--data", data)
    assert report["clean"]
    assert report["checked"]["objects"] == sum(times.values())
