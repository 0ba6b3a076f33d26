"""Which captures holds cover: every stretch of the order is held against every hold, once its documents are found."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from archive_service.access.hold_scopes import HoldScope, HoldScopes, stands_above
from archive_service.catalog.base import Catalog, MessageRow
from archive_service.holds.found import found_of
from archive_service.ledger.acts import Acts
from archive_service.ledger.erasures import Asked
from archive_service.ledger.holds import Hold
from archive_service.model.errors import ArchiveError, QueryError, Refused
from archive_service.model.trouble import Trouble
from retention.holds import PIECE, Looked, cover
from search.indexes.base import SearchIndex
from search.query_language import Node

_log = logging.getLogger(__name__)
_STRETCH = 500  # rows of the order log that are looked through at once
_STEP = 2_000  # rows, of all holds together, until others have their turn
_SAID = 20_000  # rows without a find until an act says that they were looked through
_JUDGED = 100  # captures that are to be erased, read at once

Judge = Callable[[Hold, Node, Sequence[Asked]], dict[str, str]]
"""Of captures that are to be erased, by their own bytes: those that a hold's query finds; log by capture."""


@dataclass
class _Walk:
    """How far one hold is under one scope: the acts say so now and then, this process knows it better."""

    scope: str
    rows: int
    asked: int
    found: dict[str, str] = field(default_factory=dict)
    judged: set[str] = field(default_factory=set)
    """Of the act at ``asked``: what of it was held against the hold already."""


class Covering:
    """Holds one owner's messages against its holds. Not thread-safe; the active follower alone runs it."""

    def __init__(
        self, acts: Acts, catalog: Catalog, index: SearchIndex, scopes: HoldScopes, judge: Judge
    ) -> None:
        self._acts = acts
        self._catalog = catalog
        self._index = index
        self._scopes = scopes
        self._judge = judge
        self._walks: dict[str, _Walk] = {}
        self._turn = 0
        self._waiting: tuple[int, list[Asked]] = (-1, [])
        self._troubles: dict[str, Trouble] = {}

    def step(self) -> int:
        """A stretch for each hold that is behind, but no more than a second's work or so, another one first each time:
        mail is ordered in between. How much was done, 0 when none is behind. What is found is durable in the acts on
        return, or found again. Raises StoreError, Tampered."""
        holds = [hold for hold in self._acts.holds.in_force() if hold.searched]
        if not holds:
            return 0
        head, waiting = self._catalog.position().indexed, self._to_be_erased()
        self._turn += 1
        first, done = self._turn % len(holds), 0
        for hold in holds[first:] + holds[:first]:
            done += self._further(hold, head, waiting)
            if done >= _STEP:
                break
        return done

    def _to_be_erased(self) -> list[Asked]:
        """What is asked for and not begun, in the order of the acts; looked for when there are new ones."""
        if self._waiting[0] != self._acts.seen:
            erasures = self._acts.erasures
            found = [asked for asked in erasures.pending() if not erasures.begun(asked.capture)]
            self._waiting = self._acts.seen, sorted(found, key=lambda asked: asked.position)
        return self._waiting[1]

    def _further(self, hold: Hold, head: int, waiting: Sequence[Asked]) -> int:
        scope = self._scopes.of(hold)
        trouble = self._troubles.setdefault(hold.id, Trouble(_log, f"hold {hold.id}"))
        if scope.node is None:
            trouble.failed(QueryError("its query cannot be read any more", 0, code=scope.broken or "query"))
            return 0
        walk = self._walk(hold, scope)
        try:
            done = self._look(hold, scope.node, walk, head, waiting)
        except QueryError as error:  # what it searches for has become too broad: erasures wait, mail does not
            trouble.failed(error)
            return 0
        trouble.passed()
        return done

    def _walk(self, hold: Hold, scope: HoldScope) -> _Walk:
        """From where the acts say, or from the beginning when it searches for something else now."""
        known = self._walks.get(hold.id)
        if known is None or known.scope != scope.digest:
            same = hold.scope == scope.digest
            known = _Walk(scope.digest, hold.rows if same else 0, hold.asked if same else 0)
            self._walks[hold.id] = known
        return known

    def _look(self, hold: Hold, node: Node, walk: _Walk, head: int, waiting: Sequence[Asked]) -> int:
        below = min(walk.rows + _STRETCH, head)
        done = max(0, below - walk.rows)
        if done:
            walk.found |= self._found(hold, node, walk.rows, below)
            walk.rows = below
        judged = self._judge_some(hold, node, walk, waiting)
        if judged or self._worth_saying(hold, walk, head):
            self._say(hold, walk, head)
            done += 1
        return done

    def _judge_some(self, hold: Hold, node: Node, walk: _Walk, waiting: Sequence[Asked]) -> bool:
        """Hold some of what is to be erased against it; whether any was. It is judged by its own bytes: catalog and
        index know it no more. ``asked`` passes an act once all of it is judged."""
        waiting = [each for each in waiting if stands_above(hold, each.ground)]
        due = [each for each in waiting if each.position >= walk.asked and each.capture not in walk.judged]
        if not due:
            return False
        some = due[:_JUDGED]
        found = self._judge(hold, node, some)
        walk.found |= {capture: log for capture, log in found.items() if capture not in hold.covered}
        left = due[_JUDGED:]
        walk.asked = left[0].position if left else some[-1].position + 1
        walk.judged |= {each.capture for each in some}
        walk.judged &= {each.capture for each in waiting if each.position == walk.asked}
        return True

    def _found(self, hold: Hold, node: Node, since: int, below: int) -> dict[str, str]:
        """Every capture of the messages that gained one in [since, below) and that the hold finds: what a message says
        is what all its captures say together, so all of them are kept."""
        changed = list(self._catalog.changed(since, below))
        if not changed:
            return {}
        hits = found_of(self._index, node, changed)
        places = (place for message in changed if message.id in hits for place in _places(hold, message))
        return {capture: log for capture, log in places if capture not in hold.covered}

    def _worth_saying(self, hold: Hold, walk: _Walk, head: int) -> bool:
        """Not for every stretch: an act is read by every process for ever."""
        if len(walk.found) >= PIECE or walk.rows - hold.rows >= _SAID:
            return True
        said = hold.head and hold.scope == walk.scope
        return walk.rows >= head and (bool(walk.found) or not said)

    def _say(self, hold: Hold, walk: _Walk, head: int) -> None:
        """Raises ArchiveError: then it is looked through again, from what the acts say."""
        try:
            looked = Looked(walk.scope, walk.rows, walk.asked, walk.rows >= head)
            cover(self._acts, hold.id, looked, walk.found)
        except Refused:
            _log.info("a hold was released while it was looked for")
        except ArchiveError:
            del self._walks[hold.id]
            raise
        walk.found = {}


def _places(hold: Hold, message: MessageRow) -> list[tuple[str, str]]:
    """(capture, log) of what a hold wants of a message that it finds."""
    return [(row.id, row.log) for row in message.captures if hold.wants(row.finding.received_at)]
