"""The write path: seal and create the object, put the key record in both places beside it, then append; all durable,
then the receipt. Group commit: whatever waits while one group is written makes the next one, so the cost of a mail
falls as load rises.

A thread carries its group all the way; when several have finished at once, the one whose turn it is appends the
entries of all as one batch. Any failure fails every capture of its group: the sender hears 4xx and tries again, and
what had been stored is an orphan that ``verify`` reports and recovery chains.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass

from archive_service.ledger.arrivals import Arrivals
from archive_service.ledger.slots import Slots
from archive_service.ledger.write_steps import Captured, CaptureDraft, SealedGroup, WriteSteps
from archive_service.model.clock import Clock
from archive_service.model.errors import ArchiveError, Overloaded, StoreError
from archive_service.vault.key_layout import LogId
from archive_service.vault.key_places import SideBySide
from archive_service.vault.keyring import Keyring
from archive_service.vault.stores.base import ObjectStore

__all__ = ["CaptureDraft", "CaptureWriter", "Captured", "WriterLimits"]

_log = logging.getLogger(__name__)

GIVE_UP = 60.0  # seconds: design point 3
_JOINED = 16  # groups in one batch; with the largest groups that is as many entries as a batch holds


@dataclass
class _Pending:
    """A mail in memory on its way. ``future`` belongs to ``loop`` if there is one, else to any thread."""

    draft: CaptureDraft
    raw: bytes
    deadline: float
    future: "Future[Captured] | asyncio.Future[Captured]"
    loop: asyncio.AbstractEventLoop | None = None


_Told = Captured | ArchiveError


@dataclass
class _Group:
    """Sealed and durable, waiting for its entries."""

    sealed: SealedGroup
    waiting: list[_Pending]
    settled: bool = False


@dataclass(frozen=True)
class WriterLimits:
    """How much one group takes, and how many groups are written at a time. One at a time makes the largest groups,
    which is best where the work is our own (a file system); more hide the distance to a store far away."""

    group: int = 64
    group_bytes: int = 8 * 1024 * 1024
    sealers: int = 1
    patience: float = 0.005  # seconds; see ``Arrivals``


class CaptureWriter:
    """One owner's capture log slot in one process. Thread-safe."""

    def __init__(
        self,
        store: ObjectStore,
        keyring: Keyring,
        slots: Slots,
        clock: Clock,
        limits: WriterLimits | None = None,
    ) -> None:
        self._limits = limits or WriterLimits()
        self._arrivals: Arrivals[_Pending] = Arrivals(
            lambda pending: len(pending.raw),
            most=self._limits.group,
            most_bytes=self._limits.group_bytes,
            patience=self._limits.patience if self._limits.sealers == 1 else 0.0,
        )
        self._finished: deque[_Group] = deque()
        self._turn = threading.Lock()  # whose holder appends
        self._ended = False
        self._beside = SideBySide(self._limits.sealers, "key-record")
        self._steps = WriteSteps(store, keyring, slots, clock, self._beside)
        self._threads = [
            threading.Thread(target=self._write_groups, name=f"writer-{n}", daemon=True)
            for n in range(self._limits.sealers)
        ]
        for thread in self._threads:
            thread.start()

    # --- what callers see -----------------------------------------------------------------------------

    def open(self) -> LogId:
        """Claim a slot now rather than at the first mail. Raises ArchiveError."""
        return self._steps.open()

    def submit(self, draft: CaptureDraft, raw: bytes) -> "Future[Captured]":
        """Write a mail that stands in memory. The future ends when object, key record and entry are durable, or
        with an ArchiveError (outcome unknown: answer 4xx)."""
        future: Future[Captured] = Future()
        future.set_running_or_notify_cancel()  # a sender that gave up cannot cancel what is being written
        self._enqueue(_Pending(draft, raw, time.monotonic() + GIVE_UP, future))
        return future

    def submit_from_loop(self, draft: CaptureDraft, raw: bytes) -> "asyncio.Future[Captured]":
        """As ``submit``, from a coroutine: a group wakes its event loop once, not once a mail. Cancelling the future
        cancels nothing but the waiting."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Captured] = loop.create_future()
        self._enqueue(_Pending(draft, raw, time.monotonic() + GIVE_UP, future, loop))
        return future

    def _enqueue(self, pending: _Pending) -> None:
        if not self._arrivals.put(pending):
            _settle([(pending, Overloaded("the writer is stopping"))])

    def write_stream(
        self, draft: CaptureDraft, chunks: Iterable[bytes], batch: str | None = None
    ) -> Captured:
        """Write a large mail from chunks, in flat memory, in the caller's thread; same promise as ``submit``.

        The time limit counts from the last chunk. An exception raised by ``chunks`` ends the capture. ``batch``: a new
        batch id, where the caller has told of the capture before it is written.
        """
        sealed = self._steps.seal_stream(draft, chunks, batch)
        future: Future[Captured] = Future()
        pending = _Pending(draft, b"", time.monotonic() + GIVE_UP, future)
        self._append_in_turn(_Group(sealed, [pending]))
        return future.result()

    def close(self) -> None:
        """Finish what was submitted, then stop; a stream that has not ended by then is refused."""
        self._arrivals.close()
        for thread in self._threads:
            thread.join()
        with self._turn:
            self._ended = True
        self._beside.close()

    # --- sealing --------------------------------------------------------------------------------------

    def _write_groups(self) -> None:
        while (waiting := self._arrivals.take()) is not None:
            try:
                sealed = self._steps.seal([(pending.draft, pending.raw) for pending in waiting])
            except ArchiveError as error:
                _settle((pending, error) for pending in waiting)
            except Exception as error:  # noqa: BLE001 - logged, and every waiting sender hears 4xx
                _log.exception("sealing failed")
                failed = StoreError(f"sealing failed: {type(error).__name__}")
                _settle((pending, failed) for pending in waiting)
            else:
                self._append_in_turn(_Group(sealed, waiting))

    # --- appending ------------------------------------------------------------------------------------

    def _append_in_turn(self, group: _Group) -> None:
        """Return when the group's senders have their answer; whoever has the turn answers for all that finished."""
        self._finished.append(group)
        while not group.settled:
            with self._turn:
                self._append_finished()

    def _append_finished(self) -> None:
        groups: list[_Group] = []
        while self._finished and len(groups) < _JOINED:
            groups.append(self._finished.popleft())
        if not groups:
            return
        try:
            if self._ended:
                raise Overloaded("the writer is stopping")
            outcomes = self._append([_in_time(group) for group in groups])
        except ArchiveError as error:
            outcomes = _failed(groups, error)
        except Exception as error:  # noqa: BLE001 - logged, and every waiting sender hears 4xx
            _log.exception("appending failed")
            outcomes = _failed(groups, StoreError(f"appending failed: {type(error).__name__}"))
        _settle(outcomes)
        for group in groups:
            group.settled = True

    def _append(self, groups: list[_Group]) -> list[tuple[_Pending, _Told]]:
        told: list[tuple[_Pending, _Told]] = []
        outcomes = self._steps.append([group.sealed for group in groups])
        for group, outcome in zip(groups, outcomes, strict=True):
            if isinstance(outcome, ArchiveError):
                told.extend(_failed([group], outcome))
            else:
                told.extend(zip(group.waiting, outcome, strict=True))
        return told


