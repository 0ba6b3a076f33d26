"""How captures become one message. Pure, and independent of the order in which captures are given."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from archive_service.catalog.base import CaptureRow, MessageRow
from archive_service.model.clock import from_rfc3339
from archive_service.model.errors import Invalid
from archive_service.model.mail import Recipient, Role

RANK_STEP = 2**30
DRAFT = "draft"
"""The mark of what was saved and not sent."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RANK_SECONDS = 2**33 - 1  # the years 1697 to 2242: a rank fits a signed 64-bit integer


def merge(captures: Sequence[CaptureRow]) -> MessageRow:
    """The message of these captures (all of one message, at least one; any order).

    The first capture, by ``order_seq``, gives subject, time and rank; sender is the first one known.
    ``envelope_complete`` says that at least one capture's envelope was a complete report by its
    dialect. A server that forks a message reports each fork on its own: the recipients are then
    all that the reports at hand name together, and a fork whose report never came is not among them.
    Raises Invalid when there is no capture, or captures of two messages.
    """
    if len({capture.finding.message for capture in captures}) != 1:
        raise Invalid("a message is merged from the captures of one message", code="catalog.merge")
    ordered = sorted(captures, key=lambda capture: (capture.order_seq, capture.id))
    first = ordered[0]
    parsed = first.finding.parsed
    return MessageRow(
        id=first.finding.message,
        rank=_rank(first),
        version=ordered[-1].order_seq,
        month=min(capture.finding.received_at for capture in ordered)[:7],
        sender=next((c.finding.parsed.sender for c in ordered if c.finding.parsed.sender), None),
        subject=parsed.subject,
        sent_at=parsed.sent_at,
        recipients=unite([recipient for c in ordered for recipient in c.finding.parsed.recipients]),
        envelope_complete=any(capture.finding.parsed.envelope_complete for capture in ordered),
        captures=tuple(ordered),
    )


def flags_of(captures: Sequence[CaptureRow]) -> tuple[str, ...]:
    """The marks of a message, sorted: those that any of its captures gives; but it is a draft only while all of them
    are: what was saved first and sent later counts as sent."""
    given = [set(capture.finding.parsed.flags) for capture in captures]
    flags = set[str]().union(*given)
    if not all(DRAFT in flags for flags in given):
        flags.discard(DRAFT)
    return tuple(sorted(flags))


def sent_or_received(capture: CaptureRow) -> int:
    """When the message was sent by this capture, in seconds since 1970 (whole, rounded down); when
    received, if the capture gives no time of sending or one that is no RFC 3339."""
    sent_at = capture.finding.parsed.sent_at
    try:
        moment = from_rfc3339(sent_at or capture.finding.received_at)
    except ValueError:  # a Date of the sender's making must not stop the projections
        moment = from_rfc3339(capture.finding.received_at)
    return (moment - _EPOCH) // timedelta(seconds=1)


def _rank(first: CaptureRow) -> int:
    bounded = max(-_RANK_SECONDS, min(sent_or_received(first), _RANK_SECONDS))
    return bounded * RANK_STEP + first.order_seq % RANK_STEP


@dataclass
class _United:
    """What the captures say of one address, so far."""

    best: Recipient
    expanded_from: str | None
    forwarded_from: str | None
    on_report: bool


def unite(recipients: Sequence[Recipient]) -> tuple[Recipient, ...]:
    """One recipient for each address (compared in lower case, spelled as first seen), in order of first
    appearance. A known role beats an unknown one; of two known ones the first stands, unless only
    a header gave it and a report gives the other. ``on_report`` if any says so."""
    united: dict[str, _United] = {}
    for recipient in recipients:
        known = united.setdefault(
            recipient.address.lower(),
            _United(recipient, None, None, False),
        )
        if _weight(recipient) > _weight(known.best):
            known.best = recipient.model_copy(update={"address": known.best.address})
        known.expanded_from = known.expanded_from or recipient.expanded_from
        known.forwarded_from = known.forwarded_from or recipient.forwarded_from
        known.on_report = known.on_report or recipient.on_report
    return tuple(
        Recipient(
            address=known.best.address,
            role=known.best.role,
            expanded_from=known.expanded_from,
            forwarded_from=known.forwarded_from,
            on_report=known.on_report,
        )
        for known in united.values()
    )


def _weight(recipient: Recipient) -> tuple[bool, bool]:
    return recipient.role is not Role.UNKNOWN, recipient.on_report
