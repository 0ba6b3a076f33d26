"""What the acts say of notices to the custodians of a hold: that mail must not be deleted, and who has said he knows.

notice.open          {hold, to: [id], subject, text, remind_days, escalate_days, escalate_to, by, at}   from here on
notice.try           {hold, custodian, kind: notice|reminder|escalation|release, at}   about to be handed over
notice.sent          {hold, custodian, kind, at}           the mail server has taken it, by its word
notice.failed        {hold, custodian, kind, code, at}     it has surely not: it is tried again
notice.acknowledged  {hold, custodian, by, at, reason?}    by the link (``by`` is empty), or by hand, with a reason
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class NoticeKind(StrEnum):
    """Which mail of a hold. An escalation goes to whoever answers for the hold, all others to the custodian."""

    NOTICE = "notice"
    REMINDER = "reminder"
    ESCALATION = "escalation"
    RELEASE = "release"


@dataclass
class Step:
    """One mail. ``state``: ``unknown`` from the act before it until the act behind it, ``sent``, ``failed``; ``at``
    (RFC 3339): of the first of these acts."""

    kind: NoticeKind
    at: str
    state: str = "unknown"
    code: str | None = None


@dataclass
class Notified:
    """One custodian of a hold, and every mail, in order. ``by``: who said for him that he knows, and why."""

    custodian: str
    steps: list[Step] = field(default_factory=list)
    acknowledged: str | None = None
    by: str | None = None
    reason: str | None = None

    def tried(self, *kinds: NoticeKind) -> list[Step]:
        """The mails of these kinds that are not known to have failed."""
        return [step for step in self.steps if step.kind in kinds and step.state != "failed"]


@dataclass
class Campaign:
    """The notices of one hold. ``escalate_to``: a bare address; days count from the mail before."""

    hold: str
    subject: str
    text: str
    remind_days: int
    escalate_days: int
    escalate_to: str
    by: str
    at: str
    people: dict[str, Notified] = field(default_factory=dict)


@dataclass
class Notices:
    """One owner's notices as state, by hold; see ``Erasures`` for who writes and reads it."""

    known: dict[str, Campaign] = field(default_factory=dict)

    def take(self, act: dict[str, Any], position: int) -> bool:
        """Apply an act, if it is one of these. Raises KeyError, TypeError or ValueError for a malformed one."""
        word = act["act"]
        if not word.startswith("notice."):
            return False
        if word == "notice.open":
            self._open(act)
            return True
        person = self.known[str(act["hold"])].people[str(act["custodian"])]
        if word == "notice.try":
            person.steps.append(Step(NoticeKind(act["kind"]), str(act["at"])))
        elif word in ("notice.sent", "notice.failed"):
            person.steps[-1].state = word.removeprefix("notice.")
            person.steps[-1].code = None if act.get("code") is None else str(act["code"])
        elif word == "notice.acknowledged":
            if person.acknowledged is None:
                person.acknowledged, person.by = str(act["at"]), str(act["by"])
                person.reason = None if act.get("reason") is None else str(act["reason"])
        else:
            return False
        return True

    def _open(self, act: dict[str, Any]) -> None:
        before = self.known.get(str(act["hold"]))
        people = dict(before.people) if before is not None else {}
        for custodian in map(str, act["to"]):
            people.setdefault(custodian, Notified(custodian))
        hold, subject, text, to, by, at = (
            str(act[name]) for name in ("hold", "subject", "text", "escalate_to", "by", "at")
        )
        days = int(act["remind_days"]), int(act["escalate_days"])
        self.known[hold] = Campaign(hold, subject, text, *days, to, by, at, people)
