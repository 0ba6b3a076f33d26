"""Proofs for people who do not trust us: an entry in its log's checkpoint, and that checkpoint in the root log."""

from dataclasses import dataclass
from datetime import timedelta

from archive_service.ledger import anchors, merkle
from archive_service.ledger.reader import (
    checkpoint_note,
    checkpoint_size,
    first_since,
    newest_checkpoint,
    read_entry,
    read_from,
)
from archive_service.ledger.tiles import TreeReader
from archive_service.model.clock import from_rfc3339, rfc3339
from archive_service.model.errors import Overloaded
from archive_service.vault.key_layout import LogId
from archive_service.vault.stores.base import ObjectStore

_LOOK_BACK = 64  # checkpoints, and root entries, looked at from the newest backwards
_SCAN = 4096  # root entries looked at from a time onwards
_CLOCKS_DIFFER = timedelta(minutes=5)  # design point 8


@dataclass(frozen=True)
class Inclusion:
    """An entry's exact bytes, and the path from it to a signed checkpoint."""

    log: LogId
    index: int
    line: bytes
    path: tuple[bytes, ...]
    size: int
    note: str


@dataclass(frozen=True)
class Proof:
    """An entry's inclusion, and the inclusion of its checkpoint's anchor in the root log, opened by ``salt``."""

    entry: Inclusion
    salt: bytes
    anchor: str
    root: Inclusion


def _covering(store: ObjectStore, log: LogId, index: int) -> list[str]:
    """The checkpoints that cover an entry, newest first, at most ``_LOOK_BACK``. Raises Overloaded if none yet."""
    newest = newest_checkpoint(store, log)
    notes: list[str] = []
    for ordinal in range(newest, max(-1, newest - _LOOK_BACK), -1):
        note = checkpoint_note(store, log, ordinal)
        if note is None or checkpoint_size(note) <= index:
            break
        notes.append(note)
    if not notes:
        raise Overloaded("no checkpoint covers this entry yet", code="proof.pending")
    return notes


def include(store: ObjectStore, log: LogId, index: int, note: str) -> Inclusion:
    """The inclusion of an entry under a checkpoint. Raises NotFound, Tampered."""
    size = checkpoint_size(note)
    path = merkle.inclusion_proof(index, size, TreeReader(store, log, size).subtree)
    line = read_entry(store, log, index).line
    return Inclusion(log, index, line, tuple(path), size, note)


@dataclass(frozen=True)
class _Anchored:
    note: str
    salt: bytes
    anchor: str
    seq: int


def _scan(
    store: ObjectStore, root: LogId, wanted: dict[str, tuple[str, bytes]], start: int, end: int
) -> _Anchored | None:
    """The newest wanted anchor among the root entries [start, end)."""
    found: _Anchored | None = None
    for entry in read_from(store, root, start):
        if entry.seq >= end:
            break
        for anchor in entry.fields.get("anchors", ()):
            if anchor in wanted:
                found = _Anchored(*wanted[anchor], anchor, entry.seq)
    return found


def _find_anchor(
    store: ObjectStore, root: LogId, root_note: str, root_salt: bytes, notes: list[str], time: str
) -> _Anchored | None:
    """The anchor of one of ``notes``: most often at the root log's end, else from shortly before ``time``, when
    the log last grew under the checkpoint."""
    wanted = {}
    for note in notes:
        salt = anchors.salt_of(root_salt, note)
        wanted[anchors.anchor_of(salt, note)] = (note, salt)
    size = checkpoint_size(root_note)
    found = _scan(store, root, wanted, max(0, size - _LOOK_BACK), size)
    if found is None and size > _LOOK_BACK:
        start = first_since(store, root, size, rfc3339(from_rfc3339(time) - _CLOCKS_DIFFER))
        found = _scan(store, root, wanted, start, min(size, start + _SCAN))
    return found


def prove(store: ObjectStore, root: LogId, root_salt: bytes, log: LogId, index: int) -> Proof:
    """The whole chain of proof of one entry. ``root_salt``: the owner's key of that name.

    Raises Overloaded (``proof.pending``) until checkpoint and anchor cover it, NotFound, Tampered.
    """
    newest_root = newest_checkpoint(store, root)
    root_note = checkpoint_note(store, root, newest_root) if newest_root >= 0 else None
    notes = _covering(store, log, index)
    if root_note is None:
        raise Overloaded("the root log has no checkpoint yet", code="proof.pending")
    grew = read_entry(store, log, checkpoint_size(notes[0]) - 1).time
    found = _find_anchor(store, root, root_note, root_salt, notes, grew)
    if found is None:
        raise Overloaded("no anchor covers this entry yet", code="proof.pending")
    entry = include(store, log, index, found.note)
    return Proof(entry, found.salt, found.anchor, include(store, root, found.seq, root_note))
