"""Tiles and entry bundles against the naive tree, at the sizes where a tile or a level begins."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archive_service.ledger.appender import LedgerPolicy, build, create_batch
from archive_service.ledger.entry import Entry
from archive_service.ledger.merkle import EMPTY_ROOT, inclusion_proof, leaf_hash, root_of, verify_inclusion
from archive_service.ledger.note import Signer
from archive_service.ledger.reader import LogReader, Place
from archive_service.ledger.tiles import TileWriter, TreeReader, bundle, unbundle
from archive_service.model.errors import NotFound, Tampered
from archive_service.vault import key_layout
from archive_service.vault.key_layout import LogId
from archive_service.vault.stores.base import Lock, NewObject
from archive_service.vault.stores.memory import MemoryStore
from tests.unit import naive_merkle

LOG = LogId("a1" * 10, "capture-1")
LONG = 600
WHOLE = 65536  # a full tile of level 1
TIME = "2026-11-23T10:00:00.000000Z"


def append(store: MemoryStore, place: Place, count: int) -> Place:
    """A batch of claims."""
    drafts = [("claim", {"writer": f"{place.seq + n:016x}"}) for n in range(count)]
    batch = build(LOG, place, TIME, drafts)
    create_batch(store, LOG, batch, Lock(), LedgerPolicy())
    return Place(batch[-1].seq + 1, batch[-1].digest())


@cache
def real() -> tuple[MemoryStore, list[Entry]]:
    """A log of real entries in batches of 70, without tiles."""
    store, place = MemoryStore(), Place()
    while place.seq < LONG:
        place = append(store, place, min(70, LONG - place.seq))
    return store, list(LogReader(store, LOG).entries())


def tiled(size: int) -> tuple[MemoryStore, TileWriter]:
    """The same log with the tiles that ``size`` entries complete."""
    source, entries = real()
    store, writer = MemoryStore(), TileWriter(LOG)
    for stored in source.list(""):
        store.create([NewObject(stored.key, source.read(stored.key))])
    for entry in entries[:size]:
        store.create([NewObject(key, data) for key, data in writer.add(entry)])
    return store, writer


@cache
def wide() -> tuple[MemoryStore, list[bytes]]:
    """65,536 cheap leaves, then 257 + 3 real entries in two batches, so that every level is begun."""
    store, writer = MemoryStore(), TileWriter(LOG)
    lines = [b"%d" % n for n in range(WHOLE)]
    for line in lines:
        store.create([NewObject(key, data) for key, data in writer.add(Entry(line, {}))])
    note = Signer(LOG.owner, b"s" * 32).sign(str(LOG), WHOLE, writer.frontier.root()).note
    store.create([NewObject(key_layout.checkpoint_key(LOG, 0), note.encode())])
    append(store, append(store, Place(WHOLE, "0" * 64), 257), 3)
    for entry in LogReader(store, LOG, Place(WHOLE, "0" * 64)).entries():
        lines.append(entry.line)
        store.create([NewObject(key, data) for key, data in writer.add(entry)])
    assert writer.frontier.root() == naive_merkle.mth(lines)
    return store, lines


@pytest.mark.parametrize("size", [0, 1, 2, 69, 70, 255, 256, 257, 511, 512, 513, LONG])
def test_reader_writer_and_the_rfc_agree(size: int) -> None:
    store, writer = tiled(size)
    lines = [entry.line for entry in real()[1][:size]]
    tree = TreeReader(store, LOG, size)
    assert tree.root() == writer.frontier.root() == naive_merkle.mth(lines)
    for index in {0, size // 2, size - 1} if size else set():
        path = inclusion_proof(index, size, tree.subtree)
        assert path == naive_merkle.path(index, lines)


def test_full_tiles_are_the_bytes_of_the_specification() -> None:
    store, _ = tiled(LONG)
    lines = [entry.line for entry in real()[1]]
    tile = store.read(f"ledger/{LOG}/tile/0/001")
    assert tile == b"".join(leaf_hash(line) for line in lines[256:512])
    entries = store.read(f"ledger/{LOG}/tile/entries/001")
    assert entries == b"".join(len(line).to_bytes(2, "big") + line for line in lines[256:512])
    names = [stored.key for stored in store.list(f"ledger/{LOG}/tile/")]
    assert names == [f"ledger/{LOG}/tile/{name}" for name in ("0/000", "0/001", "entries/000", "entries/001")]


@pytest.mark.parametrize("size", [WHOLE, WHOLE + 1, WHOLE + 255, WHOLE + 256, WHOLE + 257, WHOLE + 260])
def test_sizes_around_a_full_tile_of_level_1(size: int) -> None:
    store, lines = wide()
    tree = TreeReader(store, LOG, size)
    root = tree.root()
    assert root == naive_merkle.mth(lines[:size])
    for index in (0, 255, 65535, size - 1):
        path = inclusion_proof(index, size, tree.subtree)
        assert verify_inclusion(leaf_hash(lines[index]), index, size, path, root)


def test_tiles_of_upper_levels_hold_the_roots_of_those_below() -> None:
    store, lines = wide()
    level_1 = store.read(f"ledger/{LOG}/tile/1/000")
    assert level_1[:32] == naive_merkle.mth(lines[:256])
    assert level_1[-32:] == naive_merkle.mth(lines[WHOLE - 256 : WHOLE])
    tree = TreeReader(store, LOG, WHOLE + 260)
    assert tree.tile(1, 1, 1) == naive_merkle.mth(lines[WHOLE : WHOLE + 256])
    assert tree.tile(2, 0, 1) == naive_merkle.mth(lines[:WHOLE])
    assert tree.tile(0, 257, 4) == b"".join(leaf_hash(line) for line in lines[WHOLE + 256 : WHOLE + 260])
    assert store.read(f"ledger/{LOG}/tile/0/256") == tree.tile(0, 256, 256)


@pytest.mark.parametrize("size", [WHOLE, WHOLE + 3, WHOLE + 256, WHOLE + 259])
def test_a_resumed_writer_stands_right_of_every_level(size: int) -> None:
    store, lines = wide()
    writer = TileWriter(LOG)
    writer.resume(store, size)
    for line in lines[size - size % 256 : size]:
        assert writer.add(Entry(line, {})) == []
    assert writer.frontier.size == size
    assert writer.frontier.root() == naive_merkle.mth(lines[:size])


@given(st.integers(0, LONG))
@settings(max_examples=12, deadline=None)
def test_a_writer_resumed_at_any_size_goes_on_as_if_never_stopped(size: int) -> None:
    store, scratch = tiled(size)
    entries = real()[1]
    resumed = TileWriter(LOG)
    resumed.resume(store, size)
    for entry in entries[size - size % 256 : size]:
        assert resumed.add(entry) == []
    assert resumed.frontier.root() == scratch.frontier.root()
    for entry in entries[size:]:
        assert resumed.add(entry) == scratch.add(entry)
    assert resumed.frontier.root() == scratch.frontier.root()


@pytest.mark.parametrize(
    ("level", "index", "width"),
    [(0, 0, 0), (0, 0, 257), (0, 2, 89), (0, 3, 1), (1, 0, 3), (1, 1, 1), (2, 0, 1), (63, 0, 1)],
)
def test_no_tile_outside_the_tree(level: int, index: int, width: int) -> None:
    store, _ = tiled(LONG)
    with pytest.raises(NotFound):
        TreeReader(store, LOG, LONG).tile(level, index, width)


def test_partial_tiles_and_bundles_are_made_on_request() -> None:
    store, _ = tiled(LONG)
    lines = [entry.line for entry in real()[1]]
    tree = TreeReader(store, LOG, LONG)
    assert tree.tile(0, 2, 88) == b"".join(leaf_hash(line) for line in lines[512:])
    assert tree.tile(0, 2, 5) == b"".join(leaf_hash(line) for line in lines[512:517])
    assert tree.tile(1, 0, 2) == naive_merkle.mth(lines[:256]) + naive_merkle.mth(lines[256:512])
    assert list(unbundle(tree.entries(2, 88))) == lines[512:]
    assert list(unbundle(tree.entries(0, 256))) == lines[:256]
    for index, width in ((2, 89), (3, 1), (0, 0), (0, 257)):
        with pytest.raises(NotFound):
            tree.entries(index, width)


def test_an_empty_tree_has_a_root_and_no_tile() -> None:
    tree = TreeReader(MemoryStore(), LOG, 0)
    assert tree.root() == EMPTY_ROOT == root_of([])
    with pytest.raises(NotFound):
        tree.tile(0, 0, 1)


def test_a_tile_of_another_size_is_no_tile() -> None:
    store = MemoryStore()
    store.create([NewObject(key_layout.tile_key(LOG, 0, 0), b"x" * 31)])
    with pytest.raises(Tampered, match="not full"):
        TreeReader(store, LOG, 256).root()


def test_a_log_that_ends_before_its_checkpoint_has_no_root() -> None:
    store, place = MemoryStore(), Place()
    append(store, place, 3)
    with pytest.raises(Tampered, match="ends before"):
        TreeReader(store, LOG, 4).root()


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_bundles_read_back(entries: list[bytes]) -> None:
    data = bundle(entries)
    assert list(unbundle(data)) == entries
    for cut in (1, 2):
        if len(data) - cut > 0 and entries and len(entries[-1]) >= cut:
            with pytest.raises(Tampered):
                list(unbundle(data[:-cut]))


@pytest.mark.parametrize(
    ("index", "path"), [(0, "000"), (67, "067"), (999, "999"), (1000, "x001/000"), (1234067, "x001/x234/067")]
)
def test_names_of_tiles_are_those_of_the_specification(index: int, path: str) -> None:
    assert key_layout.tile_index(index) == path
