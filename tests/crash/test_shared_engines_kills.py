"""``kill -9`` of two machines over S3, PostgreSQL and Elasticsearch, of single processes of theirs, and of the two
servers, while mail is sent all the time: what got its 250 is found once, byte for byte, through both machines."""

import json
import os
import random
import signal
import smtplib
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from archive_service.bootstrap import open_core
from archive_service.ledger.reader import logs, read_from
from archive_service.settings import load
from tests.services.s3 import s3_service
from tests.system.engines import Engines, clean, engines, site
from tests.system.machines import PATIENCE, Machine, Site, start, until

__all__ = ["engines", "s3_service", "site"]  # fixtures
FULL = os.environ.get("ARCHIVE_TEST_FULL") == "1"
KILLS = int(os.environ.get("ARCHIVE_TEST_KILLS") or (100 if FULL else 6))
SEED = int(os.environ.get("ARCHIVE_TEST_SEED") or 20261126)
PAUSE = 0.3  # seconds between two mails of a sender: what was sent must be read again within the test's time
READERS = 8  # at once, of what was archived


class Sender(threading.Thread):
    """Sends mails to whatever machine it can reach, each one only once; keeps what was answered 250."""

    def __init__(self, name: str, machines: list[Machine], address: str, stop: threading.Event) -> None:
        super().__init__(daemon=True, name=f"sender-{name}")
        self._machines = machines
        self._address = address
        self._stop_sending = stop
        self._chance = random.Random(f"{SEED} {name}")
        self._prefix = name
        self.sent: dict[str, bytes] = {}
        self.acknowledged: set[str] = set()
        self.answers: Counter[str] = Counter()

    def run(self) -> None:
        while not self._stop_sending.wait(PAUSE):
            subject = f"{self._prefix}numero{len(self.sent)}"
            self.sent[subject] = self._mail(subject)
            try:
                code = self._chance.choice(self._machines).send(self._address, self.sent[subject])
            except (OSError, smtplib.SMTPException) as broken:  # it is being killed, or not there yet
                self.answers[type(broken).__name__] += 1
                continue
            self.answers[str(code)] += 1
            if code == 250:
                self.acknowledged.add(subject)

    def _mail(self, subject: str) -> bytes:
        body = self._chance.randbytes(self._chance.choice([10, 3000, 60_000])).hex()
        lines = "\r\n".join(body[place : place + 76] for place in range(0, len(body), 76))
        head = f"From: anne@example.fr\r\nMessage-ID: <{subject}@example.fr>\r\nSubject: {subject}\r\n"
        return f"{head}Date: Mon, 2 Mar 2026 10:00:00 +0100\r\n\r\n{lines}\r\n".encode()


class Killer:
    """Kills, each of a kind, and starts again what does not start by itself."""

    def __init__(self, site: Site, engines: Engines, acknowledged: Callable[[], int]) -> None:
        self._site = site
        self._engines = engines
        self._acknowledged = acknowledged
        self._chance = random.Random(SEED)
        self._kinds = {
            "machine": self._machine,
            "follower": lambda: self._child("follower"),
            "smtp": lambda: self._child("smtp"),
            "postgres": self._postgres,
            "elasticsearch": self._elasticsearch,
        }
        self.killed: Counter[str] = Counter()

    def run(self, kills: int) -> None:
        """Every kind comes once before chance decides."""
        first = self._chance.sample(list(self._kinds), len(self._kinds))
        for number in range(kills):
            kind = first[number] if number < len(first) else self._draw()
            self._await_mail(self._chance.choice([0, 1, 3, 8, 20]))
            self._kinds[kind]()
            self.killed[kind] += 1

    def _draw(self) -> str:
        return self._chance.choices(list(self._kinds), weights=[5, 5, 5, 1, 1])[0]

    def _await_mail(self, count: int) -> None:
        wanted = self._acknowledged() + count

        def look() -> dict | None:
            return {} if self._acknowledged() >= wanted else None

        until(look, lambda: f"no mail is accepted any more\n{self._logs()}")

    def _logs(self) -> str:
        return "\n".join(machine.log()[-3000:] for machine in self._site.machines)

    def _machine(self) -> None:
        machine = self._chance.choice(self._site.machines)
        machine.kill()
        self._await_mail(self._chance.choice([0, 0, 2, 10]))
        machine.serve()

    def _child(self, role: str) -> None:
        """Its parent starts it again."""
        victim = self._chance.choice(self._site.machines)
        found = children(victim, role)
        if found:  # it may not be there again yet since the last time
            os.kill(self._chance.choice(found), signal.SIGKILL)

    def _postgres(self) -> None:
        self._engines.postgres.kill()
        self._await_mail(self._chance.choice([1, 5, 15]))
        self._engines.postgres.start()

    def _elasticsearch(self) -> None:
        self._engines.elasticsearch.kill()
        self._await_mail(self._chance.choice([1, 5, 15]))
        self._engines.elasticsearch.start()


