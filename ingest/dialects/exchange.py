"""Exchange envelope journaling: reports of Exchange 2003 to 2019, unwrapped by byte offsets.

A report is a multipart/mixed of a text (``exchange_report``, ``exchange_2003``) and the message as message/rfc822.
With journal report decryption there are two messages, the clear copy and the protected original. A report that could
not be delivered comes as attachment of a non-delivery report, from the alternate journaling mailbox, or to the source's
address for such.
"""

from archive_service.model.mail import CaptureRecord
from ingest.dialects.base import (
    Envelope,
    Unwrapped,
    has_report_field,
    marked_as_report,
    marked_by_any,
    report_text,
)
from ingest.dialects.exchange_2003 import lists_recipients, parse_report_2003
from ingest.dialects.exchange_report import Report, bare_address, parse_report
from ingest.mime.dates import parse_report_date
from ingest.mime.scanner import Entity, scan, scan_headers

_PROTECTED_KINDS = frozenset(
    ("application/x-microsoft-rpmsg-message", "application/pkcs7-mime", "application/x-pkcs7-mime")
)
_HEADERS_ONLY = frozenset(("text/rfc822-headers", "message/rfc822-headers", "message/global-headers"))
_IDENTITY = frozenset(("7bit", "8bit", "binary"))


def _read_report(raw: bytes, root: Entity) -> Report | None:
    """What the report's text says, by the grammar of the Exchange that its mark names."""
    text = report_text(raw, root.children)
    if text is None:
        return None
    if not has_report_field(root.headers) and lists_recipients(text):
        return parse_report_2003(text)
    return parse_report(text)


def _is_protected(raw: bytes, message: Entity) -> bool:
    """Whether a message is the still encrypted original (rights management or S/MIME)."""
    inner = scan(raw, message.body, message.end).root
    return any(leaf.content_type in _PROTECTED_KINDS for leaf in inner.leaves())


def _choose(raw: bytes, messages: list[Entity]) -> tuple[Entity | None, bool]:
    """The message that a report carries, and whether it is the decrypted copy of a protected one. None when
    there is no telling."""
    if len(messages) == 1:
        return messages[0], False
    clear = [message for message in messages if not _is_protected(raw, message)]
    if len(clear) == 1:
        return clear[0], True
    return None, False


def _envelope(report: Report, *, complete: bool) -> Envelope:
    return Envelope(
        sender=bare_address(report.fields["sender"]),
        on_behalf_of=bare_address(report.fields.get("on-behalf-of", "")),
        recipients=tuple(dict.fromkeys(report.recipients)),
        label=report.fields.get("label") or None,
        sent_at=parse_report_date(report.fields.get("sentutc", "")),
        subject=report.fields.get("subject", ""),
        complete=complete and not report.unknown and bool(report.recipients),
    )


def _is_plain(part: Entity) -> bool:
    """Whether a part's bytes are there as offsets, not under a transfer encoding, and are any at all."""
    return part.encoding in _IDENTITY and part.body < part.end


def _unwrap_report(raw: bytes, root: Entity, *flags: str) -> Unwrapped:
    """The message inside the report ``root``; the whole capture when that cannot be told."""
    report = _read_report(raw, root)
    if report is None:
        return Unwrapped(0, len(raw), (*flags, "journal_report", "report_unparsed"))
    inner, decrypted = _choose(raw, [part for part in root.children if part.is_message])
    if inner is None or not _is_plain(inner):
        envelope = _envelope(report, complete=False)
        return Unwrapped(0, len(raw), (*flags, "journal_report", "report_unparsed"), envelope)
    found = [*flags, "journal_report"]
    if decrypted:
        found.append("decrypted_copy")
    if report.unknown:
        found.append("report_unknown_field")
    if marked_by_any(scan_headers(raw, inner.body, inner.end)):
        found.append("forged_report")  # somebody mailed a report: it is what the report reports of
    return Unwrapped(inner.body, inner.end, tuple(found), _envelope(report, complete=True))


def _unwrap_returned(raw: bytes, root: Entity) -> Unwrapped | None:
    """The message inside a report inside a non-delivery report (RFC 3462); None when this is none of a report."""
    if root.content_type != "multipart/report":
        return None
    for part in root.children:
        if part.is_message and _is_plain(part):
            returned = scan(raw, part.body, part.end, max_depth=1).root
            if marked_as_report(returned.headers):
                return _unwrap_report(raw, returned, "undelivered_report")
        elif part.content_type in _HEADERS_ONLY and marked_as_report(
            scan_headers(raw, part.body, part.end)
        ):  # the report itself is lost; that it was there must not go unseen
            return Unwrapped(0, len(raw), ("undelivered_report", "journal_report", "report_unparsed"))
    return None


class Exchange:
    """Exchange Server on premises."""

    name = "exchange"

    def unwrap(self, raw: bytes, record: CaptureRecord) -> Unwrapped:
        """The message inside an envelope report, or inside a report that a non-delivery report returns. A capture
        that is neither is the message itself; a report that does not parse is archived whole, flagged
        ``report_unparsed``, and keeps what its text says of sender and recipients if that much can be read. Handed in
        as undeliverable, any non-delivery report is one of a report, whatever it returns."""
        root = scan(raw, 0, len(raw), max_depth=1).root
        came_back = ("undelivered_report",) if record.undeliverable else ()
        if marked_as_report(root.headers):
            return _unwrap_report(raw, root, *came_back)
        returned = _unwrap_returned(raw, root)
        if returned is not None:
            return returned
        if came_back and root.content_type == "multipart/report":  # what it was about did not come along
            return Unwrapped(0, len(raw), (*came_back, "report_unparsed"))
        return Unwrapped(0, len(raw), ("forged_report",) if marked_by_any(root.headers) else ())
