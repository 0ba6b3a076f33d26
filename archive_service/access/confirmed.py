"""The directory as a decision of two people rests on it.

Who keeps the directory is one person, or a program. What he adds to somebody of whom a grant shows the mail must not
show more of it: an address counts only on days on which it was the person's when the grant was decided, and is now.
Where a query leaves somebody out (NOT), his addresses of then and of now are left out: taking one away shows nothing.
"""

from collections.abc import Iterable, Iterator

from archive_service.access.directory import expanded, resolve
from archive_service.model.custodians import AddressKind, Custodian, Directory, Group, HeldAddress
from archive_service.model.decided_people import DecidedPeople
from archive_service.model.errors import ArchiveError
from search.query_language import parse, walk
from search.query_tree import And, Named, Node, Not, Or


def decided(directory: Directory, custodians: Iterable[str], query: str | None) -> DecidedPeople:
    """Of the people who are named by id and in a query, what the directory says now. Who is not found for certain is
    not in it. Raises QueryError."""
    named = {}
    for node in walk(parse(query)) if query is not None else ():
        if isinstance(node, Named):
            try:
                named[node.who] = resolve(directory, node.who).id
            except ArchiveError:
                continue  # whoever reads the query is told; here nobody is meant
    people = {each: directory.get(each) for each in (*custodians, *named.values())}
    addresses = {who: found.addresses for who, found in sorted(people.items()) if found is not None}
    return DecidedPeople(addresses, named)


def within_decision(query: Node, directory: Directory, people: DecidedPeople) -> Node:
    """The query with everybody put into addresses that it may rest on. Raises QueryError where somebody has none."""
    return _put(query, AsDecided(directory, people), AsDecided(directory, people, left_out=True))


def _put(node: Node, here: Directory, under_not: Directory) -> Node:
    match node:
        case Named():
            return expanded(node, here)[0]
        case And(parts):
            return And(tuple(_put(part, here, under_not) for part in parts))
        case Or(parts):
            return Or(tuple(_put(part, here, under_not) for part in parts))
        case Not(part):
            return Not(_put(part, under_not, here))
    return node


class AsDecided:
    """See ``model.custodians.Directory``. ``left_out``: with what a person held then or holds now, instead of what he
    held then and holds now. A person of whom nothing was decided has no address."""

    def __init__(self, directory: Directory, people: DecidedPeople, *, left_out: bool = False) -> None:
        self._directory = directory
        self._people = people
        self._left_out = left_out

    def get(self, custodian: str) -> Custodian | None:
        """By id, or by what a query called him when it was decided."""
        found = self._directory.get(self._people.named.get(custodian, custodian))
        return None if found is None else self._as_decided(found)

    def everyone(self) -> Iterator[Custodian]:
        """Every person."""
        return (self._as_decided(each) for each in self._directory.everyone())

    def holders(self, address: str) -> list[Custodian]:
        """Nobody: whom an address meant was decided."""
        return []

    def named(self, key: str) -> list[Custodian]:
        """Nobody: whom a name meant was decided."""
        return []

    def group(self, group: str) -> Group | None:
        """As it is."""
        return self._directory.group(group)

    def _as_decided(self, now: Custodian) -> Custodian:
        then = self._people.addresses.get(now.id)
        if then is None:
            kept: tuple[HeldAddress, ...] = ()
        elif self._left_out:
            kept = (*now.addresses, *then)
        else:
            kept = tuple(_both(now.addresses, then))
        return now.model_copy(update={"addresses": kept})


def _both(now: Iterable[HeldAddress], then: Iterable[HeldAddress]) -> Iterator[HeldAddress]:
    """The addresses that are in both, on the days that are."""
    known: dict[str, list[HeldAddress]] = {}
    for held in then:
        known.setdefault(held.address, []).append(held)
    for held in now:
        for before in known.get(held.address, ()):
            if held.kind is not AddressKind.OTHER and held.meets(before):
                begins = max(filter(None, (held.begins, before.begins)), default=None)
                until = min(filter(None, (held.until, before.until)), default=None)
                yield held.model_copy(update={"begins": begins, "until": until})
