"""The file system store beyond the contract: layout, journal, listing, several writers of one folder."""

import fcntl
import hashlib
import hmac
import json
import os
import stat
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from archive_service.model.canonical import canonical
from archive_service.model.clock import rfc3339
from archive_service.model.errors import (
    AlreadyExists,
    Invalid,
    Locked,
)
from archive_service.vault.stores import durable
from archive_service.vault.stores.base import Lock, LockMode, NewObject
from archive_service.vault.stores.filesystem import FileSystemKeyPlace, FileSystemStore

KEY = b"s" * 32
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MONTH = NOW + timedelta(days=30, microseconds=7)
YEAR = NOW + timedelta(days=365)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data" / "objects"


@pytest.fixture
def store(root: Path) -> FileSystemStore:
    return opened(root)


@pytest.fixture
def place(tmp_path: Path) -> FileSystemKeyPlace:
    return FileSystemKeyPlace(tmp_path / "keys")


def opened(root: Path, clock: Callable[[], datetime] = lambda: NOW) -> FileSystemStore:
    """As another process would open it: nothing known, nothing cached."""
    return FileSystemStore(root, state_key=KEY, clock=clock)


def put(store: FileSystemStore, *keys: str, lock: Lock | None = None) -> None:
    store.create([NewObject(key, b"body of " + key.encode(), lock or Lock(until=MONTH)) for key in keys])


def temporaries(root: Path) -> list[Path]:
    return list((root / ".tmp").iterdir())


def journal_lines(root: Path, folder: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (root / folder / ".locks").read_bytes().splitlines()]


# layout


def test_an_object_is_a_read_only_file_of_the_same_bytes(root: Path, store: FileSystemStore) -> None:
    body = os.urandom(5000)
    store.create([NewObject("t1/objects/a", body)])
    path = root / "t1/objects/a"
    assert path.read_bytes() == body
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    assert stat.S_IMODE((root / "t1").stat().st_mode) == 0o700
    assert stat.S_IMODE((root / "t1/objects").stat().st_mode) == 0o700
    assert stat.S_IMODE((root / "t1/objects/.locks").stat().st_mode) == 0o600
    assert temporaries(root) == []


def test_a_key_record_is_a_private_file(tmp_path: Path, place: FileSystemKeyPlace) -> None:
    place.create("days/1", b"secret")
    place.put("days/1", b"secret too")
    assert (tmp_path / "keys/days/1").read_bytes() == b"secret too"
    assert stat.S_IMODE((tmp_path / "keys/days/1").stat().st_mode) == 0o600
    assert temporaries(tmp_path / "keys") == []


def test_the_journal_is_as_specified(root: Path, store: FileSystemStore) -> None:
    put(store, "t1/o/a", "t1/o/b")
    store.protect("t1/o/a", "1", Lock(until=YEAR, hold=True))
    store.protect("t1/o/a", "1", Lock(until=YEAR, hold=True))  # changes nothing, writes nothing
    previous = "0" * 64
    for raw in (root / "t1/o/.locks").read_bytes().splitlines():
        line = json.loads(raw)
        assert canonical(line) == raw
        mac = line.pop("x")
        assert line["p"] == previous
        assert mac == hmac.new(KEY, b"t1/o" + canonical(line), hashlib.sha256).hexdigest()
        previous = mac
    first, _, last = journal_lines(root, "t1/o")
    assert (first["a"], first["n"], first["v"], first["u"]) == (
        "create",
        "a",
        "1",
        "2026-03-31T12:00:00.000007Z",
    )
    assert (last["a"], last["n"], last["h"], last["m"]) == ("protect", "a", True, "COMPLIANCE")


def test_state_survives_the_process(root: Path, store: FileSystemStore) -> None:
    put(store, "top", "t1/o/a", "t1/o/b", lock=Lock(LockMode.GOVERNANCE, MONTH))
    store.protect("t1/o/a", "1", Lock(until=YEAR, hold=True))
    store.create([NewObject("t1/o/gone", b"")])
    store.delete("t1/o/gone", "1")
    later = opened(root)
    assert later.stat("top")[0][1] == Lock(LockMode.GOVERNANCE, MONTH)
    assert later.stat("t1/o/a")[0][1] == Lock(until=YEAR, hold=True)
    assert later.stat("t1/o/b")[0][1] == Lock(LockMode.GOVERNANCE, MONTH)
    with pytest.raises(AlreadyExists):
        put(later, "t1/o/gone")


def test_a_short_state_key_is_refused(root: Path) -> None:
    with pytest.raises(Invalid):
        FileSystemStore(root, state_key=b"short")


def test_foreign_files_are_not_listed(root: Path, store: FileSystemStore) -> None:
    put(store, "a/1")
    (root / "lost+found").mkdir()
    (root / "a" / "editor~").write_bytes(b"")
    (root / "a" / ".hidden").write_bytes(b"")
    assert [stored.key for stored in store.list("")] == ["a/1"]


def test_a_folder_wholly_before_the_cursor_is_not_opened(
    root: Path, store: FileSystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "log/00/1", "log/01/1", "log/02/1")
    scanned: list[str] = []

    def scandir(path: str) -> Any:
        scanned.append(str(path).removeprefix(f"{root}/"))
        return os_scandir(path)

    os_scandir = os.scandir
    monkeypatch.setattr(os, "scandir", scandir)
    assert [stored.key for stored in store.list("log/", "log/01/0")] == ["log/01/1", "log/02/1"]
    assert scanned == ["log/", "log/01/", "log/02/"]


