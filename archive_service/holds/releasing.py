"""Ending a hold: asked by one person, decided by another."""

from collections.abc import Mapping
from typing import Any

from archive_service.access.events import Actor, RoleName
from archive_service.access.four_eyes import Spend, StrongAction
from archive_service.ledger.acts import Acts
from archive_service.ledger.approvals import Approval
from archive_service.model.clock import Clock
from retention.holds import release, require_own

_ASKS = frozenset({RoleName.COMPLIANCE_OFFICER, RoleName.LEGAL})
_DECIDES = _ASKS | {RoleName.DPO}
RELEASE = "hold.release"


def hold_release_action(acts: Acts, clock: Clock) -> StrongAction:
    """``hold.release`` {hold}: end a legal hold. What another one covers stays held."""

    def check(given: Mapping[str, Any], _: Actor) -> dict[str, Any]:
        acts.refresh()
        return {"hold": require_own(acts, str(given.get("hold"))).id}

    def carry_out(approval: Approval, spend: Spend) -> dict[str, Any]:
        hold = approval.request["hold"]
        return {"hold": hold, "seq": release(acts, hold, approval.by, spend, clock)}

    return StrongAction(RELEASE, _ASKS, _DECIDES, check, carry_out)
