"""Rebuild: the projections of a tenant made again from ledger, objects, key places and key service alone, beside those
that stand; and the drill, which only compares.

The order log is replayed in its order. What takes long (reading and opening captures and findings, extracting text)
is done ahead of it by several threads, and the parsing in as many processes. Every stretch is committed with its
position, so a rebuild that was killed goes on from there.
"""

import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archive_service.bootstrap import Core, Tenant
from archive_service.catalog.base import CaptureRow, Catalog, Changes, EvidenceRow, MessageRow
from archive_service.catalog.compare import compare_catalogs
from archive_service.engines.projection_engines import Pair
from archive_service.engines.projections import NEXT
from archive_service.following import parser_pool
from archive_service.ledger.acts import Acts
from archive_service.ledger.entry import Entry
from archive_service.ledger.payloads import PayloadVault
from archive_service.ledger.reader import batch_from
from archive_service.ledger.verify.report import Report, What
from archive_service.model.errors import Invalid, Refused, StoreError, Tampered
from archive_service.model.mail import Text
from archive_service.places.leases import Leases
from archive_service.vault.key_layout import LogId
from search.indexes.base import KeptIndex, SearchIndex
from search.orderer import Interpreter
from search.projector import Projector

_STRETCH = 2_000  # order entries whose rows are committed together
_WINDOW = 200  # order entries whose documents are committed together
_MOST_INDEXING = 4  # threads of the index writer
_DAMAGED = "damaged.json"
DRILL = "drill"
_BUILDER = "builder"

Progress = Callable[[int], None]
"""Told how many order entries are done."""


@dataclass(frozen=True)
class Rebuilt:
    """``entries`` of the order log are projected. ``unreadable``: findings among them that give no row although no act
    has barred them. ``resumed``: where an interrupted rebuild was taken up."""

    entries: int
    unreadable: int
    resumed: int = 0


class Damaged:
    """The findings that give no row, kept beside the half-built projections so that a resumed rebuild counts them."""

    def __init__(self, path: Path) -> None:
        """Raises StoreError when what an interrupted rebuild left cannot be read."""
        self._path = path
        self.seqs: set[int] = set()
        try:
            self.seqs.update(int(seq) for seq in json.loads(path.read_text("utf-8")))
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError) as error:
            raise StoreError(
                "an interrupted rebuild cannot be read; use --afresh", code="rebuild.state"
            ) from error

    def save(self) -> None:
        """Written before the rows beside which they are missing."""
        unfinished = self._path.with_suffix(".new")
        unfinished.write_text(json.dumps(sorted(self.seqs)), "utf-8")
        unfinished.replace(self._path)


class Replay(Projector):
    """A projector that works ahead with several threads, in long stretches. Not thread-safe itself."""

    def __init__(
        self,
        vault: PayloadVault,
        acts: Acts,
        order: LogId,
        catalog: Catalog,
        index: SearchIndex,
        interpreter: Interpreter,
        *,
        workers: ThreadPoolExecutor,
        damaged: Damaged,
        progress: Progress,
    ) -> None:
        super().__init__(vault, acts, order, catalog, index, interpreter)
        self._workers = workers
        self._damaged = damaged
        self._progress = progress
        self._until: int | None = None
        self._captures: dict[tuple[LogId, int], Entry] = {}
        self._ahead: dict[int, Future[CaptureRow]] = {}

    def run_to(self, rows: int) -> None:
        """As in RowsOnly, and no further: rows without documents."""
        self._until = rows
        super().run_to(rows)

    def index_all(self) -> None:
        """Documents for every row there is."""
        position = self._catalog.position()
        self._index_up_to(position.indexed, position.rows, {})

    # --- rows -----------------------------------------------------------------------------------------

    def _stretch(self) -> list[Entry]:
        """Whole batches from where the rows stand."""
        found: list[Entry] = []
        seq = self._rows
        while len(found) < _STRETCH and (self._until is None or seq < self._until):
            batch = batch_from(self._vault.store, self._order, seq)
            if batch is None:
                break
            found += batch
            seq = batch[-1].seq + 1
        return found

    def _changes(self, batch: list[Entry], acts: int) -> Changes:
        self._read_ahead(batch)
        known = len(self._damaged.seqs)
        changes = super()._changes(batch, acts)
        if len(self._damaged.seqs) > known:
            self._damaged.save()
        return changes

    def _read_ahead(self, batch: list[Entry]) -> None:
        """Have the batch's findings opened. The entries of their captures are read here, in order."""
        self._captures.clear()
        self._ahead.clear()
        for entry in batch:
            if entry.type != "finding":
                continue
            of, seq = self._of(entry)
            try:
                self._captures[of, seq] = super()._capture_entry(of, seq)
            except (Tampered, Invalid):
                continue  # it is looked at once more, and counted, in its turn
            self._ahead[entry.seq] = self._workers.submit(super()._row, entry, of, seq)

    def _capture_entry(self, log: LogId, seq: int) -> Entry:
        return self._captures.get((log, seq)) or super()._capture_entry(log, seq)

    def _row(self, entry: Entry, log: LogId, seq: int) -> CaptureRow:
        ahead = self._ahead.pop(entry.seq, None)
        return ahead.result() if ahead is not None else super()._row(entry, log, seq)

    def _rows_of(self, entry: Entry, log: LogId, seq: int) -> list[CaptureRow]:
        """A key that is gone although nobody asked for it is damage too: it must not pass for an erasure."""
        rows = super()._rows_of(entry, log, seq)
        if not rows and not self._acts.erasures.barred(str(entry.fields.get("capture"))):
            self._damaged.seqs.add(entry.seq)
        return rows

    def _evidence_of(self, entry: Entry) -> list[EvidenceRow]:
        """As ``_rows_of``."""
        rows = super()._evidence_of(entry)
        if not rows and not self._acts.erasures.barred(str(entry.fields.get("capture"))):
            self._damaged.seqs.add(entry.seq)
        return rows

    # --- documents ------------------------------------------------------------------------------------

    def _index_up_to(self, since: int, below: int, texts: Mapping[str, Text]) -> None:
        """Window by window, the texts of the next one being read while this one is committed."""
        windows = [(start, min(start + _WINDOW, below)) for start in range(since, below, _WINDOW)]
        ahead = deque([self._texts(*windows[0])] if windows else [])
        for number, (start, end) in enumerate(windows):
            if number + 1 < len(windows):
                ahead.append(self._texts(*windows[number + 1]))
            found = {capture: text.result() for capture, text in ahead.popleft().items()}
            super()._index_up_to(start, end, found)
            self._progress(end)

    def _texts(self, since: int, below: int) -> "dict[str, Future[Text]]":
        """By capture, the texts that the documents of a window need."""

        def read(message: MessageRow) -> "Future[Text]":
            return self._workers.submit(super(Replay, self)._text, message, {})

        return {message.captures[0].id: read(message) for message in self._catalog.changed(since, below)}