def test_streaming_keeps_memory_flat(root: Path, store: FileSystemStore) -> None:
    def chunks() -> Iterator[bytes]:
        for number in range(256):
            yield bytes([number]) * 262_144

    tracemalloc.start()
    try:
        (stored,) = store.create([NewObject("large", chunks())])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert stored.size == 64 << 20
    assert peak < 4 << 20


def test_sweep_takes_only_what_is_old(root: Path) -> None:
    store = opened(root, clock=lambda: datetime.now(UTC))
    crashed, at_work = root / ".tmp/crashed", root / ".tmp/at-work"
    for path in (crashed, at_work):
        path.write_bytes(b"part")
    two_days_ago = datetime.now(UTC).timestamp() - 2 * 86_400
    os.utime(crashed, (two_days_ago, two_days_ago))
    assert opened(root, clock=lambda: datetime.now(UTC)).list("") is not None  # opening sweeps nothing
    assert store.sweep_temporary(timedelta(days=1)) == 1
    assert temporaries(root) == [at_work]


# several writers of one folder


def test_stores_that_share_a_folder_keep_one_chain(root: Path) -> None:
    """Each store has its own view of the journal and its own file descriptors, as processes have."""
    stores = [opened(root) for _ in range(4)]

    def work(number: int) -> None:
        for turn in range(10):
            put(stores[number], f"o/{number}-{turn}-a", f"o/{number}-{turn}-b")
            stores[number].protect(f"o/{number}-{turn}-a", "1", Lock(until=YEAR, hold=turn % 2 == 0))
            assert stores[number].stat(f"o/{number}-{turn}-b")[0][1] == Lock(until=MONTH)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    after = opened(root)
    names = [stored.key for stored in after.list("o/")]
    assert len(names) == 80
    for name in names:
        expected = (
            Lock(until=YEAR, hold=int(name[4:-2]) % 2 == 0) if name.endswith("a") else Lock(until=MONTH)
        )
        assert after.stat(name)[0][1] == expected
        assert stores[0].stat(name)[0][1] == expected
    assert len(journal_lines(root, "o")) == 120


@pytest.mark.parametrize("first_line", ["winner", "loser"])
def test_who_loses_a_name_cannot_loosen_the_winners_lock(
    root: Path, store: FileSystemStore, monkeypatch: pytest.MonkeyPatch, first_line: str
) -> None:
    """Both write their lines while the name is free, in either order; then the winner links first."""
    link, waiting = os.link, []
    strict, loose = Lock(until=YEAR, hold=True), Lock(LockMode.GOVERNANCE, MONTH)
    first, second = (strict, loose) if first_line == "winner" else (loose, strict)

    def before_the_first_links(*arguments: Any, **named: Any) -> None:
        waiting.append((arguments, named))
        monkeypatch.setattr(durable, "link", before_the_second_links)
        with pytest.raises(AlreadyExists) if first_line == "winner" else nullcontext():
            put(opened(root), "log/1", lock=second)
        if first_line == "loser":
            link(*arguments, **named)

    def before_the_second_links(*arguments: Any, **named: Any) -> None:
        if first_line == "winner":
            link(*waiting[0][0], **waiting[0][1])
        link(*arguments, **named)

    monkeypatch.setattr(durable, "link", before_the_first_links)
    with nullcontext() if first_line == "winner" else pytest.raises(AlreadyExists):
        put(store, "log/1", lock=first)
    monkeypatch.undo()
    assert [line["u"] for line in journal_lines(root, "log")] == [
        rfc3339(lock.until) for lock in (first, second) if lock.until
    ]
    with pytest.raises(AlreadyExists):
        put(store, "log/1", lock=Lock())
    for view in (store, opened(root)):
        assert view.stat("log/1")[0][1] == strict
    assert temporaries(root) == []


def test_a_hold_set_while_a_deletion_waits_is_honoured(root: Path, store: FileSystemStore) -> None:
    put(store, "o/a", lock=Lock())
    with (root / "o/.locks").open("rb") as journal, ThreadPoolExecutor(1) as pool:
        fcntl.flock(journal, fcntl.LOCK_EX)
        holding = pool.submit(opened(root).protect, "o/a", "1", Lock(hold=True))
        assert not holding.done()
        fcntl.flock(journal, fcntl.LOCK_UN)
        holding.result()
    with pytest.raises(Locked):
        store.delete("o/a", "1")


def test_a_journal_that_another_thread_makes_while_we_look_for_it_is_not_missing(
    store: FileSystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both threads find no journal; the other one makes it, and fills what both know of it, before we go on."""
    plain_open = os.open
    late: list[str] = []

    def open_late(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if path == ".locks" and not flags & os.O_CREAT and not late:
            late.append(path)
            store.create([NewObject("log/other", b"first")])
            raise FileNotFoundError
        return plain_open(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", open_late)
    store.create([NewObject("log/ours", b"second")])
    assert late
    assert [stored.key for stored in store.list("log/")] == ["log/other", "log/ours"]
    assert all(store.stat(key)[0][1] == Lock() for key in ("log/other", "log/ours"))
