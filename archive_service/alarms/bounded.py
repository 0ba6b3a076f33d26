"""A bound on the whole of a conversation: a peer that answers a byte at a time keeps every single timeout."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class CutOff:
    """Whether the time was over before the conversation was."""

    def __init__(self) -> None:
        self.late = False


@contextmanager
def within(seconds: float, connected: socket.socket) -> Iterator[CutOff]:
    """Shut the connection ``seconds`` from now, unless left before; whoever reads or writes then gets an OSError, or
    the end of what there is to read. Also when TLS has taken the socket over since."""
    said = CutOff()
    watched = connected.dup()

    def cut() -> None:
        said.late = True
        with suppress(OSError):  # it has been closed already
            watched.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield said
    finally:
        timer.cancel()
        watched.close()
