"""Importing, whatever the format: every item once, however often it is asked for and wherever it was killed."""

import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from archive_service.bootstrap import open_core
from archive_service.imports.importing import Importer, Told, find_source
from archive_service.imports.importing_journal import Journal
from archive_service.ledger.capture_writer import CaptureDraft
from archive_service.ledger.write_steps import WriteSteps
from archive_service.model.clock import rfc3339
from archive_service.model.errors import StoreError
from archive_service.model.mail import CaptureRecord, SourceKind
from archive_service.settings import load
from archive_service.vault.key_places import in_turn
from archive_service.vault.stores.base import Lock
from ingest.importers.base import Item, MailboxFailed
from ingest.parser_pool import ParserPool
from tests.flow.archive_fixtures import have_erased, mail, run, verify
from tests.flow.importing import counts, held, imported, lines, made, once


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return made(tmp_path / "archive")


@pytest.fixture
def mails(tmp_path: Path) -> Path:
    folder = tmp_path / "mails"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.eml").write_bytes(mail(number))
    return folder


def journal(data: Path) -> Path:
    (path,) = (data / "run" / "importing").glob("*.sqlite")
    return path


def forget(data: Path, statement: str) -> None:
    with sqlite3.connect(journal(data)) as database:
        assert database.execute(statement).rowcount != 0


def everything(mails: Path) -> dict[str, bytes]:
    return {str(path.relative_to(mails)): path.read_bytes() for path in sorted(mails.rglob("*.eml"))}


def test_a_second_import_takes_nothing_and_a_third_what_is_new(data: Path, mails: Path) -> None:
    assert counts(imported(data, "eml", mails)) == (5, 0, 0)
    assert counts(imported(data, "eml", mails)) == (0, 5, 0)
    (mails / "new.eml").write_bytes(mail(6))
    assert counts(imported(data, "eml", mails)) == (1, 5, 0)
    assert once(data) == everything(mails)
    assert verify(data).problems == [], "nor is anything of ours where it does not belong"


def test_another_name_or_other_bytes_are_another_item(data: Path, mails: Path) -> None:
    imported(data, "eml", mails)
    (mails / "0.eml").rename(mails / "00.eml")
    (mails / "1.eml").write_bytes(mail(99))
    assert counts(imported(data, "eml", mails)) == (2, 3, 0)
    assert len(held(data)) == 7


def test_another_source_knows_nothing_of_the_first(data: Path, mails: Path) -> None:
    one = imported(data, "eml", mails).answer["source"]
    two = imported(data, "eml", mails, "--source", "the mailbox of the board")
    assert counts(two) == (5, 0, 0)
    assert two.answer["source"] != one
    assert counts(imported(data, "eml", mails, "--source", "the mailbox of the board")) == (0, 5, 0)


def test_a_source_keeps_its_dialect(data: Path, mails: Path) -> None:
    imported(data, "eml", mails, "--source", "one")
    said = imported(data, "eml", mails, "--source", "one", "--kind", "m365")
    assert (said.code, said.answer["error"]["code"]) == (2, "import.kind")


@pytest.mark.parametrize(
    "loss",
    [
        "DELETE FROM items",
        "DELETE FROM seen",
        "UPDATE seen SET rows = 1, digest = 'of another archive'",
        "UPDATE seen SET rows = 100000",
    ],
)
def test_rows_of_the_journal_that_are_lost_are_learned_from_the_archive(
    data: Path, mails: Path, loss: str
) -> None:
    """Killed after a capture was durable and before the journal had it."""
    imported(data, "eml", mails)
    forget(data, loss)
    if loss == "DELETE FROM items":  # rows are written before ``seen`` passes them: both are lost together
        forget(data, "DELETE FROM seen")
    assert counts(imported(data, "eml", mails)) == (0, 5, 0)
    assert once(data) == everything(mails)


