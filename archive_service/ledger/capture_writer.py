"""The write path: seal and create the object, put the key record in both places beside it, then append; all durable,
then the receipt. Group commit: whatever waits while one group is written makes the next one, so the cost of a mail
falls as load rises.

A thread carries its group all the way; when several have finished at once, the one whose turn it is appends the
entries of all as one batch. Any failure fails every capture of its group: the sender hears 4xx and tries again, and
what had been stored is an orphan that ``verify`` reports and recovery chains.
"""

import asyncio
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from archive_service.ledger.appender import Appender, Draft
from archive_service.ledger.arrivals import Arrivals
from archive_service.ledger.payloads import object_fields
from archive_service.ledger.slots import Slots
from archive_service.model.canonical import canonical
from archive_service.model.clock import Clock, rfc3339
from archive_service.model.errors import ArchiveError, Overloaded, SlotLost, StoreError
from archive_service.model.mail import CaptureRecord
from archive_service.vault import key_layout, seal
from archive_service.vault.key_layout import LogId
from archive_service.vault.keyring import Keyring
from archive_service.vault.stores.base import Lock, NewObject, ObjectStore

_log = logging.getLogger(__name__)

GIVE_UP = 60.0  # seconds: design point 3
_JOINED = 16  # groups in one batch; with the largest groups that is as many entries as a batch holds


@dataclass(frozen=True)
class CaptureDraft:
    """A capture to be: its record (``capture`` is filled in when it is named), its intake lock, and how many acts
    had been read when its source was judged."""

    record: CaptureRecord
    lock: Lock
    acts_seen: int


@dataclass(frozen=True)
class Captured:
    """Where a capture stands in its log."""

    log: LogId
    seq: int
    capture: str


@dataclass
class _Pending:
    """A mail in memory on its way. ``future`` belongs to ``loop`` if there is one, else to any thread."""

    draft: CaptureDraft
    raw: bytes
    deadline: float
    future: "Future[Captured] | asyncio.Future[Captured]"
    loop: asyncio.AbstractEventLoop | None = None


_Outcome = Captured | ArchiveError


