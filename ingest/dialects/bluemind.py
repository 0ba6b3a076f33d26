"""BlueMind: a milter adds the archive as a recipient, and two fields that say from whom and to whom."""

from dataclasses import replace

from archive_service.model.mail import CaptureRecord
from ingest.dialects.base import Envelope, Unwrapped
from ingest.dialects.plain import copy_of, named_by_rcpt, whole
from ingest.dialects.recipients import addresses_in
from ingest.mime.scanner import Headers, scan_headers

_FROM, _TO = "x-bm-journaling-orig-from", "x-bm-journaling-orig-to"


class BlueMind:
    """The message is not wrapped. MAIL FROM is ``no-reply@`` the domain; the sender stands in
    ``X-BM-Journaling-Orig-From``, the addresses of the field To, and of it alone, in ``X-BM-Journaling-Orig-To``
    with commas. A milter adds fields at the end, so that the last one is believed when there are several; the
    capture is then flagged ``envelope_ambiguous``."""

    name = "bluemind"

    def unwrap(self, raw: bytes, record: CaptureRecord) -> Unwrapped:
        """The whole capture, with the sender and the recipients that its two fields and its RCPTs name; never
        complete, for Cc and Bcc are not among them."""
        headers = scan_headers(raw, 0, len(raw))
        envelope = _envelope(headers, record)
        several = any(len(set(map(_normal, headers.all(name)))) > 1 for name in (_FROM, _TO))
        return whole(raw, headers, envelope, *(("envelope_ambiguous",) if several else ()))


def _normal(value: bytes) -> tuple[str, ...]:
    return tuple(address.lower() for address in addresses_in(value))


def _envelope(headers: Headers, record: CaptureRecord) -> Envelope | None:
    names = [address for value in headers.all(_TO)[-1:] for address in addresses_in(value)]
    found = copy_of(headers, [*names, *named_by_rcpt(record)])
    senders = [address for value in headers.all(_FROM)[-1:] for address in addresses_in(value)]
    if not senders:
        return found
    return replace(found or Envelope(), sender=senders[0])
