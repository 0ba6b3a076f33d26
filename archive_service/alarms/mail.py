"""The mail channel: each notice is a short plain text mail, handed to one SMTP server."""

import ssl
from email.message import EmailMessage
from email.utils import formatdate

from archive_service.alarms.notices import Notice
from archive_service.model.errors import Invalid
from archive_service.notices.mailing import MailServer, hand_over, is_address
from archive_service.settings import Settings, host_port


class MailChannel:
    """Mails from one address to some. Thread-safe."""

    name = "mail"

    def __init__(self, server: MailServer, sender: str, recipients: tuple[str, ...]) -> None:
        self._server = server
        self._sender = sender
        self._recipients = recipients

    def deliver(self, notice: Notice) -> None:
        """See Channel. Raises StoreError: also when one of several recipients was refused."""
        hand_over(self._server, self.message(notice), self._sender, self._recipients, "alarm")

    @property
    def sender(self) -> str:
        """The bare address that mails come from."""
        return self._sender

    def hand(self, message: EmailMessage, recipient: str) -> None:
        """Hand another mail over, to one address. Raises StoreError (``notice.refused``, ...)."""
        hand_over(self._server, message, self._sender, (recipient,), "notice")

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


def mail_of(settings: Settings) -> MailChannel | None:
    """The mail channel of the settings, if one is set. Raises Invalid."""
    if settings.alarm_mail_server is None:
        return None
    host, port = host_port(settings.alarm_mail_server, "alarm_mail_server")
    recipients = tuple(each.strip() for each in (settings.alarm_mail_to or "").split(",") if each.strip())
    addresses = (settings.alarm_mail_from or "", *recipients)
    if len(addresses) < 2 or not all(map(is_address, addresses)):
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
