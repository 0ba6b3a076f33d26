"""A load generator that times every reply: smtp-source cannot, nor does it send mails that differ.

Closed loop: each connection sends its next mail when the reply to the last one has come. A reply's time runs from
the moment that the mail, CRLF.CRLF at its end, is handed to the kernel until its 250 is read.
"""

import asyncio
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

import uvloop

from bench.processes import BenchError
from bench.targets import Target

_SECONDS = 300.0


@dataclass
class Sent:
    """What a run showed. ``replies``: seconds from the end of a mail to its 250, one a mail."""

    seconds: float = 0.0
    replies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Mails a second."""
        return len(self.replies) / self.seconds


def conversation(
    recipient: str, mails: Sequence[bytes], replies: list[float]
) -> Generator[bytes, bytes, None]:
    """One SMTP session: yields what to send, takes the reply to it (first the greeting, for nothing sent).
    Raises BenchError at a reply that refuses."""
    _expect(b"220", (yield b""))
    _expect(b"250", (yield b"EHLO bench.example.org\r\n"))
    to = f"RCPT TO:<{recipient}>\r\n".encode("ascii")
    for mail in mails:
        _expect(b"250", (yield b"MAIL FROM:<sender@example.org>\r\n"))
        _expect(b"250", (yield to))
        _expect(b"354", (yield b"DATA\r\n"))
        ended = mail + b".\r\n"
        handed_over = time.perf_counter()
        reply = yield ended
        replies.append(time.perf_counter() - handed_over)
        _expect(b"250", reply)
    _expect(b"221", (yield b"QUIT\r\n"))


def _expect(code: bytes, reply: bytes) -> None:
    if not reply.startswith(code):
        raise BenchError(f"the server said {reply[:60]!r} where {code.decode()} was due")


class _Client(asyncio.Protocol):
    """One connection that holds its conversation."""

    def __init__(self, script: Generator[bytes, bytes, None]) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._script = script
        self._transport: asyncio.BaseTransport | None = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the greeting."""
        self._transport = transport
        next(self._script)

    def data_received(self, data: bytes) -> None:
        """Answer every whole reply; the lines of one that go on (``250-``) are passed over."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n")) >= 0 and not self.done.done():
            reply, self._buffer = self._buffer[:end], self._buffer[end + 2 :]
            if reply[3:4] != b"-":
                self._answer(reply)

    def _answer(self, reply: bytes) -> None:
        try:
            following = self._script.send(reply)
        except StopIteration:
            self._end(None)
        except BenchError as error:
            self._end(error)
        else:
            self._transport.write(following)  # type: ignore[union-attr]

    def _end(self, error: Exception | None) -> None:
        if not self.done.done():
            if error is None:
                self.done.set_result(None)
            else:
                self.done.set_exception(error)
        if self._transport is not None:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """A failure, unless the conversation was over."""
        self._end(exc or BenchError("the server closed the connection"))


async def _send(target: Target, mails: Sequence[bytes], sessions: int) -> Sent:
    loop = asyncio.get_running_loop()
    sent = Sent()

    async def session(number: int) -> None:
        script = conversation(target.recipient, mails[number::sessions], sent.replies)
        _, client = await loop.create_connection(lambda: _Client(script), "127.0.0.1", target.port)
        await client.done

    started = time.monotonic()
    async with asyncio.timeout(_SECONDS), asyncio.TaskGroup() as group:
        for number in range(sessions):
            group.create_task(session(number))
    sent.seconds = time.monotonic() - started
    return sent


def send(target: Target, mails: Sequence[bytes], sessions: int) -> Sent:
    """Send all mails over ``sessions`` connections that stay open. Raises BenchError when one is refused."""
    try:
        return uvloop.run(_send(target, mails, sessions))
    except* (BenchError, OSError) as errors:
        raise BenchError(f"{target.name}: {errors.exceptions[0]}") from errors
