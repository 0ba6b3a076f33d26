"""Replaying the order log into the catalog and the index. Running it on empty projections is a rebuild."""

import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import chain
from typing import Any

from archive_service.catalog.base import (
    CaptureRow,
    Catalog,
    Changes,
    EvidenceRow,
    MessageRow,
    Position,
    Withdrawn,
)
from archive_service.catalog.vouching import entry_of
from archive_service.ledger.acts import Acts
from archive_service.ledger.entry import Entry
from archive_service.ledger.erasures import asked_of, freed_of
from archive_service.ledger.evidence import TYPE as EVIDENCE
from archive_service.ledger.evidence import open_evidence
from archive_service.ledger.payloads import PayloadVault, open_capture
from archive_service.ledger.reader import batch_from, read_from
from archive_service.model.errors import Invalid, KeyUnavailable, NotFound, Tampered
from archive_service.model.mail import Finding, Source, Text
from archive_service.vault.key_layout import LogId
from search.document import to_document
from search.indexes.base import SearchIndex
from search.orderer import Interpreter

_log = logging.getLogger(__name__)
_INDEX_BATCH = 500
_PATIENCE = 1.0  # seconds
_GATHERED = 600  # rows, at most, that wait for the documents before them to be written


class RowsOnly:
    """The order log as catalog rows, without an index: what ``verify`` compares with, and half of ``Projector``."""

    def __init__(self, vault: PayloadVault, acts: Acts, order: LogId, catalog: Catalog) -> None:
        self._vault = vault
        self._acts = acts
        self._order = order
        self._catalog = catalog
        self._cursors: dict[LogId, Iterator[Entry]] = {}
        self._known: dict[str, int] | None = None  # how far each log is taken, as the catalog has it
        self.unreadable = 0
        """Findings that are damaged, or whose capture is: they have no rows, and stop no others."""
        self.restored = 0
        """Captures that an act has freed again: they are to be read once more."""
        self._rows = catalog.position().rows

    def _next(self, position: Position) -> int:
        """Project the next batch's rows; the position after it, or the same at the head."""
        if position.rows != self._rows:  # another process projected, or the catalog was replaced
            self._cursors.clear()
            self._known = None
            self._rows = position.rows
        stretch = self._stretch()
        if stretch:
            changes = self._changes(stretch, position.acts)
            self._catalog.apply(changes)
            self.restored += len(changes.restored)
            if self._known is not None:  # a late finding lies behind: it takes nothing back
                known = self._known
                known.update({log: max(end, known.get(log, 0)) for log, end in changes.took.items()})
            self._rows = stretch[-1].seq + 1
        return self._rows

    def _stretch(self) -> list[Entry]:
        """What to project next, from where the rows stand: a batch; empty at the head."""
        return batch_from(self._vault.store, self._order, self._rows) or []

    def run_to(self, rows: int) -> None:
        """Project whole batches until the position is at or past ``rows``, or the log's head."""
        while (position := self._catalog.position()).rows < rows:
            if self._next(position) == position.rows:
                return

    def _changes(self, batch: list[Entry], acts: int) -> Changes:
        captures: list[CaptureRow] = []
        sources: list[Source] = []
        withdrawn: list[Withdrawn] = []
        restored: dict[str, tuple[str, str, int]] = {}
        took: dict[str, int] = {}
        unread: list[tuple[str, int]] = []
        evidence: list[EvidenceRow] = []
        for entry in batch:
            if entry.type == "finding":
                of, seq = self._of(entry)
                # its range may stand in a later batch, or be lost with a crash; a late finding lies behind
                took[str(of)] = max(took.get(str(of), 0), seq + 1)
                captures.extend(self._rows_of(entry, of, seq))
            elif entry.type == "took":
                log, start, end = self._range(entry)
                if entry.fields.get("unread") is True:
                    unread.append((str(log), start))
                if log == self._acts.log:
                    for act, seq in self._acts_between(start, end):
                        sources.extend(_sources(act))
                        for barred in _withdrawn(act, seq, entry.seq):
                            withdrawn.append(barred)
                            restored.pop(barred.capture, None)
                        restored.update((each[0], each) for each in _restored(act))
                    acts = end
                else:
                    took[str(log)] = self._believed(log, entry, end, took)
            elif entry.type == EVIDENCE:
                evidence.extend(self._evidence_of(entry))
            elif entry.type != "claim":
                raise Tampered(f"the order log holds an entry of type {entry.type}")
        found = {(row.log, row.seq) for row in captures}
        unread = [place for place in unread if place not in found]
        return Changes(
            captures,
            sources,
            batch[-1].seq + 1,
            acts,
            took,
            unread,
            withdrawn,
            list(restored.values()),
            evidence,
        )

    def _believed(self, log: LogId, entry: Entry, end: int, took: Mapping[str, int]) -> int:
        """Where a taken range really ends: a follower passes over no capture but one that it marks as unread. Whoever
        else may write to the store could say so, to have mail passed over that came since, or is still to come."""
        if self._known is None:
            self._known = self._catalog.took()
        proven = max(took.get(str(log), 0), self._known.get(str(log), 0))
        if entry.fields.get("unread") is True:
            return max(proven, min(end, self._range(entry)[1] + 1))
        if end <= proven:
            return proven
        for passed in read_from(self._vault.store, log, proven):
            if passed.seq >= end:
                return end
            if passed.type == "capture":
                break
            proven = passed.seq + 1
        if proven < end:
            _log.error("order entry %d passes over captures of %s; that is not believed", entry.seq, log)
        return proven

    @staticmethod
    def _range(entry: Entry) -> tuple[LogId, int, int]:
        try:
            of: dict[str, Any] = entry.fields["of"]
            return LogId.parse(str(of["log"])), int(of["from"]), int(of["to"])
        except (KeyError, TypeError, ValueError, Invalid) as error:
            raise Tampered("an order entry that does not say what it took") from error

    def _acts_between(self, start: int, end: int) -> Iterator[tuple[dict[str, Any], int]]:
        for entry in read_from(self._vault.store, self._acts.log, start):
            if entry.seq >= end:
                return
            if entry.type == "act":
                yield self._acts.open(entry), entry.seq

    @staticmethod
    def _of(entry: Entry) -> tuple[LogId, int]:
        try:
            return LogId.parse(str(entry.fields["of"]["log"])), int(entry.fields["of"]["seq"])
        except (KeyError, TypeError, ValueError, Invalid) as error:
            raise Tampered("a finding that does not say of what") from error

    def _rows_of(self, entry: Entry, log: LogId, seq: int) -> list[CaptureRow]:
        """A finding as a row; none once its key is destroyed, none of what is damaged: ``verify`` names it."""
        try:
            return [self._row(entry, log, seq)]
        except KeyUnavailable:
            return []
        except (Tampered, Invalid) as error:
            _log.error("order entry %d gives no row: %s", entry.seq, error.code)
            self.unreadable += 1
            return []

    def _evidence_of(self, entry: Entry) -> list[EvidenceRow]:
        """As ``_rows_of``, of evidence."""
        try:
            found, _ = open_evidence(self._vault, self._order, entry)
            return [EvidenceRow(entry.seq, found.summary())]
        except KeyUnavailable:
            return []
        except (Tampered, Invalid) as error:
            _log.error("order entry %d gives no evidence: %s", entry.seq, error.code)
            self.unreadable += 1
            return []

    def _row(self, entry: Entry, log: LogId, seq: int) -> CaptureRow:
        capture = self._capture_entry(log, seq)
        name = str(capture.fields.get("capture"))
        key = self._vault.keyring.object_key(log, name)
        opened = self._vault.open_finding(self._order, entry.fields.get("payload"), name, key)
        try:
            return CaptureRow(
                id=name,
                log=str(log),
                seq=seq,
                order_seq=entry.seq,
                object_key=str(capture.fields["object"]["key"]),
                lock_until=str(capture.fields["lock_until"]),
                finding=Finding.model_validate(opened["finding"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise Tampered("a finding or its capture does not follow its format") from error

    def _capture_entry(self, log: LogId, seq: int) -> Entry:
        """Captures are taken in their log's order, so a cursor a log is enough."""
        cursor = self._cursors.get(log)
        if cursor is None:
            cursor = self._cursors[log] = read_from(self._vault.store, log, seq)
        for entry in cursor:
            if entry.seq == seq:
                return entry
            if entry.seq > seq:
                break
        self._cursors[log] = read_from(self._vault.store, log, seq)
        found = next(self._cursors[log], None)
        if found is None or found.seq != seq:
            raise Tampered(f"the order log names entry {seq} of {log.name}, which has gone")
        return found


def _sources(act: dict[str, Any]) -> Iterator[Source]:
    if act.get("act") == "source.add":
        try:
            yield Source.model_validate(act["source"])
        except (KeyError, ValueError) as error:
            raise Tampered("an act that does not follow its format") from error


def _withdrawn(act: dict[str, Any], seq: int, order_seq: int) -> Iterator[Withdrawn]:
    """The captures that an act bars: their rows go when the order takes the act, wherever the projection runs."""
    if act.get("act") in ("erasure.ask", "capture.withdraw"):
        for asked in asked_of(act, seq):
            yield Withdrawn(asked.capture, str(asked.log), asked.seq, order_seq)


def _restored(act: dict[str, Any]) -> Iterator[tuple[str, str, int]]:
    """The captures that an act frees again: they are read once more, and get rows of their new findings."""
    if act.get("act") == "order.end":
        for freed in freed_of(act):
            yield freed.capture, str(freed.log), freed.seq


class Projector(RowsOnly):
    """One tenant's projections. Not thread-safe; one process projects."""

    def __init__(
        self,
        vault: PayloadVault,
        acts: Acts,
        order: LogId,
        catalog: Catalog,
        index: SearchIndex,
        interpreter: Interpreter,
    ) -> None:
        super().__init__(vault, acts, order, catalog)
        self._index = index
        self._interpreter = interpreter
        self._beside: ThreadPoolExecutor | None = None
        self._writing: Future[None] | None = None
        self._written = 0
        self._read: dict[str, Text] = {}

    def step(self, texts: Mapping[str, Text] | None = None) -> int:
        """Project the next batch of the order log; how many entries it took, 0 at the head. Rows are durable with
        their position; documents follow and are made good after a crash."""
        self.settle()
        position = self._catalog.position()
        self._index_up_to(position.indexed, position.rows, texts or {})
        reached = self._next(position)
        self._index_up_to(position.rows, reached, texts or {})
        return reached - position.rows

    def begin(self, texts: Mapping[str, Text]) -> int:
        """As ``step``, but the documents are written beside what the caller does next: an index that is a server works
        meanwhile. While they are being written, some more rows gather for the next ones: each writing has a price of
        its own. ``finish`` writes what is left; what failed is raised by a later call, and made good by the one after.
        ``texts``: of captures that were just read, by id."""
        position = self._catalog.position()
        reached = self._next(position)
        self._read.update(texts)
        if not self._busy(reached):
            self.settle()
            self._write_beside(reached)
        return reached - position.rows

    def _busy(self, reached: int) -> bool:
        """Whether the documents of these rows may wait."""
        return self.writing and reached - self._written < _GATHERED

    def _write_beside(self, reached: int) -> None:
        indexed = self._catalog.position().indexed  # a failure that was none may have left more behind
        if reached > indexed:
            texts, self._read, self._written = self._read, {}, min(reached, indexed + _GATHERED)
            self._beside = self._beside or ThreadPoolExecutor(1, thread_name_prefix="documents")
            self._writing = self._beside.submit(self._index_up_to, indexed, self._written, texts)

    @property
    def writing(self) -> bool:
        """Whether documents are being written beside."""
        return self._writing is not None and not self._writing.done()

    def settle(self) -> None:
        """Return when no document is being written any more. Raises what the writing raised."""
        writing, self._writing = self._writing, None
        if writing is None:
            return
        try:
            writing.result()
        except BaseException:
            self._read = {}  # an index that stays away must not fill our memory: they can be read again
            raise

    def finish(self) -> int:
        """Have the documents of the rows that have none written; 0 when every row has its document, else after a second
        at most: an index that is away must not hold up the order. Raises what the writing raised."""
        if self._writing is None:
            position = self._catalog.position()
            if position.indexed >= position.rows:
                return 0
            self._write_beside(position.rows)
        if self._writing is None or wait([self._writing], timeout=_PATIENCE).done:
            self.settle()
        return 1

    def run(self, progress: Callable[[int], None] | None = None) -> int:
        """Project to the head; how many entries it took."""
        total = 0
        while taken := self.step():
            total += taken
            if progress is not None:
                progress(taken)
        return total

    def _index_up_to(self, since: int, below: int, texts: Mapping[str, Text]) -> None:
        if since >= below:
            return
        documents = []
        # What lost a capture goes first: its document may be of a higher version than what is left of it.
        lost = self._catalog.withdrawn(since, below)
        if lost:
            self._index.remove(lost)
        for message in chain(self._catalog.messages(lost), self._catalog.changed(since, below)):
            documents.append(to_document(message, self._text(message, texts)))
            if len(documents) >= _INDEX_BATCH:
                self._index.write(documents)
                documents = []
        if documents:
            self._index.write(documents)
        self._catalog.indexed(below)

    def _text(self, message: MessageRow, texts: Mapping[str, Text]) -> Text:
        """The text of a message's first capture, read again unless it was just read."""
        first = message.captures[0]
        known = texts.get(first.id)
        if known is not None:
            return known
        store, keyring = self._vault.store, self._vault.keyring
        try:
            fields = entry_of(store, first).fields
            opened = open_capture(store, keyring, LogId.parse(first.log), fields)
        except (Tampered, KeyUnavailable, Invalid, NotFound) as error:
            return Text(not_fully_indexed=f"unreadable: {error.code}")
        return self._interpreter.extract(opened.raw, first.finding.parsed)
