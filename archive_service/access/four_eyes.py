"""Strong changes under two people: one asks, another decides, and the approval is spent by carrying it out.

Which changes are strong, who may ask for each and who may decide is said by the actions that a tenant is opened with.
What is carried out is what was asked, to the letter: the request stands in the approval.
"""

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from archive_service.access.events import Actor, RoleName
from archive_service.access.forms import Form, require_form
from archive_service.access.identified import same_person
from archive_service.ledger.acts import Acts
from archive_service.ledger.approvals import Approval, Verdict
from archive_service.ledger.reader import Place
from archive_service.model.canonical import canonical
from archive_service.model.clock import Clock, rfc3339
from archive_service.model.errors import Denied, Invalid, NotFound, Refused
from archive_service.model.reasons import require_reason

LIFE = timedelta(days=7)
"""How long a request waits for a decision, and an approval for being carried out."""

Spend = Callable[[], Approval]
"""To be called inside the append of the act that carries the change out: the approval, valid at the head. Raises
NotFound, Refused."""


@dataclass(frozen=True)
class StrongAction:
    """A change that needs two people. ``check`` makes of what was given the request that is kept (raises Invalid,
    NotFound, Refused); ``carry_out`` does it, naming the approval in an act, and gives what came of it."""

    name: str
    asks: frozenset[RoleName]
    decides: frozenset[RoleName]
    check: Callable[[Mapping[str, Any], Actor], dict[str, Any]]
    carry_out: Callable[[Approval, Spend], dict[str, Any]]
    gains: Callable[[Mapping[str, Any]], str | None] = lambda _: None
    """Of a request, the subject whom it lets do more: he does not decide it."""
    private: bool = False
    """Whether only who asked, who may ask and who may decide know of it. Of others an administrator does not: they tell
    what matters are about."""
    lasting: bool = False
    """Whether it lets somebody in: then who decides it acts in a role of his own, and not by break-glass, which would
    go on by itself for ever."""
    forms: Mapping[str, Form] = field(default_factory=dict)
    """What fields of a request may be, where ``check`` rests on it."""
    beside: frozenset[str] | None = None
    """The fields that a request may have beside those of ``forms``; None: any. Where a field that is left out widens
    what is done, one that is misspelt must not be left out unseen."""


class _Asked(Exception):
    """The same was asked before."""


