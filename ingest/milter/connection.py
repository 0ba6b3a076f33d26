"""The wire side of a session: packets in, answers out, its timer and its end.

One task does all the work; the callbacks only wake it. When the MTA goes the task is not cancelled: a commit under way
runs to its end.
"""

import asyncio
from typing import cast

from ingest.milter.endpoint import MilterEndpoint
from ingest.milter.packets import CONTENT, LENGTH_OCTETS, Malformed, Packet, command_of
from ingest.smtp.idle_timer import IdleTimer
from ingest.smtp.input_buffer import InputBuffer
from ingest.smtp.limits import Charge

_PIECE = 64 * 1024


class Leave(Exception):
    """The session is over."""


class Connection(asyncio.Protocol):
    """Everything of a session but its steps, which ``converse`` of the subclass takes."""

    def __init__(self, endpoint: MilterEndpoint, loop: asyncio.AbstractEventLoop) -> None:
        self.endpoint = endpoint
        self.loop = loop
        self.peer: str | None = None
        self.task: asyncio.Task[None] | None = None
        self.may_leave = True  # between mails: nothing would be lost by ending the session
        self._transport: asyncio.Transport | None = None
        self._input_charge = Charge(endpoint.budget)
        self._packet_charge = Charge(endpoint.budget)
        self._input = InputBuffer(loop, self._input_charge)
        self._timer = IdleTimer(loop, self._on_idle)
        self._idle = False

    # --- the protocol's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the session's task, or turn the MTA away: it then does what its default action says."""
        transport = cast(asyncio.Transport, transport)  # uvloop's have its methods but not its type
        counters = self.endpoint.counters
        counters.connections += 1
        refusal = self.endpoint.may_connect()
        if refusal is not None:
            counters.rejected[refusal.reason] += 1
            transport.close()
            return
        counters.open += 1
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self.peer = str(peer[0]) if peer else None
        self._input.attach(transport)
        self.endpoint.sessions.add(self)
        self.task = self.loop.create_task(self._live())

    def data_received(self, data: bytes) -> None:
        """Keep what came for the session's task."""
        self._input.feed(data)

    def eof_received(self) -> bool:
        """The MTA sends no more, but may still read an answer."""
        self._input.feed_eof()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """Wake the session's task so that it ends by itself."""
        self._transport = None
        self._input.feed_eof()

    # --- packets

    async def next_packet(self, content: bool) -> Packet:
        """The next packet. ``content``: inside of a mail's bytes, where the MTA does not wait for anybody.

        Raises Leave at the end or when the MTA takes too long, Malformed when it is no packet.
        """
        self._packet_charge.clear()
        limits = self.endpoint.limits
        seconds = self.endpoint.settings.data_timeout if content else limits.idle
        head = await self._octets(LENGTH_OCTETS, seconds)
        length = int.from_bytes(head, "big") - 1
        if not 0 <= length <= limits.junk:
            raise Malformed
        command = command_of((await self._octets(1, self.endpoint.settings.data_timeout))[0])
        if length > (limits.packet if command in CONTENT else limits.step):
            await self._pass_over(length)
            return Packet(command, None)
        return Packet(command, await self._octets(length, self.endpoint.settings.data_timeout))

    async def _octets(self, octets: int, seconds: float) -> bytes:
        """Exactly so many; ``seconds`` are for each wait."""
        pieces: list[bytes] = []
        while octets:
            await self._some(seconds)
            piece = self._input.take_at_most(octets)
            self._packet_charge.add(len(piece))
            octets -= len(piece)
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _pass_over(self, octets: int) -> None:
        while octets:
            await self._some(self.endpoint.settings.data_timeout)
            octets -= len(self._input.take_at_most(min(octets, _PIECE)))

    async def _some(self, seconds: float) -> None:
        """Return when there is something to take. Raises Leave."""
        while not len(self._input):
            if self._input.eof or (self.endpoint.draining and self.may_leave):
                raise Leave
            self._timer.start(seconds)
            try:
                await self._input.wait()
            finally:
                self._timer.pause()
            if self._idle:
                raise Leave

    def _on_idle(self) -> None:
        self._idle = True
        self._input.wake()

    def send(self, data: bytes) -> None:
        """Answers are some bytes each, and the MTA waits for every one: there is no flow to control."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    # --- the end

    def begin_drain(self) -> None:
        """The process stops: end now if nothing is under way, else after the mail."""
        if self.may_leave:
            self._input.wake()

    async def converse(self) -> None:
        """The session, until Leave. Never leaves a mail half taken behind."""
        raise NotImplementedError

    async def _live(self) -> None:
        try:
            await self.converse()
        finally:
            self._timer.cancel()
            if self._transport is not None:
                self._transport.close()
            self._input_charge.clear()
            self._packet_charge.clear()
            self.endpoint.sessions.discard(self)
            self.endpoint.counters.open -= 1
