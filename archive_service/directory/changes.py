"""Changes of the directory as acts. Each is judged by the acts at their head, and durable on return.

An import is many acts. Each is appended only if nobody has changed the directory since the plan was made; otherwise the
plan is made again. One that is cut off has done a part, and the next run does the rest.
"""

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from archive_service.directory.handing_on import Conflict, settled
from archive_service.directory.incoming import Read, Trouble
from archive_service.directory.merging import regrouped
from archive_service.directory.planning import Plan, Source, fields_of, plan
from archive_service.ledger.acts import Acts
from archive_service.ledger.custodians import GROUP, SET, Custodians
from archive_service.model.canonical import canonical
from archive_service.model.clock import Clock, rfc3339
from archive_service.model.custodians import Custodian, Group
from archive_service.model.errors import Invalid, NotFound, Overloaded, Refused

_MOST = 500  # records an act
_LARGEST = 512 * 1024  # bytes of them
_TRIES = 10
_SHOWN = 1000  # changes that a report names


class _Stale(Exception):
    """Somebody changed the directory since the plan was made."""


@dataclass(frozen=True)
class Changed:
    """What an import did to a person, or would do: ``added``, ``changed``, ``left`` or ``passed_on``."""

    id: str
    what: str
    fields: tuple[str, ...]


@dataclass
class Report:
    """What an import did (``applied``) or would do. ``changes`` names the first 1,000. ``seq``: the acts-log position
    that has passed it."""

    applied: bool = False
    added: int = 0
    changed: int = 0
    left: int = 0
    passed_on: int = 0
    unchanged: int = 0
    groups: int = 0
    changes: list[Changed] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    seq: int = 0

    def plain(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            **{name: getattr(self, name) for name in ("applied", "added", "changed", "left", "passed_on")},
            **{name: getattr(self, name) for name in ("unchanged", "groups", "seq")},
            "changes": [
                {"id": each.id, "what": each.what, "fields": list(each.fields)} for each in self.changes
            ],
            "troubles": [
                {"place": each.place, "code": each.code, "detail": each.detail} for each in self.troubles
            ],
        }


