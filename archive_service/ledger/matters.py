"""What the acts say of matters: a case, what it is about, and which mail it is about.

matter.set    {matter, name, purpose, query?, custodians?: [id], people?, by, at, approval?}   the whole of it from
              here on
matter.close  {matter, by, at}
"""

from dataclasses import dataclass, field, replace
from typing import Any

from archive_service.model.decided_people import DecidedPeople


@dataclass(frozen=True)
class Matter:
    """A case. Its mail is what ``query`` finds, and, where custodians are named, only what they took part in; a matter
    with neither holds nothing. ``version``: how often it was set. ``people``: those two people decided what it is about
    with, None where one did."""

    id: str
    name: str
    purpose: str
    query: str | None
    custodians: tuple[str, ...]
    by: str
    at: str
    version: int = 1
    closed: str | None = None
    people: DecidedPeople | None = None

    @property
    def about(self) -> tuple[str | None, tuple[str, ...]]:
        """Which mail it is about."""
        return self.query, self.custodians


@dataclass
class Matters:
    """One owner's matters as state; see ``Erasures`` for who writes and reads it."""

    known: dict[str, Matter] = field(default_factory=dict)

    def all(self) -> list[Matter]:
        """Every matter, in the order they were opened."""
        return list(self.known.values())

    def take(self, act: dict[str, Any], position: int) -> bool:
        """Apply an act, if it is one of these. Raises KeyError, TypeError or ValueError for a malformed one."""
        if act["act"] == "matter.set":
            before = self.known.get(str(act["matter"]))
            made = Matter(
                id=str(act["matter"]),
                name=str(act["name"]),
                purpose=str(act["purpose"]),
                query=None if act.get("query") is None else str(act["query"]),
                custodians=tuple(map(str, act.get("custodians", ()))),
                by=str(act["by"]),
                at=str(act["at"]),
                version=before.version + 1 if before else 1,
            )
            if act.get("people") is not None:
                made = replace(made, people=DecidedPeople.read(act["people"]))
            elif before is not None and before.about == made.about:
                made = replace(made, people=before.people)
            self.known[made.id] = made
        elif act["act"] == "matter.close":
            known = self.known[str(act["matter"])]
            self.known[known.id] = replace(known, closed=str(act["at"]), version=known.version + 1)
        else:
            return False
        return True
