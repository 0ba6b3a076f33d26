"""The order: the active follower takes the logs as they grow, and writes into the order log what it took and found.

Only what stands in the order log counts: a crash between two steps repeats work, never a finding.
"""

import hashlib
import logging
import secrets
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from archive_service.ledger.acts import Acts
from archive_service.ledger.appender import Appender, Draft
from archive_service.ledger.entry import Entry
from archive_service.ledger.payloads import PayloadVault, open_capture
from archive_service.ledger.reader import batch_from, logs, read_entry, read_from
from archive_service.model.errors import ArchiveError, Invalid, KeyUnavailable, NotFound, StoreError, Tampered
from archive_service.model.mail import CaptureRecord, Finding, Parsed, Source, SourceKind, Text
from archive_service.vault.key_layout import LogId
from search.side_by_side import outcomes

_log = logging.getLogger(__name__)
_LARGE = 16 << 20  # bytes of a sealed capture
_INNER = b"archive-service/inner/v1\x00"


class Interpreter(Protocol):
    """Reads hostile bytes somewhere safe; never raises for what a mail contains."""

    def interpret(self, raw: bytes, kind: SourceKind, record: CaptureRecord) -> tuple[Parsed, Text]:
        """What the capture is, and what the index may read of it."""
        ...

    def extract(self, raw: bytes, parsed: Parsed) -> Text:
        """The text again, for a capture that was interpreted before."""
        ...


IsCanary = Callable[[str, str | None], bool]
"""Whether a source's mail with this Message-ID is one that the archive itself sent through its route."""

Identify = Callable[[str, int], str]
"""The message id of an inner digest under a version of the trace field list."""


class Exclude(Protocol):
    """Knows whose mail was never to be archived. Thread-safe."""

    def __call__(
        self, place: tuple[LogId, int], raw: bytes, record: CaptureRecord, parsed: Parsed
    ) -> Callable[[], None] | None:
        """None, or what withdraws the capture at ``place`` (log and seq), durably, when it is called. That raises
        ArchiveError: then the capture is not taken yet, and shown to nobody."""
        ...


FindLogs = Callable[[str], list[LogId]]
"""The logs of an owner, as they were a few seconds ago at most."""


def inner_commit(salt: bytes, inner: bytes) -> str:
    """What a finding's entry says of the inner bytes without telling them (FORMAT.md section 5)."""
    return hashlib.sha256(_INNER + salt + inner + struct.pack(">Q", len(inner))).hexdigest()


@dataclass
class Ordered:
    """One step's work: the texts it read on the way, by capture id, so that indexing need not read them again.
    ``unreadable``: captures without a finding; ``blocked``: logs that cannot be read on."""

    taken: int = 0
    unreadable: int = 0
    blocked: int = 0
    texts: dict[str, Text] = field(default_factory=dict)


class _NotWithdrawn(ArchiveError):
    """A capture that is to be withdrawn cannot be now."""


@dataclass(frozen=True)
class _Found:
    """A capture that was read: its text for the index, its finding for the order log. ``withdraw``: what is to be done
    first with one that was never to be archived."""

    capture: str
    text: Text
    draft: Draft
    withdraw: Callable[[], None] | None = None


