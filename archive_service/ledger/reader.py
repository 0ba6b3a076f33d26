"""Reading a log from its batches: tail it, find its head, start anywhere.

Batches lie without gap, each named by its first seq, so the next one's name is always known: a reader asks for it and
either gets it or is at the head. Nothing is listed.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from archive_service.ledger import entry as entries
from archive_service.ledger.entry import GENESIS, Entry
from archive_service.ledger.trusted_notes import ForgedNote
from archive_service.model.errors import NotFound, Tampered
from archive_service.vault import key_layout
from archive_service.vault.key_layout import LogId
from archive_service.vault.stores.base import ObjectStore

_SIZE = re.compile(r"[0-9]{1,16}")


@dataclass(frozen=True)
class Place:
    """Between two entries: the next seq, the digest of the entry before it, and the key generation which that one
    names (0: none). Whoever appends here names no older one (FORMAT.md section 5)."""

    seq: int = 0
    prev: str = GENESIS
    generation: int = 0

    @staticmethod
    def after(entry: Entry) -> "Place":
        """Behind an entry."""
        return Place(entry.seq + 1, entry.digest(), entries.used_generation(entry.fields))


class LogReader:
    """Follows one log. Not thread-safe; make one a thread. Raises Tampered at the first entry that does not chain."""

    def __init__(self, store: ObjectStore, log: LogId, place: Place | None = None) -> None:
        self._store = store
        self.log = log
        self.place = place or Place()

    def _following(self) -> list[Entry] | None:
        try:
            data = self._store.read(key_layout.batch_key(self.log, self.place.seq))
        except NotFound:
            return None
        try:
            return list(entries.split(data, self.log, self.place.seq, self.place.prev))
        except Tampered as error:
            raise Tampered(f"{self.log}: {error}", code=error.code) from error

    def next_batch(self) -> list[Entry] | None:
        """The next batch's entries, or None at the head."""
        return self.hand_on(lambda _: None)

    def hand_on(self, take: Callable[[list[Entry]], None]) -> list[Entry] | None:
        """``next_batch`` for whoever must not miss one: the place moves on only when ``take`` has taken the batch.
        What it raises goes on, and the same batch comes again."""
        batch = self._following()
        if batch is not None:
            take(batch)
            self.place = Place.after(batch[-1])
        return batch

    def entries(self) -> Iterator[Entry]:
        """Every entry from here to the head."""
        while (batch := self.next_batch()) is not None:
            yield from batch


def checkpoint_note(store: ObjectStore, log: LogId, ordinal: int) -> str | None:
    """The ordinal-th checkpoint's note, or None; checked where the store is one of ``TrustedNotes``."""
    try:
        return store.read(key_layout.checkpoint_key(log, ordinal)).decode("utf-8", "replace")
    except NotFound:
        return None


def checkpoint_size(note: str) -> int:
    """The size that a note claims. Raises Tampered."""
    lines = note.split("\n")
    if len(lines) < 3 or not _SIZE.fullmatch(lines[1]):
        raise Tampered("a checkpoint without a size")
    return int(lines[1])


def checkpoint_names(store: ObjectStore, log: LogId) -> int:
    """How many checkpoint names are taken, by whomever. O(log n) reads: gallop, then halve."""

    def taken(ordinal: int) -> bool:
        try:
            store.read(key_layout.checkpoint_key(log, ordinal))
        except ForgedNote:
            return True
        except NotFound:
            return False
        return True

    if not taken(0):
        return 0
    low, step = 0, 1
    while taken(low + step):
        low, step = low + step, step * 2
    high = low + step
    while high - low > 1:
        middle = (low + high) // 2
        if taken(middle):
            low = middle
        else:
            high = middle
    return high


def newest_checkpoint(store: ObjectStore, log: LogId) -> int:
    """The ordinal of the newest checkpoint, or -1. Names that hold no checkpoint of ours are passed by."""
    return newest_below(store, log, checkpoint_names(store, log))


def newest_below(store: ObjectStore, log: LogId, names: int) -> int:
    """The same, when it is known how many names are taken."""
    ordinal = names - 1
    while ordinal >= 0 and checkpoint_note(store, log, ordinal) is None:
        ordinal -= 1
    return ordinal


