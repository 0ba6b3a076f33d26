"""What a dialect is: how one mail system hands messages to a journal, and how to find the message again."""

from dataclasses import dataclass
from typing import Protocol

from archive_service.model.mail import CaptureRecord, Recipient
from ingest.mime.body import decode_body
from ingest.mime.charsets import decode
from ingest.mime.headers import raw_text
from ingest.mime.markup import html_text
from ingest.mime.scanner import Entity, Headers, scan

_REPORT_FIELDS = ("x-ms-journal-report", "x-ms-exchange-organization-journal-report")
# Exchange 2003 wrote the second spelling, and others took it over.
_REPORT_IDENTIFIERS = ("content-identifier", "content-identifer")
_INTERCEPT = "auto-replied (zimbra; intercept)"
_LONGEST_REPORT = 1 << 26  # bytes of report text; some 500,000 recipients


@dataclass(frozen=True)
class Envelope:
    """What a journal says of a message's sender and recipients. ``complete``: it names every recipient.
    ``mailbox``: the one that the message was taken from."""

    sender: str | None = None
    on_behalf_of: str | None = None
    recipients: tuple[Recipient, ...] = ()
    label: str | None = None
    sent_at: str | None = None  # RFC 3339 UTC
    subject: str = ""
    complete: bool = False
    mailbox: str | None = None


@dataclass(frozen=True)
class Unwrapped:
    """Where the message lies in the capture, as byte offsets, and what the journal adds to it.

    ``envelope`` is None when the capture carries none: then the message's own header is all there is.
    """

    start: int
    end: int
    flags: tuple[str, ...] = ()
    envelope: Envelope | None = None


class Dialect(Protocol):
    """One journal dialect; stateless and thread-safe."""

    name: str

    def unwrap(self, raw: bytes, record: CaptureRecord) -> Unwrapped:
        """Find the message in a capture that came under the envelope ``record``. Never raises for what the
        capture contains: what cannot be unwrapped is the message itself, flagged."""
        ...


def has_report_field(headers: Headers) -> bool:
    """Whether a header has the field that Exchange 2007 and later put on a journal report."""
    return any(name in headers for name in _REPORT_FIELDS)


def marked_as_report(headers: Headers) -> bool:
    """Whether a header claims to be an Exchange journal report. Anyone can write that: it counts only on a
    source that is configured as one."""
    return has_report_field(headers) or any(
        raw_text(value).strip().lower() == "exjournalreport"
        for name in _REPORT_IDENTIFIERS
        for value in headers.all(name)
    )


def marked_as_intercept(headers: Headers) -> bool:
    """Whether a header claims to be a legal intercept of Zimbra; believed as little as the other mark."""
    return any(
        " ".join(raw_text(value).split()).lower() == _INTERCEPT for value in headers.all("auto-submitted")
    )


def marked_by_any(headers: Headers) -> bool:
    """Whether a header has the mark of any system's report."""
    return marked_as_report(headers) or marked_as_intercept(headers)


def report_text(raw: bytes, parts: list[Entity]) -> str | None:
    """The text that a report opens with: its first text/plain part, or the words of its first HTML one; either may
    stand in a multipart/alternative. None when there is none, or when it is larger than any report."""
    found = [part for part in _opened(raw, parts) if part.content_type in ("text/plain", "text/html")]
    part = min(found, key=lambda one: one.content_type != "text/plain", default=None)
    if part is None or part.end - part.body > _LONGEST_REPORT:
        return None
    data = bytes(decode_body(raw, part.body, part.end, part.encoding))
    text = decode(data, part.media.parameters.get("charset"))
    return html_text(text) if part.content_type == "text/html" else text


def _opened(raw: bytes, parts: list[Entity]) -> list[Entity]:
    """Parts, and instead of a multipart/alternative its own parts."""
    opened: list[Entity] = []
    for part in parts:
        if part.content_type == "multipart/alternative":
            opened.extend(scan(raw, part.start, part.end, max_depth=1).root.children)
        else:
            opened.append(part)
    return opened
