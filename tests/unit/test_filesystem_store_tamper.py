"""Retention state beside the objects, edited from outside: every edit is an alarm or does no harm."""

import hashlib
import hmac
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archive_service.model.canonical import canonical
from archive_service.model.errors import (
    AlreadyExists,
    NotFound,
    Tampered,
)
from archive_service.vault.stores.base import Lock, LockMode, NewObject
from archive_service.vault.stores.filesystem import FileSystemStore

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


def opened(root: Path, clock: Callable[[], datetime] = lambda: NOW) -> FileSystemStore:
    """As another process would open it: nothing known, nothing cached."""
    return FileSystemStore(root, state_key=KEY, clock=clock)


def put(store: FileSystemStore, *keys: str, lock: Lock | None = None) -> None:
    store.create([NewObject(key, b"body of " + key.encode(), lock or Lock(until=MONTH)) for key in keys])


def journal_lines(root: Path, folder: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (root / folder / ".locks").read_bytes().splitlines()]


# tampering

Tampering = Callable[[Path], None]


def rewrite(change: Callable[[list[bytes]], list[bytes]]) -> Tampering:
    def tamper(root: Path) -> None:
        path = root / "o/.locks"
        path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))

    return tamper


def pipe_in_place(root: Path) -> None:
    """Who opens it unwarily waits for ever."""
    (root / "o/.locks").unlink()
    os.mkfifo(root / "o/.locks")


def folder_in_place(root: Path) -> None:
    (root / "o/.locks").unlink()
    (root / "o/.locks").mkdir()


def in_place(root: Path) -> None:
    """A hold turned off, as many bytes as before, and the file's times set back."""
    path = root / "o/.locks"
    before, content = path.stat(), path.read_bytes()
    changed = content.replace(b'"h":true ', b'"h":false').replace(b'"m":"COMPLIANCE"', b'"m":"GOVERNANCE"')
    assert len(changed) == len(content)
    assert changed != content
    path.write_bytes(changed)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def resealed(lines: list[bytes]) -> list[bytes]:
    """A line rewritten under another key by who does not have ours."""
    line = json.loads(lines[-1])
    line["u"] = "2020-01-01T00:00:00.000000Z"
    del line["x"]
    line["x"] = hmac.new(b"guess" * 8, b"o" + canonical(line), hashlib.sha256).hexdigest()
    return [*lines[:-1], canonical(line) + b"\n"]


def other_folders_journal(root: Path) -> None:
    (root / "o/.locks").write_bytes((root / "p/.locks").read_bytes())


TAMPERING: dict[str, Tampering] = {
    "edit-a-line": rewrite(lambda lines: [lines[0].replace(b"2027", b"2025"), *lines[1:]]),
    "edit-the-last-line": rewrite(lambda lines: [*lines[:-1], lines[-1].replace(b'"h":true', b'"h":false')]),
    "edit-in-place-and-set-the-times-back": in_place,
    "edit-and-sign-with-another-key": rewrite(resealed),
    "remove-the-first-line": rewrite(lambda lines: lines[1:]),
    "remove-a-line-in-the-middle": rewrite(lambda lines: [lines[0], *lines[2:]]),
    "swap-two-lines": rewrite(lambda lines: [lines[1], lines[0], *lines[2:]]),
    "repeat-a-line": rewrite(lambda lines: [*lines, lines[0]]),
    "add-a-foreign-line": rewrite(lambda lines: [*lines, b'{"hello":"world"}\n']),
    "add-an-empty-line": rewrite(lambda lines: [*lines, b"\n"]),
    "add-an-endless-line": rewrite(lambda lines: [*lines, b"x" * 3_000_000]),
    "delete-the-journal": lambda root: (root / "o/.locks").unlink(),
    "a-pipe-in-its-place": pipe_in_place,
    "a-folder-in-its-place": folder_in_place,
    "empty-the-journal": rewrite(lambda lines: []),
    "bring-another-folders-journal": other_folders_journal,
}


@pytest.fixture
def tampered(root: Path, store: FileSystemStore, request: pytest.FixtureRequest) -> Path:
    put(store, "o/1", "o/2", lock=Lock(until=YEAR + timedelta(days=30)))
    put(store, "p/1", "p/2", "p/3")
    store.protect("o/1", "1", Lock(until=YEAR + timedelta(days=60), hold=True))
    TAMPERING[request.param](root)
    return root


