"""What the acts say of grants: who may act in a role, how far, and for how long.

grant.give    {grant, subject, role, matter?, version?, custodians?: [id], people?, from, until, reason, by, approval?,
               break_glass?}
grant.revoke  {grant, by, reason, at}
"""

from dataclasses import dataclass, field, replace
from typing import Any

from archive_service.model.decided_people import DecidedPeople


@dataclass(frozen=True)
class Grant:
    """A role for a subject from ``begins`` to ``ends`` (RFC 3339), bounded to a matter, to custodians, or to
    neither. ``people``: those it was decided with; None in a grant of before, which rests on the directory as it
    is."""

    id: str
    subject: str
    role: str
    begins: str
    ends: str
    reason: str
    by: str
    matter: str | None = None
    custodians: tuple[str, ...] = ()
    approval: str | None = None
    revoked: str | None = None
    break_glass: bool = False
    people: DecidedPeople | None = None

    @property
    def unbounded(self) -> bool:
        """Whether it bounds nothing of what is seen."""
        return self.matter is None and not self.custodians

    def open(self, now: str) -> bool:
        """Whether it is in force at ``now`` (RFC 3339)."""
        return self.revoked is None and self.begins <= now < self.ends

    def state(self, now: str) -> str:
        """``open``, ``waiting``, ``ended`` or ``revoked`` at ``now`` (RFC 3339)."""
        if self.revoked:
            return "revoked"
        if now >= self.ends:
            return "ended"
        return "waiting" if now < self.begins else "open"

    def words(self) -> str:
        """What it gives, for people."""
        bounds = [f"matter {self.matter}"] if self.matter else []
        bounds += [f"custodians {', '.join(self.custodians)}"] if self.custodians else []
        return f"grant {self.id} until {self.ends}: {' and '.join(bounds) or 'the whole of it'}"


@dataclass
class Grants:
    """One owner's grants as state; see ``Erasures`` for who writes and reads it."""

    known: dict[str, Grant] = field(default_factory=dict)

    def all(self) -> list[Grant]:
        """Every grant ever given, in the order of the acts."""
        return list(self.known.values())

    def of(self, subject: str) -> list[Grant]:
        """Those of a subject."""
        return [grant for grant in self.known.values() if grant.subject == subject]

    def take(self, act: dict[str, Any], position: int) -> bool:
        """Apply an act, if it is one of these. Raises KeyError, TypeError or ValueError for a malformed one."""
        if act["act"] == "grant.give":
            made = Grant(
                id=str(act["grant"]),
                subject=str(act["subject"]),
                role=str(act["role"]),
                begins=str(act["from"]),
                ends=str(act["until"]),
                reason=str(act["reason"]),
                by=str(act["by"]),
                matter=None if act.get("matter") is None else str(act["matter"]),
                custodians=tuple(map(str, act.get("custodians", ()))),
                approval=None if act.get("approval") is None else str(act["approval"]),
                break_glass=act.get("break_glass") is True,
                people=None if act.get("people") is None else DecidedPeople.read(act["people"]),
            )
            self.known[made.id] = made
        elif act["act"] == "grant.revoke":
            self.known[str(act["grant"])] = replace(self.known[str(act["grant"])], revoked=str(act["at"]))
        else:
            return False
        return True
