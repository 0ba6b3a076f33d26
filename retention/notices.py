"""Notices to the custodians of a hold, as acts; which mail is due next. All validate at the head.

An act says that a mail is about to be handed over, another one what became of it. Who is cut off between the two does
not send it again: whether it arrived is not known, the acts say so, and the reminder comes in its time all the same. So
nobody gets one mail twice within that time, and a mail that was lost so is seen as ``unknown``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from archive_service.ledger.acts import Acts
from archive_service.ledger.notices import Campaign, NoticeKind, Notified
from archive_service.ledger.reader import Place
from archive_service.model.clock import Clock, from_rfc3339, rfc3339
from archive_service.model.errors import Invalid, NotFound, Refused
from retention.holds import require_own

MOST_SUBJECT, MOST_TEXT, MOST_DAYS = 200, 20_000, 366
_AGAIN = timedelta(hours=1)  # after a mail that was surely not taken
_K = NoticeKind


@dataclass(frozen=True)
class NoticeAsked:
    """The fields as in ``ledger.notices.Campaign``; ``to``: ids of custodians."""

    to: Sequence[str]
    subject: str
    text: str
    remind_days: int
    escalate_days: int
    escalate_to: str


def open_notices(acts: Acts, hold: str, asked: NoticeAsked, by: str, clock: Clock) -> int:
    """Have the custodians of a hold told; the acts-log position that has passed it; durable on return. Said again, it
    adds people and changes the text of what is sent from then on. Raises Invalid (``notice.invalid``), NotFound,
    Refused (``hold.silent``: nobody is told of such a hold)."""
    if not asked.to or not asked.subject.strip() or not asked.text.strip():
        raise Invalid("a notice has a subject, a text, and somebody to go to", code="notice.invalid")
    _require_sendable(asked)

    def act(_: Place) -> dict[str, Any]:
        if require_own(acts, hold).silent:
            raise Refused("nobody is told of a silent hold", code="hold.silent")
        fields = {**vars(asked), "to": list(asked.to), "by": by, "at": rfc3339(clock())}
        return {"version": 1, "act": "notice.open", "hold": hold, **fields}

    return acts.append(act) + 1


def _require_sendable(asked: NoticeAsked) -> None:
    """Raises Invalid (``notice.invalid``) for what no mail could say, or would say at every look."""
    if (
        len(asked.subject.splitlines()) != 1
        or len(asked.subject) > MOST_SUBJECT
        or len(asked.text) > MOST_TEXT
    ):
        detail = f"a subject is one line of {MOST_SUBJECT} letters at most, a text has {MOST_TEXT}"
        raise Invalid(detail, code="notice.invalid")
    if not all(1 <= days <= MOST_DAYS for days in (asked.remind_days, asked.escalate_days)):
        raise Invalid(f"1 to {MOST_DAYS} days", code="notice.invalid")


def acknowledge(acts: Acts, hold: str, custodian: str, by: str, reason: str | None, clock: Clock) -> None:
    """Somebody knows of a hold: once is enough. ``by`` and ``reason``: who says so for him, and why; by the link, an
    empty text and None. Raises NotFound (``notice.unknown``), Invalid (``notice.invalid``)."""
    if by and not (reason or "").strip():
        raise Invalid("who says so for another says why", code="notice.invalid")

    def act(_: Place) -> dict[str, Any]:
        if require_person(acts, hold, custodian).acknowledged is not None:
            raise _Said
        why = {"reason": reason} if reason else {}
        fields = {"hold": hold, "custodian": custodian, "by": by, "at": rfc3339(clock()), **why}
        return {"version": 1, "act": "notice.acknowledged", **fields}

    try:
        acts.append(act)
    except _Said:
        return


class _Said(Exception):
    """It was said before."""


def require_person(acts: Acts, hold: str, custodian: str) -> Notified:
    """Raises NotFound (``notice.unknown``)."""
    known = acts.notices.known.get(hold)
    person = None if known is None else known.people.get(custodian)
    if person is None:
        raise NotFound("no notice of this hold went to him", code="notice.unknown")
    return person


def due(acts: Acts, campaign: Campaign, person: Notified, now: datetime) -> NoticeKind | None:
    """The mail that is to go to him, or about him, now; None: none is."""
    if person.steps and person.steps[-1].state == "failed" and now < _time(person.steps[-1].at) + _AGAIN:
        return None
    told = person.tried(_K.NOTICE, _K.REMINDER)
    if acts.holds.known[campaign.hold].released is not None:
        return _K.RELEASE if told and not person.tried(_K.RELEASE) else None
    if not told:
        return _K.NOTICE
    if person.acknowledged is not None:
        return None
    late = _time(told[0].at) + timedelta(days=campaign.escalate_days)
    if now >= late and not person.tried(_K.ESCALATION):
        return _K.ESCALATION
    return _K.REMINDER if now >= _time(told[-1].at) + timedelta(days=campaign.remind_days) else None


def begin(acts: Acts, hold: str, custodian: str, wanted: NoticeKind, clock: Clock) -> bool:
    """Say that this mail is about to be handed over, durable on return; whether it is what is due at the acts'
    head."""

    def act(_: Place) -> dict[str, Any]:
        now = clock()
        kind = due(acts, acts.notices.known[hold], require_person(acts, hold, custodian), now)
        if kind is not wanted:
            raise _Said
        fields = {"hold": hold, "custodian": custodian, "kind": str(kind), "at": rfc3339(now)}
        return {"version": 1, "act": "notice.try", **fields}

    try:
        acts.append(act)
    except _Said:
        return False
    return True


def end(acts: Acts, hold: str, custodian: str, kind: NoticeKind, failed: str | None, clock: Clock) -> None:
    """Say that the mail server has taken it, or, with a code, that it has surely not. Durable on return."""
    fields = {"hold": hold, "custodian": custodian, "kind": str(kind), "at": rfc3339(clock())}
    word = {"act": "notice.sent"} if failed is None else {"act": "notice.failed", "code": failed}
    acts.append(lambda _: {"version": 1, **word, **fields})


def _time(text: str) -> datetime:
    return from_rfc3339(text)