class Orderer:
    """Takes one tenant's capture and acts logs. Not thread-safe; needs the tenant's order slot."""

    def __init__(
        self,
        vault: PayloadVault,
        acts: Acts,
        order: Appender,
        interpreter: Interpreter,
        identify: Identify,
        took: dict[str, int],
        acts_taken: int,
        *,
        most: int = 200,
        width: int = 1,
        find_logs: FindLogs | None = None,
        exclude: Exclude | None = None,
        is_canary: IsCanary | None = None,
    ) -> None:
        """``most``: about so many entries a step; ``width``: captures that are read side by side."""
        self._is_canary = is_canary
        self._vault = vault
        self._find_logs: FindLogs = find_logs or partial(logs, vault.store)
        self._acts = acts
        self._exclude = exclude
        self._order = order
        self._interpreter = interpreter
        self._identify = identify
        self._took = took
        self._acts_taken = acts_taken
        self._most = most
        self._width = width
        self._looking = threading.Lock()
        self._large = threading.Lock()
        self._turn = 0
        self._aligned: set[LogId] = set()
        """Logs that stand at a batch's beginning: a crash may have left one in the middle, some findings appended and
        some not."""

    @property
    def settled(self) -> bool:
        """False after an append that did not succeed: what has been taken then stands in the order log alone."""
        return self._order.head is not None

    def step(self) -> Ordered:
        """Take at most about ``most`` new entries; durable in the order log on return. Raises ArchiveError: what was
        not appended is taken again later."""
        done = Ordered()
        drafts: list[Draft] = []
        took = dict(self._took)
        self._acts.refresh()
        for log in self._capture_logs():
            if done.taken >= self._most:
                break
            start = took.get(str(log), 0)
            end = took[str(log)] = self._log(log, start, drafts, done)
            if end > start:
                drafts.append(self._range(log, start, end))
        self._append_after_acts(drafts)
        self._took = took
        return done

    def _append_after_acts(self, drafts: list[Draft]) -> None:
        """What was decided stands in the order before what was found: a capture that was withdrawn while it was read is
        never projected."""
        acts_taken = self._acts.seen
        if acts_taken > self._acts_taken:
            drafts.insert(0, self._range(self._acts.log, self._acts_taken, acts_taken))
        if drafts:
            self._append(drafts)
        self._acts_taken = acts_taken

    def retry(self, unread: Sequence[tuple[str, int]]) -> Ordered:
        """Try captures again that could not be opened when they were taken; what opens now gets a late finding, durable
        on return. Raises ArchiveError."""
        done = Ordered()
        drafts: list[Draft] = []
        for name, seq in unread[: self._most]:
            log = LogId.parse(name)
            try:
                found = self._finding(log, read_entry(self._vault.store, log, seq))
                self._settle(found, done)
            except (Tampered, KeyUnavailable, Invalid, NotFound, _NotWithdrawn):
                done.unreadable += 1
            else:
                drafts.append(found.draft)
        self._append_after_acts(drafts)
        return done

    @staticmethod
    def _settle(found: _Found, done: Ordered) -> None:
        """Withdraw what is to be withdrawn; the text of anything else is kept for the index. Raises _NotWithdrawn."""
        if found.withdraw is None:
            done.texts[found.capture] = found.text
            return
        try:
            found.withdraw()
        except ArchiveError as error:
            raise _NotWithdrawn(str(error), code=error.code) from error

    def _capture_logs(self) -> list[LogId]:
        """Another one first at every step, so that a busy log does not hold up the others."""
        owner = self._acts.log.owner
        found = [log for log in self._find_logs(owner) if log.kind == "capture"]
        self._turn += 1
        first = self._turn % len(found) if found else 0
        return found[first:] + found[:first]

    def _log(self, log: LogId, start: int, drafts: list[Draft], done: Ordered) -> int:
        """Take a log's new batches from ``start``; where it is taken to. A damaged batch holds up its own log only."""
        entries: list[Entry] = []
        try:
            while done.taken + len(entries) < self._most and (batch := self._batch(log, start)):
                entries.extend(batch)
                start = batch[-1].seq + 1
        except Tampered as error:
            _log.error("log %s cannot be read at seq %d: %s", log.name, start, error.code)
            done.blocked += 1
        done.taken += len(entries)
        captures = [entry for entry in entries if entry.type == "capture"]
        readings = outcomes(self._width, partial(self._finding, log), captures)
        for entry, reading in zip(captures, readings, strict=True):
            drafts.extend(self._draft(log, entry, reading, done))
        return start

    def _batch(self, log: LogId, start: int) -> list[Entry]:
        """The batch at ``start``, or, at the first look, the rest of the batch that it stands in; empty at the head."""
        if log in self._aligned:
            return batch_from(self._vault.store, log, start) or []
        rest: list[Entry] = []
        for entry in read_from(self._vault.store, log, start):
            if rest and batch_from(self._vault.store, log, entry.seq) is not None:
                break
            rest.append(entry)
        self._aligned.add(log)
        return rest

    def _append(self, drafts: list[Draft]) -> None:
        """In batches that stay small enough to be read in one go."""
        for start in range(0, len(drafts), self._most):
            self._order.append(drafts[start : start + self._most])

    @staticmethod
    def _range(log: LogId, start: int, end: int) -> Draft:
        return "took", {"of": {"log": str(log), "from": start, "to": end}}

    def _draft(
        self, log: LogId, entry: Entry, reading: Callable[[], _Found], done: Ordered
    ) -> Iterator[Draft]:
        try:
            found = reading()
            self._settle(found, done)
        except (Tampered, KeyUnavailable, Invalid, _NotWithdrawn) as error:
            if self._acts.erasures.begun(str(entry.fields.get("capture"))):
                return  # its key went before it was ever taken: nothing is left to be read, now or later
            self._require_keys(error)
            # Damage must not stop the line, and is not ours to judge: ``verify`` names it. What was damaged may be
            # mended (a disk comes back): it stands in the order as unread, and is tried again.
            _log.error("capture %s seq %d cannot be opened: %s", log.name, entry.seq, error.code)
            done.unreadable += 1
            kind, fields = self._range(log, entry.seq, entry.seq + 1)
            yield kind, {**fields, "unread": True}
        else:
            yield found.draft

    def _require_keys(self, error: ArchiveError) -> None:
        """A key store that is away as a whole (a disk not mounted) must not pass for damage to every capture."""
        if isinstance(error, KeyUnavailable) and not self._vault.keyring.numbers():
            raise StoreError("the key store holds no generation: is it there?") from error

    def _finding(self, log: LogId, entry: Entry) -> _Found:
        """Thread-safe. Large ones one at a time: each is held whole."""
        size = entry.fields.get("object", {}).get("size", 0)
        with self._large if size > _LARGE else nullcontext():
            return self._found(log, entry)

    def _found(self, log: LogId, entry: Entry) -> _Found:
        capture = str(entry.fields.get("capture"))
        opened = open_capture(self._vault.store, self._vault.keyring, log, entry.fields)
        try:
            record = CaptureRecord.model_validate_json(opened.record)
        except ValueError as error:
            raise Tampered("a capture record does not follow its format") from error
        parsed, text = self._interpreter.interpret(opened.raw, self._kind(record.source), record)
        if self._is_canary is not None and self._is_canary(record.source, parsed.message_id):
            parsed = parsed.model_copy(update={"flags": (*parsed.flags, "canary")})
        finding = Finding(
            capture=capture,
            message=self._identify(parsed.inner_digest, parsed.identity_version),
            source=record.source,
            received_at=record.received_at,
            channel=record.way,
            parsed=parsed,
        )
        salt = secrets.token_bytes(32)
        sealed = self._vault.seal_finding(
            self._order.log,
            capture,
            self._vault.keyring.object_key(log, capture),
            {"salt": salt.hex(), "finding": finding.plain()},
        )
        fields: dict[str, Any] = {
            "of": {"log": str(log), "seq": entry.seq},
            "capture": capture,
            "inner": inner_commit(salt, opened.raw[parsed.inner_start : parsed.inner_end]),
            "payload": sealed,
        }
        withdraw = self._exclude((log, entry.seq), opened.raw, record, parsed) if self._exclude else None
        return _Found(capture, text, ("finding", fields), withdraw)

    def _kind(self, source: str) -> SourceKind:
        """The source may be younger than the step: then its act stands at the acts log's head by now."""
        with self._looking:
            for look in (self._acts.sources, self._fresh_sources):
                for known in look():
                    if known.id == source:
                        return known.kind
        raise Tampered("a capture of a source that no act has made", code="source.unknown")

    def _fresh_sources(self) -> list[Source]:
        self._acts.refresh()
        return self._acts.sources()