def _in_time(group: _Group) -> _Group:
    """The group without captures whose sender has been given up on: recovery owns those."""
    now = time.monotonic()
    kept = [pending.deadline >= now for pending in group.waiting]
    if all(kept):
        return group
    late = StoreError("the write took too long")
    _settle((pending, late) for pending, keep in zip(group.waiting, kept, strict=True) if not keep)
    waiting = [pending for pending, keep in zip(group.waiting, kept, strict=True) if keep]
    return _Group(group.sealed.only(kept), waiting)


def _failed(groups: Iterable[_Group], error: ArchiveError) -> list[tuple[_Pending, _Told]]:
    return [(pending, error) for group in groups for pending in group.waiting]


def _settle(outcomes: Iterable[tuple[_Pending, _Told]]) -> None:
    """Tell everyone who waits; each event loop is woken once."""
    loops: dict[asyncio.AbstractEventLoop, list[tuple[_Pending, _Told]]] = {}
    for pending, outcome in outcomes:
        if pending.loop is None:
            _tell([(pending, outcome)])
        else:
            loops.setdefault(pending.loop, []).append((pending, outcome))
    for loop, told in loops.items():
        try:
            loop.call_soon_threadsafe(_tell, told)
        except RuntimeError:  # the loop is closed: nobody waits any more
            _log.warning("%d outcomes came after their event loop had ended", len(told))


def _tell(outcomes: list[tuple[_Pending, _Told]]) -> None:
    for pending, outcome in outcomes:
        if pending.future.done():
            continue  # its sender has been told 4xx, or has gone
        if isinstance(outcome, Captured):
            pending.future.set_result(outcome)
        else:
            pending.future.set_exception(outcome)
