"""Group commit for entries with a payload: many answers share one append. Used by the access logs."""

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from archive_service.ledger.entry import Entry
from archive_service.ledger.payloads import PayloadVault
from archive_service.ledger.slots import DayKeys, HeldSlot, Slots
from archive_service.model.errors import ArchiveError, Overloaded, SlotLost, StoreError

_log = logging.getLogger(__name__)
_MOST = 64


@dataclass
class _Waiting:
    value: dict[str, Any]
    future: "Future[tuple[str, Entry]]" = field(default_factory=Future)


class GroupLog:
    """One process's slot of a log whose entries are payloads of one type. Thread-safe."""

    def __init__(
        self, vault: PayloadVault, slots: Slots, entry_type: str, acts_seen: Callable[[], int]
    ) -> None:
        self._vault = vault
        self._held = HeldSlot(slots, DayKeys(vault.keyring, vault.clock))
        self._type = entry_type
        self._acts_seen = acts_seen
        self._queue: queue.Queue[_Waiting | None] = queue.Queue()
        self._gate = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=f"{entry_type}-log", daemon=True)
        self._thread.start()

    def append(self, value: dict[str, Any]) -> tuple[str, Entry]:
        """Append one payload; returns log id and entry once durable. Raises ArchiveError: rely on nothing."""
        waiting = _Waiting(value)
        with self._gate:  # what is queued behind the stop mark would wait for ever
            if self._closed:
                raise Overloaded("the log is closing")
            self._queue.put(waiting)
        return waiting.future.result()

    def close(self) -> None:
        """Finish what waits, then stop."""
        with self._gate:
            self._closed = True
            self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (group := self._group()) is not None:
            try:
                self._commit(group)
            except ArchiveError as error:
                self._fail(group, error)
            except Exception as error:  # noqa: BLE001 - logged, and nobody who waits is told it is durable
                _log.exception("appending failed")
                self._fail(group, StoreError(f"appending failed: {type(error).__name__}"))

    def _group(self) -> list[_Waiting] | None:
        first = self._queue.get()
        if first is None:
            return None
        group = [first]
        while len(group) < _MOST:
            try:
                following = self._queue.get_nowait()
            except queue.Empty:
                break
            if following is None:
                self._queue.put(None)
                break
            group.append(following)
        return group

    def _commit(self, group: list[_Waiting]) -> None:
        tenure = self._held.tenure()
        slot = tenure.slot
        payloads = self._vault.seal_many(
            slot.log, [waiting.value for waiting in group], floor=slot.generation
        )
        seen = self._acts_seen()
        try:
            entries = slot.append(
                [(self._type, {"payload": payload, "acts_seen": seen}) for payload in payloads]
            )
        except Exception as error:
            self._held.ended(tenure, lost=isinstance(error, SlotLost))
            raise
        for waiting, entry in zip(group, entries, strict=True):
            waiting.future.set_result((str(slot.log), entry))

    @staticmethod
    def _fail(group: list[_Waiting], error: ArchiveError) -> None:
        for waiting in group:
            waiting.future.set_exception(error)