@dataclass
class _Group:
    """Sealed and durable, waiting for its entries. ``slot`` names the log that its objects' names carry."""

    slot: Appender
    drafts: list[Draft]
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
        self._store = store
        self._keyring = keyring
        self._slots = slots
        self._clock = clock
        self._limits = limits or WriterLimits()
        self._arrivals: Arrivals[_Pending] = Arrivals(
            lambda pending: len(pending.raw),
            most=self._limits.group,
            most_bytes=self._limits.group_bytes,
            patience=self._limits.patience if self._limits.sealers == 1 else 0.0,
        )
        self._finished: deque[_Group] = deque()
        self._turn = threading.Lock()  # whose holder appends
        self._slot_lock = threading.Lock()
        self._slot: Appender | None = None
        self._ended = False
        self._recorders = ThreadPoolExecutor(self._limits.sealers, thread_name_prefix="key-record")
        self._threads = [
            threading.Thread(target=self._write_groups, name=f"writer-{n}", daemon=True)
            for n in range(self._limits.sealers)
        ]
        for thread in self._threads:
            thread.start()

    # --- what callers see -----------------------------------------------------------------------------

    def open(self) -> LogId:
        """Claim a slot now rather than at the first mail. Raises ArchiveError."""
        return self._current_slot().log

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

    def write_stream(self, draft: CaptureDraft, chunks: Iterable[bytes]) -> Captured:
        """Write a large mail from chunks, in flat memory, in the caller's thread; same promise as ``submit``.

        The time limit counts from the last chunk. An exception raised by ``chunks`` ends the capture.
        """
        slot = self._current_slot()
        generation = self._keyring.current(self._clock().date())
        batch = key_layout.new_batch(self._clock())
        name, key = key_layout.sealed_name(batch, 0), secrets.token_bytes(32)
        object_key = key_layout.object_key(slot.log, name)
        sealer = seal.Sealer(key, object_key, self._record(draft, name))
        self._keyring.put_record(slot.log, batch, generation, [key])
        body: Iterator[bytes] = sealer.chunks(chunks)
        (stored,) = self._store.create([NewObject(object_key, body, draft.lock)])
        future: Future[Captured] = Future()
        pending = _Pending(draft, b"", time.monotonic() + GIVE_UP, future)
        fields = self._fields(draft, name, generation.number, object_key, stored.version, sealer.result())
        self._append_in_turn(_Group(slot, [("capture", fields)], [pending]))
        return future.result()

    def close(self) -> None:
        """Finish what was submitted, then stop; a stream that has not ended by then is refused."""
        self._arrivals.close()
        for thread in self._threads:
            thread.join()
        with self._turn:
            self._ended = True
        self._recorders.shutdown()

    # --- sealing --------------------------------------------------------------------------------------

    def _write_groups(self) -> None:
        while (waiting := self._arrivals.take()) is not None:
            try:
                group = self._seal(waiting)
            except ArchiveError as error:
                _settle((pending, error) for pending in waiting)
            except Exception as error:  # noqa: BLE001 - logged, and every waiting sender hears 4xx
                _log.exception("sealing failed")
                failed = StoreError(f"sealing failed: {type(error).__name__}")
                _settle((pending, failed) for pending in waiting)
            else:
                self._append_in_turn(group)

    def _seal(self, group: list[_Pending]) -> _Group:
        slot = self._current_slot()
        now = self._clock()
        generation = self._keyring.current(now.date())
        batch = key_layout.new_batch(now)
        keys = [secrets.token_bytes(32) for _ in group]
        recording = self._recorders.submit(self._keyring.put_record, slot.log, batch, generation, keys)
        objects: list[NewObject] = []
        sealed: list[tuple[str, str, seal.Seal]] = []
        try:
            for index, (pending, key) in enumerate(zip(group, keys, strict=True)):
                name = key_layout.sealed_name(batch, index)
                object_key = key_layout.object_key(slot.log, name)
                record = self._record(pending.draft, name)
                stored, facts = seal.seal_whole(key, object_key, record, pending.raw)
                pending.raw = b""
                objects.append(NewObject(object_key, stored, pending.draft.lock))
                sealed.append((name, object_key, facts))
            created = self._store.create(objects)
        finally:
            recording.result()
        drafts: list[Draft] = []
        for pending, (name, object_key, facts), stored_as in zip(group, sealed, created, strict=True):
            fields = self._fields(
                pending.draft, name, generation.number, object_key, stored_as.version, facts
            )
            drafts.append(("capture", fields))
        return _Group(slot, drafts, group)

    @staticmethod
    def _record(draft: CaptureDraft, name: str) -> bytes:
        return canonical({**draft.record.plain(), "capture": name})

    @staticmethod
    def _fields(
        draft: CaptureDraft, name: str, generation: int, object_key: str, version: str, facts: seal.Seal
    ) -> dict[str, Any]:
        until = draft.lock.until
        return {
            "capture": name,
            "object": object_fields(object_key, version, facts),
            "commit": facts.commit,
            "lock_until": rfc3339(until) if until is not None else None,
            "lock_mode": str(draft.lock.mode),
            "generation": generation,
            "acts_seen": draft.acts_seen,
        }

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
            outcomes = self._append([self._in_time(group) for group in groups])
        except ArchiveError as error:
            outcomes = _failed(groups, error)
        except Exception as error:  # noqa: BLE001 - logged, and every waiting sender hears 4xx
            _log.exception("appending failed")
            outcomes = _failed(groups, StoreError(f"appending failed: {type(error).__name__}"))
        _settle(outcomes)
        for group in groups:
            group.settled = True

    @staticmethod
    def _in_time(group: _Group) -> _Group:
        """The group without captures whose sender has been given up on: recovery owns those."""
        now = time.monotonic()
        late = [pending for pending in group.waiting if pending.deadline < now]
        if not late:
            return group
        _settle((pending, StoreError("the write took too long")) for pending in late)
        kept = [
            (draft, pending)
            for draft, pending in zip(group.drafts, group.waiting, strict=True)
            if pending.deadline >= now
        ]
        return replace(group, drafts=[draft for draft, _ in kept], waiting=[pending for _, pending in kept])

    def _append(self, groups: list[_Group]) -> list[tuple[_Pending, _Outcome]]:
        """Append what was written for our slot, as one batch; every capture's outcome. Raises ArchiveError."""
        slot = self._current_slot()
        lost = SlotLost("the log slot was lost while the mail was written")
        outcomes = _failed([group for group in groups if group.slot is not slot], lost)
        mine = [group for group in groups if group.slot is slot and group.drafts]
        if not mine:
            return outcomes
        try:
            if slot.head is None:
                slot.claim()
            appended = slot.append([draft for group in mine for draft in group.drafts])
        except SlotLost:
            self._abandon(slot)
            raise
        waiting = [pending for group in mine for pending in group.waiting]
        for entry, pending in zip(appended, waiting, strict=True):
            outcomes.append((pending, Captured(slot.log, entry.seq, entry.fields["capture"])))
        return outcomes

    def _current_slot(self) -> Appender:
        with self._slot_lock:
            if self._slot is None:
                self._slot = self._slots.take()
            return self._slot

    def _abandon(self, slot: Appender) -> None:
        with self._slot_lock:
            if self._slot is slot:
                self._slots.lose(slot)
                self._slot = None


def _failed(groups: Iterable[_Group], error: ArchiveError) -> list[tuple[_Pending, _Outcome]]:
    return [(pending, error) for group in groups for pending in group.waiting]


def _settle(outcomes: Iterable[tuple[_Pending, _Outcome]]) -> None:
    """Tell everyone who waits; each event loop is woken once."""
    loops: dict[asyncio.AbstractEventLoop, list[tuple[_Pending, _Outcome]]] = {}
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


def _tell(outcomes: list[tuple[_Pending, _Outcome]]) -> None:
    for pending, outcome in outcomes:
        if pending.future.done():
            continue  # its sender has been told 4xx, or has gone
        if isinstance(outcome, Captured):
            pending.future.set_result(outcome)
        else:
            pending.future.set_exception(outcome)