@dataclass
class _Building:
    """A pair being built, and what fills it."""

    pair: Pair
    damaged: Damaged
    replay: Replay


@contextmanager
def _opened(core: Core, tenant: Tenant, name: str, jobs: int, progress: Progress) -> Iterator[_Building]:
    """The pair of this name, made if there is none. Raises KeyUnavailable when the acts open no more: a key store that
    is away as a whole must not pass for an archive in which all is erased."""
    tenant.acts.refresh()
    pair = core.engines.build(tenant.id, name, min(jobs, _MOST_INDEXING))
    try:
        damaged = Damaged(pair.notes / _DAMAGED)
        _make_sure(pair)
        threads = ThreadPoolExecutor(jobs + 1, thread_name_prefix="rebuild")
        with parser_pool(core.settings, jobs) as pool, threads as workers:
            replay = Replay(
                tenant.vault,
                tenant.acts,
                LogId(tenant.id, "order-1"),
                pair.catalog,
                pair.index,
                pool,
                workers=workers,
                damaged=damaged,
                progress=progress,
            )
            yield _Building(pair, damaged, replay)
    finally:
        pair.close()


def _make_sure(pair: Pair) -> None:
    """An index that is not there, or cannot be read, is filled from its beginning."""
    try:
        pair.index.ids()
    except StoreError as error:
        if error.code != "index.unreadable":
            raise
        pair.index.clear()
        pair.catalog.indexed(0)


def _builders(core: Core) -> Leases:
    """Where a builder's lease is held: among all machines where they would meet in the same engines."""
    return core.leases if core.engines.shared else core.here


def _alone(core: Core) -> None:
    """Be the one who builds, until this process ends: an index that is built is one that others sweep away. Raises
    Refused."""
    if not _builders(core).take(_BUILDER):
        raise Refused("another rebuild or drill is under way", code="rebuild.busy")


def forget_unfinished(core: Core, owner: str) -> bool:
    """Drop what interrupted rebuilds and drills left, which holds mail in clear; False while one is under way. Raises
    StoreError."""
    leases = _builders(core)
    if not leases.take(_BUILDER):
        return False
    try:
        for name in (NEXT, DRILL):
            core.engines.drop(owner, name)
    finally:
        leases.release(_BUILDER)
    return True


def _order_was_ours(core: Core, tenant: Tenant) -> bool:
    """Whether no follower can have been active since this was asked last; taken again where one can. A server of
    leases that was away, or has not heard of us for too long, has let ours go. Raises Refused while one is active."""
    if not core.engines.shared:
        return True
    name = str(LogId(tenant.id, "order-1"))
    if core.order_leases.take(name):
        return True
    if not core.order_leases.take(name):
        raise Refused("a follower became active meanwhile: stop it first", code="rebuild.busy")
    return False


