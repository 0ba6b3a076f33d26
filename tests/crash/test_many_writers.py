"""Real writer processes on one archive: killed, frozen, cloned, started again. No gap, no double, no fork; whatever was
acknowledged is there once; what was not is chained by recovery."""

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from archive_service.bootstrap import open_core
from archive_service.ledger.payloads import open_capture
from archive_service.ledger.reader import LogReader, logs
from archive_service.ledger.recovery import Recovered, Recovery
from archive_service.ledger.recovery_marks import MemoryMarks
from archive_service.settings import load
from tests.crash import driver
from tests.services.s3 import S3Service, new_bucket, s3_service

__all__ = ["s3_service"]  # a fixture
PROGRAM = Path(sys.executable).parent / "archive-service"
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.crash.driver"])
FULL = os.environ.get("ARCHIVE_TEST_FULL") == "1"
TRIALS = int(os.environ.get("ARCHIVE_TEST_KILLS") or (1002 if FULL else 12))  # kills
WRITERS = 3


class Writer:
    """One driver process; ``acks``: mail to place, as far as its words have been read. It is forked from a server that
    has imported the service already, for a start must not cost more than the trial."""

    def __init__(self, settings: dict[str, str], role: str, tag: str) -> None:
        self.acks: dict[str, tuple[str, int]] = {}
        heard, said = FORKS.Pipe(duplex=False)
        obeyed, told = FORKS.Pipe(duplex=False)
        self.process = FORKS.Process(
            target=driver.forked, args=(settings, role, tag, obeyed, said), daemon=True
        )
        self.process.start()
        said.close()
        obeyed.close()
        self._heard = os.fdopen(os.dup(heard.fileno()), "r")
        self._told = os.fdopen(os.dup(told.fileno()), "w")
        heard.close()
        told.close()

    def ready(self) -> "Writer":
        """Itself, once its slot is claimed."""
        assert self.read() == "ready"
        return self

    def go(self) -> None:
        """Let it flood."""
        self._told.write("go\n")
        self._told.flush()

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def read(self) -> str:
        """Its next line; empty when it has ended."""
        line = self._heard.readline().strip()
        if line.startswith("ack "):
            _, log, seq, mail = line.split(" ")
            self.acks[mail] = (log, int(seq))
        return line

    def tell(self, order: str) -> list[str]:
        """Give an order; what it answers, to its end."""
        self._told.write(f"{order}\n")
        self._told.flush()
        ends = {"seal": ["sealed"], "append": ["done"], "twin": ["done", "done"]}[order.partition(" ")[0]]
        heard: list[str] = []
        while ends:
            line = self.read()
            assert line, "the writer has ended"
            if line == ends[0]:
                ends.pop(0)
            else:
                heard.append(line)
        return heard

    def kill(self) -> None:
        """``kill -9``; then what it had said."""
        self.process.kill()
        while self.read():
            continue
        self.close()

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.join()
        self._told.close()
        self._heard.close()