@pytest.mark.parametrize("damage", ["gone", "noise", "empty", "another archive's"])
def test_a_journal_that_is_lost_or_damaged_costs_nothing_but_time(
    data: Path, mails: Path, tmp_path: Path, damage: str
) -> None:
    imported(data, "eml", mails)
    path = journal(data)
    for end in ("-wal", "-shm"):
        Path(f"{path}{end}").unlink(missing_ok=True)
    if damage == "gone":
        path.unlink()
    elif damage == "another archive's":
        other = made(tmp_path / "other")
        imported(other, "eml", mails)
        imported(other, "eml", mails)
        shutil.copy(journal(other), path)
    else:
        path.write_bytes(b"noise" * 5000 if damage == "noise" else b"")
    assert counts(imported(data, "eml", mails)) == (0, 5, 0)
    assert once(data) == everything(mails)


def test_a_journal_that_is_newer_than_the_archive_is_not_believed(
    data: Path, mails: Path, tmp_path: Path
) -> None:
    """The archive came back from a backup, its work folder did not: what it lacks is taken again."""
    (mails / "4.eml").rename(tmp_path / "4.eml")
    imported(data, "eml", mails)
    backup = tmp_path / "backup"
    shutil.copytree(data, backup)
    (tmp_path / "4.eml").rename(mails / "4.eml")
    imported(data, "eml", mails)
    imported(data, "eml", mails)
    newer = data / "run" / "importing"
    shutil.rmtree(backup / "run" / "importing")
    shutil.copytree(newer, backup / "run" / "importing")
    assert counts(imported(backup, "eml", mails)) == (1, 4, 0)
    assert once(backup) == everything(mails)


def test_what_was_sealed_and_not_chained_is_not_taken_twice(data: Path, mails: Path) -> None:
    """Killed between object and entry: recovery would chain the object ten minutes later."""
    imported(data, "eml", mails)
    (mails / "5.eml").write_bytes(mail(5))
    core = open_core(load(data=data))
    try:
        tenant = core.tenant("acme")
        (source,) = tenant.acts.sources()
        now = core.clock()
        record = CaptureRecord(
            capture="",
            source=source.id,
            received_at=rfc3339(now),
            mail_from="",
            rcpt_to=(),
            channel="import",
            origin="5.eml",
        )
        steps = WriteSteps(core.store, tenant.keyring, core.slots(tenant.id, "capture"), core.clock, in_turn)
        draft = CaptureDraft(record, Lock(until=now + timedelta(days=30)), tenant.acts.seen)
        others = CaptureDraft(
            record.model_copy(update={"source": "s1", "origin": None}), draft.lock, draft.acts_seen
        )
        steps.seal([(draft, mail(5)), (others, mail(7))])
    finally:
        core.close()
    assert counts(imported(data, "eml", mails)) == (0, 6, 0)
    assert once(data) == everything(mails), "a stranger's orphan is left to the recovery that waits"


