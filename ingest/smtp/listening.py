"""Listening on a port that other processes share, and letting sessions end without losing mail."""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from archive_service.model.errors import ArchiveError

log = logging.getLogger(__name__)

BACKLOG = 1024


class Drained(Protocol):
    """A session as the end of its server sees it."""

    @property
    def task(self) -> "asyncio.Task[None] | None":
        """The task that runs the session."""
        ...

    def begin_drain(self) -> None:
        """The process stops: end now if nothing is under way, else after what is."""
        ...


class Listeners:
    """The sockets of one endpoint. ``what`` names it: the code of an error is ``WHAT.listen``."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._servers: list[asyncio.Server] = []

    async def open(
        self, protocol: Callable[[], Any], host: str, port: int, reuse_port: bool
    ) -> tuple[str, int]:
        """Listen, and return the first address listened on (for port 0, the port that was given).

        With ``reuse_port`` several processes share the port, and the kernel spreads connections over them.
        Raises ArchiveError when the address cannot be had; then nothing listens.
        """
        loop = asyncio.get_running_loop()
        try:
            for listener in await _bound(loop, host, port, reuse_port):
                server = await loop.create_server(protocol, sock=listener, backlog=BACKLOG)
                self._servers.append(server)
        except OSError as error:
            self.close()
            raise ArchiveError(
                f"cannot listen for {self._what}: {error.strerror}", code=f"{self._what}.listen"
            ) from error
        address = self._servers[0].sockets[0].getsockname()
        return str(address[0]), int(address[1])

    def close(self) -> None:
        """Accept no more."""
        for server in self._servers:
            server.close()
        self._servers.clear()


async def drain(sessions: Iterable[Drained], seconds: float, what: str) -> None:
    """Let every session end, and cut off what is left after ``seconds``. Returns when none is left."""
    held = list(sessions)
    for session in held:
        session.begin_drain()
    tasks = {session.task for session in held if session.task is not None}
    if not tasks:
        return
    _, late = await asyncio.wait(tasks, timeout=seconds)
    for task in late:
        task.cancel()
    if late:
        log.warning("%d %s sessions were cut off while draining", len(late), what)
        await asyncio.wait(late)


async def _bound(
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
