"""Postfix: mail that its milter holds back for us, or copies by ``always_bcc`` and ``recipient_bcc_maps``."""

from archive_service.model.mail import CaptureRecord, Role
from ingest.dialects.base import Envelope, Unwrapped
from ingest.dialects.generic import Generic
from ingest.dialects.plain import whole
from ingest.dialects.recipients import delivered_to
from ingest.mime.scanner import Headers, scan_headers


class Postfix(Generic):
    """The message as it entered the queue.

    By milter (the record says so) the RCPTs are the mail's own, all that Postfix accepted in this transaction: the
    capture is complete, and who stands in none of To, Cc and Bcc is a blind recipient. As copies: ``always_bcc`` tells
    no recipients. With ``recipient_bcc_maps`` each recipient of the envelope, Bcc too, makes an RCPT of its own; a
    queue file of many recipients is delivered in several transactions, each of which names some, so that no capture is
    ever complete by itself. MAIL FROM is the message's own, but lists and forwarders rewrite it: it stays in the
    capture record, and the sender is the header's."""

    name = "postfix"

    def unwrap(self, raw: bytes, record: CaptureRecord) -> Unwrapped:
        """The whole capture; ``forged_report`` when its header claims to be a journal report."""
        if record.milter is None:
            return super().unwrap(raw, record)
        headers = scan_headers(raw, 0, len(raw))
        return whole(raw, headers, _all_recipients(headers, record))


def _all_recipients(headers: Headers, record: CaptureRecord) -> Envelope:
    recipients = delivered_to(headers, record.rcpt_to)
    roles = (Role.BCC if one.role is Role.UNKNOWN else one.role for one in recipients)
    named = (one.model_copy(update={"role": role}) for one, role in zip(recipients, roles, strict=True))
    return Envelope(recipients=tuple(named), complete=True)