def test_an_item_that_fails_stops_no_other_and_is_named_in_the_report_alone(
    data: Path, mails: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (mails / "2 secret.eml").write_bytes(mail(2))
    (mails / "large.eml").write_bytes(b"x" * 70_000)
    real = Path.open

    def refuse(self: Path, *arguments: object, **named: object) -> object:
        if self.name == "2 secret.eml":
            raise PermissionError(13, "Permission denied", str(self))
        return real(self, *arguments, **named)

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setenv("ARCHIVE_SMTP_MAX_SIZE", "65536")
    report = tmp_path / "report.jsonl"
    said = imported(data, "eml", mails, "--report", report)
    assert counts(said) == (5, 0, 2)
    assert said.answer["reasons"] == {"import.too_large": 1, "import.unreadable": 1}
    assert "secret" not in said.out + said.err
    told = {each["item"]: each for each in lines(report)}
    assert told["2 secret.eml"]["outcome"] == "failed"
    assert told["2 secret.eml"]["code"] == "import.unreadable"
    assert "Permission denied" in told["2 secret.eml"]["reason"]
    assert told["large.eml"]["code"] == "import.too_large"
    assert {each["capture"] for each in told.values() if each["outcome"] == "taken"} == set(
        said.answer["captures"]
    )
    assert stat.S_IMODE(report.stat().st_mode) == 0o600
    monkeypatch.undo()
    assert counts(imported(data, "eml", mails)) == (2, 5, 0)


def test_a_report_is_never_written_over(data: Path, mails: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.jsonl"
    imported(data, "eml", mails, "--report", report)
    before = report.read_bytes()
    said = imported(data, "eml", mails, "--report", report)
    assert (said.code, said.answer["error"]["code"]) == (2, "import.report")
    assert report.read_bytes() == before


def test_what_was_erased_is_not_taken_again(data: Path, mails: Path) -> None:
    captures = imported(data, "eml", mails).answer["captures"]
    have_erased(data, captures[0])
    assert counts(imported(data, "eml", mails)) == (0, 5, 0)
    assert counts(imported(data, "eml", mails)) == (0, 5, 0)


def test_nothing_of_names_or_bytes_stands_in_the_journal(data: Path, mails: Path) -> None:
    (mails / "Lettre à Anne.eml").write_bytes(mail(8, "unmistakable"))
    imported(data, "eml", mails)
    found = b"".join(path.read_bytes() for path in (data / "run" / "importing").rglob("*") if path.is_file())
    assert found
    assert b"Lettre" not in found and b"unmistakable" not in found and b".eml" not in found
    assert all(
        stat.S_IMODE(path.stat().st_mode) == 0o600 for path in (data / "run" / "importing").glob("*.sqlite")
    )


def test_text_for_people(data: Path, mails: Path) -> None:
    asked = ("import", "eml", mails, "--tenant", "acme", "--data", data)
    assert run(*asked).out == "5 mails archived, chained and searchable\n"
    assert run(*asked).out == "0 mails archived, chained and searchable; 5 were there already\n"


# --- the engine alone -----------------------------------------------------------------------------------


class Listed:
    """A mailbox of a test."""

    def __init__(self, *items: Item | Exception) -> None:
        self._items = items

    def count(self) -> int | None:
        return None

    def items(self):
        for item in self._items:
            if isinstance(item, Exception):
                raise item
            yield item

    def close(self) -> None:
        """Nothing to close."""


class Engine:
    """An importer of an archive in this process."""

    def __init__(self, data: Path) -> None:
        self.core = open_core(load(data=data))
        self.pool = ParserPool(1)
        tenant = self.core.tenant("acme")
        source, new = find_source(tenant, "engine", SourceKind.GENERIC, "archive.localhost")
        self.importer = Importer(self.core, tenant, source, self.pool, new=new)
        self.told: list[Told] = []

    def take(self, *items: Item | Exception) -> list[tuple[str, str]]:
        self.told = []
        self.importer.take(Listed(*items), lambda told, done: self.told.append(told))
        return self.outcomes()

    def outcomes(self) -> list[tuple[str, str]]:
        return [(told.item, str(told.outcome)) for told in self.told]

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        self.importer.close()
        self.pool.close()
        self.core.close()


def item(name: str, raw: bytes, **more: object) -> Item:
    return Item(name, lambda: raw, **more)  # type: ignore[arg-type]


def unread(name: str) -> Item:
    def read() -> bytes:
        raise AssertionError("it was fetched")

    return Item(name, read, settled_by_name=True)


def test_a_mailbox_that_breaks_keeps_what_it_gave(data: Path) -> None:
    with Engine(data) as engine:
        with pytest.raises(MailboxFailed):
            engine.take(item("1", mail(1)), item("2", mail(2)), MailboxFailed("gone"))
        assert engine.outcomes() == [("1", "taken"), ("2", "taken")]
        assert engine.take(item("1", mail(1)), item("3", mail(3))) == [
            ("1", "already there"),
            ("3", "taken"),
        ]
    assert set(once(data)) == {"1", "2", "3"}


def test_an_item_twice_in_one_mailbox_is_taken_once(data: Path) -> None:
    with Engine(data) as engine:
        assert engine.take(item("1", mail(1)), item("1", mail(1)), item("1", mail(2))) == [
            ("1", "taken"),
            ("1", "already there"),
            ("1", "taken"),
        ]
    assert len(held(data)) == 2


def test_what_its_name_settles_is_not_fetched_again(data: Path) -> None:
    with Engine(data) as engine:
        assert engine.take(item("u1", mail(1), settled_by_name=True)) == [("u1", "taken")]
        assert engine.take(unread("u1")) == [("u1", "already there")]
    shutil.rmtree(data / "run" / "importing")
    with Engine(data) as engine:
        assert engine.take(unread("u1")) == [("u1", "already there")]


def test_a_mailbox_hears_of_an_item_when_it_is_durable(data: Path) -> None:
    heard: list[str] = []

    def heeding(name: str, number: int) -> Item:
        return item(name, mail(number), archived=lambda: heard.append(name))

    with Engine(data) as engine:
        assert len(engine.take(*(heeding(f"n{number}", number) for number in range(100)))) == 100
        assert heard == [f"n{number}" for number in range(100)]
        heard.clear()
        engine.take(heeding("n1", 1))
        assert heard == ["n1"]


def test_others_follow_while_an_import_is_under_way(data: Path) -> None:
    found: list[int] = []

    def read() -> bytes:
        search = [Path(sys.executable).parent / "archive-service", "search", "*", "--data", data, "--json"]
        done = subprocess.run(search, capture_output=True, text=True, check=False)
        found.append(json.loads(done.stdout)["total"])
        return mail(200)

    with Engine(data) as engine:
        first = [item(str(number), mail(number)) for number in range(100)]
        assert len(engine.take(*first, Item("200", read))) == 101
    assert found[0] > 0, "what was taken first is found before the import has ended"
    assert run("search", "*", "--data", data, "--json").answer["total"] == 101


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, 20_000_000])
def test_a_mail_of_any_size_is_an_item(data: Path, size: int) -> None:
    raw = (bytes(range(256)) * (size // 256 + 1))[:size]
    with Engine(data) as engine:
        assert engine.take(item("before", mail(1)), item("it", raw), item("it", raw)) == [
            ("before", "taken"),
            ("it", "taken"),
            ("it", "already there"),
        ]
        assert engine.take(item("it", raw)) == [("it", "already there")]
    assert once(data)["it"] == raw


@pytest.mark.parametrize("size", [100, 2_000_000])
def test_a_write_that_fails_is_an_item_that_failed(
    data: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> object:
        raise StoreError("no room", code="store.full")

    with Engine(data) as engine:
        with monkeypatch.context() as patched:
            patched.setattr(WriteSteps, "seal" if size < 1000 else "seal_stream", refuse)
            assert engine.take(item("it", b"x" * size)) == [("it", "failed")]
            assert engine.told[0].code == "store.full"
        assert engine.take(item("it", b"x" * size)) == [("it", "taken")]


def test_an_archive_that_takes_nothing_ends_the_import(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Engine(data) as engine:

        def refuse(*_: object) -> object:
            raise StoreError("no room", code="store.full")

        with monkeypatch.context() as patched:
            patched.setattr(WriteSteps, "seal", refuse)
            with pytest.raises(StoreError) as caught:
                engine.take(*(item(str(number), mail(number)) for number in range(1000)))
            assert caught.value.code == "store.full"
            assert 200 <= len(engine.told) < 600
            assert {told.code for told in engine.told} == {"store.full"}
        assert engine.take(item("1", mail(1))) == [("1", "taken")]


def test_two_imports_into_one_source_do_not_meet(data: Path, mails: Path) -> None:
    """The lease is held by another process: this one's child, which waits until it is told to end."""
    imported(data, "eml", mails)
    core = open_core(load(data=data))
    (source,) = core.tenant("acme").acts.sources()
    ready, end = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        core.leases.take(f"import-{source.id}")
        os.write(ready[1], b"x")
        os.read(end[0], 1)
        os._exit(0)
    try:
        os.read(ready[0], 1)
        said = imported(data, "eml", mails)
        assert (said.code, said.answer["error"]["code"]) == (1, "import.busy")
    finally:
        os.write(end[1], b"x")
        os.waitpid(child, 0)
        core.close()
        for each in (*ready, *end):
            os.close(each)
    assert counts(imported(data, "eml", mails)) == (0, 5, 0)


def test_a_journal_that_cannot_be_opened_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError) as caught:
        Journal(tmp_path / "file" / "journal.sqlite", b"k" * 32)
    assert caught.value.code == "import.journal"
