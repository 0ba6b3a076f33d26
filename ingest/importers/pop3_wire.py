"""POP3 on the wire (RFC 1939), byte for byte.

The standard library's client refuses lines over 2048 bytes and makes all line ends one: what it gives is no longer the
mail. Here a mail is what stands between the status line and CRLF.CRLF, with the dots behind CRLF unstuffed.
"""

import ssl
from contextlib import suppress

from archive_service.model.errors import StoreError
from archive_service.model.reachable import connect
from ingest.importers import server as servers
from ingest.importers.base import MailboxFailed, too_large
from ingest.importers.server import Server, Tls

_LONGEST_LINE = 64 * 1024  # of a status or a listing; a mail's lines have no limit
_PIECE = 256 * 1024
_END = b"\r\n.\r\n"


_PASSING = (b"[IN-USE]", b"[LOGIN-DELAY]", b"[SYS/TEMP]")  # RFC 2449 section 8, RFC 3206


class Refusal(StoreError):
    """The server answered -ERR. ``passing``: it says itself that this will pass."""

    code = "import.refused"

    def __init__(self, line: bytes) -> None:
        super().__init__("the server refuses a command")
        self.passing = line[5:].upper().startswith(_PASSING)


class Wire:
    """A connection. Raises OSError when it is lost, Refusal for -ERR, MailboxFailed for what is no POP3."""

    def __init__(self, server: Server, context: ssl.SSLContext) -> None:
        self._buffer = bytearray()
        self._socket = connect(server.host, server.port, servers.TIMEOUT)
        try:
            if server.tls is Tls.IMPLICIT:
                self._wrap(server, context)
            self._status()
            if server.tls is Tls.STARTTLS:
                self._start_tls(server, context)
        except BaseException:
            self.close()
            raise

    def _wrap(self, server: Server, context: ssl.SSLContext) -> None:
        self._socket = context.wrap_socket(self._socket, server_hostname=server.host)

    def _start_tls(self, server: Server, context: ssl.SSLContext) -> None:
        """Never goes on without TLS; and what was sent in clear before it counts for nothing."""
        try:
            self.ask("STLS")
        except Refusal as error:
            raise MailboxFailed("the server refuses STARTTLS", code="import.tls") from error
        if self._buffer:
            raise servers.protocol_broken("words before TLS")
        self._wrap(server, context)

    def ask(self, command: str) -> bytes:
        """The status line's text behind +OK."""
        self._socket.sendall(command.encode("utf-8") + b"\r\n")
        return self._status()

    def challenged(self, command: str) -> bool:
        """Whether the server answers with a challenge (RFC 5034) rather than with +OK."""
        self._socket.sendall(command.encode("utf-8") + b"\r\n")
        line = self._line()
        if line == b"+" or line.startswith(b"+ "):
            return True
        self._judge(line)
        return False

    def listing(self, command: str) -> list[bytes]:
        """The lines of an answer of several, without their ends."""
        self.ask(command)
        lines = []
        while (line := self._line()) != b".":
            lines.append(line.removeprefix(b"."))
        return lines

    def mail(self, number: int, limit: int) -> bytes:
        """A mail. Raises too_large after reading past it, so that the connection can be used on."""
        self.ask(f"RETR {number}")
        data, self._buffer = (
            bytearray(b"\r\n") + self._buffer,
            bytearray(),
        )  # the status line's end stands before it
        dropped, place = False, 0
        while (end := data.find(_END, place)) < 0:
            if (
                len(data) > limit + limit // 2 + _PIECE
            ):  # room for the dots of a mail that is nothing but dots
                del data[: -len(_END)]
                dropped = True
            place = max(0, len(data) - len(_END) + 1)
            data += self._received()
        self._buffer = data[end + len(_END) :]
        raw = bytes(data[: end + 2]).replace(b"\r\n..", b"\r\n.")[2:]
        if dropped or len(raw) > limit:
            raise too_large(limit)
        return raw

    def _status(self) -> bytes:
        return self._judge(self._line())

    @staticmethod
    def _judge(line: bytes) -> bytes:
        if line.startswith(b"+OK"):
            return line.partition(b" ")[2]
        if line.startswith(b"-ERR"):
            raise Refusal(line)
        raise servers.protocol_broken("an answer that is neither +OK nor -ERR")

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > _LONGEST_LINE:
                raise servers.protocol_broken("a line without end")
            self._buffer += self._received()
        line = bytes(self._buffer[:end]).removesuffix(b"\r")
        del self._buffer[: end + 1]
        return line

    def _received(self) -> bytes:
        data = self._socket.recv(_PIECE)
        if not data:
            raise ConnectionResetError("the server has hung up")
        return data

    def close(self) -> None:
        """Hang up: without QUIT nothing that was to be deleted is."""
        with suppress(OSError):
            self._socket.close()