class Site:
    """An archive and the writers on it."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = {**os.environ, **environment}
        self.settings = environment
        self.acks: dict[str, tuple[str, int]] = {}
        self.writers: list[Writer] = []
        self.run("init", "--tenant", "acme")

    def run(self, *arguments: str) -> dict[str, object]:
        done = subprocess.run(
            [PROGRAM, *arguments, "--json"],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return dict(json.loads(done.stdout))

    def start(self, role: str, tag: str) -> Writer:
        writer = Writer(self.settings, role, tag)
        self.writers.append(writer)
        return writer

    def end(self, writer: Writer) -> None:
        writer.kill()
        self.acks.update(writer.acks)
        self.writers.remove(writer)

    def recover(self) -> Recovered:
        """As the scheduler does, without waiting for ten minutes to pass."""
        core = open_core(self.loaded())
        try:
            (tenant,) = core.tenants()
            marks = MemoryMarks()
            age = timedelta(seconds=-60)  # the store's clock may be a little ahead of ours
            return Recovery(tenant.vault, tenant.acts.refresh, core.policy, marks, age=age).run()
        finally:
            core.close()

    def loaded(self):  # type: ignore[no-untyped-def]
        return load(**{name.removeprefix("ARCHIVE_").lower(): value for name, value in self.settings.items()})

    def check(self) -> Counter[str]:
        """Every acknowledged mail once, where its receipt says; every log one chain without gap or fork; how often each
        mail stands."""
        core = open_core(self.loaded())
        found: Counter[str] = Counter()
        places: dict[tuple[str, int], str] = {}
        names: Counter[str] = Counter()
        try:
            (tenant,) = core.tenants()
            for log in logs(core.store, tenant.id):
                for number, entry in enumerate(LogReader(core.store, log).entries()):
                    assert entry.seq == number
                    if entry.type == "capture":
                        mail = open_capture(core.store, tenant.keyring, log, entry.fields).raw.decode()
                        found[mail] += 1
                        names[entry.fields["capture"]] += 1
                        places[str(log), number] = mail
        finally:
            core.close()
        assert max(names.values(), default=1) == 1, "a capture is chained twice"
        for mail, place in self.acks.items():
            assert places.get(place) == mail, "an acknowledged mail is not where its receipt says"
            assert found[mail] == 1, "an acknowledged mail stands more than once"
        assert self.run("verify")["clean"]
        return found

    def close(self) -> None:
        for writer in list(self.writers):
            writer.close()


def on_s3(service: S3Service, folder: Path) -> dict[str, str]:
    """Settings of an archive in three fresh buckets, its key service in a folder."""
    archive, first, second = (new_bucket(service, locked=locked).bucket for locked in (True, False, False))
    (folder / "kms").mkdir()
    return {
        "ARCHIVE_STORE": "s3",
        "ARCHIVE_S3_ENDPOINT": service.url,
        "ARCHIVE_S3_ACCESS_KEY": service.access_key,
        "ARCHIVE_S3_SECRET_KEY": service.secret_key,
        "ARCHIVE_S3_BUCKET": archive,
        "ARCHIVE_KEYS_A": f"s3://{first}",
        "ARCHIVE_KEYS_B": f"s3://{second}",
        "ARCHIVE_KMS_FOLDER": str(folder / "kms"),
        "ARCHIVE_WORK": str(folder / "work"),
    }


@pytest.fixture(params=["filesystem", "s3"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    if request.param == "s3":
        environment = on_s3(request.getfixturevalue("s3_service"), tmp_path)
    else:
        environment = {"ARCHIVE_DATA": str(tmp_path / "archive")}
    made = Site(environment)
    yield made
    made.close()


def test_a_writer_frozen_past_its_takeover_neither_doubles_nor_loses(site: Site) -> None:
    """SIGSTOP with a mail sealed and not appended; recovery chains it; SIGCONT, and its append must lose."""
    writers = [site.start("steps", f"w{n}").ready() for n in range(WRITERS)]
    for number, writer in enumerate(writers):
        writer.tell(f"seal before-{number}")
        writer.tell("append")
    frozen = writers[0]
    frozen.tell("seal frozen")
    os.kill(frozen.pid, signal.SIGSTOP)
    try:
        assert site.recover() == Recovered(chained=1)
    finally:
        os.kill(frozen.pid, signal.SIGCONT)
    assert frozen.tell("append") == ["no ledger.slot_lost frozen"]
    frozen.tell("seal repeated")
    assert frozen.tell("append")[0].startswith("ack ")
    for writer in writers:
        site.end(writer)
    found = site.check()
    assert len(site.acks) == WRITERS + 1
    assert found["frozen"] == 1


def test_of_a_writer_and_its_clone_one_appends(site: Site) -> None:
    writer = site.start("steps", "w").ready()
    writer.tell("seal both")
    clone, own = writer.tell("twin")
    assert clone.startswith("ack ")
    assert own == "no ledger.slot_lost both"
    writer.tell("seal after")
    assert writer.tell("append")[0].startswith("ack ")
    site.end(writer)
    assert site.recover() == Recovered()
    assert site.check() == Counter({"both": 1, "after": 1})


def test_kill_9_of_writers_at_work(site: Site) -> None:
    """A round lets three writers flood side by side and kills each after a random number of its acknowledgements; the
    next round's writers take their slots."""
    chance = random.Random(20261126)
    for round_ in range(TRIALS // WRITERS):
        running = [site.start("flood", f"r{round_}w{n}") for n in range(WRITERS)]
        for writer in running:
            writer.ready()
        for writer in running:
            writer.go()
        for victim in chance.sample(running, WRITERS):
            for _ in range(chance.choice((0, 0, 1, 5, 20, 40))):
                victim.read()
            site.end(victim)
    assert len(site.acks) > TRIALS
    site.recover()
    again = site.recover()
    assert again.chained == 0
    assert set(again.reported.values()) <= {"key.no_record"}  # killed between the object and its key record
    site.check()
