"""The follower of one tenant: order what is new, project it, over and over."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from archive_service.catalog.base import Catalog
from archive_service.ledger.acts import Acts
from archive_service.ledger.appender import Appender
from archive_service.ledger.payloads import PayloadVault
from archive_service.model.errors import ArchiveError, SlotLost
from archive_service.model.trouble import Trouble
from archive_service.vault.key_layout import LogId
from search.evidence_desk import EvidenceDesk
from search.indexes.base import SearchIndex
from search.orderer import Exclude, FindLogs, Identify, Interpreter, IsCanary, Ordered, Orderer
from search.projector import Projector

_log = logging.getLogger(__name__)
_RETRY_SECONDS = 60.0


_HOLDS_SECONDS = 5.0  # while there is always more to order: holds are looked at so often all the same


HoldsStep = Callable[[], int]
"""Brings the holds up to what is projected; how much was done, 0 when nothing is left. Raises ArchiveError."""


class OrderSlot(Protocol):
    """Where the order log's slot is asked for."""

    def take(self) -> Appender:
        """The slot, claimed; asking again says that the last one was lost. Raises SlotLost while another follower is
        active, StoreError."""
        ...


@dataclass(frozen=True)
class FollowerParts:
    """What a follower works with. ``find_logs``: an owner's logs, where looking at every step is too dear.
    ``watches``: its projections are its own, so while another follower is active it projects what that one
    orders. ``width``: captures that are read side by side. ``prepare``: what whoever became the active
    follower does to shared projections before anything else. ``desk``: looks at captures after their ``250``;
    the active follower appends what it saw. ``holds``: what the active follower does for holds once there is
    nothing else to do, and every few seconds. ``tidy``: what any follower that writes an index of its own does
    once nothing else is to be done; how much it did. It raises nothing."""

    vault: PayloadVault
    acts: Acts
    slots: OrderSlot
    catalog: Catalog
    index: SearchIndex
    interpreter: Interpreter
    identify: Identify
    find_logs: FindLogs | None = None
    watches: bool = False
    width: int = 1
    prepare: Callable[[], None] | None = None
    exclude: Exclude | None = None
    is_canary: IsCanary | None = None
    desk: EvidenceDesk | None = None
    holds: HoldsStep | None = None
    tidy: Callable[[], int] | None = None


