"""What the acts say of public archives: lists of what is to be eliminated, and the visa without which nothing goes
(Code du patrimoine, articles L212-2 and R212-14).

elimination.draw  {elimination, captures: [id], classes: {CLASS: n}, sha256, schedule, by, at}
elimination.visa  {elimination, reference, issuer, dated, document?, sha256, by, at}   given for that list, once
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Visa:
    """Of the person in charge of the State's scientific and technical control. ``dated``: a day; ``document``: the visa
    on paper, as a document of ``ledger.orders``; ``sha256``: of the list, as the visa was recorded for it."""

    reference: str
    issuer: str
    dated: str
    document: str | None
    sha256: str
    by: str
    at: str


@dataclass
class Elimination:
    """A list. ``sha256``: over its sorted ids, a line feed after each; ``classes``: how many of each; ``schedule``: the
    version by which they were past their maximum."""

    id: str
    captures: frozenset[str]
    classes: dict[str, int]
    sha256: str
    schedule: int
    by: str
    at: str
    visa: Visa | None = None


@dataclass
class Eliminations:
    """One owner's lists as state; see ``Erasures`` for who writes and reads it."""

    known: dict[str, Elimination] = field(default_factory=dict)

    def take(self, act: dict[str, Any], position: int) -> bool:
        """Apply an act, if it is one of these. Raises KeyError, TypeError or ValueError for a malformed one."""
        if act["act"] == "elimination.draw":
            made = Elimination(
                id=str(act["elimination"]),
                captures=frozenset(map(str, act["captures"])),
                classes={str(name): int(count) for name, count in act["classes"].items()},
                sha256=str(act["sha256"]),
                schedule=int(act["schedule"]),
                by=str(act["by"]),
                at=str(act["at"]),
            )
            self.known.setdefault(made.id, made)
        elif act["act"] == "elimination.visa":
            names = ("reference", "issuer", "dated", "sha256", "by", "at")
            document = None if act.get("document") is None else str(act["document"])
            said = {name: str(act[name]) for name in names}
            self.known[str(act["elimination"])].visa = Visa(**said, document=document)
        else:
            return False
        return True
