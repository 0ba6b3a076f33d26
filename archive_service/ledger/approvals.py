"""What the acts say of approvals: strong changes that one person asks for and another decides (four eyes).

approval.ask     {approval, action, request, by, reason, at, expires, asked?}
approval.decide  {approval, verdict: approved|refused, by, reason, at}
approval.done    {approval, at}     where what was done stands in another log

The act that carries an approved change out names it in ``approval``; by that the approval is spent, once and for good.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from archive_service.model.errors import NotFound, Refused


class Verdict(StrEnum):
    """What the second person said."""

    APPROVED = "approved"
    REFUSED = "refused"


@dataclass(frozen=True)
class Decided:
    """Who decided, when (RFC 3339), and why."""

    verdict: Verdict
    by: str
    reason: str
    at: str


@dataclass
class Approval:
    """A strong change that somebody asked for. ``request``: what the action is to be done with, as it was asked;
    nothing else can be carried out under it. ``executed``: the acts-log position of the act that carried it out.
    ``asked``: SHA-256 of the request as it came, where it may be repeated under one key."""

    id: str
    action: str
    request: dict[str, Any]
    by: str
    reason: str
    at: str
    expires: str
    asked: str | None = None
    decided: Decided | None = None
    executed: int | None = None

    def state(self, now: str) -> str:
        """``asked``, ``approved``, ``refused``, ``expired`` or ``executed`` at ``now`` (RFC 3339)."""
        if self.executed is not None:
            return "executed"
        if self.decided is not None and self.decided.verdict is Verdict.REFUSED:
            return "refused"
        if now >= self.expires:
            return "expired"
        return "asked" if self.decided is None else "approved"


@dataclass
class Approvals:
    """One owner's approvals as state; see ``Erasures`` for who writes and reads it."""

    known: dict[str, Approval] = field(default_factory=dict)

    def get(self, approval: str) -> Approval:
        """Raises NotFound (``approval.unknown``)."""
        found = self.known.get(approval)
        if found is None:
            raise NotFound("no such approval", code="approval.unknown")
        return found

    def require_open(self, approval: str, by: str, now: str) -> Approval:
        """The approval, if ``by`` may decide it at ``now``. Raises NotFound, Refused: one's own request is never
        approvable, and nothing is decided twice or after its time."""
        found = self.get(approval)
        if found.decided is not None or found.executed is not None:
            raise Refused("this request was decided before", code="approval.decided")
        if now >= found.expires:
            raise Refused("this request has expired", code="approval.expired")
        if by == found.by:
            raise Refused("nobody decides his own request", code="approval.own")
        return found

    def require_approved(self, approval: str, action: str, now: str) -> Approval:
        """The approval, if it may be carried out as ``action`` at ``now``. Raises NotFound, Refused."""
        found = self.get(approval)
        if found.action != action:
            raise Refused("this approval is for something else", code="approval.other_action")
        if found.executed is not None:
            raise Refused("this approval has been carried out", code="approval.executed")
        state = found.state(now)
        if state != "approved":
            raise Refused(f"this request is not approved: {state}", code=f"approval.{state}")
        return found

    def take(self, act: dict[str, Any], position: int) -> bool:
        """Apply an act, if it is one of these; an act of another kind that names an approval spends it. Raises
        KeyError, TypeError or ValueError for a malformed one."""
        word = act["act"]
        if word == "approval.ask":
            made = Approval(
                str(act["approval"]),
                str(act["action"]),
                dict(act["request"]),
                str(act["by"]),
                str(act["reason"]),
                str(act["at"]),
                str(act["expires"]),
                None if act.get("asked") is None else str(act["asked"]),
            )
            self.known.setdefault(made.id, made)
        elif word == "approval.decide":
            decided = Decided(Verdict(act["verdict"]), str(act["by"]), str(act["reason"]), str(act["at"]))
            self.known[str(act["approval"])].decided = decided
        else:
            if "approval" in act:
                self.known[str(act["approval"])].executed = position
            return bool(word == "approval.done")
        return True
