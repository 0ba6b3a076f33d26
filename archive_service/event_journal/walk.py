"""A tenant's logs read side by side, oldest first, up to where they stood at the first page.

The order is that of the entries' times, and within a log that of the log: a merge that goes on at a cursor exactly
where it stopped. What comes while somebody turns the pages is for his next reading, so no page loses or repeats an
event. Every entry passed is held against the one before it, and each page's last against a signed checkpoint.
"""

import base64
import binascii
import hashlib
import heapq
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from archive_service.event_journal.events import Event, Kind, log_kinds
from archive_service.ledger import merkle
from archive_service.ledger.entry import Entry
from archive_service.ledger.note import Verifier
from archive_service.ledger.proofs import include
from archive_service.ledger.reader import (
    checkpoint_note,
    checkpoint_size,
    find_head,
    first_since,
    logs,
    newest_checkpoint,
    read_from,
)
from archive_service.model.clock import from_rfc3339, rfc3339
from archive_service.model.errors import Invalid, NotFound, Tampered
from archive_service.vault.key_layout import LogId, is_log
from archive_service.vault.stores.base import ObjectStore

_MOST_READ = 20_000  # entries passed for one page
_CLOCKS = timedelta(hours=1)
"""How far a writer's clock may have stood back, and a span still finds what it wrote."""


@dataclass(frozen=True)
class Wanted:
    """Events of these kinds, from ``begins`` on and before ``ends`` (RFC 3339; None bounds nothing)."""

    kinds: frozenset[Kind] = frozenset(Kind)
    begins: str | None = None
    ends: str | None = None

    def __contains__(self, event: Event) -> bool:
        time = event.entry.time
        return event.kind in self.kinds and (self.begins or "") <= time and not self.after(time)

    def after(self, time: str) -> bool:
        """Whether a time lies beyond the span."""
        return self.ends is not None and time >= self.ends

    def tag(self) -> str:
        """What binds a cursor to these words."""
        words = json.dumps([sorted(self.kinds), self.begins, self.ends])
        return hashlib.sha256(b"archive-service journal cursor\0" + words.encode()).hexdigest()[:16]


Places = dict[LogId, tuple[int, int]]
"""Of each log the next entry to be read, and where the reading ends."""


@dataclass(frozen=True)
class Page:
    """Events, oldest first, and the cursor behind the last entry passed; a page may be short or empty with one.
    ``proven``: of each log on the page, how many of its entries a signed checkpoint was seen to cover."""

    events: list[Event]
    proven: Mapping[LogId, int]
    following: str | None


def read_page(
    store: ObjectStore,
    owner: str,
    wanted: Wanted,
    limit: int,
    cursor: str | None,
    event_of: Callable[[LogId, Entry], Event | None],
    verifier: Verifier,
) -> Page:
    """Raises Invalid (``cursor.invalid``), and Tampered for an entry that does not chain to the one before it, a log
    that ends too early, or a page that is not what the log's signed checkpoint says."""
    try:
        places = _begin(store, owner, wanted) if cursor is None else _parse(store, owner, wanted, cursor)
        found, following = _merged(store, places, wanted, limit, event_of)
        return Page(found, _proven(store, found, verifier), following)
    except NotFound as error:
        raise Tampered("a log ends before its checkpoint", code="integrity.missing") from error


def _merged(
    store: ObjectStore,
    places: Places,
    wanted: Wanted,
    limit: int,
    event_of: Callable[[LogId, Entry], Event | None],
) -> tuple[list[Event], str | None]:
    """Moves ``places`` on."""
    streams = [_stream(store, log, place, wanted) for log, place in sorted(places.items())]
    found: list[Event] = []
    for read, (log, entry) in enumerate(heapq.merge(*streams, key=_order)):
        if len(found) == limit or read == _MOST_READ:
            return found, _cursor(places, wanted)
        places[log] = (entry.seq + 1, places[log][1])
        event = event_of(log, entry)
        if event is not None and event in wanted:
            found.append(event)
    return found, None


def _order(found: tuple[LogId, Entry]) -> tuple[str, str, int]:
    log, entry = found
    return entry.time, log.name, entry.seq


