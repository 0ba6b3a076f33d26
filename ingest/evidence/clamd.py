"""A client of clamd (clamd(8), section COMMANDS): one connection a command, ``z`` framing, mail by INSTREAM.

INSTREAM takes pieces of ``length(4, big-endian) ‖ bytes``, a length of 0 at the end. A stream beyond clamd's
StreamMaxLength is answered with an error while it is still being sent, and the connection closed.
"""

import re
import socket
import struct
import time
from dataclasses import dataclass

from archive_service.model.errors import Invalid, LookerAway

_PIECE = 1 << 16
_LONGEST_ANSWER = 4096
_CONNECT_SECONDS = 5.0
_TOO_LARGE = "INSTREAM size limit exceeded"
_PRINTABLE = re.compile(r"[^ -~]")


class ScanBroken(Exception):
    """The connection broke, or nothing came in time, while clamd had this stream."""


@dataclass(frozen=True)
class Answer:
    """clamd's word on a stream: ``OK``, ``FOUND``, ``TOO_LARGE`` or ``ERROR``; ``text``: the name, or the
    reason."""

    word: str
    text: str = ""


class Clamd:
    """Talks to one clamd. Thread-safe. ``seconds``: for one scan."""

    def __init__(self, address: str, seconds: float) -> None:
        """``address``: the path of a Unix socket, or HOST:PORT. Raises Invalid."""
        self._unix = address if address.startswith("/") else None
        self._seconds = seconds
        host, _, port = address.rpartition(":")
        if self._unix is None and (not host or not port.isdecimal() or int(port) > 65535):
            raise Invalid("clamd must be a socket's path or HOST:PORT", code="settings.invalid")
        self._host, self._port = host.strip("[]"), int(port) if self._unix is None else 0

    def version(self) -> str:
        """Program and signatures, as ``ClamAV 1.4.3/27800/Fri Nov 27 08:00:00 2026``. Raises LookerAway."""
        deadline = time.monotonic() + _CONNECT_SECONDS
        with self._connected() as connection:
            try:
                connection.sendall(b"zVERSION\0")
                return self._answer(connection, deadline)
            except (OSError, ScanBroken) as error:
                raise LookerAway("clamd does not answer", code="evidence.clamd_away") from error

    def scan(self, data: bytes) -> Answer:
        """clamd's word on these bytes. Raises LookerAway when it cannot be reached, ScanBroken."""
        deadline = time.monotonic() + self._seconds
        with self._connected() as connection:
            try:
                self._send(connection, data, deadline)
            except TimeoutError as error:
                raise ScanBroken("timeout") from error
            except OSError:
                pass  # it may have answered before it closed
            try:
                return _parsed(self._answer(connection, deadline))
            except TimeoutError as error:
                raise ScanBroken("timeout") from error
            except OSError as error:
                raise ScanBroken("broken") from error

    def _connected(self) -> socket.socket:
        """Raises LookerAway."""
        try:
            if self._unix is None:
                return socket.create_connection((self._host, self._port), _CONNECT_SECONDS)
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.settimeout(_CONNECT_SECONDS)
                connection.connect(self._unix)
            except BaseException:
                connection.close()
                raise
            return connection
        except OSError as error:
            raise LookerAway("clamd cannot be reached", code="evidence.clamd_away") from error

    @staticmethod
    def _send(connection: socket.socket, data: bytes, deadline: float) -> None:
        connection.sendall(b"zINSTREAM\0")
        view = memoryview(data)
        for start in range(0, len(view), _PIECE):
            piece = view[start : start + _PIECE]
            connection.settimeout(_left(deadline))
            connection.sendall(struct.pack(">I", len(piece)))
            connection.sendall(piece)
        connection.sendall(struct.pack(">I", 0))

    @staticmethod
    def _answer(connection: socket.socket, deadline: float) -> str:
        """Up to its NUL, or to the end of a connection that was closed after a whole answer."""
        found = b""
        while not found.endswith(b"\0") and len(found) < _LONGEST_ANSWER:
            connection.settimeout(_left(deadline))
            piece = connection.recv(_LONGEST_ANSWER)
            if not piece:
                break
            found += piece
        if not found:
            raise ScanBroken("broken")
        return _PRINTABLE.sub("?", found.rstrip(b"\0\n").decode("latin-1"))


def _left(deadline: float) -> float:
    """Raises TimeoutError at the deadline."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _parsed(answer: str) -> Answer:
    if answer == "stream: OK":
        return Answer("OK")
    if answer.endswith(" FOUND"):
        return Answer("FOUND", answer.removeprefix("stream: ").removesuffix(" FOUND"))
    if answer.startswith(_TOO_LARGE):
        return Answer("TOO_LARGE")
    return Answer("ERROR", answer.removeprefix("stream: ").removesuffix(" ERROR"))
