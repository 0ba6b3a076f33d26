"""Break-glass: a role that somebody does not hold, for minutes, under two people, and loud.

It is asked for by who needs it and approved by another; what it gives is a grant that says so. While it is open an
alarm names it, and every access entry made under it says ``break_glass``.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from archive_service.access.cases import Cases, grant_act
from archive_service.access.events import Actor, RoleName
from archive_service.access.forms import texts
from archive_service.access.four_eyes import Spend, StrongAction
from archive_service.ledger.acts import Acts
from archive_service.ledger.approvals import Approval
from archive_service.model.clock import Clock, rfc3339
from archive_service.model.errors import Invalid

NAME = "break_glass"
LONGEST_MINUTES = 240

_R = RoleName
ROLES = frozenset({_R.COMPLIANCE_OFFICER, _R.LEGAL, _R.DPO, _R.RECORDS_MANAGER, _R.AUDITOR, _R.ADMIN})
"""Roles that have rights of themselves; the others live by grants anyway."""
_ASKS = ROLES | {_R.REVIEWER, _R.PRIVILEGE_REVIEWER}
_DECIDES = frozenset({_R.COMPLIANCE_OFFICER, _R.LEGAL, _R.DPO, _R.RECORDS_MANAGER, _R.ADMIN})


def break_glass_action(acts: Acts, cases: Cases, clock: Clock) -> StrongAction:
    """``break_glass`` {role, minutes, matter?}: act in another role for so long, from the moment it is carried out."""

    def check(given: Mapping[str, Any], actor: Actor) -> dict[str, Any]:
        role, minutes, matter = given.get("role"), given.get("minutes"), given.get("matter")
        if role not in ROLES:
            raise Invalid("no role that can be had so", code="break_glass.role")
        if actor.break_glass is not None:
            raise Invalid("nobody asks for more while he acts so", code="break_glass.open")
        if type(minutes) is not int or not 1 <= minutes <= LONGEST_MINUTES:
            raise Invalid(f"minutes are 1 to {LONGEST_MINUTES}", code="break_glass.minutes")
        asked = {"subject": actor.subject, "role": str(role), "minutes": minutes}
        if matter is None:
            return asked
        return asked | cases.bounds({"matter": cases.matter(str(matter)).id})

    def carry_out(approval: Approval, spend: Spend) -> dict[str, Any]:
        asked = approval.request
        made: dict[str, Any] = {}

        def act(_: object) -> dict[str, Any]:
            spend()
            cases.require_as_asked(asked)
            now = clock()
            until = now + timedelta(minutes=int(asked["minutes"]))
            grant: dict[str, Any] = {name: said for name, said in asked.items() if name != "minutes"}
            grant |= {"from": rfc3339(now), "until": rfc3339(until), "break_glass": True}
            made.update(grant_act(grant, by=approval.by, reason=approval.reason, approval=approval.id))
            return made

        seq = acts.append(act)
        return {"grant": made["grant"], "until": made["until"], "seq": seq + 1}

    forms, beside = texts("role", "matter"), frozenset({"minutes"})
    return StrongAction(NAME, _ASKS, _DECIDES, check, carry_out, lasting=True, forms=forms, beside=beside)
