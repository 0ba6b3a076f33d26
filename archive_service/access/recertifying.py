"""Rights looked at again: somebody confirms grants and service accounts, or says which are to be withdrawn."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from archive_service.access.accounts import subject
from archive_service.access.events import Actor
from archive_service.access.identified import same_person
from archive_service.ledger.acts import Acts
from archive_service.ledger.reader import Place
from archive_service.ledger.recertifications import Recertification
from archive_service.model.clock import Clock, rfc3339
from archive_service.model.errors import Invalid, NotFound, Refused
from archive_service.model.reasons import require_reason

MOST = 500  # rights that one act names


@dataclass(frozen=True)
class Recertifying:
    """One tenant's. Thread-safe as the acts are."""

    acts: Acts
    clock: Clock

    def all(self) -> list[Recertification]:
        """In the order of the acts, at their head."""
        self.acts.refresh()
        return list(self.acts.recertifications.known)

    def recertify(
        self, actor: Actor, confirmed: Sequence[str], withdraw: Sequence[str], note: str
    ) -> Recertification:
        """Say which rights in force are still meant and which are to be withdrawn, by the ids of their grants or
        accounts; durable on return. It withdraws nothing by itself. Raises Invalid, NotFound (``grant.unknown``),
        Refused (``recertification.ended``; ``recertification.own``: nobody confirms what he has himself)."""
        require_reason(note)
        keep, end = list(dict.fromkeys(confirmed)), list(dict.fromkeys(withdraw))
        if not 0 < len(keep) + len(end) <= MOST or set(keep) & set(end):
            raise Invalid(
                f"from 1 to {MOST} rights, each confirmed or to be withdrawn", code="recertification.rights"
            )
        name = secrets.token_hex(8)

        def act(_: Place) -> dict[str, Any]:
            now = rfc3339(self.clock())
            for right in (*keep, *end):
                self._require_may(actor, right, now, confirms=right in keep)
            said = {"recertification": name, "confirmed": keep, "withdraw": end, "note": note}
            return {"version": 1, "act": "grant.recertified", **said, "by": actor.subject, "at": now}

        self.acts.append(act)
        return next(each for each in reversed(self.acts.recertifications.known) if each.id == name)

    def _require_may(self, actor: Actor, right: str, now: str, *, confirms: bool) -> None:
        holder, stands = self._right(right, now)
        if not stands:
            raise Refused("this right is not in force any more", code="recertification.ended")
        if confirms and same_person(holder, actor.subject):
            raise Refused("nobody confirms a right of his own", code="recertification.own")

    def _right(self, right: str, now: str) -> tuple[str, bool]:
        """Who has it, and whether it is in force."""
        grant = self.acts.grants.known.get(right)
        if grant is not None:
            return grant.subject, grant.state(now) in ("open", "waiting")
        account = self.acts.accounts.known.get(right)
        if account is None:
            raise NotFound("no such grant or service account", code="grant.unknown")
        return subject(account), account.open(now)
