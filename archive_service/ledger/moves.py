"""What an archive that was moved to another store says of its objects there.

Entries name the object versions of the store in which they were written; another store gives its own. So a move is a
log too: ``OWNER/move-1``, whose ``moved`` entries map a key's version in the old store to the one in the new. Readers
need none of it (the digests decide); ``verify`` holds the two together.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from archive_service.ledger.appender import Appender, Draft
from archive_service.ledger.entry import Entry
from archive_service.ledger.reader import LogReader
from archive_service.model.canonical import canonical
from archive_service.model.errors import Tampered
from archive_service.vault.key_layout import LogId
from archive_service.vault.stores.base import ObjectStore

KIND = "move"
_MOST_BYTES = 24 * 1024  # of moves in one entry, well under its limit
_AT_ONCE = 16  # entries in one batch


@dataclass(frozen=True)
class Move:
    """One object: its key, its version in the store it came from and in the one it came to, its SHA-256 in hex."""

    key: str
    source: str
    target: str
    sha256: str

    def plain(self) -> dict[str, str]:
        """As entries have it."""
        return {"key": self.key, "from": self.source, "to": self.target, "sha256": self.sha256}


def move_log(owner: str) -> LogId:
    """Where an owner's moves stand."""
    return LogId(owner, f"{KIND}-1")


def moves_of(entry: Entry) -> Iterator[Move]:
    """The moves of an entry of a move log. Raises Tampered."""
    if entry.type == "claim":
        return
    try:
        rows: list[dict[str, Any]] = entry.fields["moves"]
        if entry.type != "moved":
            raise ValueError("an entry of another log")
        for row in rows:
            yield Move(str(row["key"]), str(row["from"]), str(row["to"]), str(row["sha256"]))
    except (KeyError, TypeError, ValueError) as error:
        raise Tampered("a move that does not follow its format") from error


def recorded(store: ObjectStore, owner: str) -> set[Move]:
    """Every move that stands in an owner's log. Raises Tampered."""
    return {move for entry in LogReader(store, move_log(owner)).entries() for move in moves_of(entry)}


def record(slot: Appender, moves: Iterable[Move]) -> int:
    """Append moves to a slot that is claimed; durable on return; how many. Raises SlotLost, StoreError: those appended
    before stand."""
    count = 0
    drafts: list[Draft] = []
    for some in _packed(moves):
        count += len(some)
        drafts.append(("moved", {"moves": some}))
        if len(drafts) == _AT_ONCE:
            slot.append(drafts)
            drafts = []
    if drafts:
        slot.append(drafts)
    return count


def _packed(moves: Iterable[Move]) -> Iterator[list[dict[str, str]]]:
    some: list[dict[str, str]] = []
    size = 0
    for move in moves:
        plain = move.plain()
        length = len(canonical(plain))
        if some and size + length > _MOST_BYTES:
            yield some
            some, size = [], 0
        some.append(plain)
        size += length + 1
    if some:
        yield some


def object_facts(entry: Entry) -> list[dict[str, Any]]:
    """What an entry says of the object that it, or its payload, names."""
    payload = entry.fields.get("payload")
    holders = (entry.fields, payload if isinstance(payload, dict) else {})
    found = [holder.get("object") for holder in holders]
    return [facts for facts in found if isinstance(facts, dict) and "key" in facts]
