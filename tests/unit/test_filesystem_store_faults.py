"""The file system store on a failing disk and under kill -9: what was acknowledged stays, nothing is half there."""

import errno
import hashlib
import json
import os
import random
import signal
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from archive_service.model.errors import (
    AlreadyExists,
    Locked,
    StoreDenied,
    StoreError,
    StoreFull,
    Tampered,
)
from archive_service.vault.stores import durable
from archive_service.vault.stores.base import Lock, NewObject
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


# the disk fails


def failing(code: int) -> Callable[..., Any]:
    def fail(*arguments: Any, **named: Any) -> Any:
        raise OSError(code, os.strerror(code), "/a/machine/path")

    return fail


SINGLE_FAULTS = [
    ("write", errno.ENOSPC, StoreFull),
    ("write", errno.EDQUOT, StoreFull),
    ("write", errno.EIO, StoreError),
    ("fsync", errno.EIO, StoreError),
    ("fsync", errno.ENOSPC, StoreFull),
    ("fdatasync", errno.EIO, StoreError),
    ("link", errno.ENOSPC, StoreFull),
    ("link", errno.EIO, StoreError),
    ("link", errno.EROFS, StoreDenied),
    ("mkdir", errno.EACCES, StoreDenied),
    ("mkdir", errno.ENOSPC, StoreFull),
]


@pytest.mark.parametrize("count", [1, 9])
@pytest.mark.parametrize(
    ("call", "code", "expected"),
    SINGLE_FAULTS,
    ids=[f"{call}-{errno.errorcode[code]}" for call, code, _ in SINGLE_FAULTS],
)
def test_a_failing_disk_leaves_nothing_behind(
    root: Path,
    store: FileSystemStore,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    code: int,
    expected: type[StoreError],
    count: int,
) -> None:
    keys = [f"new/{number}" for number in range(count)]
    monkeypatch.setattr(durable, call, failing(code))
    with pytest.raises(StoreError) as caught:
        put(store, *keys)
    monkeypatch.undo()
    assert type(caught.value) is expected
    assert "/a/machine/path" not in str(caught.value)
    assert str(root) not in str(caught.value)
    assert temporaries(root) == []
    after = opened(root)
    assert list(after.list("")) == []
    put(after, *keys)
    assert [after.stat(key)[0][1] for key in keys] == [Lock(until=MONTH)] * count


