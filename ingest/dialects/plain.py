"""What the dialects have in common that hand over the message itself, unwrapped."""

from collections.abc import Iterable

from archive_service.model.mail import CaptureRecord, Recipient
from ingest.dialects.base import Envelope, Unwrapped, marked_by_any
from ingest.dialects.recipients import delivered_to
from ingest.mime.scanner import Headers
from ingest.subaddress import split_subaddress


def whole(raw: bytes, headers: Headers, envelope: Envelope | None, *flags: str) -> Unwrapped:
    """The whole capture as the message; ``forged_report`` when its header claims to be some system's report."""
    forged = ("forged_report",) if marked_by_any(headers) else ()
    return Unwrapped(0, len(raw), (*forged, *flags), envelope)


def copy_of(headers: Headers, addresses: Iterable[str], doubtful: Iterable[str] = ()) -> Envelope | None:
    """The envelope of one copy: it names whom this copy was for, and nobody knows how many others there were.
    ``doubtful`` are named by what the sender may have written: to be found, with no delivery claimed. None when
    it names nobody."""
    recipients = {one.address.lower(): one for one in delivered_to(headers, addresses)}
    for address in doubtful:
        recipients.setdefault(address.lower(), Recipient(address=address))
    return Envelope(recipients=tuple(recipients.values())) if recipients else None


def named_by_rcpt(record: CaptureRecord) -> list[str]:
    """The recipients that stand inside the archive's own address, by the RCPT commands of the transaction."""
    return [original for rcpt in record.rcpt_to if (original := split_subaddress(rcpt)[1]) is not None]
