"""How far grants reach, as a query: what it does not find is not shown, counted or told of."""

from collections.abc import Callable, Iterable, Mapping

from archive_service.ledger.grants import Grant
from archive_service.ledger.matters import Matter
from archive_service.model.errors import QueryError
from search.query_language import And, Everything, Node, Not, Or, parse

NOTHING: Node = Not(Everything())

Participants = Callable[[str], Node | None]
"""What a custodian took part in, by id; None for one without an address."""


def scope_of(grants: Iterable[Grant], matters: Mapping[str, Matter], participants: Participants) -> Node:
    """What the grants bound, together. A closed or unknown matter, and one about nothing, hold nothing."""
    return _any([_of_grant(grant, matters, participants) for grant in grants])


def of_matter(matter: Matter, participants: Participants) -> Node:
    """The mail of a matter: what its query finds and its custodians took part in."""
    parts: list[Node] = []
    if matter.query is not None:
        try:
            parts.append(parse(matter.query))
        except QueryError:
            return NOTHING  # of an older language: shown to nobody rather than to too many
    if matter.custodians:
        parts.append(_of_custodians(matter.custodians, participants))
    return _all(parts) if parts else NOTHING


def _of_grant(grant: Grant, matters: Mapping[str, Matter], participants: Participants) -> Node:
    parts: list[Node] = []
    if grant.matter is not None:
        matter = matters.get(grant.matter)
        if matter is None or matter.closed is not None:
            return NOTHING
        parts.append(of_matter(matter, participants))
    if grant.custodians:
        parts.append(_of_custodians(grant.custodians, participants))
    return _all(parts) if parts else Everything()


def _of_custodians(custodians: Iterable[str], participants: Participants) -> Node:
    found = [node for custodian in custodians if (node := participants(custodian)) is not None]
    return _any(found)


def _any(parts: list[Node]) -> Node:
    if not parts:
        return NOTHING
    return parts[0] if len(parts) == 1 else Or(tuple(parts))


def _all(parts: list[Node]) -> Node:
    return parts[0] if len(parts) == 1 else And(tuple(parts))
