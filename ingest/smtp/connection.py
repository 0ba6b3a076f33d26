"""The wire side of a session: bytes in, replies out, its timer and its end.

aiosmtpd's protocol class underneath, but its callbacks are replaced. aiosmtpd cancels the session's task
when the peer goes; here the task is woken instead, because a commit under way must run to its end.
"""

import asyncio
import logging
import ssl
from typing import cast

from aiosmtpd.smtp import SMTP

from ingest.smtp import replies
from ingest.smtp.client_certificates import chain_of
from ingest.smtp.endpoint import Endpoint
from ingest.smtp.idle_timer import IdleTimer
from ingest.smtp.input_buffer import InputBuffer
from ingest.smtp.limits import JUNK_OCTETS, Charge
from ingest.smtp.proxied import peer_behind
from ingest.smtp.replies import Refused, Reply

log = logging.getLogger(__name__)

_UNSENT_OCTETS = 16 * 1024
"""Replies are sent together for a pipelined group of commands (RFC 2920 section 3.2), up to this."""


class Leave(Exception):
    """The session is over; ``reply`` goes out first, if the peer is still there."""

    def __init__(self, reply: Reply | None = None) -> None:
        super().__init__()
        self.reply = reply


class Connection(SMTP):
    """Everything of a session but its commands. One task, ``_handle_client`` of the subclass, does all the
    work; the callbacks only wake it."""

    transport: asyncio.Transport | None

    def __init__(self, endpoint: Endpoint, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(None, hostname=endpoint.settings.hostname, loop=loop)
        self.endpoint = endpoint
        self.tls: str | None = None
        self.chain: frozenset[str] = frozenset()  # SHA-256 of the peer's verified certificates, hex
        self._charge = Charge(endpoint.budget)
        self._input = InputBuffer(loop, self._charge)
        self._timer = IdleTimer(loop, self._on_idle)
        self._unsent = bytearray()
        self._writable: asyncio.Future[None] | None = None
        self._idle = False  # the timer ran out
        self._lost: asyncio.Future[None] = loop.create_future()
        self.may_leave = True  # between transactions: nothing would be lost by ending the session

    # --- the protocol's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the session's task, or turn the peer away."""
        transport = cast(asyncio.Transport, transport)  # uvloop's have its methods but not its type
        counters = self.endpoint.counters
        counters.connections += 1
        refusal = self.endpoint.may_connect()
        if refusal is not None:
            counters.rejected[refusal.reason] += 1
            transport.write(refusal.wire)
            transport.close()
            return
        counters.open += 1
        self.transport = transport
        self.session = self._create_session()
        peer = transport.get_extra_info("peername")
        self.session.peer = str(peer[0]) if peer else None
        self._input.attach(transport)
        self.endpoint.sessions.add(self)
        self._handler_coroutine = self.loop.create_task(self._handle_client())

    def data_received(self, data: bytes) -> None:
        """Keep what came for the session's task."""
        self._input.feed(data)

    def eof_received(self) -> bool:
        """The peer sends no more, but still reads: what it has sent is still obeyed.

        A TLS connection cannot be half closed, so it is closed (False)."""
        self._input.feed_eof()
        return self.tls is None

    def connection_lost(self, error: Exception | None) -> None:
        """Wake the session's task so that it ends by itself."""
        self.transport = None
        self._input.feed_eof()
        self.resume_writing()
        if not self._lost.done():
            self._lost.set_result(None)
        asyncio.StreamReaderProtocol.connection_lost(self, error)

    def pause_writing(self) -> None:
        """The peer does not read its replies: wait for it before the next command."""
        if self._writable is None:
            self._writable = self.loop.create_future()

    def resume_writing(self) -> None:
        """The peer reads again, or is gone."""
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    # --- replies out

    def answer(self, reply: Reply) -> None:
        """Queue a reply; it goes out before the session next waits for the peer."""
        if reply.reason:
            self.endpoint.counters.rejected[reply.reason] += 1
        self._unsent += reply.wire

    async def flush(self) -> None:
        """Send what is queued, and wait while the peer does not read. Raises Leave when it never does."""
        self._send_unsent()
        if self._writable is not None:
            try:
                async with asyncio.timeout(self.endpoint.settings.command_timeout):
                    await self._writable
            except TimeoutError:
                raise Leave(replies.IDLE) from None

    def _send_unsent(self) -> None:
        if self._unsent:
            if self.transport is not None and not self.transport.is_closing():
                self.transport.write(bytes(self._unsent))
            self._unsent.clear()

    # --- bytes in

    async def wait_for_input(self, seconds: float) -> None:
        """Return when the input has changed. Raises Leave when the peer takes longer than ``seconds``."""
        await self.flush()
        self._timer.start(seconds)
        try:
            await self._input.wait()
        finally:
            self._timer.pause()
        if self._idle:
            raise Leave(replies.IDLE)

    async def next_line(self, limit: int) -> bytes:
        """The next command line with its LF. Raises LineTooLong, and Leave when the session must end."""
        while True:
            if self.endpoint.draining and self.may_leave:
                raise Leave(replies.SHUTTING_DOWN)
            if len(self._unsent) > _UNSENT_OCTETS:
                await self.flush()
            line = self._input.next_line(limit)
            if line is not None:
                return line
            if self._input.eof:
                raise Leave
            if self._input.skipped > JUNK_OCTETS:
                raise Leave(replies.TOO_MANY_ERRORS)
            await self.wait_for_input(self.endpoint.settings.command_timeout)

    async def next_chunk(self, octets: int | None = None) -> bytes:
        """Some bytes of mail, at most ``octets``; never empty. Raises Leave when the peer is gone."""
        while not len(self._input):
            if self._input.eof:
                raise Leave
            await self.wait_for_input(self.endpoint.settings.data_timeout)
        return self._input.take() if octets is None else self._input.take_at_most(octets)

    def put_back(self, data: bytes) -> None:
        """Give back bytes of ``next_chunk`` that belong to the next command."""
        self._input.push_back(data)

    def _on_idle(self) -> None:
        self._idle = True
        self._input.wake()

    # --- who is there

    async def learn_peer(self) -> None:
        """Read the PROXY header where the connection must begin with one. Raises Leave when it does not."""
        assert self.session is not None
        if self.endpoint.behind_proxy(self.session.peer):
            try:
                seconds = self.endpoint.settings.proxy_timeout
                self.session.peer = await peer_behind(self.next_chunk, self.session.peer, seconds)
            except Refused as refused:
                raise Leave(refused.reply) from refused

    # --- TLS

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Say 220 and shake hands (RFC 3207). Raises Leave when that fails.

        What came in clear behind STARTTLS is thrown away: an attacker may have put it there
        (CVE-2011-0411). No event is handled between that and the switch, so nothing slips in.
        """
        self.answer(replies.START_TLS)
        if self.transport is None:
            raise Leave
        self._input.clear()
        self._send_unsent()
        self._input.attach(None)
        try:
            secured = await self.loop.start_tls(self.transport, self, context, server_side=True)
        except (OSError, EOFError) as error:  # ssl.SSLError and TimeoutError are OSErrors
            log.info("TLS handshake failed: %s", type(error).__name__)
            raise Leave from error
        if secured is None:
            raise Leave
        self.transport = secured
        self._input.attach(secured)
        tls = secured.get_extra_info("ssl_object")
        self.tls = f"{tls.version()} {tls.cipher()[0]}"
        self.chain = chain_of(tls)
        self.endpoint.counters.tls += 1

    # --- the end

    def begin_drain(self) -> None:
        """The process stops: end now if nothing is under way, else after the transaction."""
        if self.may_leave:
            self._input.wake()

    @property
    def task(self) -> "asyncio.Task[None] | None":
        """The task that runs the session."""
        return self._handler_coroutine

    def say_last(self, reply: Reply | None) -> None:
        """Send what is queued and ``reply``, and begin to close the connection."""
        if reply is not None:
            self.answer(reply)
        self._send_unsent()
        self._timer.cancel()
        if self.transport is not None:
            self.transport.close()

    async def leave(self) -> None:
        """Wait until the connection is closed, and give back all that the session held."""
        try:
            async with asyncio.timeout(self.endpoint.settings.closing_timeout):
                await self._lost
        except TimeoutError:
            if self.transport is not None:
                self.transport.abort()
        finally:
            self._charge.clear()
            self.endpoint.sessions.discard(self)
            self.endpoint.counters.open -= 1
