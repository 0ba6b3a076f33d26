"""What the acts say of incidents: while one is open nothing leaves by export, no key is destroyed, and what was issued
to anybody before it is void.

incident.open   {incident, reason, by, at, since}
incident.close  {incident, by, at, approval}
"""

from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Incident:
    """``since``: from when on looks are suspect; all times RFC 3339."""

    id: str
    reason: str
    by: str
    at: str
    since: str
    closed: str | None = None


@dataclass
class Incidents:
    """One owner's incidents as state; see ``Erasures`` for who writes and reads it."""

    known: dict[str, Incident] = field(default_factory=dict)
    above: "Incidents | None" = None
    """Of a compartment: those of its tenant, which count in it as well."""

    @property
    def open(self) -> bool:
        """Whether one is open."""
        here = any(each.closed is None for each in self.known.values())
        return here or (self.above is not None and self.above.open)

    @property
    def valid_from(self) -> str:
        """Tokens, sessions and accounts that were issued before are void (RFC 3339; "" while there was no incident)."""
        here = max((each.at for each in self.known.values()), default="")
        return max(here, self.above.valid_from) if self.above is not None else here

    def take(self, act: dict[str, Any], position: int) -> bool:
        """Apply an act, if it is one of these. Raises KeyError, TypeError or ValueError for a malformed one."""
        if act["act"] == "incident.open":
            made = Incident(*(str(act[name]) for name in ("incident", "reason", "by", "at", "since")))
            self.known[made.id] = made
        elif act["act"] == "incident.close":
            known = self.known[str(act["incident"])]
            self.known[known.id] = replace(known, closed=str(act["at"]))
        else:
            return False
        return True
