"""Whether holds are known of captures that somebody is about to take away above a hold: what comes is projected first,
and held against the holds a moment later."""

from collections.abc import Sequence

from archive_service.access.hold_scopes import HoldScopes
from archive_service.catalog.base import CaptureRow, Catalog
from archive_service.holds.found import found_of
from archive_service.ledger.acts import Acts
from search.indexes.base import SearchIndex


def undecided(acts: Acts, catalog: Catalog, index: SearchIndex, rows: Sequence[CaptureRow]) -> bool:
    """By the acts as read: whether a hold in force has not been held against everything, or finds one of these without
    covering it yet, or nobody can say now. Raises QueryError, StoreError."""
    searched = [hold for hold in acts.holds.in_force() if hold.searched]
    if not searched or not rows:
        return False
    scopes, position = HoldScopes(acts), catalog.position()
    if scopes.looking() or position.indexed < position.rows:
        return True
    wanted = catalog.messages(list({row.finding.message for row in rows}))
    for hold in searched:
        node = scopes.of(hold).node
        if node is None:
            return True
        hits = found_of(index, node, wanted)
        for row in rows:
            finds = row.finding.message in hits and hold.wants(row.finding.received_at)
            if finds and row.id not in hold.covered:
                return True
    return False
