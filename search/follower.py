"""The follower of one tenant: order what is new, project it, over and over."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from archive_service.catalog.base import Catalog
from archive_service.ledger.acts import Acts
from archive_service.ledger.payloads import PayloadVault
from archive_service.ledger.slots import Slots
from archive_service.model.errors import ArchiveError, SlotLost
from archive_service.model.mail import Text
from archive_service.vault.key_layout import LogId
from search.indexes.base import SearchIndex
from search.orderer import Identify, Interpreter, Orderer
from search.projector import Projector

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FollowerParts:
    """What a follower works with."""

    vault: PayloadVault
    acts: Acts
    slots: Slots  # of kind "order": one slot, so one active follower
    catalog: Catalog
    index: SearchIndex
    interpreter: Interpreter
    identify: Identify


class Follower:
    """One tenant's active follower. Not thread-safe."""

    def __init__(self, parts: FollowerParts) -> None:
        self._parts = parts
        order = LogId(parts.acts.log.owner, "order-1")
        self._projector = Projector(
            parts.vault, parts.acts, order, parts.catalog, parts.index, parts.interpreter
        )
        self._orderer: Orderer | None = None
        self.unreadable = 0

    def start(self) -> None:
        """Project to the order log's head, then take its slot. Raises SlotLost while another follower is active."""
        self._projector.run()
        appender = self._parts.slots.take()
        self._projector.run()  # what a predecessor appended before the claim
        self._orderer = Orderer(
            self._parts.vault,
            self._parts.acts,
            appender,
            self._parts.interpreter,
            self._parts.identify,
            self._parts.catalog.took(),
            self._parts.catalog.position().acts,
        )

    def step(self) -> int:
        """Order and project once; how many entries were taken. Raises ArchiveError; the next step starts again from
        what the order log holds."""
        if self._orderer is None:
            self.start()
        if self._orderer is None:
            raise SlotLost("the follower has no order slot")
        texts: dict[str, Text] = {}
        try:
            ordered = self._orderer.step()
            texts, taken = ordered.texts, ordered.taken
            self.unreadable += ordered.unreadable
        except ArchiveError:
            self._orderer = None
            raise
        while projected := self._projector.step(texts):
            taken += projected
        return taken

    def run(self, stop: threading.Event, idle: float, failed: Callable[[ArchiveError], None]) -> None:
        """Follow until ``stop`` is set; ``idle`` seconds between looks at quiet logs."""
        while not stop.is_set():
            try:
                taken = self.step()
            except ArchiveError as error:
                _log.warning("follower: %s", error.code)
                failed(error)
                taken = 0
            if not taken:
                stop.wait(idle)
