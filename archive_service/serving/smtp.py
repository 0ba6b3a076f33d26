"""The smtp role: one process of the endpoints (SMTP, milter), with its own capture log slot in every tenant it gets
mail for."""

import asyncio
import logging
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import uvloop
from cryptography import x509

from archive_service.alarms import names
from archive_service.alarms.tally import Sample, Tally
from archive_service.bootstrap import Core, open_core
from archive_service.ledger.appender import Appender
from archive_service.ledger.capture_writer import CaptureWriter
from archive_service.ledger.slots import Slots
from archive_service.model.errors import ArchiveError, Invalid
from archive_service.serving import child
from archive_service.serving.refusals import RefusalRecords, record
from archive_service.settings import Settings, host_port, networks
from ingest.archive_intake import ArchiveIntake, TenantIntake
from ingest.milter import replies as milter_replies
from ingest.milter.server import MilterServer
from ingest.smtp import replies
from ingest.smtp.limits import SmtpSettings
from ingest.smtp.server import SmtpServer

_log = logging.getLogger(__name__)
_REFRESH = 1.0  # seconds between looks at the acts, so that a source's end is soon known


class CountedSlots(Slots):
    """Slots of this process; one that another writer took is counted."""

    def __init__(self, core: Core, owner: str, tally: Tally) -> None:
        super().__init__(core.store, owner, "capture", core.clock, core.leases.take, core.policy)
        self._tally = tally

    def lose(self, appender: Appender) -> None:
        """See Slots."""
        self._tally.add(names.SLOT_TAKEOVERS, slot="capture")
        super().lose(appender)


class Writers:
    """The capture writers of this process, one a tenant, made on demand. Thread-safe."""

    def __init__(self, core: Core, tally: Tally | None = None) -> None:
        self._core = core
        self._tally = tally or Tally()
        self._tally.add(names.SLOT_TAKEOVERS, 0, slot="capture")
        self._made: dict[str, CaptureWriter] = {}
        self._lock = threading.Lock()

    def intakes(self) -> list[TenantIntake]:
        """Every tenant as the intake needs it, looked for in the store: a stranger may be a new tenant's source, and
        is refused for good only when it is not."""
        return [
            TenantIntake(tenant.id, tenant.acts, lambda owner=tenant.id: self._writer(owner))  # type: ignore[misc]
            for tenant in self._core.tenants(0)
        ]

    def refresh(self) -> None:
        """Read the acts of the tenants known to their heads. Raises ArchiveError."""
        for tenant in self._core.tenants():
            tenant.acts.refresh()

    def _writer(self, owner: str) -> CaptureWriter:
        with self._lock:
            if owner not in self._made:
                core = self._core
                tenant = next(known for known in core.tenants() if known.id == owner)
                slots = CountedSlots(core, owner, self._tally)
                writer = CaptureWriter(core.store, tenant.keyring, slots, core.clock, core.writer_limits)
                writer.open()
                self._made[owner] = writer
            return self._made[owner]

    def close(self) -> None:
        """Finish what was submitted."""
        for writer in self._made.values():
            writer.close()


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """STARTTLS, when a certificate is set. Raises Invalid when it cannot be used."""
    if settings.smtp_tls_certificate is None:
        return None
    return _context(settings.smtp_tls_certificate, settings.smtp_tls_key)


