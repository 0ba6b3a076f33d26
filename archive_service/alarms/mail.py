"""The mail channel: each notice is a short plain text mail, handed to one SMTP server."""

import smtplib
import socket
import ssl
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate
from typing import Literal

from archive_service.alarms.bounded import within
from archive_service.alarms.notices import Notice
from archive_service.model.errors import Invalid, StoreError
from archive_service.settings import Settings, host_port


@dataclass(frozen=True)
class MailServer:
    """Where mails are handed over, and how. ``seconds`` bounds one delivery, all of it."""

    host: str
    port: int
    security: Literal["starttls", "tls", "none"]
    context: ssl.SSLContext
    user: str | None
    password: str | None
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


class MailChannel:
    """Mails from one address to some. Thread-safe."""

    name = "mail"

    def __init__(self, server: MailServer, sender: str, recipients: tuple[str, ...]) -> None:
        self._server = server
        self._sender = sender
        self._recipients = recipients

    def deliver(self, notice: Notice) -> None:
        """See Channel. Raises StoreError: also when one of several recipients was refused."""
        server = self._server
        started = time.monotonic()
        try:
            connected = socket.create_connection((server.host, server.port), server.seconds / 2)
            with closing(connected), within(server.seconds, connected):
                refused = self._converse(connected, self.message(notice))
        except OSError as error:  # smtplib's errors are OSErrors too
            late = isinstance(error, TimeoutError) or time.monotonic() - started >= server.seconds
            code = "alarm.timeout" if late else _code(error)
            raise StoreError("the mail server did not take the alarm", code=code) from error
        if refused:
            raise StoreError(f"the mail server refused {refused} recipients", code="alarm.refused")

    def _converse(self, connected: socket.socket, message: EmailMessage) -> int:
        """Hand the message over; how many recipients were refused. Raises OSError."""
        server = self._server
        if server.security == "tls":
            connected = server.context.wrap_socket(connected, server_hostname=server.host)
        smtp = _Over(connected, server)
        try:
            if server.security == "starttls":
                smtp.starttls(context=server.context)
            if server.user is not None:
                smtp.login(server.user, server.password or "")
            refused = len(smtp.send_message(message, self._sender, self._recipients))
            with suppress(OSError):  # it was taken; how the session ends is of no matter
                smtp.quit()
        finally:
            smtp.close()
        return refused

    def message(self, notice: Notice) -> EmailMessage:
        """A notice as a mail; the same Message-ID at every attempt."""
        message = EmailMessage()
        message["From"] = self._sender
        message["To"] = ", ".join(self._recipients)
        message["Subject"] = f"[archive {notice.severity}] {notice.alarm} {notice.state.replace('_', ' ')}"
        message["Date"] = formatdate()
        message["Message-ID"] = f"<{notice.id}@archive-service.invalid>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no vacation notice in answer
        message.set_content(notice.text())
        return message


def _code(error: OSError) -> str:
    answered = isinstance(error, smtplib.SMTPResponseException | smtplib.SMTPRecipientsRefused)
    return "alarm.refused" if answered else "alarm.unreachable"


def mail_of(settings: Settings) -> MailChannel | None:
    """The mail channel of the settings, if one is set. Raises Invalid."""
    if settings.alarm_mail_server is None:
        return None
    host, port = host_port(settings.alarm_mail_server, "alarm_mail_server")
    recipients = tuple(each.strip() for each in (settings.alarm_mail_to or "").split(",") if each.strip())
    addresses = (settings.alarm_mail_from or "", *recipients)
    if len(addresses) < 2 or not all(map(_is_address, addresses)):
        reason = "alarm_mail_server needs alarm_mail_from and alarm_mail_to, bare addresses"
        raise Invalid(reason, code="settings.invalid")
    if settings.alarm_mail_user is not None and settings.alarm_mail_security == "none":
        reason = "alarm_mail_user needs alarm_mail_security starttls or tls: a password is not sent in clear"
        raise Invalid(reason, code="settings.invalid")
    try:
        context = ssl.create_default_context(cafile=settings.alarm_mail_ca_bundle)
    except (OSError, ssl.SSLError) as error:
        raise Invalid("alarm_mail_ca_bundle cannot be used", code="settings.invalid") from error
    password = settings.alarm_mail_password
    server = MailServer(
        host,
        port,
        settings.alarm_mail_security,
        context,
        settings.alarm_mail_user,
        password.get_secret_value() if password is not None else None,
        settings.alarm_mail_seconds,
    )
    return MailChannel(server, addresses[0], recipients)


def _is_address(text: str) -> bool:
    local, _, domain = text.rpartition("@")
    return bool(local and domain) and text.isascii() and text.isprintable() and not set(text) & set(' ,;<>"')