def children(machine: Machine, role: str) -> list[int]:
    assert machine.process is not None
    what = ["pgrep", "-P", str(machine.process.pid), "-f", f"archive_service.serving {role}"]
    return [int(line) for line in subprocess.run(what, capture_output=True, text=True).stdout.split()]


class Truth:
    """What stands in the logs, and what catalog and index count, read beside the service."""

    def __init__(self, machine: Machine, work: Path) -> None:
        names = {name.removeprefix("ARCHIVE_").lower(): value for name, value in machine.settings.items()}
        self._core = open_core(load(**(names | {"work": work})))
        (self._tenant,) = self._core.tenants()

    def captures(self) -> int:
        store = self._core.store
        found = [log for log in logs(store, self._tenant.id) if log.kind == "capture"]
        return sum(entry.type == "capture" for log in found for entry in read_from(store, log, 0))

    def counts(self) -> tuple[int, int, int]:
        """Captures and messages in the catalog, documents in the index."""
        live = self._core.engines.live(self._tenant.id)
        try:
            counted = live.catalog.counts()
            return counted["captures"], counted["messages"], live.held()
        finally:
            live.close()

    def close(self) -> None:
        self._core.close()


def settled(truth: Truth, machines: list[Machine]) -> int:
    """How many captures the logs hold, once catalog and index hold as many. Recovery may still chain one."""

    def look() -> dict | None:
        chained = truth.captures()
        return {"chained": chained} if set(truth.counts()) == {chained} else None

    def why() -> str:
        tails = [machine.log()[-3000:] for machine in machines]
        return "\n".join([f"logs {truth.captures()}, catalog and index {truth.counts()}", *tails])

    return int(until(look, why)["chained"])


def listed(machine: Machine, token: str) -> list[tuple[str, str]]:
    """Subject and id of every message, page by page."""
    found: list[tuple[str, str]] = []
    cursor: str | None = None
    while True:
        asked = {"query": "*", "limit": 100} | ({"cursor": cursor} if cursor else {})
        status, answer = machine.http("POST", "/v1/search", token, asked)
        assert status == 200, answer
        page = json.loads(answer)
        found += [(hit["subject"], hit["id"]) for hit in page["hits"]]
        cursor = page["next"]
        if cursor is None:
            assert len(found) == page["total"]
            return found


def assert_as_sent(
    machines: list[Machine], token: str, found: list[tuple[str, str]], sent: dict[str, bytes]
) -> None:
    """Every message's bytes, from each machine in turn: every look at one is an entry in the access log."""

    def look(number: int) -> bool:
        subject, message = found[number]
        machine = machines[number % len(machines)]
        return machine.http("GET", f"/v1/messages/{message}/raw", token) == (200, sent[subject])

    with ThreadPoolExecutor(READERS) as pool:
        assert all(pool.map(look, range(len(found)))), "a mail is not shown as it was sent"


@pytest.fixture
def stop() -> threading.Event:
    return threading.Event()


def test_kill_9_of_machines_processes_and_engines(
    site: Site, engines: Engines, stop: threading.Event, tmp_path: Path
) -> None:
    one, address, token = start(site)
    two = site.machine("two")
    machines = [one, two]
    for machine in machines:
        machine.serve()
    senders = [Sender(name, machines, address, stop) for name in ("a", "b")]
    begun = time.monotonic()
    for sender in senders:
        sender.start()
    killer = Killer(site, engines, lambda: sum(len(sender.acknowledged) for sender in senders))
    try:
        killer.run(KILLS)
    finally:
        stop.set()
        for sender in senders:
            sender.join(PATIENCE)
    assert not any(sender.is_alive() for sender in senders)
    sent = {subject: mail for sender in senders for subject, mail in sender.sent.items()}
    acknowledged = {subject for sender in senders for subject in sender.acknowledged}
    assert len(acknowledged) > KILLS, "too little mail to prove anything"

    truth = Truth(one, tmp_path / "reader")
    try:
        chained = settled(truth, machines)
    finally:
        truth.close()
    print(
        f"seed {SEED}: killed {dict(killer.killed)} in {time.monotonic() - begun:.0f} s; "
        f"sent {len(sent)}, 250 {len(acknowledged)}, archived {chained}; "
        f"{dict(sum((sender.answers for sender in senders), Counter()))}"
    )
    first = listed(one, token)
    assert listed(two, token) == first
    assert len(first) == chained
    subjects = Counter(subject for subject, _ in first)
    assert max(subjects.values()) == 1, "a mail is found twice"
    assert acknowledged <= set(subjects), "a mail that was answered 250 is not found"
    assert_as_sent(machines, token, first, sent)
    for machine in machines:
        machine.stop()
    clean(two, chained)
    drilled = one.command("rebuild", "--drill")
    assert drilled["same"] is True, drilled