def _before(store: ObjectStore, log: LogId, seq: int, newest: int) -> int:
    """The greatest checkpointed size at or below ``seq``: a place where a batch begins. 0 if none."""
    low, high, found = 0, newest, 0
    while low <= high:
        middle = (low + high) // 2
        note = checkpoint_note(store, log, middle)
        size = (
            checkpoint_size(note) if note is not None else seq + 1
        )  # not ours: whatever is before it will do
        if size <= seq:
            low, found = middle + 1, size
        else:
            high = middle - 1
    return found


_NEAR = 64  # entries worth walking rather than listing names


def batch_from(store: ObjectStore, log: LogId, seq: int) -> list[Entry] | None:
    """The batch that begins at ``seq`` with its own chain checked, trusting the first entry's ``prev``
    (its place is proven by the tree, not by the walk)."""
    try:
        data = store.read(key_layout.batch_key(log, seq))
    except NotFound:
        return None
    first = entries.first_prev(data)
    return list(entries.split(data, log, seq, first))


def _batch_at(store: ObjectStore, log: LogId, seq: int) -> int:
    """Where the batch that holds ``seq`` begins, or a place before it: by the nearest checkpoint, or by the names of
    the batches just before when that is far."""
    start = _before(store, log, seq, newest_checkpoint(store, log))
    if seq - start <= _NEAR:
        return start
    first = max(start, seq - entries.MOST)
    prefix = f"{key_layout.log_prefix(log)}batch/"
    after = key_layout.batch_key(log, first - 1) if first else ""
    for stored in store.list(prefix, after):
        name = stored.key.rpartition("/")[2]
        if not name.isdecimal() or int(name) > seq:
            break
        start = int(name)
    return start


def _lines(store: ObjectStore, log: LogId, start: int) -> list[bytes] | None:
    try:
        return store.read(key_layout.batch_key(log, start)).removesuffix(b"\n").split(b"\n")
    except NotFound:
        return None


def read_from(store: ObjectStore, log: LogId, seq: int) -> Iterator[Entry]:
    """Entries from ``seq`` to the head. What comes before ``seq`` in its batch is not parsed."""
    start = _batch_at(store, log, seq)
    while (lines := _lines(store, log, start)) is not None:
        skip = min(max(seq - start, 0), len(lines))
        if skip < len(lines):
            prev = hashlib.sha256(lines[skip - 1]).hexdigest() if skip else entries.first_prev(lines[0])
            for place in range(skip, len(lines)):
                entry = entries.parse(lines[place], log, start + place, prev)
                yield entry
                prev = entry.digest()
        start += len(lines)


def read_entry(store: ObjectStore, log: LogId, seq: int) -> Entry:
    """One entry. Raises NotFound past the head."""
    for entry in read_from(store, log, seq):
        return entry
    raise NotFound(f"the log has no entry {seq}")


def first_since(store: ObjectStore, log: LogId, size: int, time: str) -> int:
    """The first of a log's ``size`` entries that is not older than ``time`` (RFC 3339), found by halving: right where
    the log is in order of time, near it where a writer's clock went back."""
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        if read_entry(store, log, middle).time < time:
            low = middle + 1
        else:
            high = middle
    return low


def find_head(store: ObjectStore, log: LogId) -> Place:
    """The log's head. Raises Tampered when the walk to it does not chain."""
    start = _before(store, log, 2**62, newest_checkpoint(store, log))
    place = Place(start, "")
    if start == 0:
        place = Place()
    while (batch := batch_from(store, log, place.seq)) is not None:
        place = Place.after(batch[-1])
    if place.prev == "":  # a checkpoint stands at the very head: its last entry gives the digest
        place = Place.after(read_entry(store, log, start - 1))
    return place


def discover(store: ObjectStore, prefix: str) -> list[str]:
    """The folder names right below ``prefix`` (ends with "/"), by skipping from one to the next."""
    found: list[str] = []
    after = ""
    while (first := next(store.list(prefix, after), None)) is not None:
        name = first.key.removeprefix(prefix).partition("/")[0]
        found.append(name)
        after = f"{prefix}{name}/~"
    return found


def owners(store: ObjectStore) -> list[str]:
    """Every owner with a log."""
    return [name for name in discover(store, "ledger/") if key_layout.is_owner(name)]


def logs(store: ObjectStore, owner: str) -> list[LogId]:
    """Every log of an owner, by name. What else stands there is for ``verify`` to name."""
    found = (f"{owner}/{name}" for name in discover(store, f"ledger/{owner}/"))
    return [LogId.parse(name) for name in found if key_layout.is_log(name)]
