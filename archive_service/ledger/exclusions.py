"""What the acts say of exclusion lists: whose mail was never to be archived (occupational physician, union, works
council).

exclusion.set  {exclusion, name, basis, addresses: [..], domains: [..], sources?: [id], compartment, by, at, approval}
exclusion.end  {exclusion, by, at, approval}

Both need two people. ``domains`` are the organisation's own: whoever has an address in one is an internal party.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ExclusionList:
    """Addresses (bare, lower case) whose mail is excluded, and why (an article of law or an agreement). Mail between
    excluded and other internal parties goes to ``compartment`` (an owner id). ``sources``: those it is for; none:
    all."""

    id: str
    name: str
    basis: str
    addresses: frozenset[str]
    domains: frozenset[str]
    compartment: str
    sources: frozenset[str] = frozenset()


@dataclass
class Exclusions:
    """One owner's exclusion lists as state; see ``Erasures`` for who writes and reads it."""

    known: dict[str, ExclusionList] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)
    """Of the last act of each list, in the acts log; also of one that was ended."""

    def of(self, source: str) -> list[ExclusionList]:
        """The lists that are for a source."""
        return [each for each in self.known.values() if not each.sources or source in each.sources]

    def take(self, act: dict[str, Any], position: int) -> bool:
        """Apply an act, if it is one of these. Raises KeyError, TypeError or ValueError for a malformed one."""
        if act["act"] == "exclusion.set":
            made = ExclusionList(
                id=str(act["exclusion"]),
                name=str(act["name"]),
                basis=str(act["basis"]),
                addresses=frozenset(map(str, act["addresses"])),
                domains=frozenset(map(str, act["domains"])),
                compartment=str(act["compartment"]),
                sources=frozenset(map(str, act.get("sources", ()))),
            )
            self.known[made.id] = made
        elif act["act"] == "exclusion.end":
            self.known.pop(str(act["exclusion"]), None)
        else:
            return False
        self.positions[str(act["exclusion"])] = position
        return True