@pytest.mark.parametrize(
    "tampered", list(TAMPERING), indirect=True, ids=[f"tamper-{name}" for name in TAMPERING]
)
@pytest.mark.parametrize("process", ["same-process", "new-process"])
def test_an_edited_journal_is_an_alarm(tampered: Path, store: FileSystemStore, process: str) -> None:
    if process == "new-process":
        store = opened(tampered, clock=lambda: YEAR + timedelta(days=4000))
    with pytest.raises(Tampered, match="o") as caught:
        store.stat("o/1")
    assert str(tampered) not in str(caught.value)
    with pytest.raises(Tampered):
        store.delete("o/1", "1")
    with pytest.raises(Tampered):
        store.protect("o/1", "1", Lock(until=YEAR + timedelta(days=90)))
    assert store.read("o/1") == b"body of o/1"
    assert store.stat("p/1")[0][1] == Lock(until=MONTH)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_tamper_any_edit_of_the_bytes_is_noticed_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whatever is cut, put in or overwritten: a fresh look gives the truth or an alarm, never a falsehood."""
    root = tmp_path_factory.mktemp("edited")
    locks = [Lock(until=MONTH, hold=True), Lock(LockMode.GOVERNANCE, YEAR), Lock()]
    opened(root).create([NewObject(f"o/{number}", b"", lock) for number, lock in enumerate(locks)])
    path = root / "o/.locks"
    content = path.read_bytes()
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(len(content), start + 5)) | st.integers(start, len(content)))
    put_in = data.draw(st.binary(max_size=3) | st.sampled_from([b"\n", *content.splitlines(keepends=True)]))
    path.write_bytes(content[:start] + put_in + content[end:])
    fresh = opened(root)
    for number, lock in enumerate(locks):
        try:
            assert fresh.stat(f"o/{number}")[0][1] == lock
        except Tampered:
            continue


@pytest.mark.parametrize("cut", [1, 2], ids=["tamper-cut-last-line", "tamper-cut-two-lines"])
def test_an_object_whose_line_was_cut_off_has_no_state(root: Path, store: FileSystemStore, cut: int) -> None:
    put(store, "o/1")
    put(store, "o/2")
    put(store, "o/3")
    rewrite(lambda lines: lines[:-cut])(root)
    fresh = opened(root)
    assert fresh.stat("o/1")[0][1] == Lock(until=MONTH)
    with pytest.raises(Tampered, match="object o/3: retention state missing"):
        fresh.stat("o/3")
    with pytest.raises(Tampered):
        fresh.delete("o/3", "1")
    with pytest.raises(AlreadyExists):
        put(fresh, "o/3")  # and a refused create does not heal what was cut
    with pytest.raises(Tampered):
        fresh.stat("o/3")
    with pytest.raises(Tampered, match="lines that stood there are gone"):
        store.stat("o/1")


def test_tamper_rollback_of_a_hold_is_noticed_by_who_saw_it(root: Path, store: FileSystemStore) -> None:
    put(store, "o/1")
    before = (root / "o/.locks").read_bytes()
    store.protect("o/1", "1", Lock(until=MONTH, hold=True))
    (root / "o/.locks").write_bytes(before)
    for verb in (
        lambda: store.stat("o/1"),
        lambda: store.delete("o/1", "1"),
        lambda: put(store, "o/2"),
    ):
        with pytest.raises(Tampered):
            verb()


def test_a_journal_restored_whole_is_no_alarm(root: Path, store: FileSystemStore) -> None:
    put(store, "o/1")
    copy = root / "o/.copy"
    copy.write_bytes((root / "o/.locks").read_bytes())
    copy.replace(root / "o/.locks")
    assert store.stat("o/1")[0][1] == Lock(until=MONTH)
    put(store, "o/2")
    assert opened(root).stat("o/2")


def test_a_torn_tail_is_no_alarm(root: Path, store: FileSystemStore) -> None:
    put(store, "o/1")
    path = root / "o/.locks"
    line = path.read_bytes()
    for tail in (line[: len(line) // 2], line[:-1], b"\0" * 500, b"{"):
        path.write_bytes(line + tail)
        for view in (store, opened(root)):
            assert view.stat("o/1")[0][1] == Lock(until=MONTH)
    put(opened(root), "o/2")
    assert [entry["n"] for entry in journal_lines(root, "o")] == ["1", "2"]
    assert store.stat("o/2")


def test_tamper_behind_a_torn_tail(root: Path, store: FileSystemStore) -> None:
    put(store, "o/1", "o/2")
    path = root / "o/.locks"
    torn = path.read_bytes() + b'{"torn'
    path.write_bytes(torn)
    assert store.stat("o/1")[0][1] == Lock(until=MONTH)
    path.write_bytes(torn.replace(b"COMPLIANCE", b"GOVERNANCE", 1))
    with pytest.raises(Tampered):
        store.stat("o/1")


@pytest.mark.parametrize("kind", ["tamper-symlink", "tamper-pipe"])
def test_what_is_no_plain_file_is_an_alarm(root: Path, store: FileSystemStore, kind: str) -> None:
    put(store, "o/1")
    (root / "o/1").rename(root / "o/.elsewhere")
    if kind == "tamper-symlink":
        (root / "o/1").symlink_to(".elsewhere")
    else:
        os.mkfifo(root / "o/1")
    for verb in (lambda: store.read("o/1"), lambda: store.stat("o/1"), lambda: list(store.list(""))):
        with pytest.raises(Tampered):
            verb()
    with pytest.raises(AlreadyExists):
        put(store, "o/1")


def test_tamper_object_without_journal(root: Path, store: FileSystemStore) -> None:
    (root / "o").mkdir()
    (root / "o/planted").write_bytes(b"planted")
    for verb in (
        lambda: store.stat("o/planted"),
        lambda: store.protect("o/planted", "1", Lock()),
        lambda: store.delete("o/planted", "1"),
    ):
        with pytest.raises(Tampered):
            verb()
    with pytest.raises(NotFound):
        store.protect("o/nothing", "1", Lock())
