"""What a move into this compartment has left that does not belong here: a second copy, one of a move that was given up,
the hold of a capture whose holds were released since. The compartment's active follower sees to it, after the holds.

A copy is withdrawn when the original was not withdrawn for it in the time there was, or somebody had that one erased;
when the stray was moved elsewhere; and when another copy, said later, is or was here. One that a hold or an order of
the compartment's own has found stays while that is in force.
"""

import logging
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

from archive_service.catalog.base import CaptureRow, Catalog
from archive_service.catalog.vouching import entry_of
from archive_service.holds.objects import set_hold
from archive_service.ledger.acts import Acts
from archive_service.ledger.strays import Stray, held_name
from archive_service.model.clock import Clock, rfc3339
from archive_service.model.errors import ArchiveError
from archive_service.model.grounds import KeepGround
from archive_service.vault.key_layout import LogId
from retention.erasure import Capture, withdraw
from retention.keeping import lift_keep

_log = logging.getLogger(__name__)
_REST = 60.0  # seconds
_MARGIN = timedelta(hours=1)  # between the clock of who moves and ours
_BY = "resealing"


class Leftovers:
    """One compartment's. Not thread-safe."""

    def __init__(
        self, acts: Acts, catalog: Catalog, clock: Clock, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._acts = acts
        self._catalog = catalog
        self._clock = clock
        self._monotonic = monotonic
        self._rest_until = 0.0
        self._looked: object = None

    def __call__(self) -> int:
        """How much was withdrawn or lifted; 0 when nothing is amiss. After a fault it rests for a minute: following
        goes on."""
        if not self._acts.strays.known or self._acts.above is None or self._monotonic() < self._rest_until:
            return 0
        try:
            return self._look()
        except ArchiveError as error:
            self._rest_until = self._monotonic() + _REST
            _log.warning("what a move has left cannot be seen to: %s", error.code)
            return 0

    def _look(self) -> int:
        """Everything again only when something may have changed."""
        now = rfc3339(self._clock() - _MARGIN)
        above = self._acts.above
        state = (self._acts.refresh(), above and above.seen, self._catalog.position().rows, now[:13])
        if state == self._looked:
            return 0
        done = 0
        for stray in list(self._acts.strays.known.values()):
            for capture in self._not_here(stray, now):
                self._free(capture.log, capture.id)
                withdraw(self._acts, capture, _BY)
                _log.info("a copy that a move has left was withdrawn")
                done += 1
            done += self._lift(stray)
        self._looked = state
        return done

    def _not_here(self, stray: Stray, now: str) -> Iterator[Capture]:
        """The copies that the catalog shows and that do not belong here. The one that counts is the last of those that
        are, or were, here: another may never have been written."""
        if len(stray.copies) == 1 and not stray.left and not self._given_up(stray, now):
            return
        barred = self._acts.erasures.barred
        rows = {each.capture: self._row(each.capture) for each in stray.copies}
        there = [each.capture for each in stray.copies if rows[each.capture] or barred(each.capture)]
        for name in there:
            row = rows[name]
            if row is None or barred(name) or self._acts.holds.holds_of(name):
                continue
            if name != there[-1] or stray.left or self._given_up(stray, now):
                yield Capture(LogId.parse(row.log), row.seq, name)

    def _row(self, capture: str) -> CaptureRow | None:
        """Of a capture that is in the ledger too: by a row alone nothing goes. Raises Tampered."""
        row = self._catalog.capture(capture)
        if row is not None:
            entry_of(self._acts.vault.store, row)
        return row

    def _given_up(self, stray: Stray, now: str) -> bool:
        """Whether the original is still where it was though nobody may withdraw it for this any more, or has gone on
        another ground."""
        above = self._acts.above
        if above is None or above.erasures.withdrew(stray.of):
            return False
        return stray.ends < now or above.erasures.barred(stray.of)

    def _lift(self, stray: Stray) -> int:
        """A hold that moved along ends with the holds of the original, which two people have released."""
        above = self._acts.above
        held = [each for each in stray.copies if held_name(each.capture) in self._acts.erasures.keeps]
        if not held or above is None or not above.erasures.withdrew(stray.of):
            return 0
        if KeepGround.HOLD in above.erasures.keeps_of(stray.of, rfc3339(self._clock())):
            return 0
        for each in held:
            if not self._acts.holds.holds_of(each.capture):
                self._free(LogId.parse(each.log), each.capture)
            lift_keep(self._acts, held_name(each.capture), _BY)
        return len(held)

    def _free(self, log: LogId, capture: str) -> None:
        """First of the hold in the store: who is cut off behind the act would leave it there for ever."""
        set_hold(self._acts.vault.store, (log, capture), held=False)
