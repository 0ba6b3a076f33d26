"""How far grants reach, as a query: what it does not find is not shown, counted or told of."""

from collections.abc import Iterable, Mapping

from archive_service.access.confirmed import AsDecided, within_decision
from archive_service.access.directory import expanded, resolution_of
from archive_service.ledger.grants import Grant
from archive_service.ledger.matters import Matter
from archive_service.model.custodians import Directory
from archive_service.model.decided_people import DecidedPeople
from archive_service.model.errors import QueryError
from search.query_language import And, Everything, Node, Not, Or, parse

NOTHING: Node = Not(Everything())


def scope_of(grants: Iterable[Grant], matters: Mapping[str, Matter], directory: Directory) -> Node:
    """What the grants bound, together, by the addresses with which they were decided and no others. A closed or unknown
    matter, and one about nothing, hold nothing."""
    return _any([_of_grant(grant, matters, directory) for grant in grants])


def _of_matter(matter: Matter, directory: Directory, people: DecidedPeople | None) -> Node:
    """The mail of a matter: what its query finds and its custodians took part in."""
    parts: list[Node] = []
    if matter.query is not None:
        try:
            query = parse(matter.query)
            parts.append(
                expanded(query, directory)[0] if people is None else within_decision(query, directory, people)
            )
        except QueryError:
            return NOTHING  # a person who is not known, an older language: shown to nobody rather than to too many
    if matter.custodians:
        parts.append(_of_custodians(matter.custodians, directory, people))
    return _all(parts) if parts else NOTHING


def _of_grant(grant: Grant, matters: Mapping[str, Matter], directory: Directory) -> Node:
    parts: list[Node] = []
    people = grant.people
    if grant.matter is not None:
        matter = matters.get(grant.matter)
        if matter is None or matter.closed is not None:
            return NOTHING
        people = people.together(matter.people) if people is not None else None
        parts.append(_of_matter(matter, directory, people))
    if grant.custodians:
        parts.append(_of_custodians(grant.custodians, directory, people))
    return _all(parts) if parts else Everything()


def _of_custodians(custodians: Iterable[str], directory: Directory, people: DecidedPeople | None) -> Node:
    known = directory if people is None else AsDecided(directory, people)
    found = [person for each in custodians if (person := known.get(each)) is not None]
    return _any([node for person in found if (node := resolution_of(directory, person).node()) is not None])


def _any(parts: list[Node]) -> Node:
    if not parts:
        return NOTHING
    return parts[0] if len(parts) == 1 else Or(tuple(parts))


def _all(parts: list[Node]) -> Node:
    return parts[0] if len(parts) == 1 else And(tuple(parts))
