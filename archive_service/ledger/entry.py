"""One entry of a log: a canonical JSON line, chained by ``prev`` (FORMAT.md section 5)."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from archive_service.model.canonical import canonical, parse_canonical
from archive_service.model.errors import Tampered
from archive_service.vault.key_layout import LogId

LIMIT = 32 * 1024
MOST = 1024  # entries in a batch: a reader finds the batch of any entry among that many names
GENESIS = "0" * 64
TYPES = frozenset({"claim", "capture", "act", "finding", "took", "access", "anchors", "moved", "evidence"})


@dataclass(frozen=True)
class Entry:
    """An entry as it stands in its log: its exact bytes and its fields."""

    line: bytes
    fields: dict[str, Any]

    @property
    def seq(self) -> int:
        """Its place in the log, from 0."""
        return int(self.fields["seq"])

    @property
    def type(self) -> str:
        """One of TYPES."""
        return str(self.fields["type"])

    @property
    def time(self) -> str:
        """When it was appended, by the writer's clock."""
        return str(self.fields["time"])

    def digest(self) -> str:
        """What the next entry's ``prev`` says."""
        return hashlib.sha256(self.line).hexdigest()


def make(log: LogId, seq: int, prev: str, time: str, kind: str, fields: dict[str, Any]) -> Entry:
    """An entry ready to append. Raises ValueError when it is over 32 KiB (then its payload belongs in an object)."""
    head = {"version": 1, "log": str(log), "seq": seq, "prev": prev, "time": time, "type": kind}
    everything = {**fields, **head}
    line = canonical(everything)
    if len(line) >= LIMIT:
        raise ValueError("an entry over 32 KiB")
    return Entry(line, everything)


def _is(value: Any, number: int) -> bool:
    """Whether it is that number; ``true`` is not 1 here."""
    return type(value) is int and value == number


def is_type(value: Any) -> bool:
    """Whether it is one of TYPES; of a value that may be anything JSON has."""
    return isinstance(value, str) and value in TYPES


def parse(line: bytes, log: LogId, seq: int, prev: str) -> Entry:
    """Check one line against its place. Raises Tampered naming what is wrong with it."""
    if len(line) >= LIMIT:
        raise Tampered(f"entry {seq} is over 32 KiB")
    try:
        fields = parse_canonical(line)
    except (ValueError, RecursionError) as error:
        raise Tampered(f"entry {seq} is not canonical JSON") from error
    if not isinstance(fields, dict) or not _is(fields.get("version"), 1):
        raise Tampered(f"entry {seq} is not of version 1")
    if fields.get("log") != str(log):
        raise Tampered(f"entry {seq} belongs to another log")
    if not _is(fields.get("seq"), seq):
        raise Tampered(f"entry {seq} carries another sequence number")
    if fields.get("prev") != prev:
        raise Tampered(f"entry {seq} does not chain to the entry before it")
    if not is_type(fields.get("type")) or not isinstance(fields.get("time"), str):
        raise Tampered(f"entry {seq} has no known type or no time")
    return Entry(line, fields)


def join(entries: list[Entry]) -> bytes:
    """The bytes of a batch."""
    return b"".join(entry.line + b"\n" for entry in entries)


def split(data: bytes, log: LogId, seq: int, prev: str) -> Iterator[Entry]:
    """The entries of a batch that starts at ``seq``, each checked. Raises Tampered."""
    if not data.endswith(b"\n"):
        raise Tampered(f"the batch at {seq} is cut short")
    for line in data[:-1].split(b"\n"):
        entry = parse(line, log, seq, prev)
        yield entry
        seq, prev = seq + 1, entry.digest()


def used_generation(fields: dict[str, Any]) -> int:
    """The key generation that an entry names, or 0."""
    payload = fields.get("payload")
    holder = payload if isinstance(payload, dict) else fields
    number = holder.get("generation")
    return number if isinstance(number, int) else 0


def first_prev(data: bytes) -> str:
    """The ``prev`` of a batch's first entry, for a walk that starts in mid-log. Raises Tampered."""
    try:
        return str(parse_canonical(data.partition(b"\n")[0])["prev"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Tampered("a batch whose first entry cannot be read") from error