def test_space_that_runs_out_in_the_middle_of_a_body(
    root: Path, store: FileSystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"first"
        monkeypatch.setattr(durable, "write", failing(errno.ENOSPC))
        yield b"second"

    with pytest.raises(StoreFull):
        store.create([NewObject("o/1", b"whole"), NewObject("o/2", chunks())])
    monkeypatch.undo()
    assert temporaries(root) == []
    assert list(store.list("")) == []
    put(store, "o/1", "o/2")


@pytest.mark.parametrize("cut", ["cut off at once", "left for the next append"])
def test_space_that_runs_out_in_the_middle_of_a_journal_line(
    root: Path, store: FileSystemStore, monkeypatch: pytest.MonkeyPatch, cut: str
) -> None:
    put(store, "o/1")

    def half(fd: int, data: bytes) -> int:
        if bytes(data[:1]) != b"{":
            return os.write(fd, data)
        os.write(fd, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(durable, "write", half)
    if cut == "left for the next append":
        monkeypatch.setattr(durable, "truncate", failing(errno.EIO))
    with pytest.raises(StoreFull):
        put(store, "o/2")
    monkeypatch.undo()
    for view in (store, opened(root)):
        assert view.stat("o/1")[0][1] == Lock(until=MONTH)
    put(store, "o/2")
    assert opened(root).stat("o/2")[0][1] == Lock(until=MONTH)
    assert len(journal_lines(root, "o")) == 2


def test_short_writes_are_continued(
    root: Path, store: FileSystemStore, monkeypatch: pytest.MonkeyPatch, place: FileSystemKeyPlace
) -> None:
    monkeypatch.setattr(durable, "write", lambda fd, data: os.write(fd, bytes(data)[:7]))
    put(store, "o/1")
    place.put("a", b"a longer record")
    assert store.read("o/1") == b"body of o/1"
    assert place.get("a") == b"a longer record"


def sync_of_folder_fails(monkeypatch: pytest.MonkeyPatch, code: int = errno.EIO) -> None:
    def fsync(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(code, os.strerror(code))
        os.fsync(fd)

    monkeypatch.setattr(durable, "fsync", fsync)


def test_a_folder_that_failed_to_sync_settles_nothing(
    root: Path, store: FileSystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The object can be seen, yet a power cut may take it away: no look at it may say it is durable."""
    put(store, "o/1", "p/1")
    sync_of_folder_fails(monkeypatch)
    with pytest.raises(StoreError):
        put(store, "o/2")
    monkeypatch.undo()
    for verb in (
        lambda: store.stat("o/2"),
        lambda: put(store, "o/3"),
        lambda: store.protect("o/1", "1", Lock(until=YEAR)),
        lambda: store.delete("o/1", "1"),
    ):
        with pytest.raises(StoreError, match="did not reach the disk"):
            verb()
    assert store.read("o/1") == b"body of o/1"
    put(store, "p/2")
    assert store.stat("p/1")
    assert temporaries(root) == []


def test_a_journal_that_failed_to_sync_is_not_tried_again(
    root: Path, store: FileSystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "o/1", lock=Lock())
    monkeypatch.setattr(durable, "fdatasync", failing(errno.EIO))
    with pytest.raises(StoreError):
        store.delete("o/1", "1")
    monkeypatch.undo()
    assert (root / "o/1").exists()
    with pytest.raises(StoreError, match="did not reach the disk"):
        store.protect("o/1", "1", Lock(hold=True))
    other = opened(root)
    assert other.stat("o/1")
    other.delete("o/1", "1")  # the deletion that was decided can be completed


def test_a_deletion_cut_short_can_be_completed_and_holds_still_count(
    root: Path, store: FileSystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "o/1", lock=Lock())
    monkeypatch.setattr(durable, "unlink", failing(errno.EIO))
    with pytest.raises(StoreError):
        store.delete("o/1", "1")
    monkeypatch.undo()
    assert store.stat("o/1")[0][1] == Lock()
    store.protect("o/1", "1", Lock(hold=True))
    with pytest.raises(Locked):
        store.delete("o/1", "1")
    store.protect("o/1", "1", Lock())
    store.delete("o/1", "1")
    assert list(store.list("")) == []
    with pytest.raises(AlreadyExists):
        put(opened(root), "o/1")


def test_the_order_of_durability(root: Path, store: FileSystemStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes and lock are synced before the name is given, the name before the call returns."""
    put(store, "o/0")
    calls: list[str] = []

    def watch(call: str) -> None:
        real = getattr(durable, call)

        def watched(*arguments: Any, **named: Any) -> Any:
            folder = call == "fsync" and stat.S_ISDIR(os.fstat(arguments[0]).st_mode)
            calls.append("fsync folder" if folder else call)
            return real(*arguments, **named)

        monkeypatch.setattr(durable, call, watched)

    for call in ("fsync", "fdatasync", "link", "unlink", "write"):
        watch(call)
    put(store, "o/1", "o/2")
    assert sorted(calls[:3]) == ["write", "write", "write"]
    assert sorted(calls[3:6]) == ["fdatasync", "fsync", "fsync"]
    assert calls[6:] == ["link", "link", "fsync folder", "unlink", "unlink"]


def test_a_new_folder_is_synced_into_its_parents(
    root: Path, store: FileSystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []

    def fsync(fd: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{fd}").removeprefix(str(root)))
        os.fsync(fd)

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")
    monkeypatch.setattr(durable, "fsync", fsync)
    put(store, "a/b/1")
    folders = [path for path in synced if not path.startswith("/.tmp")]
    assert folders == ["", "/a", "/a/b", "/a/b"]  # the last folder: once for its journal, once for the object
    synced.clear()
    put(opened(root), "a/b/2")  # another process may have made the folders and not yet synced them
    assert [path for path in synced if not path.startswith("/.tmp")] == ["", "", "/a", "/a/b"]


def test_a_root_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for bad in (tmp_path / "file", tmp_path / "file" / "below"):
        for make in (opened, FileSystemKeyPlace):
            with pytest.raises(StoreError) as caught:
                make(bad)
            assert str(tmp_path) not in str(caught.value)


def test_a_root_that_may_not_be_written(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "mkdir", failing(errno.EACCES))
    with pytest.raises(StoreDenied):
        opened(root)


def test_a_file_where_a_folder_must_be(root: Path, store: FileSystemStore) -> None:
    put(store, "a")
    with pytest.raises(StoreError):
        put(store, "a/b")
    assert temporaries(root) == []


def test_a_folder_that_vanished_is_made_anew_only_if_nothing_was_in_it(
    root: Path, store: FileSystemStore
) -> None:
    put(store, "a/b/1")
    (root / "a").rename(root / "moved")
    with pytest.raises(StoreError):
        put(store, "a/b/2")
    with pytest.raises(Tampered):
        put(store, "a/b/2")


@pytest.mark.parametrize("verb", ["create", "put"])
@pytest.mark.parametrize(
    ("call", "code", "expected"),
    [
        ("write", errno.ENOSPC, StoreFull),
        ("fsync", errno.EIO, StoreError),
        ("link", errno.EACCES, StoreDenied),
        ("rename", errno.ENOSPC, StoreFull),
    ],
)
def test_a_key_place_on_a_failing_disk(
    tmp_path: Path,
    place: FileSystemKeyPlace,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
    call: str,
    code: int,
    expected: type[StoreError],
) -> None:
    if (verb, call) in (("create", "rename"), ("put", "link")):
        call = "write"
        expected, code = StoreFull, errno.ENOSPC
    place.put("kept", b"old")
    monkeypatch.setattr(durable, call, failing(code))
    with pytest.raises(StoreError) as caught:
        getattr(place, verb)("kept" if verb == "put" else "new", b"new")
    monkeypatch.undo()
    assert type(caught.value) is expected
    assert str(tmp_path) not in str(caught.value)
    assert temporaries(tmp_path / "keys") == []
    assert {name: place.get(name) for name in place.list("")} == {"kept": b"old"}


def test_a_key_place_that_failed_to_sync_refuses_writes(
    place: FileSystemKeyPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.put("days/1", b"old")
    sync_of_folder_fails(monkeypatch)
    with pytest.raises(StoreError):
        place.put("days/1", b"new")
    monkeypatch.undo()
    verbs: list[Callable[[], None]] = [
        lambda: place.put("days/1", b"newer"),
        lambda: place.create("days/2", b""),
        lambda: place.delete("days/1"),
    ]
    for verb in verbs:
        with pytest.raises(StoreError, match="did not reach the disk"):
            verb()


def test_errors_of_reading(root: Path, store: FileSystemStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, "a")
    for code, expected in ((errno.EIO, StoreError), (errno.EACCES, StoreDenied)):
        monkeypatch.setattr(os, "pread", failing(code))
        with pytest.raises(StoreError) as caught:
            store.read("a")
        monkeypatch.undo()
        assert type(caught.value) is expected
        assert "/a/machine/path" not in str(caught.value)


def test_together_waits_for_all_and_tells_the_first_error() -> None:
    done: list[int] = []

    def task(number: int) -> Callable[[], None]:
        def run() -> None:
            if number == 5:
                raise StoreError("the fifth")
            done.append(number)

        return run

    with pytest.raises(StoreError, match="the fifth"):
        durable.together([task(number) for number in range(12)])
    # A lane stops at its error; the other lanes are run to their end before the error is told.
    assert set(range(12)) - {1, 5, 9} <= set(done)


# kill -9

WRITER = textwrap.dedent(
    """
    import hashlib, sys
    from pathlib import Path
    from datetime import datetime, timedelta, UTC
    from archive_service.vault.stores.base import Lock, NewObject
    from archive_service.vault.stores.filesystem import FileSystemStore

    def body(key):
        seed = hashlib.sha256(key.encode()).digest()
        for _ in range(8):
            yield seed * 64

    store = FileSystemStore(Path(sys.argv[1]), state_key=b"s" * 32)
    lock = Lock(until=datetime.now(UTC) + timedelta(days=30))
    for call in range(10_000):
        keys = [f"o/{sys.argv[2]}-{call:05}-{number}" for number in range(1 + call % 5)]
        store.create([NewObject(key, body(key), lock) for key in keys])
        print(*keys, flush=True)
    """
)


@pytest.mark.parametrize("seed", range(4))
def test_kill_minus_nine_loses_nothing_that_was_reported(root: Path, seed: int) -> None:
    """Two processes share a folder; both are killed at a point of their own."""
    points = random.Random(seed)
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(root), str(number)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONPATH": "."},
        )
        for number in range(2)
    ]
    reported: list[str] = []
    for writer in writers:
        assert writer.stdout is not None
        with writer.stdout as output:
            for _ in range(points.randint(1, 25)):
                reported += output.readline().decode().split()
            writer.send_signal(signal.SIGKILL)
            whole_lines = output.read().decode().rpartition("\n")[0]
            reported += whole_lines.split()
        assert writer.wait() == -signal.SIGKILL
    store = opened(root)
    present = {stored.key: stored.size for stored in store.list("")}
    assert reported
    assert set(reported) <= set(present)
    for key, size in present.items():
        assert size == 8 * 64 * 32
        assert store.read(key) == hashlib.sha256(key.encode()).digest() * 512
        assert store.stat(key)[0][1].until is not None
    store.create([NewObject("o/next", b"", Lock(until=MONTH))])
    assert opened(root).stat("o/next")
    assert store.sweep_temporary(timedelta(days=-36500)) >= 0
    assert temporaries(root) == []
