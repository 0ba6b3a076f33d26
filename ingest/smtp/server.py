"""The listener: accepts connections, shares its port with other processes, and stops without losing mail."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable

from archive_service.model.errors import ArchiveError
from ingest.intake import Intake
from ingest.refusals import Refusals
from ingest.smtp.counters import SmtpCounters
from ingest.smtp.endpoint import Endpoint
from ingest.smtp.limits import MemoryBudget, SmtpSettings
from ingest.smtp.session import SmtpSession

log = logging.getLogger(__name__)

BACKLOG = 1024


class SmtpServer:
    """The SMTP endpoint of one process.

    Give every server of a process the same ``budget``; without one it gets its own of
    ``settings.max_in_flight`` bytes. ``fresh_tls`` makes another context like ``tls``, for handshakes that ask for a
    client certificate; without it none is asked for.
    """

    def __init__(
        self,
        intake: Intake,
        settings: SmtpSettings,
        tls: ssl.SSLContext | None = None,
        budget: MemoryBudget | None = None,
        fresh_tls: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        self._endpoint = Endpoint(
            intake, settings, tls, budget or MemoryBudget(settings.max_in_flight), fresh_tls=fresh_tls
        )
        self._servers: list[asyncio.Server] = []
        # aiosmtpd logs to this name at INFO, for every connection; above all it must never log command
        # lines, which hold the secret addresses.
        logging.getLogger("mail.log").setLevel(logging.WARNING)
        logging.getLogger("mail.debug").setLevel(logging.ERROR)  # a warning for every bad PROXY header

    @property
    def counters(self) -> SmtpCounters:
        """What was counted since the start."""
        return self._endpoint.counters

    @property
    def budget(self) -> MemoryBudget:
        """The memory held now, and its peak."""
        return self._endpoint.budget

    @property
    def refusals(self) -> Refusals:
        """Who was turned away, until it is taken to a log."""
        return self._endpoint.refusals

    async def start(self, host: str, port: int, reuse_port: bool = True) -> tuple[str, int]:
        """Listen, and return the first address listened on (for port 0, the port that was given).

        With ``reuse_port`` several processes share the port, and the kernel spreads connections over them.
        Raises ArchiveError ``smtp.listen`` when the address cannot be had.
        """
        loop = asyncio.get_running_loop()
        self._endpoint.draining = False
        try:
            for listener in await _listeners(loop, host, port, reuse_port):
                server = await loop.create_server(
                    lambda: SmtpSession(self._endpoint, loop), sock=listener, backlog=BACKLOG
                )
                self._servers.append(server)
        except OSError as error:
            await self.stop(0)
            raise ArchiveError(f"cannot listen for SMTP: {error.strerror}", code="smtp.listen") from error
        address = self._servers[0].sockets[0].getsockname()
        return str(address[0]), int(address[1])

    async def stop(self, drain_seconds: float = 30.0) -> None:
        """Stop accepting, say 421 to idle sessions, let open transactions finish, and end what is left.

        Returns when no session is left. A message that is cut off after ``drain_seconds`` got no 250,
        so its sender keeps it.
        """
        self._endpoint.draining = True
        for server in self._servers:
            server.close()
        self._servers.clear()
        sessions = list(self._endpoint.sessions)
        for session in sessions:
            session.begin_drain()
        tasks = {session.task for session in sessions if session.task is not None}
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=drain_seconds)
        for task in late:
            task.cancel()
        if late:
            log.warning("%d SMTP sessions were cut off while draining", len(late))
            await asyncio.wait(late)


async def _listeners(
    loop: asyncio.AbstractEventLoop, host: str, port: int, reuse_port: bool
) -> list[socket.socket]:
    """A bound socket for each address of ``host``."""
    found = await loop.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
    )
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            listener = socket.socket(family, kind, protocol)
            sockets.append(listener)
            _prepare(listener, reuse_port)
            listener.bind(address)
    except OSError:
        for listener in sockets:
            listener.close()
        raise
    return sockets


def _prepare(listener: socket.socket, reuse_port: bool) -> None:
    listener.setblocking(False)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if listener.family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    # Accepted sockets inherit it: replies are single small segments that must not wait for an ACK.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