class Follower:
    """One tenant's active follower. Not thread-safe."""

    def __init__(self, parts: FollowerParts) -> None:
        self._parts = parts
        order = LogId(parts.acts.log.owner, "order-1")
        self._projector = Projector(
            parts.vault, parts.acts, order, parts.catalog, parts.index, parts.interpreter
        )
        self._slot: Appender | None = None
        self._orderer: Orderer | None = None
        self._retry_at = 0.0
        self._hold_at = 0.0
        self._trouble = Trouble(_log, "follower")
        self.unreadable = 0

    def start(self) -> None:
        """Take the order log's slot, then project to its head, a predecessor's last entries included. Raises SlotLost
        while another follower is active: whoever stands by writes nothing."""
        self._claim()
        self._projector.settle()
        if self._parts.prepare is not None:
            self._parts.prepare()
        self._projector.run()
        if self._slot is None:
            raise SlotLost("the follower has no order slot")
        self._orderer = Orderer(
            self._parts.vault,
            self._parts.acts,
            self._slot,
            self._parts.interpreter,
            self._parts.identify,
            self._parts.catalog.took(),
            self._parts.catalog.position().acts,
            width=self._parts.width,
            find_logs=self._parts.find_logs,
            is_canary=self._parts.is_canary,
            exclude=self._parts.exclude,
        )

    def _claim(self) -> None:
        """The slot, claimed: once, and again after an append whose outcome is not known."""
        if self._slot is None:
            self._slot = self._parts.slots.take()
        elif self._slot.head is None:
            try:
                self._slot.claim()
            except SlotLost:
                self._slot = None
                raise

    def step(self) -> int:
        """Order and project once; how many entries were taken, 0 when all is in the index. Raises ArchiveError; the
        next step goes on from what the order log holds."""
        if self._orderer is None:
            self.start()
        if self._orderer is None:
            raise SlotLost("the follower has no order slot")
        try:
            ordered = self._again() if time.monotonic() >= self._retry_at else self._orderer.step()
            self._append_seen()
        except SlotLost:
            self._slot = None  # another follower has it: to be asked for again, as by anyone who stands by
            raise
        finally:
            if not self._orderer.settled:
                self._orderer = None
        self.unreadable += ordered.unreadable
        restored = self._projector.restored
        worked = ordered.taken + self._project(ordered)
        if self._projector.restored > restored:
            self._retry_at = 0.0  # what is barred no more is shown again soon
        self._look_on()
        if worked and time.monotonic() < self._hold_at:
            return worked
        worked = worked or self._projector.finish()
        return worked + self._hold()

    def _hold(self) -> int:
        """By what is in the index now. Nothing that a hold may be about goes before (``HoldScopes.undecided``)."""
        self._hold_at = time.monotonic() + _HOLDS_SECONDS
        if self._parts.holds is None or self._slot is None:
            return 0
        return self._parts.holds()

    def _append_seen(self) -> None:
        """What was seen of captures goes into the order. Raises as ``Appender.append``: then what persisted
        of it is in the catalog before anything is looked at again."""
        desk = self._parts.desk
        drafts = desk.finished() if desk is not None and self._slot is not None else []
        if desk is None or self._slot is None or not drafts:
            return
        try:
            self._slot.append(drafts)
        except BaseException:
            desk.dropped()
            raise

    def _look_on(self) -> None:
        """After the projection: what was appended is in the catalog, and what is due is known."""
        if self._parts.desk is not None:
            self._parts.desk.noted()
            self._parts.desk.feed()

    def _project(self, ordered: Ordered) -> int:
        """To the order log's head, the last documents being written beside the next step. While the slot is ours that
        head is known, and a quiet log is not asked for more."""
        head = self._slot.head if self._slot is not None else None
        total = 0
        while True:
            position = self._parts.catalog.position()
            if head is not None and position.rows >= head.seq:
                return total
            projected = self._projector.begin(ordered.texts)
            if not projected:
                return total
            total += projected

    @property
    def active(self) -> bool:
        """Whether the order log's slot is this follower's, as far as it knows."""
        return self._slot is not None

    def follow(self) -> int:
        """``step``; or, while another follower is active and this one ``watches``, project what that one ordered. How
        many entries were taken. Raises ArchiveError."""
        try:
            worked = self.step()
        except SlotLost:
            if not self._parts.watches:
                raise
            worked = self._projector.run()
        if not worked and self._parts.tidy is not None:
            return self._parts.tidy()
        return worked

    def _again(self) -> Ordered:
        """What could not be opened before, once at the start and then once a minute."""
        self._retry_at = time.monotonic() + _RETRY_SECONDS
        if self._orderer is None:
            return Ordered()
        ordered = self._orderer.retry(self._parts.catalog.unread())
        return self._orderer.step() if not ordered.texts else ordered

    def run(self, stop: threading.Event, idle: float, failed: Callable[[ArchiveError], None]) -> None:
        """Follow until ``stop`` is set; ``idle`` seconds between looks at quiet logs."""
        while not stop.is_set():
            if not self._try(self.follow, failed):
                stop.wait(idle)
        if self._parts.desk is not None:
            self._parts.desk.close()
        self._try(self._projector.settle, failed)

    def _try(self, act: Callable[[], int | None], failed: Callable[[ArchiveError], None]) -> int:
        try:
            taken = act() or 0
        except ArchiveError as error:
            self._trouble.failed(error)
            failed(error)
            return 0
        self._trouble.passed()
        return taken
