"""The SMTP and milter endpoints' way into the archive: sources from the acts logs, captures to the tenants' writers.

A mail up to ``spool`` bytes waits in memory and shares a group with others; a larger one streams to the store as it
comes, in flat memory. Nothing here parses it.
"""

import asyncio
import base64
import queue
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

from archive_service.ledger.acts import Acts
from archive_service.ledger.capture_writer import Captured, CaptureDraft, CaptureWriter
from archive_service.model.clock import Clock, rfc3339
from archive_service.model.errors import ArchiveError, Overloaded, StoreError
from archive_service.model.mail import CaptureRecord, Source
from archive_service.vault.stores.base import Lock, LockMode
from ingest.guard import in_networks, lack
from ingest.intake import Draft, Login, Receipt, Sender, Sink, SourceMatch, TurnedAway
from ingest.passwords import PasswordChecks
from ingest.subaddress import split_subaddress

SPOOL = 1024 * 1024
_NOBODY = Sender()
_QUEUED_CHUNKS = 8
_CHUNK = 256 * 1024


class _Cut(StoreError):
    """The sender went away while its mail streamed."""

    code = "smtp.aborted"


@dataclass(frozen=True)
class TenantIntake:
    """One tenant's acts and writer in this process."""

    id: str
    acts: Acts
    writer: Callable[[], CaptureWriter]  # made, and its slot claimed, with the first mail


def capture_draft(draft: Draft, clock: Clock) -> CaptureDraft:
    """The envelope as the capture record and intake lock that its source alone decides (design point 7)."""
    now = clock()
    record = CaptureRecord(
        capture="",
        source=draft.source.id,
        received_at=rfc3339(now),
        mail_from=draft.mail_from,
        rcpt_to=draft.rcpt_to,
        peer=draft.peer,
        helo=draft.helo,
        tls=draft.tls,
        mail_parameters=draft.mail_parameters,
        milter=draft.milter,
    )
    lock = Lock(LockMode(draft.source.lock_mode), now + timedelta(days=draft.source.intake_days))
    return CaptureDraft(record, lock, draft.acts_seen)


def _password_of(known: tuple[str, Source] | None, sender: Sender) -> str | None:
    """The hash that fits a sender from this network, if any does."""
    if known is None or not in_networks(known[1].guard.networks, sender.peer):
        return None
    return known[1].guard.password


class ArchiveIntake:
    """See ``intake.Intake``. ``tenants()`` looks for tenants again: one may be new."""

    def __init__(
        self,
        tenants: Callable[[], list[TenantIntake]],
        clock: Clock,
        *,
        streams: int = 32,
        spool: int = SPOOL,
    ) -> None:
        self._find_tenants = tenants
        self._tenants: dict[str, TenantIntake] = {}
        self._writers: dict[str, CaptureWriter] = {}
        self._clock = clock
        self._spool = spool
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="acts")
        self._streams = ThreadPoolExecutor(streams, thread_name_prefix="stream")
        self._passwords = PasswordChecks()

    async def match(self, address: str, sender: Sender = _NOBODY) -> SourceMatch | TurnedAway | None:
        """See Intake; the address may name a recipient beside the source's own (``subaddress``). Known addresses from
        memory, others only after reading every acts log to its head. Raises
        Refused when the archive has moved: the sender hears 451."""
        found = self._known(address, sender)
        if isinstance(found, SourceMatch):
            return found
        await self._to_the_head()
        return self._known(address, sender)

    async def authenticate(self, user: str, password: str, sender: Sender) -> Login | None:
        """See Intake."""
        known = self._source(user)
        guessed = _password_of(known, sender)
        fits = await self._passwords.fits(guessed, password, sender.peer)
        if not fits:
            await self._to_the_head()
            known = self._source(user)
            newest = _password_of(known, sender)
            fits = newest != guessed and await self._passwords.fits(newest, password, sender.peer)
        return Login(known[0], user, fits) if known is not None else None

    def anchors(self, peer: str | None) -> tuple[bytes, ...]:
        """See Intake."""
        guards = (source.guard for tenant in self._tenants.values() for source in tenant.acts.sources())
        wanted = [guard for guard in guards if guard.certificates and in_networks(guard.networks, peer)]
        return tuple(base64.b64decode(each) for guard in wanted for each in guard.certificates)

    def _source(self, source_id: str) -> tuple[str, Source] | None:
        for tenant in self._tenants.values():
            source = tenant.acts.source(source_id)
            if source is not None:
                tenant.acts.require_here()
                return tenant.id, source
        return None

    async def _to_the_head(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._readers, self.refresh)

    def refresh(self) -> None:
        """Read the acts of every tenant to their heads. Raises ArchiveError."""
        for tenant in self._find_tenants():
            known = self._tenants.setdefault(tenant.id, tenant)
            known.acts.refresh()

    def _known(self, address: str, sender: Sender) -> SourceMatch | TurnedAway | None:
        own, _ = split_subaddress(address)
        for tenant in self._tenants.values():
            source = tenant.acts.source_at(own)
            if source is not None:
                tenant.acts.require_here()
                lacking = lack(source, sender)
                if lacking is not None:
                    return TurnedAway(tenant.id, source, lacking)
                return SourceMatch(tenant.id, source, tenant.acts.seen)
        return None

    async def begin(self, draft: Draft) -> Sink:
        """See Intake."""
        tenant = self._tenants.get(draft.tenant)
        if tenant is None:
            raise Overloaded("no such tenant in this process")
        writer = self._writers.get(draft.tenant)
        if writer is None:
            loop = asyncio.get_running_loop()
            writer = self._writers[draft.tenant] = await loop.run_in_executor(self._readers, tenant.writer)
        return _Spool(capture_draft(draft, self._clock), writer, self._streams, self._spool)

    def close(self) -> None:
        """Let running streams end."""
        self._passwords.close()
        self._streams.shutdown()
        self._readers.shutdown()


