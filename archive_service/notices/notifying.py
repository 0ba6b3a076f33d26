"""Notices to custodians, wired over an archive: what the scheduler runs."""

from archive_service.alarms.mail import mail_of
from archive_service.bootstrap import Core, Tenant
from archive_service.notices.sending import Sending


def sending_of(core: Core, tenant: Tenant) -> Sending | None:
    """Over the mail server of the alarms; None without one, or without ``public_url``, which stands in the mails.
    Raises Invalid."""
    mail, url = mail_of(core.settings), core.settings.public_url
    if mail is None or url is None:
        return None
    secret = tenant.keyring.secret
    return Sending(tenant.acts, tenant.id, lambda: secret("token"), mail.hand, mail.sender, url, core.clock)
