"""Changes of retention that need two people: the schedule."""

from collections.abc import Mapping
from typing import Any

from archive_service.access.confirmed import decided
from archive_service.access.events import Actor, RoleName
from archive_service.access.four_eyes import Spend, StrongAction
from archive_service.ledger.acts import Acts
from archive_service.ledger.approvals import Approval
from archive_service.model.clock import Clock, from_rfc3339, rfc3339
from archive_service.model.errors import Invalid, Refused
from archive_service.terms.retaining import checked_schedule

_R = RoleName
OVERSIGHT = frozenset({_R.COMPLIANCE_OFFICER, _R.LEGAL, _R.DPO, _R.RECORDS_MANAGER})


def schedule_action(acts: Acts, clock: Clock) -> StrongAction:
    """``schedule.set`` {schedule, effective_from?}: the whole schedule anew, from then on, or at once. ``after`` in the
    request: how many versions there were when it was asked."""

    def check(given: Mapping[str, Any], _: Actor) -> dict[str, Any]:
        acts.refresh()
        wanted = given.get("schedule")
        if not isinstance(wanted, dict):
            raise Invalid("schedule: classes, rules and a default", code="schedule.invalid")
        schedule = checked_schedule(wanted, acts)
        request: dict[str, Any] = {"schedule": schedule.plain()}
        people = decided(acts.custodians, (who for rule in schedule.rules for who in rule.custodians), None)
        request |= {"people": people.plain()} if people.addresses else {}
        request["after"] = len(acts.schedules.versions)
        if given.get("effective_from") is not None:
            request["effective_from"] = _moment(given["effective_from"], rfc3339(clock()))
        return request

    def carry_out(approval: Approval, spend: Spend) -> dict[str, Any]:
        made: dict[str, Any] = {}

        def act(_: object) -> dict[str, Any]:
            spend()
            _require_as_tried(acts, approval.request)
            now = rfc3339(clock())
            made.update(
                version=1,
                act="schedule.set",
                number=len(acts.schedules.versions) + 1,
                effective_from=max(now, approval.request.get("effective_from", now)),
                schedule=approval.request["schedule"],
                by=approval.by,
                at=now,
                approval=approval.id,
            )
            made.update({name: value for name, value in approval.request.items() if name == "people"})
            return made

        seq = acts.append(act) + 1
        return {"version": made["number"], "effective_from": made["effective_from"], "seq": seq}

    return StrongAction("schedule.set", OVERSIGHT, OVERSIGHT, check, carry_out)


def _require_as_tried(acts: Acts, request: Mapping[str, Any]) -> None:
    """What was asked before another version was set would take that back unseen. Raises Refused (``schedule.changed``)
    unless it stands on the version that it was tried against."""
    if request.get("after", len(acts.schedules.versions)) != len(acts.schedules.versions):
        raise Refused("another version was set since this one was asked for", code="schedule.changed")


def _moment(given: object, now: str) -> str:
    """A time to come. Raises Invalid."""
    try:
        moment = rfc3339(from_rfc3339(str(given)))
    except (ValueError, OverflowError) as error:
        raise Invalid("effective_from is a time by RFC 3339", code="schedule.effective_from") from error
    if moment < now:
        raise Invalid("a schedule is not in force before it was set", code="schedule.effective_from")
    return moment
