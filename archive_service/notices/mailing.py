"""Handing one mail to one mail server: for alarms, and for canaries."""

import smtplib
import socket
import ssl
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Literal

from archive_service.alarms.bounded import within
from archive_service.model.errors import Invalid, Refused, StoreError
from archive_service.model.reachable import connect


@dataclass(frozen=True)
class MailServer:
    """Where mails are handed over, and how. ``seconds`` bounds one delivery, all of it."""

    host: str
    port: int
    security: Literal["starttls", "tls", "none"]
    context: ssl.SSLContext
    user: str | None
    password: str | None = field(repr=False)
    seconds: float


class _Over(smtplib.SMTP):
    """Over a connection that stands, so that the greeting is within the bound too."""

    def __init__(self, connected: socket.socket, server: MailServer) -> None:
        self._connected = connected
        super().__init__(server.host, server.port, socket.gethostname(), timeout=server.seconds)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        """As in smtplib, which asks it for the connection."""
        self._connected.settimeout(timeout)
        return self._connected


def hand_over(
    server: MailServer, message: EmailMessage, sender: str, recipients: Sequence[str], family: str = "mail"
) -> None:
    """Hand a message over. Durable at the server on return, by its word. Raises StoreError, also when one of several
    recipients was refused: FAMILY ``.address`` (link-local, or a cloud's metadata), ``.unreachable``, ``.timeout`` (it
    may have been taken), ``.refused``."""
    started = time.monotonic()
    try:
        connected = connect(server.host, server.port, server.seconds / 2)
        with closing(connected), within(server.seconds, connected):
            refused = _converse(server, connected, message, sender, recipients)
    except Refused as error:
        raise StoreError("the mail server's address may not be reached", code=f"{family}.address") from error
    except (OSError, UnicodeError) as error:  # smtplib's errors are OSErrors too
        late = isinstance(error, TimeoutError) or time.monotonic() - started >= server.seconds
        code = "timeout" if late else _code(error)
        raise StoreError("the mail server did not take the mail", code=f"{family}.{code}") from error
    if refused:
        raise StoreError(f"the mail server refused {refused} recipients", code=f"{family}.refused")


def _converse(
    server: MailServer,
    connected: socket.socket,
    message: EmailMessage,
    sender: str,
    recipients: Sequence[str],
) -> int:
    """Hand the message over; how many recipients were refused. Raises OSError."""
    if server.security == "tls":
        connected = server.context.wrap_socket(connected, server_hostname=server.host)
    smtp = _Over(connected, server)
    try:
        if server.security == "starttls":
            smtp.starttls(context=server.context)
        if server.user is not None:
            smtp.login(server.user, server.password or "")
        refused = len(smtp.send_message(message, sender, list(recipients)))
        with suppress(OSError):  # it was taken; how the session ends is of no matter
            smtp.quit()
    finally:
        smtp.close()
    return refused


def _code(error: Exception) -> str:
    answered = isinstance(error, smtplib.SMTPResponseException | smtplib.SMTPRecipientsRefused)
    return "refused" if answered else "unreachable"


def trusting(pem: str | None) -> ssl.SSLContext:
    """A context that checks certificates against these authorities, the system's unless given. Raises Invalid."""
    try:
        return ssl.create_default_context(cadata=pem)
    except (ssl.SSLError, ValueError) as error:
        raise Invalid("the certificate authorities cannot be used", code="mail.ca") from error


def is_address(text: str) -> bool:
    """Whether a text is one bare address that can stand in an SMTP command as it is."""
    local, _, domain = text.rpartition("@")
    return bool(local and domain) and text.isascii() and text.isprintable() and not set(text) & set(' ,;<>"')
