"""BlueMind: a milter adds the archive as a recipient, and two fields that say from whom and to whom."""

from dataclasses import replace

from archive_service.model.mail import CaptureRecord
from ingest.dialects.base import Envelope, Unwrapped
from ingest.dialects.plain import copy_of, named_by_rcpt, whole
from ingest.dialects.recipients import header_addresses
from ingest.mime.scanner import Headers, scan_headers

_FROM, _TO = "x-bm-journaling-orig-from", "x-bm-journaling-orig-to"


class BlueMind:
    """The message is not wrapped. MAIL FROM is ``no-reply@`` the domain; the sender stands in
    ``X-BM-Journaling-Orig-From``, the addresses of the field To, and of it alone, in ``X-BM-Journaling-Orig-To``
    with commas. So what these two name and From and To do not was not written by the milter: it is kept without
    claim, and the capture is flagged ``envelope_ambiguous``."""

    name = "bluemind"

    def unwrap(self, raw: bytes, record: CaptureRecord) -> Unwrapped:
        """The whole capture, with the sender and the recipients that its two fields and its RCPTs name; never
        complete, for Cc and Bcc are not among them."""
        headers = scan_headers(raw, 0, len(raw))
        named, others = _confirmed(headers, _TO, "to")
        senders, strangers = _confirmed(headers, _FROM, "from")
        envelope = copy_of(headers, [*named, *named_by_rcpt(record)], others)
        if senders:
            envelope = replace(envelope or Envelope(), sender=senders[0])
        return whole(raw, headers, envelope, *(("envelope_ambiguous",) if others or strangers else ()))


def _confirmed(headers: Headers, field: str, written: str) -> tuple[list[str], list[str]]:
    """The addresses of a field of the milter that the message's own field has too, and those that it has not."""
    if field not in headers:
        return [], []
    known = {address.lower() for address in header_addresses(headers, written)}
    both: tuple[list[str], list[str]] = ([], [])
    for address in header_addresses(headers, field):
        both[address.lower() not in known].append(address)
    return both
