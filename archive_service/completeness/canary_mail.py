"""A canary as it is sent: a short mail, the same at every attempt but for its Date."""

from email.message import EmailMessage
from email.utils import formatdate

from archive_service.model.canaries import canary_message_id
from archive_service.model.mail import Canary, Source
from archive_service.notices.mailing import MailServer, trusting

SUBJECT = "Archive canary"
_SECONDS = 20.0


def canary_mail(key: bytes, source: Source, canary: Canary, number: int) -> EmailMessage:
    """``key``: the tenant's identity key."""
    message = EmailMessage()
    message["From"] = canary.sender
    message["To"] = canary.recipient
    message["Subject"] = f"{SUBJECT} {source.id}"
    message["Date"] = formatdate()
    name = canary_message_id(key, source.id, number, canary.sender.rpartition("@")[2])
    message["Message-ID"] = name
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no vacation notice in answer
    message.set_content(
        "The mail archive sends this to see that what goes this way arrives in it. Nobody need read it.\n\n"
        f"{name}\n"
    )
    return message


def server_of(canary: Canary) -> MailServer:
    """The server that takes it. Raises Invalid when its authorities cannot be read."""
    context = trusting(canary.ca)
    return MailServer(
        canary.host, canary.port, canary.security, context, canary.user, canary.password, _SECONDS
    )
