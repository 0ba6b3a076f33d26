"""Importing: every item of a mailbox becomes a capture of an import source, once, through the same write path as mail
that comes by SMTP.

    hold      the source's lease: one import of a source at a time
    recover   what an import that was killed has sealed and not chained
    catch up  catalog to the logs' heads, journal to the catalog: now all that is there is known
    take      item after item: known by name and bytes, or written; the journal has it once it is durable
    catch up  again, so that what was taken is found

An item is there already when a capture of the same source has the same origin name and the same bytes. So an import
that ended anywhere, ``kill -9`` included, goes on where it was, and one that is repeated takes what is new.
"""

from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from archive_service.bootstrap import Core, Tenant, add_source
from archive_service.catching_up import catch_up
from archive_service.imports.importing_journal import Journal, open_journal
from archive_service.imports.importing_journal import catch_up as catch_up_journal
from archive_service.imports.importing_orphans import orphans_of_source
from archive_service.ledger.capture_writer import Captured, CaptureDraft, CaptureWriter
from archive_service.model.clock import rfc3339
from archive_service.model.errors import ArchiveError, Invalid, Refused
from archive_service.model.mail import CaptureRecord, Source, SourceKind
from archive_service.source_watching import give_undeliverable
from archive_service.vault.stores.base import Lock, LockMode
from ingest.importers.base import Item, Mailbox, MailboxFailed, too_large
from ingest.parser_pool import ParserPool

_IN_FLIGHT = 64
_IN_FLIGHT_BYTES = 16 * 1024 * 1024  # two groups: a writer gives up on what waits longer than a minute
_LARGE = 1024 * 1024  # bytes from which a mail is written by itself, in the time that it takes
_PIECE = 256 * 1024
_REFUSED_IN_A_ROW = 200  # writes that failed one after the other: then it is the archive, not the mail


class Outcome(StrEnum):
    """What became of an item."""

    TAKEN = "taken"
    ALREADY = "already there"
    FAILED = "failed"


@dataclass(frozen=True)
class Told:
    """One item's outcome. ``capture``: where it is in the archive. ``code`` and ``reason``: why it failed."""

    item: str
    outcome: Outcome
    capture: str | None = None
    code: str | None = None
    reason: str | None = None

    def plain(self) -> dict[str, str]:
        """As JSON; what is not known is left out."""
        named = {"item": self.item, "outcome": str(self.outcome), "capture": self.capture}
        return {
            key: value
            for key, value in {**named, "code": self.code, "reason": self.reason}.items()
            if value is not None
        }


@dataclass
class Imported:
    """What an import did. ``taken``: captures, in order. ``failed``: how many by code."""

    taken: list[str] = field(default_factory=list)
    already: int = 0
    failed: Counter[str] = field(default_factory=Counter)

    @property
    def done(self) -> int:
        """Items that have an outcome."""
        return len(self.taken) + self.already + self.failed.total()


Tell = Callable[[Told, int], None]
"""Told every outcome, and how many there are by then."""


def find_source(tenant: Tenant, name: str, kind: SourceKind, domain: str) -> tuple[Source, bool]:
    """The tenant's import source of a name, made at its first import; and whether it was. Raises Refused when the
    archive has moved, Invalid when a source of this name is of another kind."""
    tenant.acts.refresh()
    tenant.acts.require_here()
    for source in tenant.acts.sources():
        if source.name == name:
            if source.kind is not kind:
                raise Invalid(f"the source of this name is of kind {source.kind}", code="import.kind")
            return source, False
    return add_source(tenant, name, kind, domain)[0], True


def find_undeliverable(tenant: Tenant, feed: Source, domain: str) -> tuple[Source, Source, bool]:
    """For a mailbox of what a feed could not deliver: the feed, with an address for such, and an import source beside
    it, so that the import stands in nobody's way; and whether that one is new. Raises as ``find_source``."""
    feed, _ = give_undeliverable(tenant, feed.id)
    source, new = find_source(tenant, f"{feed.name} (undeliverable)", feed.kind, domain)
    return feed, source, new


