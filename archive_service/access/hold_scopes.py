"""What a hold is about, as a query: with the directory as it is now, so that a person's new address counts too, and as
it was when the hold was placed, so that nobody alone makes it cover less."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from archive_service.access.directory import Resolution, expanded, resolution_of
from archive_service.access.placed_people import AsPlaced, together
from archive_service.access.scope import NOTHING
from archive_service.ledger.acts import Acts
from archive_service.ledger.erasures import Asked
from archive_service.ledger.holds import Hold
from archive_service.model.custodians import Directory
from archive_service.model.errors import QueryError
from archive_service.model.grounds import EraseGround
from search.query_language import And, Ids, Node, Or, Sent, parse
from search.query_tree import days_of

BELOW_HOLD = frozenset({EraseGround.REQUEST, EraseGround.MAXIMUM})
"""Grounds to erase that a hold stands above (``retention.precedence``)."""


def stands_above(hold: Hold, ground: EraseGround) -> bool:
    """Whether what is erased on this ground must be held against the hold first: on any, if it is an order."""
    return hold.order or ground in BELOW_HOLD


class Sought(Protocol):
    """What a hold says of the mail it is about; the fields as in ``ledger.holds.Hold``."""

    @property
    def query(self) -> str | None: ...
    @property
    def custodians(self) -> Sequence[str]: ...
    @property
    def groups(self) -> bool: ...
    @property
    def messages(self) -> Sequence[str]: ...
    @property
    def first(self) -> str | None: ...
    @property
    def last(self) -> str | None: ...


@dataclass(frozen=True)
class HoldScope:
    """``node``: None for a list of captures, and for a query that can be read no more (``broken``: its code). A digest
    says whether it is still what was searched for."""

    node: Node | None
    digest: str
    people: tuple[Resolution, ...] = ()
    broken: str | None = None


class HoldScopes:
    """One owner's. Not thread-safe where one is shared: each user makes its own."""

    def __init__(self, acts: Acts) -> None:
        self._acts = acts
        self._known: dict[str, tuple[int, HoldScope]] = {}

    def of(self, hold: Hold) -> HoldScope:
        """By the acts as read."""
        last = self._acts.custodians.last
        known = self._known.get(hold.id)
        if known is None or known[0] != last:
            known = self._known[hold.id] = last, self._made(hold)
        return known[1]

    def undecided(self, asked: Asked) -> bool:
        """Whether a hold in force has not yet been held against a capture that is to be erased: it was placed since, or
        what it searches for has changed. Until then nothing below a hold may have its key destroyed."""
        holds = self._acts.holds.in_force()
        return any(stands_above(hold, asked.ground) and self._waits(hold, asked) for hold in holds)

    def looking(self) -> bool:
        """Whether a hold in force has not been held against everything that was there, as far as the acts say."""
        return self._behind(self._acts.holds.in_force())

    def ordering(self) -> bool:
        """As ``looking``, of orders to keep alone."""
        return self._behind([hold for hold in self._acts.holds.in_force() if hold.order])

    def _behind(self, holds: Sequence[Hold]) -> bool:
        return any(hold.searched and (not hold.head or hold.scope != self.of(hold).digest) for hold in holds)

    def _waits(self, hold: Hold, asked: Asked) -> bool:
        scope = self.of(hold)
        if not hold.searched:
            return False
        return scope.broken is not None or hold.scope != scope.digest or hold.asked <= asked.position

    def _made(self, hold: Hold) -> HoldScope:
        if not hold.searched:
            return HoldScope(None, "")
        try:
            node, people = self._found(hold)
        except QueryError as error:
            return HoldScope(None, "", broken=error.code)
        return HoldScope(node, _digest(node), people)

    def _found(self, hold: Hold) -> tuple[Node, tuple[Resolution, ...]]:
        """By the directory as it is, or as it was when the hold was placed; by the latter alone where the former knows
        somebody no more. Raises QueryError."""
        if hold.people is None:
            return node_of(self._acts.custodians, hold)
        then, meant = node_of(AsPlaced(self._acts.custodians, hold.people), hold)
        try:
            now, people = node_of(self._acts.custodians, hold)
        except QueryError:
            return then, meant
        return (now if now == then else Or((now, then))), together(people, meant)


def _digest(node: Node) -> str:
    """Of what is searched for, and how: with days, by the receipt too (``holds.found``). A hold of a release that did
    not do so is looked through anew."""
    how = " or received" if days_of(node) else ""
    return hashlib.sha256(f"{node!r}{how}".encode()).hexdigest()[:32]


def node_of(directory: Directory, hold: Sought) -> tuple[Node, tuple[Resolution, ...]]:
    """What a hold searches for, and whom it took for whom. Raises QueryError."""
    if hold.messages:
        return Ids(tuple(hold.messages)), ()
    parts: list[Node] = []
    people: list[Resolution] = []
    if hold.query is not None:
        query, named = expanded(parse(hold.query), directory)
        parts.append(query)
        people += named
    if hold.custodians:
        node, found = _custodians(directory, hold)
        parts.append(node)
        people += found
    if hold.first or hold.last:
        parts.append(Sent(hold.first, hold.last))
    return (And(tuple(parts)) if len(parts) > 1 else parts[0]), tuple(people)


def _custodians(directory: Directory, hold: Sought) -> tuple[Node, list[Resolution]]:
    """Mail of any of them; nothing while none of them has an address."""
    found = []
    for custodian in hold.custodians:
        known = directory.get(custodian)
        if known is not None:
            found.append(resolution_of(directory, known, groups=hold.groups))
    nodes = [node for each in found if (node := each.node()) is not None]
    if not nodes:
        return NOTHING, found
    return (Or(tuple(nodes)) if len(nodes) > 1 else nodes[0]), found