class DirectoryChanges:
    """The directory of one tenant, to be changed. Thread-safe."""

    def __init__(self, acts: Acts, clock: Clock) -> None:
        self._acts = acts
        self._clock = clock

    def today(self) -> str:
        """The day, in UTC."""
        return rfc3339(self._clock())[:10]

    def put(
        self,
        make: Callable[[Custodian | None], dict[str, Any]],
        *,
        by: str,
        origin: str,
        custodian: str | None = None,
        version: int | None = None,
    ) -> tuple[Custodian, int]:
        """Set one person's record to what ``make`` makes of the one there is (None: a new person); the record, and its
        version, which is the act's position. A former holder's address passes on. Raises NotFound, Invalid
        (``custodian.invalid``), Refused: ``custodian.address_taken``, ``custodian.changed`` when it is no longer at
        ``version``, ``custodian.external_taken`` when another has the same external id."""
        made: list[Custodian] = []
        new_id = _new_id("c")

        def act(_: object) -> dict[str, Any]:
            state = self._acts.custodians
            stored = state.get(custodian) if custodian is not None else None
            if custodian is not None and stored is None:
                raise NotFound("the directory has no such person", code="custodian.unknown")
            if version is not None and state.version(custodian or "") != version:
                raise Refused("somebody changed this person's record", code="custodian.changed")
            record = _valid(make(stored) | {"id": custodian or new_id})
            self._require_own_names(record, stored)
            outcome = settled(record, state.holders, state.get, self.today())
            if isinstance(outcome, Conflict):
                message = f"{outcome.other} holds one of these addresses on the same day"
                raise Refused(message, code="custodian.address_taken")
            made[:] = [outcome.custodian]
            return self._act(SET, "people", [*outcome.former, outcome.custodian], by, origin)

        seq = self._acts.append(act)
        return made[0], seq

    def _require_own_names(self, record: Custodian, stored: Custodian | None) -> None:
        """What a source calls a person it calls nobody else."""
        for origin, key in record.external.items():
            if stored is not None and stored.external.get(origin) == key:
                continue
            if self._acts.custodians.by_external(origin).get(key, record.id) != record.id:
                message = f"another person has this {origin} id"
                raise Refused(message, code="custodian.external_taken")

    def put_group(
        self,
        make: Callable[[Group | None], dict[str, Any]],
        *,
        by: str,
        origin: str,
        group: str | None = None,
        version: int | None = None,
    ) -> tuple[Group, int]:
        """The same for a group. Raises NotFound, Invalid (``group.invalid``), Refused (``group.changed``)."""
        made: list[Group] = []
        new_id = _new_id("g")

        def act(_: object) -> dict[str, Any]:
            state = self._acts.custodians
            stored = state.group(group) if group is not None else None
            if group is not None and stored is None:
                raise NotFound("the directory has no such group", code="group.unknown")
            if version is not None and state.version(group or "") != version:
                raise Refused("somebody changed this group's record", code="group.changed")
            try:
                made[:] = [Group.model_validate(make(stored) | {"id": group or new_id})]
            except ValidationError as error:
                raise Invalid(f"a group cannot be so: {fields_of(error)}", code="group.invalid") from None
            return self._act(GROUP, "groups", made, by, origin)

        seq = self._acts.append(act)
        return made[0], seq

    def members(self, group: str) -> list[str]:
        """Ids of whoever is in the group today and stays, among the acts read so far."""
        state, today = self._acts.custodians, self.today()
        return [each for each in state.members(group, today) if not _ended_today(state, each, group, today)]

    def regroup(
        self, group: str, make: Callable[[Sequence[str]], Sequence[str]], *, by: str, origin: str
    ) -> None:
        """Make those the members of a group from today on whom ``make`` makes of today's. Raises NotFound for one whom
        the directory does not know, Overloaded (``directory.busy``)."""
        today = self.today()
        for _ in range(_TRIES):
            self._acts.refresh()
            state = self._acts.custodians
            seen = state.last
            before = self.members(group)
            after = list(make(before))
            changed = []
            for each in sorted(set(before) ^ set(after)):
                person = state.get(each)
                if person is None:
                    raise NotFound("the directory has no such person", code="custodian.unknown")
                spans = regrouped(person.groups, group, each in after, today)
                changed.append(person.model_copy(update={"groups": spans}))
            try:
                self._carry_out(Plan(people=changed), seen, by, origin)
            except _Stale:
                continue
            return
        raise Overloaded("others keep changing the directory", code="directory.busy")

    def take_in(
        self, read: Read, source: Source, *, by: str, dry_run: bool = False, strict: bool = False
    ) -> Report:
        """Import people. ``strict``: nothing is done where anything is in trouble. Raises Refused
        (``import.many_leavers``), Overloaded (``directory.busy``) when others keep changing the directory."""
        for _ in range(_TRIES):
            self._acts.refresh()
            state = self._acts.custodians
            seen = state.last
            planned = plan(state, read, source, self.today(), _new_id)
            report = self._report(planned)
            if dry_run or (strict and planned.troubles):
                report.seq = self._acts.seen
                return report
            try:
                self._carry_out(planned, seen, by, source.origin)
            except _Stale:
                continue
            report.applied, report.seq = True, self._acts.seen
            return report
        raise Overloaded("others keep changing the directory", code="directory.busy")

    def _carry_out(self, planned: Plan, seen: int, by: str, origin: str) -> None:
        parts: list[tuple[str, str, Sequence[Custodian | Group]]] = [
            *((GROUP, "groups", part) for part in _parts(planned.groups)),
            *((SET, "people", part) for part in _parts(planned.people)),
        ]
        for word, name, records in parts:

            def act(
                _: object,
                word: str = word,
                name: str = name,
                records: Sequence[Custodian | Group] = records,
                seen: int = seen,
            ) -> dict[str, Any]:
                if self._acts.custodians.last != seen:
                    raise _Stale
                return self._act(word, name, records, by, origin)

            seen = self._acts.append(act)

    def _act(
        self, word: str, name: str, records: Sequence[Custodian | Group], by: str, origin: str
    ) -> dict[str, Any]:
        return {
            "version": 1,
            "act": word,
            name: [record.plain() for record in records],
            "by": by,
            "at": rfc3339(self._clock()),
            "origin": origin,
        }

    def _report(self, planned: Plan) -> Report:
        report = Report(unchanged=planned.unchanged, groups=len(planned.groups), troubles=planned.troubles)
        for record in planned.people:
            stored = self._acts.custodians.get(record.id)
            what = "changed"
            if stored is None:
                what, report.added = "added", report.added + 1
            elif record.id in planned.passed_on:
                what, report.passed_on = "passed_on", report.passed_on + 1
            elif record.left is not None and stored.left is None:
                what, report.left = "left", report.left + 1
            else:
                report.changed += 1
            if len(report.changes) < _SHOWN:
                report.changes.append(Changed(record.id, what, _different(stored, record)))
        return report


def _valid(fields: dict[str, Any]) -> Custodian:
    """Raises Invalid."""
    try:
        return Custodian.model_validate(fields)
    except ValidationError as error:
        message = f"a person's record cannot be so: {fields_of(error)}"
        raise Invalid(message, code="custodian.invalid") from None


def _different(stored: Custodian | None, record: Custodian) -> tuple[str, ...]:
    names = [name for name in Custodian.model_fields if name != "id"]
    if stored is None:
        return tuple(name for name in names if getattr(record, name))
    return tuple(name for name in names if getattr(record, name) != getattr(stored, name))


def _parts(records: Sequence[Custodian] | Sequence[Group]) -> Iterator[list[Custodian | Group]]:
    """The records in order, in parts that an act may hold."""
    part: list[Custodian | Group] = []
    size = 0
    for record in records:
        length = len(canonical(record.plain()))
        if part and (len(part) == _MOST or size + length > _LARGEST):
            yield part
            part, size = [], 0
        part.append(record)
        size += length
    if part:
        yield part


def _ended_today(state: Custodians, person: str, group: str, today: str) -> bool:
    """Whether the person is in the group today for the last time."""
    found = state.get(person)
    spans = [each for each in found.groups if each.group == group and each.on(today)] if found else []
    return all(span.until == today for span in spans)


def _new_id(kind: str) -> str:
    return kind + secrets.token_hex(8)
