"""Who may write to the store, and has no keys, adds what an archive would add: notes, batches, entries, whole logs. No
mail that is answered 250 is lost to readers by it, and ``verify`` names it."""

import hashlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from archive_service.bootstrap import Core, open_core
from archive_service.ledger import entry as entries
from archive_service.ledger.entry import Entry
from archive_service.ledger.reader import (
    checkpoint_note,
    checkpoint_size,
    find_head,
    newest_checkpoint,
    read_entry,
)
from archive_service.model.canonical import canonical
from archive_service.settings import Settings
from archive_service.vault import key_layout
from archive_service.vault.key_layout import LogId
from archive_service.vault.stores.base import Lock, NewObject
from tests.flow.archive_fixtures import SAMPLES, Said, run, verify


class Site:
    """An archive with mail, and what a stranger does to its store."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.run("init", "--tenant", "acme")
        self.mail("m365")
        self.before = self.found()

    def run(self, *arguments: object) -> Said:
        said = run(*arguments, "--data", self.data)
        assert said.code == 0, said.out + said.err
        return said

    def mail(self, kind: str) -> None:
        self.run("import", "eml", SAMPLES, "--tenant", "acme", "--kind", kind)

    def found(self) -> int:
        said = run("search", "*", "--tenant", "acme", "--limit", "1", "--data", self.data, "--json")
        assert said.code == 0, said.out + said.err
        return int(said.answer["total"])

    def core(self, work: Callable[[Core], Any]) -> Any:
        core = open_core(Settings(data=self.data))
        try:
            return work(core)
        finally:
            core.close()

    def log(self, name: str) -> LogId:
        return LogId(self.core(lambda core: core.tenants()[0].id), name)

    def forge(self, key: str, data: bytes) -> None:
        def work(core: Core) -> None:
            lock = Lock(until=core.clock() + timedelta(days=1))
            core.raw.create([NewObject(key, data, lock)])

        self.core(work)

    def append(self, log: LogId, kind: str, fields: dict[str, Any]) -> Entry:
        """A well-chained entry at the head, of a type that carries nothing sealed."""
        place = self.core(lambda core: find_head(core.store, log))
        time = self.core(lambda core: read_entry(core.store, log, place.seq - 1).time)
        made = entries.make(log, place.seq, place.prev, time, kind, fields)
        self.forge(key_layout.batch_key(log, place.seq), made.line + b"\n")
        return made

    def damage(self) -> list[str]:
        said = verify(self.data)
        assert said.code == 1, said.out
        return [problem["detail"] for problem in said.answer["problems"] if problem["severity"] == "damage"]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    yield Site(tmp_path / "archive")


def forge_notes(site: Site, log: LogId, count: int) -> None:
    """The newest note with another size, its signature left as it is, under the next names; and a batch there."""
    newest = site.core(lambda core: newest_checkpoint(core.store, log))
    note = site.core(lambda core: checkpoint_note(core.store, log, newest))
    lines = note.split("\n")
    lines[1] = "1000"
    for ordinal in range(newest + 1, newest + 1 + count):
        site.forge(key_layout.checkpoint_key(log, ordinal), "\n".join(lines).encode())
    claim = {
        "version": 1,
        "log": str(log),
        "seq": 999,
        "prev": "0" * 64,
        "time": "2026-03-02T10:00:00.000000Z",
    }
    line = canonical({**claim, "type": "claim", "writer": "0" * 16})
    second = canonical(
        {**claim, "seq": 1000, "prev": hashlib.sha256(line).hexdigest(), "type": "claim", "writer": "0" * 16}
    )
    site.forge(key_layout.batch_key(log, 999), line + b"\n" + second + b"\n")


@pytest.mark.parametrize("name", ["capture-1", "order-1", "acts"])
def test_tamper_forged_checkpoints_lead_no_writer_astray(site: Site, name: str) -> None:
    log = site.log(name)
    forge_notes(site, log, 3)
    site.mail("generic")  # a new source, so the acts grow too
    assert site.found() > site.before
    named = site.damage()
    assert "a checkpoint whose signature is wrong" in named

    def covered(core: Core) -> bool:
        newest = newest_checkpoint(core.store, log)
        note = checkpoint_note(core.store, log, newest)
        return note is not None and checkpoint_size(note) == find_head(core.store, log).seq

    assert site.core(covered)  # signing has gone on behind the forged ones
    total = site.found()
    site.run("rebuild", "--afresh")
    assert site.found() == total


def test_tamper_a_log_that_was_copied_under_another_owner_stops_nothing(site: Site) -> None:
    log = site.log("acts")
    stranger = LogId("0" * 20, "acts")
    for seq in (0, 1):
        data = site.core(lambda core, seq=seq: core.raw.read(key_layout.batch_key(log, seq)))
        site.forge(key_layout.batch_key(stranger, seq), data)
    site.forge(key_layout.batch_key(LogId("0" * 20, "root"), 0), b"x\n")
    site.mail("generic")
    assert site.found() > site.before
    assert any("another log" in detail for detail in site.damage())


@pytest.mark.parametrize("to", [3, 10**12])
def test_tamper_a_forged_range_hides_no_mail(site: Site, to: int) -> None:
    """It says that captures were taken into the order which are still to come."""
    capture = site.log("capture-1")
    head = site.core(lambda core: find_head(core.store, capture)).seq
    site.append(site.log("order-1"), "took", {"of": {"log": str(capture), "from": head, "to": head + to}})
    before = site.found()
    site.mail("generic")
    grown = site.found()
    assert grown > before
    site.run("rebuild", "--afresh")
    assert site.found() == grown


def test_tamper_a_claim_of_a_generation_that_never_stood_is_named(site: Site) -> None:
    site.append(site.log("order-1"), "claim", {"writer": "0" * 16, "generation": 999_999})
    assert any("never stood" in detail for detail in site.damage())