class Importer:
    """Imports into one source. ``pool`` parses what is followed. ``recipients``: under whose address, where that says
    something. Close it."""

    def __init__(
        self,
        core: Core,
        tenant: Tenant,
        source: Source,
        pool: ParserPool,
        *,
        new: bool,
        recipients: tuple[str, ...] = (),
    ) -> None:
        """Everything of the source that is in the archive is known on return. Raises Refused (``import.busy``) while
        another import of the source is under way; ArchiveError."""
        self._core = core
        self._tenant = tenant
        self._source = source
        self._recipients = recipients
        self._pool = pool
        self._lease = f"import-{source.id}"
        if not core.leases.take(self._lease):
            raise Refused("another import into this source is under way", code="import.busy")
        if not new:
            orphans_of_source(core, tenant, source.id).run()
        catch_up(core, tenant, pool)
        self._journal = open_journal(core, tenant, source.id)
        catch_up_journal(self._journal, core, tenant, source.id, new=new)

    def take(self, mailbox: Mailbox, tell: Tell) -> Imported:
        """Every item; durable and findable on return. What one item lacks stops no other. Raises MailboxFailed when the
        mailbox cannot be read on, StoreError when the archive takes nothing more: what was taken by then stays."""
        slots = self._core.slots(self._tenant.id, "capture")
        limits = self._core.writer_limits
        writer = CaptureWriter(self._core.store, self._tenant.keyring, slots, self._core.clock, limits)
        limit, barred = self._core.settings.smtp_max_size, self._tenant.acts.erasures.barred
        run = _Run(self._draft, writer, self._journal, limit, barred, tell)
        try:
            run.take(mailbox)
        finally:
            writer.close()
        catch_up(self._core, self._tenant, self._pool)
        return run.found

    def _draft(self, name: str) -> CaptureDraft:
        now = self._core.clock()
        record = CaptureRecord(
            capture="",
            source=self._source.id,
            received_at=rfc3339(now),
            mail_from="",
            rcpt_to=self._recipients,
            channel="import",
            origin=name,
        )
        lock = Lock(LockMode(self._source.lock_mode), now + timedelta(days=self._source.intake_days))
        return CaptureDraft(record, lock, self._tenant.acts.seen)

    def close(self) -> None:
        """Let journal and lease go."""
        self._journal.close()
        self._core.leases.release(self._lease)


@dataclass(frozen=True)
class _Waiting:
    item: Item
    key: bytes
    size: int
    future: "Future[Captured]"


class _Run:
    """One mailbox on its way: a bounded number of items, and of bytes, are being written."""

    def __init__(
        self,
        draft: Callable[[str], CaptureDraft],
        writer: CaptureWriter,
        journal: Journal,
        limit: int,
        barred: Callable[[str], bool],
        tell: Tell,
    ) -> None:
        self.found = Imported()
        self._draft = draft
        self._writer = writer
        self._journal = journal
        self._limit = limit
        self._barred = barred
        self._tell = tell
        self._mailbox_listens = True
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._refused = 0

    def take(self, mailbox: Mailbox) -> None:
        try:
            for item in mailbox.items():
                self._one(item)
            self._settle_down_to(0, 0)
        finally:  # whatever ended it: what was handed to the writer has an outcome, and the journal knows it
            self._mailbox_listens = False
            self._settle_down_to(0, 0)

    def _one(self, item: Item) -> None:
        known = self._journal.named(item.name) if item.settled_by_name else None
        if known is not None:
            self._already(item, known)
            return
        try:
            raw = item.read()
            if len(raw) > self._limit:
                raise too_large(self._limit)
        except MailboxFailed:
            raise
        except ArchiveError as error:
            self._failed(item, error)
            return
        self._take_bytes(item, raw)

    def _take_bytes(self, item: Item, raw: bytes) -> None:
        key = self._journal.item(item.name, raw)
        if any(waiting.key == key for waiting in self._waiting):
            self._settle_down_to(0, 0)
        known = self._journal.holding(key)
        if known is not None:
            self._already(item, known)
            self._archived(item, known)
            return
        self._settle_down_to(_IN_FLIGHT - 1, max(0, _IN_FLIGHT_BYTES - len(raw)))
        future = self._written(self._draft(item.name), raw)
        self._waiting.append(_Waiting(item, key, len(raw), future))
        self._bytes += len(raw)

    def _written(self, draft: CaptureDraft, raw: bytes) -> "Future[Captured]":
        if len(raw) <= _LARGE:
            return self._writer.submit(draft, raw)
        future: Future[Captured] = Future()
        pieces = (raw[start : start + _PIECE] for start in range(0, len(raw), _PIECE))
        try:
            future.set_result(self._writer.write_stream(draft, pieces))
        except ArchiveError as error:
            future.set_exception(error)
        return future

    def _settle_down_to(self, count: int, size: int) -> None:
        while self._waiting and (len(self._waiting) > count or self._bytes > size):
            waiting = self._waiting.popleft()
            self._bytes -= waiting.size
            self._settle(waiting)

    def _settle(self, waiting: _Waiting) -> None:
        try:
            captured = waiting.future.result()
        except ArchiveError as error:
            self._failed(waiting.item, error)
            self._refused += 1
            if self._refused >= _REFUSED_IN_A_ROW:
                raise
            return
        self._refused = 0
        self._journal.add(waiting.item.name, waiting.key, captured.capture)
        self.found.taken.append(captured.capture)
        self._told(Told(waiting.item.name, Outcome.TAKEN, captured.capture))
        self._archived(waiting.item, captured.capture)

    def _archived(self, item: Item, capture: str) -> None:
        """The mailbox hears what is durable; not what has been erased since it was archived."""
        if item.archived is not None and self._mailbox_listens and not self._barred(capture):
            item.archived()

    def _already(self, item: Item, capture: str) -> None:
        self.found.already += 1
        self._told(Told(item.name, Outcome.ALREADY, capture))

    def _failed(self, item: Item, error: ArchiveError) -> None:
        self.found.failed[error.code] += 1
        self._told(Told(item.name, Outcome.FAILED, code=error.code, reason=str(error)))

    def _told(self, told: Told) -> None:
        self._tell(told, self.found.done)