class FourEyes:
    """One tenant's approvals. Thread-safe as the acts are."""

    def __init__(self, acts: Acts, actions: Sequence[StrongAction], clock: Clock) -> None:
        self._acts = acts
        self._actions = {action.name: action for action in actions}
        self._clock = clock

    def ask(
        self, actor: Actor, name: str, given: Mapping[str, Any], reason: str, approval: str | None = None
    ) -> Approval:
        """Ask for a change; durable on return. ``approval``: its id, where the caller has one: asked again, it is the
        one there was. Raises Denied, Invalid (``approval.request``: not of JSON that an act can hold), Refused
        (``idempotency.mismatch``) where that one is about something else, and what the action's check raises."""
        action = self._action(name)
        self._require_person(actor)
        if actor.role not in action.asks:
            raise Denied("this role may not ask for it", code="auth.forbidden")
        asked = _digest(given)
        require_form(action.forms, given)
        if action.beside is not None and not set(given) <= action.beside | set(action.forms):
            raise Invalid("the request has a field that this change does not know", code="approval.request")
        request = action.check(given, actor)
        _digest(request)
        require_reason(reason)
        now = self._clock()
        made = Approval(
            id=approval or "p" + secrets.token_hex(8),
            action=name,
            request=request,
            by=actor.subject,
            reason=reason,
            at=rfc3339(now),
            expires=rfc3339(now + LIFE),
            asked=asked if approval else None,
        )
        names = ("action", "request", "by", "reason", "at", "expires", "asked")
        fields = {name: value for name in names if (value := getattr(made, name)) is not None}

        def act(_: Place) -> dict[str, Any]:
            if made.id in self._acts.approvals.known:
                raise _Asked
            return {"version": 1, "act": "approval.ask", "approval": made.id, **fields}

        try:
            self._acts.append(act)
        except _Asked:
            return self._same(made)
        return made

    def _same(self, made: Approval) -> Approval:
        known = self._acts.approvals.get(made.id)
        if (known.action, known.asked, known.by) != (made.action, made.asked, made.by):
            raise Refused("this key was used for another request", code="idempotency.mismatch")
        return known

    def decide(self, actor: Actor, approval: str, verdict: Verdict, reason: str) -> Approval:
        """Approve or refuse; durable on return. Raises Denied, NotFound, Refused: one's own request is never
        approvable."""
        self.decidable(actor, approval)
        require_reason(reason)

        def act(_: Place) -> dict[str, Any]:
            now = rfc3339(self._clock())
            self._acts.approvals.require_open(approval, actor.subject, now)
            fields = {"approval": approval, "verdict": str(verdict), "by": actor.subject, "reason": reason}
            return {"version": 1, "act": "approval.decide", **fields, "at": now}

        self._acts.append(act)
        return self._acts.approvals.get(approval)

    def decidable(self, actor: Actor, approval: str) -> Approval:
        """The request, if it is for this actor to decide, by the acts at their head. Raises Denied, NotFound,
        Refused."""
        self._acts.refresh()
        known = self._visible(actor, approval)
        self._require_person(actor)
        if actor.role not in self._action(known.action).decides:
            raise Denied("this role may not decide it", code="auth.forbidden")
        if actor.break_glass is not None and self._action(known.action).lasting:
            raise Denied("who acts by break-glass lets nobody in", code="approval.break_glass")
        self._require_another(actor, known)
        return self._acts.approvals.require_open(approval, actor.subject, rfc3339(self._clock()))

    def _require_another(self, actor: Actor, known: Approval) -> None:
        """Raises Refused (``approval.own``) for who asked, and for whom it would let do more. In a compartment, where
        two may be all there are, the second holds for neither."""
        gains = self._action(known.action).gains(known.request) if self._acts.parent is None else None
        if any(each is not None and same_person(actor.subject, each) for each in (known.by, gains)):
            raise Refused("nobody decides his own request, nor what he gains by", code="approval.own")

    def carry_out(self, approval: str) -> dict[str, Any]:
        """Do what was approved, once; what came of it. Raises NotFound, Refused, and what the change itself raises:
        then it stays approved, and may be tried again."""
        known = self._acts.approvals.get(approval)
        action = self._action(known.action)

        def spend() -> Approval:
            now = rfc3339(self._clock())
            return self._acts.approvals.require_approved(approval, action.name, now)

        spend()
        return action.carry_out(known, spend)

    def carry_out_again(self, actor: Actor, approval: str) -> dict[str, Any]:
        """As ``carry_out``, by who asked or who approved: what comes of it may be for their eyes alone. Raises
        Denied."""
        self._acts.refresh()
        known = self._visible(actor, approval)
        self._require_person(actor)
        decided = known.decided.by if known.decided is not None else known.by
        if not any(same_person(actor.subject, each) for each in (known.by, decided)):
            raise Denied("one of the two people carries it out", code="auth.forbidden")
        return self.carry_out(approval)

    def get(self, actor: Actor, approval: str) -> Approval:
        """One approval, by the acts at their head. Raises NotFound, also for one that the actor may not see."""
        self._acts.refresh()
        return self._visible(actor, approval)

    def all(self, actor: Actor) -> list[Approval]:
        """Those that the actor may see, newest first, by the acts at their head."""
        self._acts.refresh()
        known = reversed(self._acts.approvals.known.values())
        return [approval for approval in known if self._sees(actor, approval)]

    def told(self, approval: Approval, reason: str) -> dict[str, str]:
        """What an access entry says of a request beside its id: what for and why. Nothing where that is private: the
        acts hold it, and whoever reads the access log is not among those who may know."""
        if self.private(approval.action):
            return {}
        return {"asked_for": approval.action, "reason": reason}

    def private(self, action: str) -> bool:
        """Whether only who asked, who may ask and who may decide know of requests for it."""
        known = self._actions.get(action)
        return known is not None and known.private

    def state(self, approval: Approval) -> str:
        """Its state now."""
        return approval.state(rfc3339(self._clock()))

    def _visible(self, actor: Actor, approval: str) -> Approval:
        known = self._acts.approvals.get(approval)
        if not self._sees(actor, known):
            raise NotFound("no such approval", code="approval.unknown")
        return known

    def _sees(self, actor: Actor, approval: Approval) -> bool:
        action = self._actions.get(approval.action)
        if actor.subject == approval.by:
            return True
        if action is None:
            return False
        outside = not action.private and actor.role is not RoleName.ADMIN
        return outside or actor.role in action.asks | action.decides

    def _action(self, name: str) -> StrongAction:
        action = self._actions.get(name)
        if action is None:
            raise Invalid("no change of this name needs two people", code="approval.action_unknown")
        return action

    @staticmethod
    def _require_person(actor: Actor) -> None:
        if actor.only is not None:
            raise Denied("a service account is not one of two people", code="approval.person")


def _digest(given: Mapping[str, Any]) -> str:
    """Of a request. Raises Invalid for one that no act can hold, word for word."""
    try:
        return hashlib.sha256(canonical(dict(given))).hexdigest()
    except (TypeError, ValueError) as error:
        message = "a request holds text, whole numbers, true, false, null, and names in ASCII"
        raise Invalid(message, code="approval.request") from error