class _Spool:
    """A sink that turns into a stream when the mail outgrows the spool."""

    def __init__(
        self, draft: CaptureDraft, writer: CaptureWriter, pool: ThreadPoolExecutor, spool: int
    ) -> None:
        self._draft = draft
        self._writer = writer
        self._pool = pool
        self._limit = spool
        self._pieces: list[bytes] = []
        self._size = 0
        self._stream: _Stream | None = None

    async def write(self, chunk: bytes) -> None:
        """See Sink."""
        self._size += len(chunk)
        if self._stream is None:
            self._pieces.append(chunk)
            if self._size <= self._limit:
                return
            self._stream = _Stream(self._draft, self._writer, self._pool)
            chunk, self._pieces = b"".join(self._pieces), []
        for start in range(0, len(chunk), _CHUNK):
            await self._stream.put(chunk[start : start + _CHUNK])

    async def commit(self) -> Receipt:
        """See Sink."""
        if self._stream is not None:
            captured = await self._stream.finish()
        else:
            captured = await self._writer.submit_from_loop(self._draft, b"".join(self._pieces))
            self._pieces = []
        return Receipt(str(captured.log), captured.seq, captured.capture)

    async def abort(self) -> None:
        """See Sink."""
        self._pieces = []
        if self._stream is not None:
            await self._stream.cut()


class _Stream:
    """Hands chunks from the event loop to a writing thread through a short queue."""

    def __init__(self, draft: CaptureDraft, writer: CaptureWriter, pool: ThreadPoolExecutor) -> None:
        self._chunks: queue.Queue[bytes | None] = queue.Queue(_QUEUED_CHUNKS)
        self._aborted = False
        self._result: Future[Captured] = pool.submit(writer.write_stream, draft, self._iterate())

    def _iterate(self) -> Iterator[bytes]:
        while (chunk := self._chunks.get()) is not None:
            yield chunk
        if self._aborted:
            raise _Cut("the sender went away")

    async def put(self, chunk: bytes | None) -> None:
        """Wait for room, unless the writing thread has already failed."""
        while True:
            if self._result.done():
                self._result.result()
                raise StoreError("the stream ended before the mail")
            try:
                self._chunks.put_nowait(chunk)
            except queue.Full:
                await asyncio.sleep(0.005)
                continue
            return

    async def finish(self) -> Captured:
        """All chunks are there; wait until the capture is durable."""
        await self.put(None)
        return await asyncio.wrap_future(self._result)

    async def cut(self) -> None:
        """End the writing thread without an entry."""
        self._aborted = True
        try:
            await self.put(None)
            await asyncio.wrap_future(self._result)
        except ArchiveError:
            return
