"""What a dialect is: how one mail system hands messages to a journal, and how to find the message again."""

from dataclasses import dataclass
from typing import Protocol

from archive_service.model.mail import CaptureRecord, Recipient
from ingest.mime.headers import raw_text
from ingest.mime.scanner import Headers

_REPORT_FIELDS = ("x-ms-journal-report", "x-ms-exchange-organization-journal-report")
# Exchange 2003 wrote the second spelling, and others took it over.
_REPORT_IDENTIFIERS = ("content-identifier", "content-identifer")


@dataclass(frozen=True)
class Envelope:
    """What a journal says of a message's sender and recipients. ``complete``: it names every recipient."""

    sender: str | None = None
    on_behalf_of: str | None = None
    recipients: tuple[Recipient, ...] = ()
    label: str | None = None
    sent_at: str | None = None  # RFC 3339 UTC
    subject: str = ""
    complete: bool = False


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


def marked_as_report(headers: Headers) -> bool:
    """Whether a header claims to be an Exchange journal report. Anyone can write that: it counts only on a
    source that is configured as one."""
    if any(name in headers for name in _REPORT_FIELDS):
        return True
    return any(
        raw_text(value).strip().lower() == "exjournalreport"
        for name in _REPORT_IDENTIFIERS
        for value in headers.all(name)
    )
