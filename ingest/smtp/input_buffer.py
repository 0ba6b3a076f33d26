"""Bytes that the peer has sent and nobody has taken yet, with back-pressure on the socket."""

import asyncio

from ingest.smtp.limits import Charge

HIGH_WATER_OCTETS = 256 * 1024
"""Past this the socket is no longer read, until everything but ``LOW_WATER_OCTETS`` is taken."""

LOW_WATER_OCTETS = 64 * 1024


class LineTooLong(Exception):
    """A command line was longer than its limit; all of it is consumed."""


class InputBuffer:
    """Filled by the protocol's callbacks, emptied by the session's one task.

    Unlike ``asyncio.StreamReader`` it hands out whatever has come without copying it, and takes back what
    was too much (``push_back``). Every byte held is charged to the process's memory budget.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, charge: Charge) -> None:
        self._loop = loop
        self._charge = charge
        self._data: bytes | bytearray = b""
        self._start = 0  # what lies before it has been taken
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self.eof = False
        self.skipped = 0  # octets thrown away of an overlong line that has not ended yet

    def __len__(self) -> int:
        return len(self._data) - self._start

    def attach(self, transport: asyncio.Transport | None) -> None:
        """Name the transport to pause and resume; none during a TLS handshake, which has its own."""
        self._transport = transport
        self._paused = False

    def feed(self, data: bytes) -> None:
        """Append what the socket received."""
        if self._start == len(self._data):
            self._data = data
            self._start = 0
        else:
            if isinstance(self._data, bytes):
                self._data = bytearray(memoryview(self._data)[self._start :])
            else:
                del self._data[: self._start]
            self._start = 0
            self._data += data
        self._charge.add(len(data))
        if len(self) > HIGH_WATER_OCTETS and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self.wake()

    def feed_eof(self) -> None:
        """Nothing more will come; what is held can still be taken."""
        self.eof = True
        self._transport = None
        self.wake()

    def wake(self) -> None:
        """End a ``wait`` under way, data or not."""
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self) -> None:
        """Return when something was fed, at the end of input, or when woken. Returns at once at the end."""
        if self.eof:
            return
        self._resume()
        self._waiter = self._loop.create_future()
        await self._waiter

    def take(self) -> bytes:
        """Everything at hand; b"" when there is nothing."""
        return self.take_at_most(len(self))

    def take_at_most(self, octets: int) -> bytes:
        """Up to ``octets`` of what is at hand."""
        start = self._start
        stop = min(start + octets, len(self._data))
        if start == 0 and stop == len(self._data) and isinstance(self._data, bytes):
            taken = self._data
        else:
            taken = bytes(memoryview(self._data)[start:stop])
        self._advance(stop)
        return taken

    def push_back(self, data: bytes) -> None:
        """Put back what was taken last but not used; the next to be taken."""
        if not data:
            return
        self._charge.add(len(data))
        if self._start < len(self._data):
            data = data + bytes(memoryview(self._data)[self._start :])
        self._data = data
        self._start = 0

    def next_line(self, limit: int) -> bytes | None:
        """The next line with its LF, or None until all of it is there.

        Raises LineTooLong once an overlong line has ended; meanwhile its octets are counted in ``skipped``
        and thrown away, so a peer without line ends costs no memory.
        """
        end = self._data.find(b"\n", self._start)
        if end < 0:
            if self.skipped or len(self) > limit:
                self.skipped += len(self)
                self._advance(len(self._data))
            return None
        line = bytes(self._data[self._start : end + 1])
        self._advance(end + 1)
        if self.skipped or len(line) > limit:
            self.skipped = 0
            raise LineTooLong
        return line

    def clear(self) -> None:
        """Forget everything at hand (RFC 3207 section 4.2: what came in clear before TLS)."""
        self.skipped = 0
        self._advance(len(self._data))

    def _advance(self, position: int) -> None:
        self._charge.drop(position - self._start)
        if position == len(self._data):
            self._data = b""
            position = 0
        self._start = position
        if self._paused and len(self) <= LOW_WATER_OCTETS:
            self._resume()

    def _resume(self) -> None:
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
