"""Postfix: copies by ``always_bcc``, or by ``recipient_bcc_maps`` with the recipient in a sub-address."""

from ingest.dialects.generic import Generic


class Postfix(Generic):
    """The message as it entered the queue. ``always_bcc`` tells no recipients. With ``recipient_bcc_maps`` each
    recipient of the envelope, Bcc too, makes an RCPT of its own; a queue file of many recipients is delivered in
    several transactions, each of which names some, so that no capture is ever complete by itself. MAIL FROM is the
    message's own, but lists and forwarders rewrite it: it stays in the capture record, and the sender is the
    header's."""

    name = "postfix"
