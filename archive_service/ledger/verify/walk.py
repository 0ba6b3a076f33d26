"""One log: every entry's form and chain, the tree's root at every checkpoint, every full tile and bundle.

A damaged entry does not stop the walk: it is named, and the walk goes on behind it, so that one flipped byte does
not hide the next one.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from archive_service.ledger import entry as entries
from archive_service.ledger.entry import GENESIS, Entry
from archive_service.ledger.note import Checkpoint, Verifier
from archive_service.ledger.reader import checkpoint_note
from archive_service.ledger.tiles import TileWriter
from archive_service.ledger.verify.report import Report, What
from archive_service.model.errors import NotFound, StoreError, Tampered
from archive_service.vault import key_layout
from archive_service.vault.key_layout import LogId
from archive_service.vault.stores.base import ObjectStore


@dataclass
class LogFacts:
    """What a walk left: how far the log goes, and its checkpoints by size (checked ones only)."""

    log: LogId
    size: int = 0
    last_time: str = ""
    checkpoints: dict[int, Checkpoint] = field(default_factory=dict)


class Walk:
    """Walks one log. Make it, then consume ``entries()``; ``facts`` is right afterwards."""

    def __init__(self, store: ObjectStore, log: LogId, verifier: Verifier | None, report: Report) -> None:
        self._store = store
        self._log = log
        self._report = report
        self.facts = LogFacts(log)
        self._claimed = self._read_checkpoints(verifier)
        self._visited: set[int] = set()
        self._covered = max((point.size for point in self._claimed), default=0)

    def _damage(self, what: What, detail: str, seq: int | None = None, name: str | None = None) -> None:
        self._report.damage(what, detail, log=str(self._log), seq=seq, name=name)

    def _read_checkpoints(self, verifier: Verifier | None) -> list[Checkpoint]:
        found: list[Checkpoint] = []
        for ordinal, note in self._notes():
            name = key_layout.checkpoint_key(self._log, ordinal)
            if verifier is None:
                continue
            try:
                point = verifier.check(note, str(self._log))
            except Tampered as error:
                self._damage(What.CHECKPOINT, str(error), name=name)
                continue
            if found and point.size <= found[-1].size:
                self._damage(What.CHECKPOINT, "a checkpoint is not larger than the one before it", name=name)
            found.append(point)
            self._report.tally.checkpoints += 1
        return found

    def _notes(self) -> Iterator[tuple[int, str]]:
        """Every checkpoint by listing, so that a hole in the middle is seen."""
        expected = 0
        for stored in self._store.list(f"{key_layout.log_prefix(self._log)}checkpoint/"):
            ordinal = int(stored.key.rpartition("/")[2]) if stored.key[-12:].isdecimal() else -1
            if ordinal < expected:  # a newer version of the same name, or no name of ours
                self._damage(What.CHECKPOINT, "an object stands where no checkpoint belongs", name=stored.key)
                continue
            for missing in range(expected, ordinal):
                name = key_layout.checkpoint_key(self._log, missing)
                self._damage(What.CHECKPOINT, "a checkpoint is missing", name=name)
            note = checkpoint_note(self._store, self._log, ordinal)
            if note is not None:
                yield ordinal, note
            expected = ordinal + 1

    def entries(self) -> Iterator[Entry]:
        """Every entry that can be read at all, in order; damage goes to the report."""
        tiles = TileWriter(self._log)
        points = {point.size: point for point in self._claimed}
        seq, prev = 0, GENESIS
        sound = True  # the tree can be compared only while no entry is missing
        while (data := self._batch(seq)) is not None:
            if isinstance(data, int):
                sound, seq, prev = False, data, ""
                continue
            self._visited.add(seq)
            if not data.endswith(b"\n"):
                self._damage(What.BATCH, "a batch is cut short", seq=seq)
            for line in data.removesuffix(b"\n").split(b"\n"):
                entry = self._entry(line, seq, prev)
                seq, prev = seq + 1, hashlib.sha256(line).hexdigest()
                if sound:
                    self._tiles(tiles.add(entry or Entry(line, {})), covered=seq <= self._covered)
                    if seq in points:
                        self._root(points[seq], tiles.frontier.root())
                if entry is not None:
                    self.facts.last_time = entry.time
                    yield entry
        self.facts.size = seq
        self._strays(seq)
        self._end(points, seq)

    def _batch(self, seq: int) -> bytes | int | None:
        """The batch at ``seq``; the seq of the next one when this one is missing; None at the head."""
        try:
            return self._store.read(key_layout.batch_key(self._log, seq))
        except NotFound:
            pass
        prefix = f"{key_layout.log_prefix(self._log)}batch/"
        following = next(self._store.list(prefix, key_layout.batch_key(self._log, seq)), None)
        if following is None:
            return None
        name = following.key.rpartition("/")[2]
        if not name.isdecimal() or following.key != key_layout.batch_key(self._log, int(name)):
            self._damage(What.BATCH, "an object stands where no batch belongs", name=following.key)
            return None
        if self._exists(seq):  # it came between the two looks: the log is growing
            return seq
        self._damage(What.BATCH, f"the batch of entries {seq} to {int(name) - 1} is missing", seq=seq)
        return int(name)

    def _strays(self, size: int) -> None:
        """Objects among the batches that the walk did not come by: names inside another batch, newer versions."""
        for stored in self._store.list(f"{key_layout.log_prefix(self._log)}batch/"):
            name = stored.key.rpartition("/")[2]
            known = name.isdecimal() and key_layout.batch_key(self._log, int(name)) == stored.key
            if known and int(name) in self._visited:
                self._visited.discard(int(name))
            elif not known or int(name) < size:
                self._damage(What.BATCH, "an object stands where no batch belongs", name=stored.key)

    def _exists(self, seq: int) -> bool:
        try:
            self._store.read(key_layout.batch_key(self._log, seq), length=1)
        except NotFound:
            return False
        return True

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
        usable = isinstance(fields, dict) and fields.get("seq") == seq and fields.get("type") in entries.TYPES
        return Entry(line, fields) if usable and isinstance(fields.get("time"), str) else None

    @staticmethod
    def _claimed_prev(line: bytes) -> str:
        try:
            return entries.first_prev(line)
        except Tampered:
            return GENESIS

    def _tiles(self, expected: list[tuple[str, bytes]], *, covered: bool) -> None:
        for key, data in expected:
            self._report.tally.tiles += 1
            try:
                if self._store.read(key) != data:
                    self._damage(What.TILE, "a tile does not match the entries", name=key)
            except NotFound:
                if covered:  # tiles are written before the checkpoint that covers them
                    self._damage(What.TILE, "a tile is missing", name=key)
            except StoreError as error:
                self._damage(What.STORE, str(error), name=key)

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
        self._report.tally.logs += 1
        self._report.step()
