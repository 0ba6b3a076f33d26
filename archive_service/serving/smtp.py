"""The smtp role: one process of the endpoint, with its own capture log slot in every tenant it gets mail for."""

import asyncio
import logging
import ssl
import threading

import uvloop

from archive_service.bootstrap import Core, open_core
from archive_service.ledger.capture_writer import CaptureWriter
from archive_service.model.errors import ArchiveError, Invalid
from archive_service.serving import child
from archive_service.settings import Settings, host_port
from ingest.archive_intake import ArchiveIntake, TenantIntake
from ingest.smtp.limits import SmtpSettings
from ingest.smtp.server import SmtpServer

_log = logging.getLogger(__name__)
_REFRESH = 1.0  # seconds between looks at the acts, so that a source's end is soon known


class Writers:
    """The capture writers of this process, one a tenant, made on demand. Thread-safe."""

    def __init__(self, core: Core) -> None:
        self._core = core
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
                slots = core.slots(owner, "capture")
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
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.smtp_tls_certificate, settings.smtp_tls_key)
    except (OSError, ssl.SSLError) as error:
        raise Invalid("the SMTP certificate or key cannot be used", code="settings.invalid") from error
    return context


def run(settings: Settings) -> None:
    """Serve until SIGTERM, then stop accepting, finish what is in flight, and return."""
    core = open_core(settings)
    writers = Writers(core)
    try:
        uvloop.run(_serve(settings, core, writers))
    finally:
        writers.close()
        core.close()


async def _serve(settings: Settings, core: Core, writers: Writers) -> None:
    intake = ArchiveIntake(writers.intakes, core.clock)
    limits = SmtpSettings(
        hostname=settings.smtp_hostname,
        max_size=settings.smtp_max_size,
        max_in_flight=settings.smtp_max_in_flight,
        max_connections=settings.smtp_max_connections,
    )
    server = SmtpServer(intake, limits, tls_context(settings))
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def stop_soon() -> None:
        loop.call_soon_threadsafe(stop.set)

    child.on_stop(stop_soon)
    await loop.run_in_executor(None, intake.refresh)
    await server.start(*host_port(settings.smtp, "smtp"))
    child.say_ready()
    while not stop.is_set():
        try:
            await asyncio.wait_for(stop.wait(), _REFRESH)
        except TimeoutError:
            await _refresh(loop, writers)
    await server.stop()
    intake.close()


async def _refresh(loop: asyncio.AbstractEventLoop, writers: Writers) -> None:
    try:
        await loop.run_in_executor(None, writers.refresh)
    except ArchiveError as error:
        _log.warning("the acts cannot be read: %s", error.code)
