"""What the acts say of rights that somebody looked at again: which are still meant, and which are to be withdrawn.

grant.recertified   {recertification, confirmed: [id], withdraw: [id], note, by, at}   of grants and service accounts

It withdraws nothing by itself: ``grant.revoke`` and ``account.revoke`` do.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Recertification:
    """One look at rights, by one person. ``position``: of its act in the acts log."""

    id: str
    confirmed: tuple[str, ...]
    withdraw: tuple[str, ...]
    note: str
    by: str
    at: str
    position: int


@dataclass
class Recertifications:
    """One owner's recertifications as state; see ``Erasures`` for who writes and reads it."""

    known: list[Recertification] = field(default_factory=list)

    def of(self, right: str, since: str, before: str) -> Recertification | None:
        """The last one from ``since`` on and before a time (RFC 3339) that names a grant or an account."""
        found = (each for each in reversed(self.known) if since <= each.at < before)
        return next((each for each in found if right in (*each.confirmed, *each.withdraw)), None)

    def take(self, act: dict[str, Any], position: int) -> bool:
        """Apply an act, if it is one of these. Raises KeyError, TypeError or ValueError for a malformed one."""
        if act["act"] != "grant.recertified":
            return False
        made = Recertification(
            id=str(act["recertification"]),
            confirmed=tuple(map(str, act["confirmed"])),
            withdraw=tuple(map(str, act["withdraw"])),
            note=str(act["note"]),
            by=str(act["by"]),
            at=str(act["at"]),
            position=position,
        )
        self.known.append(made)
        return True
