"""API processes that are replaced one after the other under load: a client loses nothing that it may not ask for again.

Two processes answer for one archive, a third follows and exports. What a client may meet is a connection that is not
taken (or taken and closed unanswered) and 503; asked again elsewhere, every request is answered.
"""

import http.client
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.system.test_service import SAMPLES, Running, make, start

CLIENTS = 2
TRIES = 200
AFTER_EACH = 2  # rounds of every client between two replacements


@dataclass
class Load:
    """Clients that search, read and export until they are told to stop; each sends its request to whoever is there."""

    token: str
    auditor: str
    message: str
    servers: list[Running]
    seen: set[str] = field(default_factory=set)
    jobs: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    rounds: int = 0
    over: bool = False
    turn: threading.Condition = field(default_factory=threading.Condition)

    def ask(self, client: int, method: str, path: str, body: dict | None = None, key: str = "") -> bytes:
        """Until it is answered; notes the id of the answer."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        headers |= {"Idempotency-Key": key} if key else {}
        for attempt in range(TRIES):
            server = self.servers[(client + attempt) % len(self.servers)]
            connection = http.client.HTTPConnection(server.where["http"], timeout=60)
            try:
                connection.request(method, path, json.dumps(body) if body else None, headers)
                answer = connection.getresponse()
                read = answer.read()
            except (ConnectionError, http.client.RemoteDisconnected):
                continue
            finally:
                connection.close()
            if answer.status == 503:
                continue
            if answer.status not in (200, 202):
                self.wrong.append(f"{method} {path}: {answer.status} {read[:200]!r}")
            self.seen.add(str(answer.getheader("X-Request-Id")))
            return read
        self.wrong.append(f"{method} {path}: never answered")
        return b"{}"

    def client(self, number: int) -> None:
        done = 0
        while not self.over:
            done += 1
            self.ask(number, "POST", "/v1/search", {"query": "*"})
            self.ask(number, "GET", f"/v1/messages/{self.message}/raw")
            asked = {"ids": [self.message], "formats": ["bundle"]}
            if done == 1:
                made = json.loads(self.ask(number, "POST", "/v1/exports", asked, key=f"c{number}-{done}"))
                self.jobs.add(made.get("id", "none"))
            with self.turn:
                self.rounds += 1
                self.turn.notify_all()

    def wait_for_rounds(self, more: int) -> None:
        """Until the clients together did so many more rounds: they go on, whatever was replaced."""
        with self.turn:
            reached = self.rounds + more
            assert self.turn.wait_for(lambda: self.rounds >= reached, 60), self.wrong


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Running]:
    data = tmp_path / "archive"
    running = start(data, make(data), ARCHIVE_SMTP_WORKERS="1")
    yield running
    assert running.stop() == 0


def api(archive: Running) -> Running:
    return start(archive.data, archive.source, "--role", "api")


def turned_away(server: Running, token: str) -> None:
    """One request with a token that is none."""
    connection = http.client.HTTPConnection(server.where["http"], timeout=60)
    connection.request("GET", "/v1/jobs", headers={"Authorization": f"Bearer {token[:-8]}AAAAAAAA"})
    assert connection.getresponse().status == 401
    connection.close()


def entries(load: Load) -> list[dict]:
    """The whole access log."""
    found: list[dict] = []
    load.token, cursor = load.auditor, ""
    while cursor is not None:
        page = json.loads(load.ask(0, "GET", f"/v1/access-log?limit=1000{cursor}"))
        found += page["entries"]
        cursor = f"&cursor={page['next']}" if page["next"] else None
    return found


def test_api_processes_replaced_under_load_lose_nothing_that_cannot_be_asked_again(archive: Running) -> None:
    assert archive.send((SAMPLES / "m365-recipient.eml").read_bytes())[0] == 250
    load = Load(archive.token("legal"), archive.token("auditor"), "", [api(archive), api(archive)])
    while not load.message:
        hits = json.loads(load.ask(0, "POST", "/v1/search", {"query": "*"}))["hits"]
        load.message = hits[0]["id"] if hits else ""
    clients = [threading.Thread(target=load.client, args=(number,)) for number in range(CLIENTS)]
    for each in clients:
        each.start()
    try:
        for place in range(2):
            load.wait_for_rounds(CLIENTS * AFTER_EACH)
            leaving = load.servers[place]
            turned_away(leaving, load.token)  # a sum, which is told when the process ends
            assert leaving.stop() == 0
            load.servers[place] = api(archive)
        load.wait_for_rounds(CLIENTS * AFTER_EACH)
    finally:
        load.over = True
        for each in clients:
            each.join()
    assert load.wrong == []
    answered = set(load.seen)
    for job in load.jobs:
        state = "queued"
        while state in ("queued", "running"):
            state = json.loads(load.ask(0, "GET", f"/v1/exports/{job}"))["state"]
        assert state == "done"
    written = entries(load)
    assert answered <= {str(each["request"]) for each in written if each["outcome"] == "shown"}
    sums = [each["detail"]["count"] for each in written if each["action"] == "auth.turned_away"]
    assert sums == [1, 1]
    for server in load.servers:
        assert server.stop() == 0