def _context(certificate: Path, key: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise Invalid("the SMTP certificate or key cannot be used", code="settings.invalid") from error
    return context


def fresh_tls(settings: Settings) -> Callable[[], ssl.SSLContext] | None:
    """Makes the context of ``tls_context`` anew, from the files as they are then; it raises Invalid."""
    if settings.smtp_tls_certificate is None:
        return None
    return partial(_context, settings.smtp_tls_certificate, settings.smtp_tls_key)


@cache
def _classes() -> dict[str, str]:
    """The class of reply that each reason word stands for, 4xx or 5xx."""
    all_names = [*vars(replies).values(), *vars(milter_replies).values()]
    known = [reply for reply in all_names if isinstance(reply, replies.Reply)]
    return {reply.reason: "4xx" if reply.is_transient else "5xx" for reply in known if reply.reason}


def counted(server: SmtpServer) -> Iterator[Sample]:
    """What the endpoint counted. Called in another thread: each number is true by itself."""
    counters, budget = server.counters, server.budget
    yield Sample.of(names.SMTP_CONNECTIONS, counters.connections)
    yield Sample.of(names.SMTP_OPEN, counters.open)
    yield Sample.of(names.SMTP_TLS, counters.tls)
    yield Sample.of(names.SMTP_ACCEPTED, counters.accepted)
    yield Sample.of(names.SMTP_ACCEPTED_BYTES, counters.accepted_bytes)
    yield Sample.of(names.SMTP_ABANDONED, counters.abandoned)
    yield Sample.of(names.SMTP_IN_FLIGHT, budget.used)
    yield Sample.of(names.SMTP_IN_FLIGHT_LIMIT, budget.limit)
    for reason, kind in _classes().items():  # those that never were too: a rise from nothing is one only then
        yield Sample.of(names.SMTP_REFUSED, counters.rejected[reason], **{"class": kind, "reason": reason})


def certificate_left(settings: Settings) -> Iterator[Sample]:
    """Seconds until the certificate in the file ends, if there is one that can be read."""
    if settings.smtp_tls_certificate is None:
        return
    try:
        ends = x509.load_pem_x509_certificate(settings.smtp_tls_certificate.read_bytes()).not_valid_after_utc
    except (OSError, ValueError):
        return  # it could be used at the start; that it cannot be read now is seen at the next one
    yield Sample.of(names.CERTIFICATE_LEFT, ends.timestamp() - time.time())


def run(settings: Settings, tally: Tally) -> None:
    """Serve until SIGTERM, then stop accepting, finish what is in flight, and return."""
    core = open_core(settings)
    writers = Writers(core, tally)
    try:
        uvloop.run(_serve(settings, core, writers, tally))
    finally:
        writers.close()
        core.close()


async def _serve(settings: Settings, core: Core, writers: Writers, tally: Tally) -> None:
    intake = ArchiveIntake(writers.intakes, core.clock)
    limits = SmtpSettings(
        hostname=settings.smtp_hostname,
        max_size=settings.smtp_max_size,
        max_in_flight=settings.smtp_max_in_flight,
        max_connections=settings.smtp_max_connections,
        proxy_networks=networks(settings.smtp_proxy_networks),
    )
    server = SmtpServer(intake, limits, tls_context(settings), fresh_tls=fresh_tls(settings))
    tally.also(lambda: counted(server))
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def stop_soon() -> None:
        loop.call_soon_threadsafe(stop.set)

    child.on_stop(stop_soon)
    await loop.run_in_executor(None, intake.refresh)
    await server.start(*host_port(settings.smtp, "smtp"))
    milter = await _milter(settings, intake, limits, server)
    records = RefusalRecords(core, tally)
    over = asyncio.Event()
    recording = loop.create_task(record(server.refusals, records, over))
    child.say_ready()
    while not stop.is_set():
        try:
            await asyncio.wait_for(stop.wait(), _REFRESH)
        except TimeoutError:
            await _refresh(loop, writers, tally)
    await asyncio.gather(server.stop(), *([milter.stop()] if milter is not None else []))
    over.set()
    await recording
    records.close()
    intake.close()


async def _milter(
    settings: Settings, intake: ArchiveIntake, limits: SmtpSettings, server: SmtpServer
) -> MilterServer | None:
    """The milter endpoint beside the SMTP one, if there is to be one; they share memory, rates and what is counted."""
    if settings.milter is None:
        return None
    milter = MilterServer(
        intake,
        limits,
        budget=server.budget,
        counters=server.counters,
        rates=server.rates,
        refusals=server.refusals,
    )
    await milter.start(*host_port(settings.milter, "milter"))
    return milter


async def _refresh(loop: asyncio.AbstractEventLoop, writers: Writers, tally: Tally) -> None:
    try:
        await loop.run_in_executor(None, writers.refresh)
    except ArchiveError as error:
        tally.add(names.FAILURES, code=error.code)
        _log.warning("the acts cannot be read: %s", error.code)
