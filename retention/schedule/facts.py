"""What a schedule may ask of a capture: drawn from its finding, and from what is known of its text."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from archive_service.model.clock import from_rfc3339, rfc3339
from archive_service.model.mail import Finding
from archive_service.model.schedule import fold, words

_UNDER_WAY = timedelta(
    days=30
)  # longer than any server keeps trying: an older date of what came by mail is wrong


@dataclass(frozen=True)
class Facts:
    """``sent_at`` is believed only so far as it can be true: see ``facts_of``. Addresses are lower case. ``marks``: by
    the key of a ``TextCondition``, whether the mail fulfils it; None: it was read, and cannot be told; absent: it has
    not been read for it."""

    source: str
    received_at: str
    sent_at: str
    sender: str | None
    recipients: frozenset[str]
    label: str | None
    flags: frozenset[str]
    subject: frozenset[str]
    attachments: tuple[tuple[str, str], ...]  # (content type, file name), folded
    size: int
    marks: Mapping[str, bool | None]

    @property
    def parties(self) -> frozenset[str]:
        """Whoever sent or had it."""
        return self.recipients | ({self.sender} if self.sender else frozenset())


def facts_of(finding: Finding, marks: Mapping[str, bool | None] | None = None) -> Facts:
    """The facts of a capture. Who writes a mail chooses its date: one behind its receipt, or, of what was not imported,
    30 days and more before it, counts as the receipt."""
    parsed = finding.parsed
    parts = (part for part in parsed.parts if part.attachment)
    return Facts(
        source=finding.source,
        received_at=finding.received_at,
        sent_at=_sent(finding),
        sender=parsed.sender.strip().lower() if parsed.sender else None,
        recipients=frozenset(_addresses([each.address for each in parsed.recipients], parsed.mailbox)),
        label=parsed.label,
        flags=frozenset(parsed.flags),
        subject=frozenset(words(parsed.subject)),
        attachments=tuple((part.content_type.lower(), fold(part.filename or "")) for part in parts),
        size=parsed.inner_end - parsed.inner_start,
        marks=marks or {},
    )


def _addresses(recipients: Iterable[str], mailbox: str | None) -> Iterable[str]:
    for address in (*recipients, *((mailbox,) if mailbox else ())):
        yield address.strip().lower()


def _sent(finding: Finding) -> str:
    received = from_rfc3339(finding.received_at)
    try:
        sent = from_rfc3339(finding.parsed.sent_at or "")
    except (ValueError, OverflowError):
        return finding.received_at
    late = finding.channel is None and sent < received - _UNDER_WAY
    return finding.received_at if late or sent > received else rfc3339(sent)
