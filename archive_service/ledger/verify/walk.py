"""One log: every entry's form and chain, the tree's root at every checkpoint, every full tile and bundle, and the
retention state of all of them.

A damaged entry does not stop the walk: it is named, and the walk goes on behind it, so that one flipped byte does
not hide the next one.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby

from archive_service.ledger import entry as entries
from archive_service.ledger.entry import GENESIS, Entry
from archive_service.ledger.note import Checkpoint, Verifier
from archive_service.ledger.reader import checkpoint_note
from archive_service.ledger.tiles import WIDTH, TileWriter
from archive_service.ledger.verify.locks import Locks
from archive_service.ledger.verify.looking import grown_to, listed
from archive_service.ledger.verify.report import Report, What
from archive_service.model.errors import NotFound, StoreError, Tampered
from archive_service.vault import key_layout
from archive_service.vault.key_layout import LogId
from archive_service.vault.stores.base import ObjectStore


@dataclass
class LogFacts:
    """What a walk left: how far the log goes, and its checkpoints by size (those that the entries add up to).
    ``claimed``: the sizes of all that are signed well. ``signed``: whether there was a key to check them with."""

    log: LogId
    size: int = 0
    last_time: str = ""
    checkpoints: dict[int, Checkpoint] = field(default_factory=dict)
    claimed: set[int] = field(default_factory=set)
    signed: bool = True


class Walk:
    """Walks one log. Make it, then consume ``entries()``; ``facts`` is right afterwards."""

    def __init__(self, store: ObjectStore, log: LogId, verifier: Verifier | None, report: Report) -> None:
        self._store = store
        self._log = log
        self._report = report
        self._locks = Locks(store, report, log)
        self.facts = LogFacts(log, signed=verifier is not None)
        self._claimed = self._read_checkpoints(verifier)
        self.facts.claimed.update(point.size for point in self._claimed)
        self._visited: set[int] = set()
        self._covered = max((point.size for point in self._claimed), default=0)
        self._sound = True  # the tree can be compared only while no entry is missing

    def _damage(self, what: What, detail: str, seq: int | None = None, name: str | None = None) -> None:
        self._report.damage(what, detail, log=str(self._log), seq=seq, name=name)

    # --- checkpoints ----------------------------------------------------------------------------------

    def _read_checkpoints(self, verifier: Verifier | None) -> list[Checkpoint]:
        found: list[Checkpoint] = []
        for name, note in self._notes():
            if verifier is None:
                continue
            try:
                point = _exactly(note, verifier.check(note, str(self._log)))
            except Tampered as error:
                self._damage(What.CHECKPOINT, str(error), name=name)
                continue
            if found and point.size <= found[-1].size:
                self._damage(What.CHECKPOINT, "a checkpoint is not larger than the one before it", name=name)
            found.append(point)
            self._report.tally.checkpoints += 1
        return found

    def _notes(self) -> Iterator[tuple[str, str]]:
        """Every checkpoint by listing, with its name, so that a hole in the middle is seen."""
        expected = 0
        for stored in self._names("checkpoint/"):
            ordinal = self._ordinal(stored)
            if ordinal < expected:  # no name of ours
                self._damage(What.CHECKPOINT, "an object stands where no checkpoint belongs", name=stored)
                continue
            if ordinal > expected:
                name = key_layout.checkpoint_key(self._log, expected)
                detail = f"{ordinal - expected} checkpoints are missing, from this one on"
                self._damage(What.CHECKPOINT, detail, name=name)
            expected = ordinal + 1
            self._locks.check(stored)
            try:
                note = checkpoint_note(self._store, self._log, ordinal)
            except (Tampered, StoreError) as error:
                self._damage(What.CHECKPOINT, str(error), name=stored)
                continue
            if note is not None:
                yield stored, note

    def _ordinal(self, key: str) -> int:
        name = key.rpartition("/")[2]
        known = name.isdecimal() and key == key_layout.checkpoint_key(self._log, int(name))
        return int(name) if known else -1

    def _list(self, folder: str, after: str = "") -> Iterator[str]:
        prefix = f"{key_layout.log_prefix(self._log)}{folder}"
        found = listed(self._store, prefix, self._report, after=after, log=str(self._log))
        return (stored.key for stored in found)

    def _names(self, folder: str) -> Iterator[str]:
        """Each name once: newer versions under it are named where its lock is looked at."""
        return (name for name, _ in groupby(self._list(folder)))

    # --- batches --------------------------------------------------------------------------------------

    def entries(self) -> Iterator[Entry]:
        """Every entry that can be read at all, in order; damage goes to the report."""
        tiles = TileWriter(self._log)
        points = {point.size: point for point in self._claimed}
        seq, prev = 0, GENESIS
        while (found := self._batch(seq)) is not None:
            start, data = found
            if start != seq:
                self._sound, seq, prev = False, start, ""
            if not data.endswith(b"\n"):
                self._damage(What.BATCH, "a batch is cut short", seq=seq)
            for line in data.removesuffix(b"\n").split(b"\n"):
                entry = self._entry(line, seq, prev)
                seq, prev = seq + 1, hashlib.sha256(line).hexdigest()
                if self._sound:
                    self._tiles(tiles.add(entry or Entry(line, {})), covered=seq <= self._covered)
                    if seq in points:
                        self._root(points[seq], tiles.frontier.root())
                if entry is not None:
                    self.facts.last_time = entry.time
                    yield entry
        self.facts.size = seq
        self._stray_batches(seq)
        self._stray_tiles(seq)
        self._end(points, seq)

    def _batch(self, seq: int) -> tuple[int, bytes] | None:
        """The batch at ``seq``, or the next one that can be read, with its seq; None at the head."""
        while True:
            key = key_layout.batch_key(self._log, seq)
            named = False
            try:
                data = self._store.read(key)
            except NotFound:
                pass
            except (Tampered, StoreError) as error:
                self._damage(What.BATCH, f"a batch cannot be read: {error}", seq=seq, name=key)
                named = True
            else:
                self._locks.check(key)
                self._visited.add(seq)
                return seq, data
            following = self._following(key, seq)
            if following is None:
                return None
            if named:
                self._visited.add(seq)
            elif self._exists(key):  # it came between the two looks: the log is growing
                continue
            else:
                detail = f"the batch of entries {seq} to {following - 1} is missing"
                self._damage(What.BATCH, detail, seq=seq)
            seq = following

    def _following(self, key: str, seq: int) -> int | None:
        """The first seq of the next batch by listing; strays among them are named at the end."""
        for stored in self._list("batch/", key):
            first = self._first_seq(stored)
            if first is not None and first > seq:  # names beyond 16 digits do not sort as numbers
                return first
        return None

    def _first_seq(self, key: str) -> int | None:
        name = key.rpartition("/")[2]
        known = name.isdecimal() and key == key_layout.batch_key(self._log, int(name))
        return int(name) if known else None

    def _exists(self, key: str) -> bool:
        try:
            self._store.read(key, length=1)
        except NotFound:
            return False
        return True

    def _stray_batches(self, size: int) -> None:
        """Objects among the batches that the walk did not come by, as a name inside another batch."""
        for stored in self._names("batch/"):
            seq = self._first_seq(stored)
            if seq is not None and seq in self._visited:
                self._visited.discard(seq)
            elif seq is None or seq < size:
                self._damage(What.BATCH, "an object stands where no batch belongs", name=stored)

    def _entry(self, line: bytes, seq: int, prev: str) -> Entry | None:
        self._report.tally.entries += 1
        if self._report.tally.entries % 256 == 0:
            self._report.step()
        try:
            return entries.parse(line, self._log, seq, prev or self._claimed_prev(line))
        except Tampered as error:
            chained = "chain" in str(error)
            self._damage(What.CHAIN if chained else What.ENTRY, str(error), seq=seq)
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError):
            return None
        usable = isinstance(fields, dict) and fields.get("seq") == seq and entries.is_type(fields.get("type"))
        return Entry(line, fields) if usable and isinstance(fields.get("time"), str) else None

    @staticmethod
    def _claimed_prev(line: bytes) -> str:
        try:
            return entries.first_prev(line)
        except Tampered:
            return GENESIS

    # --- the tree -------------------------------------------------------------------------------------

    def _tiles(self, expected: list[tuple[str, bytes]], *, covered: bool) -> None:
        for key, data in expected:
            self._report.tally.tiles += 1
            try:
                if self._store.read(key) != data:
                    self._damage(What.TILE, "a tile does not match the entries", name=key)
                self._locks.check(key)
            except NotFound:
                if covered:  # tiles are written before the checkpoint that covers them
                    self._damage(What.TILE, "a tile is missing", name=key)
            except (Tampered, StoreError) as error:
                self._damage(What.TILE, f"a tile cannot be read: {error}", name=key)

    def _stray_tiles(self, size: int) -> None:
        """Objects among the tiles that no entries make. Tiles of entries that came since are no strays."""
        if not self._sound:
            return
        expected = set(_tile_keys(self._log, 0, size))
        unknown = [key for key in self._names("tile/") if key not in expected]
        if unknown:
            now = grown_to(self._store, self._log, size, size + WIDTH * (len(unknown) + 1))
            unknown = sorted(set(unknown) - set(_tile_keys(self._log, size, now)))
        for key in unknown:
            self._damage(What.TILE, "an object stands where no tile belongs", name=key)

    def _root(self, point: Checkpoint, root: bytes) -> None:
        if point.root == root:
            self.facts.checkpoints[point.size] = point
        else:
            self._damage(
                What.ROOT, "the entries do not add up to the root of a checkpoint", seq=point.size - 1
            )

    def _end(self, points: dict[int, Checkpoint], size: int) -> None:
        for claimed in sorted(points):
            if claimed > size:
                detail = f"the log ends at {size}, a checkpoint says {claimed}: it was cut back"
                self._damage(What.CHECKPOINT, detail, seq=size)
        self._report.tally.unsigned += max(0, size - self._covered)
        self._report.tally.logs += 1
        self._report.step()


def _tile_keys(log: LogId, start: int, size: int) -> Iterator[str]:
    """The full tiles and bundles that a tree of ``size`` has and one of ``start`` has not."""
    for index in range(start // WIDTH, size // WIDTH):
        yield key_layout.bundle_key(log, index)
    level = 0
    while size >= WIDTH:
        start, size = start // WIDTH, size // WIDTH
        for index in range(start, size):
            yield key_layout.tile_key(log, level, index)
        level += 1


def _exactly(note: str, point: Checkpoint) -> Checkpoint:
    """A note that was checked, and has one signature in its one encoding and nothing else: no byte of it is free.
    Raises Tampered."""
    lines = note.partition("\n\n")[2].split("\n")
    encoded = lines[0].rpartition(" ")[2]
    try:
        same = base64.b64encode(base64.b64decode(encoded, validate=True)).decode() == encoded
    except (ValueError, binascii.Error):
        same = False
    if len(lines) != 2 or not same:
        raise Tampered("a checkpoint with more than its one signature")
    return point
