"""Whether a hold holds: everything it covers read back from the store, and searched for once more. What is printed is a
statement that can be made again and compared: count, digest, and the places in the logs that it rests on."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from archive_service.access.hold_scopes import HoldScopes
from archive_service.catalog.base import Catalog, MessageRow
from archive_service.holds.found import found_of
from archive_service.holds.taken import standing, taken_by
from archive_service.ledger.acts import Acts
from archive_service.ledger.holds import Hold
from archive_service.model.clock import Clock, rfc3339
from archive_service.model.errors import NotFound, Tampered
from archive_service.vault.key_layout import LogId, object_key
from archive_service.vault.stores.base import ObjectStore
from search.indexes.base import SearchIndex
from search.query_tree import Node, days_of

_PAGE = 500
_NAMED = 100  # ids that a report names


@dataclass
class HoldReport:
    """``digest``: SHA-256 over the sorted ids of what it covers, a line feed after each. ``held``: of these, objects
    that bear a hold; ``free``: that do not, ``missing``: that are not there or cannot be looked at;
    ``taken``: that an order to erase took, and that are not looked at. ``uncovered``: what
    the hold finds now and does not cover. ``order``, ``acts``: the positions of the logs that this rests on."""

    hold: str
    matter: str
    at: str
    acts: int
    order: int
    count: int
    digest: str
    held: int = 0
    taken: int = 0
    free: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    uncovered: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether nothing is amiss."""
        return not (self.free or self.missing or self.uncovered)

    def plain(self) -> dict[str, Any]:
        """JSON-ready; of what is amiss, some ids and how many there are."""
        named = {name: getattr(self, name) for name in ("free", "missing", "uncovered")}
        fields = {name: value for name, value in vars(self).items() if name not in named}
        for name, ids in named.items():
            fields |= {name: len(ids), f"{name}_ids": ids[:_NAMED]}
        return {**fields, "complete": self.complete}


def check_hold(
    acts: Acts, store: ObjectStore, catalog: Catalog, index: SearchIndex, hold: Hold, clock: Clock
) -> HoldReport:
    """Read it all back. Raises QueryError, StoreError: then nothing is said."""
    acts.refresh()
    covered = standing(acts, hold)
    report = HoldReport(
        hold=hold.id,
        matter=hold.matter,
        at=rfc3339(clock()),
        acts=acts.seen,
        order=catalog.position().indexed,
        count=len(covered),
        digest=digest_of(covered),
    )
    for place in ((LogId.parse(hold.covered[capture]), capture) for capture in covered):
        if taken_by(acts, place[1]) is not None:
            report.taken += 1
        else:
            report.held += _held(store, place, report)
    if hold.order:  # it keeps what was withdrawn too: that is counted nowhere, and said where it is amiss
        for capture in set(hold.covered) - set(covered):
            _held(store, (LogId.parse(hold.covered[capture]), capture), report)
    scope = HoldScopes(acts).of(hold)
    if scope.node is not None:
        report.uncovered = _uncovered(acts, catalog, index, hold, scope.node)
    return report


def digest_of(covered: Iterable[str]) -> str:
    """See ``HoldReport``."""
    made = hashlib.sha256()
    for capture in sorted(covered):
        made.update(f"{capture}\n".encode("ascii"))
    return made.hexdigest()


def _held(store: ObjectStore, place: tuple[LogId, str], report: HoldReport) -> bool:
    """Whether an object bears a hold; one that does not is named in the report."""
    try:
        _, lock = store.stat(object_key(*place))[0]
    except (NotFound, Tampered):
        report.missing.append(place[1])
        return False
    if not lock.hold:
        report.free.append(place[1])
    return lock.hold


def _uncovered(acts: Acts, catalog: Catalog, index: SearchIndex, hold: Hold, node: Node) -> list[str]:
    """Everything that it finds now, held against what it covers."""
    left: list[str] = []
    for message in _finds(catalog, index, node):
        left += [
            row.id
            for row in message.captures
            if hold.wants(row.finding.received_at)
            and row.id not in hold.covered
            and not acts.erasures.begun(row.id)
        ]
    return left


def _finds(catalog: Catalog, index: SearchIndex, node: Node) -> Iterator[MessageRow]:
    """Page by page; where it is about days, every message there is, for then the day of a receipt counts too."""
    if days_of(node):
        rows = catalog.changed(0, catalog.position().indexed)
        while messages := list(islice(rows, _PAGE)):
            found = found_of(index, node, messages)
            yield from (message for message in messages if message.id in found)
        return
    below: int | None = None
    while True:
        hits = index.search(node, limit=_PAGE, below=below, snippets=False).hits
        yield from catalog.messages([hit.id for hit in hits])
        if len(hits) < _PAGE:
            return
        below = hits[-1].rank
