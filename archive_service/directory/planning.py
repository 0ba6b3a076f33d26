"""All that an import would change, worked out against the directory before the first act. Pure.

A row that cannot be is left out and named, and whoever it speaks of stays as he is. Records that give addresses up
stand before those that take them: an import that is cut off leaves no address with two holders.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from archive_service.directory.handing_on import Conflict, settled
from archive_service.directory.incoming import GivenGroup, Incoming, Read, Trouble
from archive_service.directory.merging import merged
from archive_service.ledger.custodians import Custodians
from archive_service.model.custodians import Custodian, Group
from archive_service.model.errors import Refused


@dataclass(frozen=True)
class Source:
    """Where people come from. ``origin``: its word in ``external``. ``complete``: it names everybody it knows, so
    whoever it named before and does not name now has left; more than ``most_leavers`` at once are not believed."""

    origin: str
    complete: bool = False
    most_leavers: int = 50


@dataclass
class Plan:
    """``people`` and ``groups``: records to be set, in this order. ``added``, ``leaving``, ``passed_on``: ids among
    them of who is new, who is found to have left, and who gives an address up to another."""

    people: list[Custodian] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    unchanged: int = 0
    added: set[str] = field(default_factory=set)
    leaving: set[str] = field(default_factory=set)
    passed_on: set[str] = field(default_factory=set)


def plan(directory: Custodians, read: Read, source: Source, today: str, new_id: Callable[[str], str]) -> Plan:
    """What importing would change. ``new_id`` makes an id of a kind (``c``, ``g``). Raises Refused
    (``import.many_leavers``)."""
    return _Planning(directory, source, today, new_id).run(read)


class _Planning:
    def __init__(
        self, directory: Custodians, source: Source, today: str, new_id: Callable[[str], str]
    ) -> None:
        self._directory = directory
        self._source = source
        self._today = today
        self._new_id = new_id
        self._plan = Plan()
        self._people = dict(directory.by_external(source.origin))
        self._groups = _GroupsByKey(directory, source.origin, new_id)
        self._seen: set[str] = set()
        self._places: dict[str, int] = {}
        self._wanted: dict[str, Custodian] = {}

    def run(self, read: Read) -> Plan:
        self._plan.troubles += read.troubles
        for given in read.people:
            self._take(given)
        if self._source.complete:
            self._leave()
        final = self._settle()
        self._plan.people = [each for each in final if not self._gains(each)]
        self._plan.people += [each for each in final if self._gains(each)]
        self._plan.groups = list(self._groups.changed.values())
        self._plan.troubles.sort(key=lambda trouble: trouble.place)
        return self._plan

    def _trouble(self, place: int, code: str, detail: str) -> None:
        self._plan.troubles.append(Trouble(place, code, detail))

    def _take(self, given: Incoming) -> None:
        try:
            found = self._match(given)
        except Refused as error:
            self._trouble(given.place, error.code, str(error))
            return
        person = found or self._new_id("c")
        if person in self._seen:
            self._trouble(given.place, "row.double", f"the same person as before: {person}")
            return
        stored = self._directory.get(person) if found else None
        try:
            groups = None if given.groups is None else tuple(map(self._groups.id_of, given.groups))
            record = merged(stored, person, given, groups, self._today)
        except ValidationError as error:
            self._trouble(given.place, "row.invalid", fields_of(error))
            if found:
                self._seen.add(person)  # what cannot be read of somebody does not say that he has left
            return
        self._seen.add(person)
        self._people.setdefault(given.external.get(self._source.origin, ""), person)
        if record == stored:
            self._plan.unchanged += 1
            return
        if stored is None:
            self._plan.added.add(person)
        self._wanted[person], self._places[person] = record, given.place

    def _match(self, given: Incoming) -> str | None:
        """Whom the directory knows by the source's own key; else, of those who have no such key yet, by another one
        that the source gives (an employee's number), else by the address that he holds today. Raises Refused
        (``custodian.ambiguous``)."""
        known = self._people.get(given.external.get(self._source.origin, ""))
        if known is not None:
            return known
        for origin, key in given.external.items():
            other = self._directory.get(self._directory.by_external(origin).get(key, ""))
            if other is not None and self._source.origin not in other.external:
                return other.id
        holders = {
            holder.id
            for each in given.addresses or ()
            if not each.dated
            for holder in self._directory.holders(each.address)
            if holder.left is None
            and self._source.origin not in holder.external
            and any(held.address == each.address and held.on(self._today) for held in holder.addresses)
        }
        if len(holders) > 1:
            message = f"its addresses belong to several people: {', '.join(sorted(holders)[:5])}"
            raise Refused(message, code="custodian.ambiguous")
        return next(iter(holders), None)

    def _leave(self) -> None:
        gone = [
            custodian
            for person in self._people.values()
            if person not in self._seen and (custodian := self._directory.get(person)) is not None
            if custodian.left is None
        ]
        if len(gone) > self._source.most_leavers:
            message = f"{len(gone)} people would have left, more than {self._source.most_leavers}"
            raise Refused(message, code="import.many_leavers")
        for custodian in gone:
            last = max(self._today, custodian.joined or self._today)
            self._wanted[custodian.id] = custodian.model_copy(update={"left": last})
            self._plan.leaving.add(custodian.id)

    def _settle(self) -> list[Custodian]:
        """Every wanted record with its addresses apart from everybody's; who cannot be is left out, and then all is
        looked at again, for somebody may have relied on what he was to give up."""
        while True:
            final, conflicts = self._settle_once()
            if not conflicts:
                break
            for conflict in conflicts:
                detail = f"{conflict.other} holds an address of this person on the same day"
                self._trouble(self._places.get(conflict.custodian, 0), "address.conflict", detail)
                del self._wanted[conflict.custodian]
                self._plan.added.discard(conflict.custodian)
                self._plan.leaving.discard(conflict.custodian)
        self._plan.passed_on = set(final) - set(self._wanted)
        changed = [each for each in final.values() if each != self._directory.get(each.id)]
        self._plan.unchanged += len(final) - len(changed)
        return changed

    def _settle_once(self) -> tuple[dict[str, Custodian], list[Conflict]]:
        final = dict(self._wanted)
        by_address: dict[str, set[str]] = {}
        for record in final.values():
            for held in record.addresses:
                by_address.setdefault(held.address, set()).add(record.id)

        def holders(address: str) -> Iterator[Custodian]:
            stored = {holder.id: holder for holder in self._directory.holders(address)}
            for person in sorted(stored.keys() | by_address.get(address, set())):
                yield final.get(person) or stored[person]

        conflicts = []
        for person in self._wanted:
            outcome = settled(final[person], holders, self._directory.get, self._today)
            if isinstance(outcome, Conflict):
                conflicts.append(outcome)
                continue
            final[person] = outcome.custodian
            final.update({former.id: former for former in outcome.former})
        return final, conflicts

    def _gains(self, record: Custodian) -> bool:
        """Whether it holds an address on a day on which it did not before."""
        stored = self._directory.get(record.id)
        before = {held.address: held for held in stored.addresses} if stored else {}
        return any(held.address not in before or held not in before.values() for held in record.addresses)


class _GroupsByKey:
    """The groups of a source, known and new."""

    def __init__(self, directory: Custodians, origin: str, new_id: Callable[[str], str]) -> None:
        self._origin = origin
        self._new_id = new_id
        self._known: dict[str, Group] = {}
        self._addressed: dict[str, Group] = {}
        for group in directory.groups():
            if group.ended is None:
                self._note(group)
        self.changed: dict[str, Group] = {}

    def _note(self, group: Group) -> None:
        if self._origin in group.external:
            self._known[group.external[self._origin]] = group
        if group.address is not None:
            self._addressed.setdefault(group.address, group)

    def id_of(self, given: GivenGroup) -> str:
        """Of the group that is meant, which is made or changed if needed. Raises ValidationError."""
        known = self._known.get(given.key) or self._addressed.get(given.address or "")
        external = {**(known.external if known else {}), self._origin: given.key}
        fields: dict[str, Any] = {
            "id": known.id if known else self._new_id("g"),
            "name": given.name,
            "address": given.address or (known.address if known else None),
            "external": external,
        }
        made = Group.model_validate(fields)
        if made != known:
            self.changed[made.id] = made
            self._note(made)
        return made.id


def fields_of(error: ValidationError) -> str:
    """Which fields cannot be so, and never what they hold."""
    places = (".".join(map(str, each["loc"])) or "record" for each in error.errors(include_input=False))
    return ", ".join(sorted(set(places))[:10])
