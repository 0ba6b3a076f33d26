"""C2SP tlog-tiles over a log: full hash tiles and entry bundles stored, partial ones made on request.

``TreeReader`` gives any subtree's hash from tiles and, right of the last full tile, from the entries themselves.
"""

import struct
from collections import OrderedDict
from collections.abc import Iterator, Sequence

from archive_service.ledger import merkle
from archive_service.ledger.entry import Entry
from archive_service.ledger.reader import read_from
from archive_service.model.errors import NotFound, Tampered
from archive_service.vault import key_layout
from archive_service.vault.key_layout import LogId
from archive_service.vault.stores.base import ObjectStore

WIDTH = 256
HASH = 32
_CACHED = 512


def bundle(entries: Sequence[bytes]) -> bytes:
    """An entry bundle: each entry behind its length in two bytes."""
    return b"".join(struct.pack(">H", len(entry)) + entry for entry in entries)


def unbundle(data: bytes) -> Iterator[bytes]:
    """The reverse of ``bundle``. Raises Tampered."""
    place = 0
    while place < len(data):
        if place + 2 > len(data):
            raise Tampered("an entry bundle is cut short")
        (length,) = struct.unpack_from(">H", data, place)
        if place + 2 + length > len(data):
            raise Tampered("an entry bundle is cut short")
        yield data[place + 2 : place + 2 + length]
        place += 2 + length


class TreeReader:
    """Hashes of one log's tree up to ``size`` entries. Not thread-safe."""

    def __init__(self, store: ObjectStore, log: LogId, size: int) -> None:
        self._store = store
        self._log = log
        self.size = size
        self._tiles: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._tail: list[bytes] | None = None

    def full_tile(self, level: int, index: int) -> bytes:
        """A full tile's 256 hashes. Raises NotFound when it does not exist, Tampered when it has another size."""
        known = self._tiles.get((level, index))
        if known is None:
            known = self._store.read(key_layout.tile_key(self._log, level, index))
            if len(known) != WIDTH * HASH:
                raise Tampered(f"tile {level}/{index} is not full")
            self._tiles[level, index] = known
            while len(self._tiles) > _CACHED:
                self._tiles.popitem(last=False)
        return known

    def _tail_leaves(self) -> list[bytes]:
        """Leaf hashes right of the last full tile."""
        if self._tail is None:
            start = self.size - self.size % WIDTH
            self._tail = []
            for entry in read_from(self._store, self._log, start):
                if entry.seq >= self.size:
                    break
                self._tail.append(merkle.leaf_hash(entry.line))
            if len(self._tail) != self.size % WIDTH:
                raise Tampered(f"the log {self._log.name} ends before its checkpoint")
        return self._tail

    def node(self, level: int, index: int) -> bytes:
        """The hash at a tile level (0: leaves) and index within that level."""
        tile, place = divmod(index, WIDTH)
        if (tile + 1) * WIDTH ** (level + 1) <= self.size:
            return self.full_tile(level, tile)[place * HASH : (place + 1) * HASH]
        if level == 0:
            return self._tail_leaves()[place]
        return merkle.root_of(self._children(level - 1, index))

    def _children(self, level: int, tile: int) -> list[bytes]:
        data = self.full_tile(level, tile)
        return [data[place : place + HASH] for place in range(0, len(data), HASH)]

    def subtree(self, start: int, end: int) -> bytes:
        """MTH of a complete subtree [start, end): what ``merkle`` proofs ask for."""
        width, level = end - start, 0
        while width >= WIDTH:
            width //= WIDTH
            level += 1
        first = start // WIDTH**level
        return merkle.root_of([self.node(level, first + n) for n in range(width)])

    def root(self) -> bytes:
        """The root at ``size``."""
        return merkle.EMPTY_ROOT if self.size == 0 else merkle.range_root(0, self.size, self.subtree)

    def tile(self, level: int, index: int, width: int) -> bytes:
        """A full (width 256) or partial tile as tlog-tiles serves it. Raises NotFound outside the tree."""
        available = self.size // WIDTH**level - index * WIDTH
        if not 0 < width <= min(available, WIDTH):
            raise NotFound("no such tile at this size of the log")
        return b"".join(self.node(level, index * WIDTH + n) for n in range(width))

    def entries(self, index: int, width: int) -> bytes:
        """A full or partial entry bundle. Raises NotFound outside the tree."""
        start = index * WIDTH
        if not 0 < width <= min(self.size - start, WIDTH):
            raise NotFound("no such entry bundle at this size of the log")
        lines: list[bytes] = []
        for entry in read_from(self._store, self._log, start):
            if len(lines) == width:
                break
            lines.append(entry.line)
        return bundle(lines)


class TileWriter:
    """Turns entries, in order, into the full tiles and bundles that they complete."""

    def __init__(self, log: LogId) -> None:
        self._log = log
        self.frontier = merkle.Frontier()
        self._lines: list[bytes] = []
        self._hashes: list[list[bytes]] = [[]]

    def resume(self, store: ObjectStore, size: int) -> None:
        """Stand where a tree of ``size`` stands, from its full tiles; the entries right of the last full tile are
        then added by the caller from seq ``size - size % 256``."""
        tree = TreeReader(store, self._log, size - size % WIDTH)
        level, count = 0, tree.size
        self._hashes = []
        while True:
            partial = count % WIDTH
            self._hashes.append([tree.node(level, count - partial + n) for n in range(partial)])
            if count < WIDTH:
                break
            count //= WIDTH
            level += 1
        for level in range(len(self._hashes) - 1, -1, -1):
            for node in self._hashes[level]:
                self.frontier.append_subtree(WIDTH**level, node)

    def add(self, entry: Entry) -> list[tuple[str, bytes]]:
        """Take the next entry; returns the objects (key, bytes) that it completes."""
        leaf = merkle.leaf_hash(entry.line)
        self.frontier.append(leaf)
        self._lines.append(entry.line)
        return self._push(0, leaf)

    def _push(self, level: int, node: bytes) -> list[tuple[str, bytes]]:
        if level == len(self._hashes):
            self._hashes.append([])
        row = self._hashes[level]
        row.append(node)
        if len(row) < WIDTH:
            return []
        index = self.frontier.size // WIDTH ** (level + 1) - 1
        done = [(key_layout.tile_key(self._log, level, index), b"".join(row))]
        if level == 0:
            done.append((key_layout.bundle_key(self._log, index), bundle(self._lines)))
            self._lines = []
        parent = merkle.root_of(row)
        self._hashes[level] = []
        return done + self._push(level + 1, parent)