def rebuild(
    core: Core, tenant: Tenant, *, jobs: int, afresh: bool = False, progress: Progress = lambda done: None
) -> Rebuilt:
    """Make a tenant's catalog and index again beside those that stand, and put them in their place; durable on return.

    An interrupted run is taken up unless ``afresh``. No follower may be at work. Raises Refused (``rebuild.busy``)
    beside another rebuild or a drill, ArchiveError: then what stood still stands, and the next run goes on.
    """
    _alone(core)
    if afresh:
        core.engines.drop(tenant.id, NEXT)
    try:
        done = _build(core, tenant, jobs, progress)
    except StoreError as error:
        if error.code not in {"catalog.outdated", "catalog.unreadable"}:
            raise
        core.engines.drop(tenant.id, NEXT)  # what an interrupted run left is of no use
        done = _build(core, tenant, jobs, progress)
    if not _order_was_ours(core, tenant):
        raise Refused("the lease of the order was lost at the end; run it again", code="rebuild.busy")
    core.engines.adopt(tenant.id, NEXT)
    return done


def _build(core: Core, tenant: Tenant, jobs: int, progress: Progress) -> Rebuilt:
    with _opened(core, tenant, NEXT, jobs, progress) as building:
        catalog, index = building.pair.catalog, building.pair.index
        resumed = catalog.position().rows
        building.replay.run()
        while not _order_was_ours(core, tenant):
            building.replay.run()  # whoever had it meanwhile may have gone on
        if building.pair.held() != catalog.counts()["messages"]:
            index.clear()  # the index of an interrupted run lost documents that its catalog counts
            catalog.indexed(0)
            building.replay.index_all()
        if building.pair.held() != catalog.counts()["messages"]:
            raise StoreError("the rebuilt index does not hold every message", code="rebuild.mismatch")
        done = Rebuilt(catalog.position().rows, len(building.damaged.seqs), resumed)
        (building.pair.notes / _DAMAGED).unlink(missing_ok=True)
        return done


def drill(
    core: Core, tenant: Tenant, report: Report, *, jobs: int, progress: Progress = lambda done: None
) -> Rebuilt:
    """Build beside the live projections, as far as they were at the beginning, compare rows and documents, and delete
    what was built. Works beside a running service. What differs goes to ``report``. Raises Refused
    (``rebuild.busy``) beside another drill or a rebuild, ArchiveError."""
    if not core.engines.stands(tenant.id):
        report.damage(What.ROW, "there is no catalog to compare with", log=str(tenant.acts.log))
        return Rebuilt(0, 0)
    _alone(core)
    core.engines.drop(tenant.id, DRILL)  # of one that was killed
    standing = core.engines.live(tenant.id)
    try:
        with _opened(core, tenant, DRILL, jobs, progress) as building:
            return _compare(building, standing, report)
    finally:
        standing.close()
        core.engines.drop(tenant.id, DRILL)


def _compare(building: _Building, standing: Pair, report: Report) -> Rebuilt:
    again = building.pair
    compare_catalogs(standing.catalog, again.catalog, building.replay.run_to, standing.index.ids, report)
    building.replay.index_all()
    compare_documents(standing.index, again.index, report)
    return Rebuilt(again.catalog.position().rows, len(building.damaged.seqs))


def compare_documents(live: KeptIndex, again: KeptIndex, report: Report) -> None:
    """Name every document that stands in both indexes in the same version, and holds something else; and, where both
    hold the same documents, every field whose searchable words differ."""
    try:
        found, made = live.documents(), again.documents()
        words = live.words() if found.keys() == made.keys() else None
    except StoreError as error:
        report.damage(What.INDEX, str(error))
        return
    for (message, version), digest in sorted(made.items()):
        if found.get((message, version), digest) != digest:
            detail = "the index holds another document than the logs give"
            report.damage(What.INDEX, detail, name=message)
    for name, digest in again.words().items() if words is not None else ():
        if words is not None and words[name] != digest:
            report.damage(
                What.INDEX, "the index finds by other words than the logs give", name=f"field {name}"
            )


def cores() -> int:
    """How many jobs there are when nobody says: the cores that this process may use."""
    return len(os.sched_getaffinity(0))


def plain(rebuilt: Mapping[str, Rebuilt]) -> dict[str, Any]:
    """The result as JSON-ready values, by tenant's name; ``resumed`` only where it was."""
    resumed = {name: one.resumed for name, one in rebuilt.items() if one.resumed}
    return {
        "projected": {name: one.entries for name, one in rebuilt.items()},
        "unreadable": {name: one.unreadable for name, one in rebuilt.items() if one.unreadable},
        **({"resumed": resumed} if resumed else {}),
    }
