"""One process turns grown logs into tiles, signed checkpoints and anchors. It follows the writers; it never holds up a
250. Everything that it writes can be made again from the batches."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from archive_service.ledger import anchors
from archive_service.ledger.appender import Appender, LedgerPolicy
from archive_service.ledger.note import Checkpoint, Signer
from archive_service.ledger.payloads import PayloadVault
from archive_service.ledger.reader import (
    LogReader,
    Place,
    checkpoint_names,
    checkpoint_note,
    checkpoint_size,
    logs,
    newest_below,
    read_entry,
    read_from,
)
from archive_service.ledger.slots import DayKeys
from archive_service.ledger.tiles import WIDTH, TileWriter
from archive_service.model.clock import Clock
from archive_service.model.errors import AlreadyExists, ArchiveError, SlotLost, Tampered
from archive_service.vault import key_layout
from archive_service.vault.key_layout import LogId
from archive_service.vault.keyring import Keyring
from archive_service.vault.stores.base import Lock, NewObject, ObjectStore

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LedgerWriter:
    """Writes immutable ledger objects; the same bytes under the same name are no error."""

    store: ObjectStore
    clock: Clock
    policy: LedgerPolicy

    def put(self, key: str, data: bytes) -> None:
        """Durable on return. Raises SlotLost when other bytes stand there."""
        lock = Lock(self.policy.mode, self.clock() + timedelta(days=self.policy.days))
        try:
            self.store.create([NewObject(key, data, lock)])
        except AlreadyExists as error:
            if self.store.read(key) != data:
                raise SlotLost("a ledger name holds other bytes: another checkpointer is at work") from error


class LogCheckpointer:
    """Follows one log and signs its checkpoints."""

    def __init__(self, writer: LedgerWriter, log: LogId, signer: Signer) -> None:
        self._writer = writer
        self._signer = signer
        self.log = log
        store = writer.store
        self._ordinal = checkpoint_names(
            store, log
        )  # the first free name; what others put before it stays theirs
        self._newest = newest_below(store, log, self._ordinal)
        self._size = 0
        if self._newest >= 0:
            note = checkpoint_note(store, log, self._newest)
            self._size = checkpoint_size(note or "")
        self._tiles = TileWriter(log)
        self._tiles.resume(store, self._size)
        self._reader = self._catch_up(store)

    def _catch_up(self, store: ObjectStore) -> LogReader:
        """Re-add the entries right of the last full tile, and stand at the checkpoint."""
        if self._size == 0:
            return LogReader(store, self.log)
        last = read_entry(store, self.log, self._size - 1)
        for entry in read_from(store, self.log, self._size - self._size % WIDTH):
            if entry.seq >= self._size:
                break
            self._tiles.add(entry)
        return LogReader(store, self.log, Place(self._size, last.digest()))

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that stands in the store."""
        if self._newest < 0:
            return None
        note = checkpoint_note(self._writer.store, self.log, self._newest)
        if note is None:
            raise Tampered("the newest checkpoint has gone")
        return Checkpoint(str(self.log), self._size, self._tiles.frontier.root(), note)

    def advance(self) -> Checkpoint | None:
        """Take the new entries; write the tiles they complete, then a checkpoint. None when nothing grew. After
        an error this object stands between two entries: make another one from the store."""
        while (batch := self._reader.next_batch()) is not None:
            for entry in batch:
                for key, data in self._tiles.add(entry):
                    self._writer.put(key, data)
        frontier = self._tiles.frontier
        if frontier.size == self._size:
            return None
        checkpoint = self._signer.sign(str(self.log), frontier.size, frontier.root())
        self._writer.put(key_layout.checkpoint_key(self.log, self._ordinal), checkpoint.note.encode())
        self._newest, self._ordinal, self._size = self._ordinal, self._ordinal + 1, frontier.size
        return checkpoint


class Checkpointer:
    """Every log of every owner, and the root log that joins them."""

    def __init__(
        self,
        writer: LedgerWriter,
        archive: Keyring,
        keyrings: Callable[[], list[Keyring]],
        find_logs: Callable[[str], list[LogId]] | None = None,
    ) -> None:
        """``find_logs``: an owner's logs, where looking in the store at every run is too dear."""
        self._writer = writer
        self._archive = archive
        self._keyrings = keyrings
        self._find_logs = find_logs or partial(logs, writer.store)
        self._root = LogId(archive.owner, "root")
        self._vault = PayloadVault(writer.store, archive, writer.clock)
        self._keys = DayKeys(archive, writer.clock)
        self._appender = Appender(
            writer.store, self._root, writer.clock, writer.policy, generation=self._keys.number
        )
        self._logs: dict[LogId, LogCheckpointer] = {}
        self._salts: dict[str, bytes] = {}
        self._unanchored: dict[str, Checkpoint] = {}

    def run_once(self, *, decoy: bool = False) -> int:
        """Checkpoint every log that grew, and anchor the checkpoints; how many were anchored. ``decoy``: where nothing
        grew the root log grows all the same, by an entry like any other.

        One log's fault does not hold the others back; the first ArchiveError is raised at the end, and the next
        call goes on where this one stopped.
        """
        failures: list[ArchiveError] = []
        for keyring in self._keyrings():
            signer = Signer(keyring.owner, keyring.secret("signing"))
            self._salts[keyring.owner] = keyring.secret("root-salt")
            for log in self._find_logs(keyring.owner):
                if log == self._root:
                    continue
                try:
                    self._advance(log, signer)
                except ArchiveError as error:
                    failures.append(error)
        anchored = self._anchor(decoy)
        self._checkpoint(self._root, Signer(self._archive.owner, self._archive.secret("signing")))
        if failures:
            raise failures[0]
        return anchored

    def _checkpoint(self, log: LogId, signer: Signer) -> Checkpoint | None:
        """The log's newest checkpoint, if it is new or was made by an earlier process."""
        known = self._logs.pop(log, None)  # it comes back when all went well: half an advance is made anew
        standing = None
        if known is None:
            known = LogCheckpointer(self._writer, log, signer)
            standing = known.newest()  # a crash may have left it without an anchor
        grown = known.advance()
        self._logs[log] = known
        return grown or standing

    def _advance(self, log: LogId, signer: Signer) -> None:
        fresh = self._checkpoint(log, signer)
        if fresh is not None:
            self._unanchored[fresh.origin] = fresh

    def _anchor(self, decoy: bool) -> int:
        """Anchor what is not anchored yet, in as many entries as it takes; in one where it is nothing."""
        points = sorted(self._unanchored.values(), key=lambda point: point.origin)
        if not points and not decoy:
            return 0
        if self._appender.head is None:
            self._appender.claim()
            self._keys.require_open(self._appender.generation)
        for start in range(0, max(len(points), 1), anchors.MOST):
            part = points[start : start + anchors.MOST]
            hashes = [anchors.anchor_of(self._salt(point), point.note) for point in part]
            (payload,) = self._vault.seal_many(
                self._root, [anchors.listing(part)], pad=anchors.PAD, floor=self._appender.generation
            )
            self._appender.append([("anchors", {"anchors": anchors.padded(hashes), "payload": payload})])
            for point in part:
                del self._unanchored[point.origin]
        _log.debug("anchored %d checkpoints", len(points))
        return len(points)

    def _salt(self, point: Checkpoint) -> bytes:
        return anchors.salt_of(self._salts[point.origin.partition("/")[0]], point.note)
