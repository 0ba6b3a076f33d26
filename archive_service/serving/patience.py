"""How long a client may take to say what it wants, and to take what it asked for. The server has no bound of its own
once the first byte of a request's head has come (uvicorn closes idle connections only), nor while an answer is being
taken, so whoever trickles heads or stops reading would hold connections, and memory, for ever. Bodies are bounded by
``api.middleware.BodyLimit``."""

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios
from typing import Any, cast

from uvicorn.protocols.http.h11_impl import H11Protocol

SLOWEST = 1024
"""Bytes a second, over a window, that a client takes of an answer at least. Far below any line; one that is cut off
may go on with a Range."""

_WINDOW = 4.0
"""Times the patience: a receiver's window opens in large steps, so a slow one seems to stand still."""


class PatientHttp(H11Protocol):
    """HTTP/1.1 that closes a connection whose request's head is not there in time, the first or a later one, and one
    whose client takes its answer more slowly than ``SLOWEST``, or not at all."""

    seconds = 30.0
    _late: asyncio.TimerHandle | None = None
    _look: asyncio.TimerHandle | None = None
    _left = 0  # bytes not taken yet, when last looked at
    _taken = 0  # bytes taken since then

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """The time for the first head begins."""
        super().connection_made(transport)
        self._await_head()

    def on_response_complete(self) -> None:
        """The time for the next head begins."""
        self._await_head()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """More is waiting for the client than is held for it: from now on it is watched."""
        super().pause_writing()
        self._left = untaken(self.transport)
        if self._look is None:
            self._watch()

    def resume_writing(self) -> None:
        """It has taken nearly all of that."""
        self._taken += self._left - untaken(self.transport)
        self._left = 0
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        super().connection_lost(exc)
        self._forget()
        if self._look is not None:
            self._look.cancel()
            self._look = None

    def _await_head(self) -> None:
        self._forget()
        self._late = self.loop.call_later(self.seconds, self._close_late)

    def _forget(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _close_late(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()  # when the client has taken what is left, if it ever does
            if self._look is None:
                self._left = untaken(self.transport)
                self._watch()

    def _watch(self) -> None:
        self._taken = 0
        self._look = self.loop.call_later(self.seconds * _WINDOW, self._look_again)

    def _look_again(self) -> None:
        """Over a window in which it did not wait for the client nothing is said."""
        self._look = None
        if not (self.flow.write_paused or self.transport.is_closing()):
            return
        left = untaken(self.transport)
        if self._taken + self._left - left < self.seconds * _WINDOW * SLOWEST:
            _reset(self.transport)
            return
        self._left = left
        self._watch()


def untaken(transport: asyncio.Transport) -> int:
    """Bytes that the other side has not acknowledged, those that the kernel holds included."""
    return transport.get_write_buffer_size() + _in_kernel(transport.get_extra_info("socket"))


def _in_kernel(sock: Any) -> int:
    held = bytearray(4)
    with contextlib.suppress(OSError, ValueError):  # closed meanwhile, or no such count here
        fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, held)
    return int(struct.unpack("i", held)[0])


def _reset(transport: asyncio.Transport) -> None:
    """Close with a reset, so that the kernel does not go on offering what nobody takes."""
    sock = transport.get_extra_info("socket")
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def patient(seconds: float) -> type[asyncio.Protocol]:
    """The protocol for a server, with so much time for a head."""
    return cast(type[asyncio.Protocol], type("PatientHttp", (PatientHttp,), {"seconds": seconds}))