def chained(store: ObjectStore, log: LogId, start: int, end: int) -> Iterator[Entry]:
    """The entries [start, end) of a log, each held against the one before it, and the last against the one behind.
    Raises Tampered, also when there are fewer."""
    prev: str | None = None
    for entry in read_from(store, log, start):
        if prev is not None and entry.fields["prev"] != prev:
            raise Tampered(f"{log}: entry {entry.seq} does not chain to the entry before it")
        if entry.seq >= end:
            return
        prev, start = entry.digest(), entry.seq + 1
        yield entry
    if start < end:
        raise Tampered(f"{log}: entries from {start} on are missing", code="integrity.missing")


def _stream(
    store: ObjectStore, log: LogId, place: tuple[int, int], wanted: Wanted
) -> Iterator[tuple[LogId, Entry]]:
    beyond = None if wanted.ends is None else rfc3339(from_rfc3339(wanted.ends) + _CLOCKS)
    for entry in chained(store, log, *place):
        if beyond is not None and entry.time >= beyond:
            return
        yield log, entry


def _proven(store: ObjectStore, events: list[Event], verifier: Verifier) -> dict[LogId, int]:
    """Each log's last event on the page that a checkpoint covers, held against that checkpoint: by their chain the
    ones before it are then what they were."""
    sizes: dict[LogId, int] = {}
    for log in {event.log for event in events}:
        note = checkpoint_note(store, log, newest_checkpoint(store, log))
        size = 0 if note is None else checkpoint_size(note)
        covered = [event.entry for event in events if event.log == log and event.entry.seq < size]
        if note is not None and covered:
            require_included(store, log, covered[-1], note, verifier)
        sizes[log] = size
    return sizes


def require_included(store: ObjectStore, log: LogId, entry: Entry, note: str, verifier: Verifier) -> None:
    """Raises Tampered unless the checkpoint, signed by the log's owner, covers this very entry."""
    point = verifier.check(note, str(log))
    path = include(store, log, entry.seq, note).path
    leaf = merkle.leaf_hash(entry.line)
    if not merkle.verify_inclusion(leaf, entry.seq, point.size, path, point.root):
        raise Tampered(f"{log}: entry {entry.seq} is not the one under the log's checkpoint")


def _begin(store: ObjectStore, owner: str, wanted: Wanted) -> Places:
    kinds = log_kinds(wanted.kinds)
    found = {log: find_head(store, log).seq for log in logs(store, owner) if log.kind in kinds}
    return {log: (_first(store, log, head, wanted.begins), head) for log, head in found.items()}


def _first(store: ObjectStore, log: LogId, head: int, begins: str | None) -> int:
    if begins is None:
        return 0
    return first_since(store, log, head, rfc3339(from_rfc3339(begins) - _CLOCKS))


def _cursor(places: Places, wanted: Wanted) -> str:
    plain = {"of": wanted.tag(), "at": {log.name: place for log, place in sorted(places.items())}}
    text = json.dumps(plain, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _parse(store: ObjectStore, owner: str, wanted: Wanted, cursor: str) -> Places:
    try:
        plain = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if plain["of"] != wanted.tag():
            raise ValueError("a cursor of another reading")
        places = {_log(owner, name): _place(place) for name, place in plain["at"].items()}
    except (
        ValueError, binascii.Error, KeyError, TypeError, AttributeError, RecursionError
    ) as error:  # fmt: skip
        raise Invalid("not a cursor of this list", code="cursor.invalid") from error
    kinds = log_kinds(wanted.kinds)
    if not places.keys() <= {log for log in logs(store, owner) if log.kind in kinds}:
        raise Invalid("not a cursor of this list", code="cursor.invalid")
    return {log: (start, min(end, find_head(store, log).seq)) for log, (start, end) in places.items()}


def _log(owner: str, name: str) -> LogId:
    if not is_log(f"{owner}/{name}"):
        raise ValueError("not a log's name")
    return LogId(owner, name)


def _place(value: list[int]) -> tuple[int, int]:
    start, end = value
    if not (type(start) is int and type(end) is int and 0 <= start <= end):
        raise ValueError("not a place in a log")
    return start, end
