"""What the acts say of the retention schedule: versions, each in force from its time until the next one's.

schedule.set  {number, effective_from, schedule: {classes, rules, default, domains}, people?, by, at, approval}   anew

It needs two people.
"""

from dataclasses import dataclass, field
from typing import Any

from archive_service.model.decided_people import DecidedPeople
from archive_service.model.schedule import Schedule


@dataclass(frozen=True)
class Version:
    """A schedule as it was set. ``number`` counts from 1; ``effective_from`` and ``at`` are RFC 3339. ``people``: those
    whom its rules name, as the directory had them when it was asked for."""

    number: int
    effective_from: str
    schedule: Schedule
    by: str
    at: str
    approval: str
    people: DecidedPeople | None = None


@dataclass
class Schedules:
    """One owner's schedule as state; see ``Erasures`` for who writes and reads it."""

    versions: list[Version] = field(default_factory=list)

    def in_force(self, now: str) -> Version | None:
        """The version in force at ``now`` (RFC 3339): of those whose time has come the one set last."""
        return next((each for each in reversed(self.versions) if each.effective_from <= now), None)

    def to_come(self, now: str) -> list[Version]:
        """The versions that will be in force some time after ``now`` (RFC 3339), as the acts stand."""
        ahead = [each for each in self.versions if each.effective_from > now]
        return [each for each in ahead if self.in_force(each.effective_from) is each]

    def take(self, act: dict[str, Any], position: int) -> bool:
        """Apply an act, if it is one of these. Raises KeyError, TypeError or ValueError for a malformed one."""
        if act["act"] != "schedule.set":
            return False
        made = Version(
            number=int(act["number"]),
            effective_from=str(act["effective_from"]),
            schedule=Schedule.model_validate(act["schedule"]),
            by=str(act["by"]),
            at=str(act["at"]),
            approval=str(act["approval"]),
            people=None if act.get("people") is None else DecidedPeople.read(act["people"]),
        )
        if made.number != len(self.versions) + 1:
            raise ValueError("a version out of its turn")
        self.versions.append(made)
        return True
