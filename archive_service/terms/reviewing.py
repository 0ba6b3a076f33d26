"""Captures that a reviewer has looked at before they go: kept for longer, or given another class by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from archive_service.access.events import Actor
from archive_service.access.four_eyes import Spend, StrongAction
from archive_service.catalog.base import Catalog
from archive_service.ledger.acts import Acts
from archive_service.ledger.approvals import Approval
from archive_service.ledger.schedules import Version
from archive_service.model.clock import Clock, from_rfc3339, rfc3339
from archive_service.model.errors import Invalid, NotFound, Refused
from archive_service.model.reasons import require_reason
from archive_service.strong_actions import places
from archive_service.terms.retention_actions import OVERSIGHT

RELABEL = "retention.relabel"
_LONGEST = timedelta(days=5 * 366)


@dataclass(frozen=True)
class TenantReviews:
    """See ``api.services.Reviews``."""

    acts: Acts
    catalog: Catalog
    clock: Clock

    def extend(self, actor: Actor, given: Mapping[str, Any], reason: str) -> dict[str, Any]:
        """Keep captures, or all of some messages, until a time, five years ahead at most, whatever their class says:
        one person is enough, for nothing goes by it. Durable on return. Raises Invalid, NotFound, Refused
        (``retention.shorter``: an end that was set before is not brought forward)."""
        named = [each.id for each in places(self.catalog, given)]
        until = self._until(given.get("until"))
        require_reason(reason)

        def act(_: object) -> dict[str, Any]:
            self._require_there(named)
            if any(self.acts.reviews.until.get(each, "") > until for each in named):
                raise Refused("kept for longer already", code="retention.shorter")
            fields = {"captures": named, "until": until, "reason": reason, "by": actor.subject}
            return {"version": 1, "act": "retention.extend", **fields, "at": rfc3339(self.clock())}

        return {"captures": len(named), "until": until, "seq": self.acts.append(act) + 1}

    def _until(self, given: object) -> str:
        now = self.clock()
        try:
            until = from_rfc3339(str(given))
        except ValueError as error:
            raise Invalid("the end is a time (RFC 3339)", code="retention.until") from error
        if not now < until <= now + _LONGEST:
            raise Invalid("the end is to come, five years ahead at most", code="retention.until")
        return rfc3339(until)

    def action(self) -> StrongAction:
        """``retention.relabel`` {captures or messages, class}: of this class by hand, whatever the rules say."""

        def check(given: Mapping[str, Any], _: Actor) -> dict[str, Any]:
            named = [each.id for each in places(self.catalog, given)]
            self.acts.refresh()
            version = self._require_class(str(given.get("class")))
            found = {"captures": named, "count": len(named), "class": str(given["class"])}
            return {**found, "schedule": version.number}

        def carry_out(approval: Approval, spend: Spend) -> dict[str, Any]:
            request = approval.request

            def act(_: object) -> dict[str, Any]:
                self._require_there(request["captures"])
                self._require_class(str(request["class"]), request.get("schedule"))
                fields = {"captures": list(request["captures"]), "class": str(request["class"])}
                said = {"reason": approval.reason, "by": approval.by, "at": rfc3339(self.clock())}
                return {"version": 1, "act": RELABEL, **fields, **said, "approval": spend().id}

            return {"captures": request["count"], "class": request["class"], "seq": self.acts.append(act) + 1}

        return StrongAction(RELABEL, OVERSIGHT, OVERSIGHT, check, carry_out)

    def _require_there(self, captures: Sequence[str]) -> None:
        """At the acts' head: what is barred goes whatever is said of it now, and is there for nobody. Raises
        NotFound."""
        if any(self.acts.erasures.barred(each) for each in captures):
            raise NotFound("no capture of this id", code="capture.unknown")

    def _require_class(self, name: str, asked_under: int | None = None) -> Version:
        """The version that has it. Raises Invalid (``retention.class``), Refused (``retention.class_changed``) where it
        says something else now than in the version that it was asked under."""
        version = self.acts.schedules.in_force(rfc3339(self.clock()))
        if version is None or name not in {each.id for each in version.schedule.classes}:
            raise Invalid("no such class in the schedule that is in force", code="retention.class")
        if asked_under is not None:
            before = self.acts.schedules.versions[asked_under - 1].schedule
            if before.klass(name) != version.schedule.klass(name):
                detail = "this class was changed since it was asked for"
                raise Refused(detail, code="retention.class_changed")
        return version
