"""The write path: seal and create the object, put the key record in both places beside it, then append; all durable,
then the receipt. Group commit: whatever waits while one group is written makes the next one, so the cost of a mail
falls as load rises.

Sealing threads work on groups; one appending thread joins finished groups into one batch of entries. Any failure
fails every capture of its group: the sender hears 4xx and tries again, and what had been stored is an orphan that
``verify`` reports and recovery chains.
"""

import logging
import queue
import secrets
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from archive_service.ledger.appender import Appender, Draft
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
    draft: CaptureDraft
    raw: bytes
    deadline: float
    future: "Future[Captured]" = field(default_factory=Future)

    def __post_init__(self) -> None:
        self.future.set_running_or_notify_cancel()  # a sender that gave up cannot cancel what is being written


@dataclass
class _Group:
    """Sealed and durable, waiting for its entries. ``slot`` names the log that its objects' names carry."""

    slot: Appender
    drafts: list[Draft]
    waiting: list[_Pending]


@dataclass(frozen=True)
class WriterLimits:
    """How much one group takes. More sealers than one make smaller groups, and on a file system more fsyncs."""

    group: int = 64
    group_bytes: int = 8 * 1024 * 1024
    sealers: int = 1


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
        self._waiting: queue.Queue[_Pending | None] = queue.Queue()
        self._sealed: queue.Queue[_Group | None] = queue.Queue()
        self._slot_lock = threading.Lock()
        self._slot: Appender | None = None
        self._gate = threading.Lock()
        self._closed = False
        self._ended = False
        self._store_pool = ThreadPoolExecutor(self._limits.sealers, thread_name_prefix="object-create")
        self._threads = [
            threading.Thread(target=self._seal_groups, name=f"sealer-{n}", daemon=True)
            for n in range(self._limits.sealers)
        ]
        self._appending = threading.Thread(target=self._append_groups, name="appender", daemon=True)
        for thread in [*self._threads, self._appending]:
            thread.start()

    # --- what callers see -----------------------------------------------------------------------------

    def open(self) -> LogId:
        """Claim a slot now rather than at the first mail. Raises ArchiveError."""
        return self._current_slot().log

    def submit(self, draft: CaptureDraft, raw: bytes) -> "Future[Captured]":
        """Write a mail that stands in memory. The future ends when object, key record and entry are durable, or
        with an ArchiveError (outcome unknown: answer 4xx)."""
        pending = _Pending(draft, raw, time.monotonic() + GIVE_UP)
        with self._gate:  # what is queued behind the stop mark would wait for ever
            if not self._closed:
                self._waiting.put(pending)
                return pending.future
        pending.future.set_exception(Overloaded("the writer is stopping"))
        return pending.future

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
        pending = _Pending(draft, b"", time.monotonic() + GIVE_UP)
        fields = self._fields(draft, name, generation.number, object_key, stored.version, sealer.result())
        with self._gate:
            if self._ended:
                raise Overloaded("the writer is stopping")
            self._sealed.put(_Group(slot, [("capture", fields)], [pending]))
        return pending.future.result()

    def close(self) -> None:
        """Finish what was submitted, then stop; a stream that has not ended by then is refused."""
        with self._gate:
            self._closed = True
            for _ in self._threads:
                self._waiting.put(None)
        for thread in self._threads:
            thread.join()
        with self._gate:
            self._ended = True
            self._sealed.put(None)
        self._appending.join()
        self._store_pool.shutdown()

    # --- sealing --------------------------------------------------------------------------------------

    def _seal_groups(self) -> None:
        while (group := self._next_group()) is not None:
            try:
                self._sealed.put(self._seal(group))
            except ArchiveError as error:
                _fail(group, error)
            except Exception as error:  # noqa: BLE001 - logged, and every waiting sender hears 4xx
                _log.exception("sealing failed")
                _fail(group, StoreError(f"sealing failed: {type(error).__name__}"))

    def _next_group(self) -> list[_Pending] | None:
        """The first mail that waits and all that wait behind it, up to a group; None when closing."""
        first = self._waiting.get()
        if first is None:
            return None
        group, size = [first], len(first.raw)
        while len(group) < self._limits.group and size < self._limits.group_bytes:
            try:
                following = self._waiting.get_nowait()
            except queue.Empty:
                break
            if following is None:
                self._waiting.put(None)
                break
            group.append(following)
            size += len(following.raw)
        return group

    def _seal(self, group: list[_Pending]) -> _Group:
        slot = self._current_slot()
        now = self._clock()
        generation = self._keyring.current(now.date())
        batch = key_layout.new_batch(now)
        keys: list[bytes] = []
        objects: list[NewObject] = []
        sealed: list[tuple[str, str, seal.Seal]] = []
        for index, pending in enumerate(group):
            name, key = key_layout.sealed_name(batch, index), secrets.token_bytes(32)
            object_key = key_layout.object_key(slot.log, name)
            stored, facts = seal.seal_whole(key, object_key, self._record(pending.draft, name), pending.raw)
            pending.raw = b""
            keys.append(key)
            objects.append(NewObject(object_key, stored, pending.draft.lock))
            sealed.append((name, object_key, facts))
        creating = self._store_pool.submit(self._store.create, objects)
        try:
            self._keyring.put_record(slot.log, batch, generation, keys)
        finally:
            created = creating.result()
        drafts: list[Draft] = []
        for pending, (name, object_key, facts), stored_as in zip(group, sealed, created, strict=True):
            fields = self._fields(
                pending.draft, name, generation.number, object_key, stored_as.version, facts
            )
            drafts.append(("capture", fields))
        return _Group(slot, drafts, group)

    @staticmethod
    def _record(draft: CaptureDraft, name: str) -> bytes:
        return canonical(draft.record.model_copy(update={"capture": name}).plain())

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

    def _append_groups(self) -> None:
        while (groups := self._finished_groups()) is not None:
            try:
                self._append([self._in_time(group) for group in groups])
            except ArchiveError as error:
                for group in groups:
                    _fail(group.waiting, error)
            except Exception as error:  # noqa: BLE001 - logged, and every waiting sender hears 4xx
                _log.exception("appending failed")
                for group in groups:
                    _fail(group.waiting, StoreError(f"appending failed: {type(error).__name__}"))

    def _finished_groups(self) -> list[_Group] | None:
        first = self._sealed.get()
        if first is None:
            return None
        groups = [first]
        while len(groups) < 16:
            try:
                following = self._sealed.get_nowait()
            except queue.Empty:
                break
            if following is None:
                self._sealed.put(None)
                break
            groups.append(following)
        return groups

    @staticmethod
    def _in_time(group: _Group) -> _Group:
        """The group without captures whose sender has been given up on: recovery owns those."""
        now = time.monotonic()
        late = [pending for pending in group.waiting if pending.deadline < now]
        if not late:
            return group
        _fail(late, StoreError("the write took too long"))
        kept = [
            (draft, pending)
            for draft, pending in zip(group.drafts, group.waiting, strict=True)
            if pending.deadline >= now
        ]
        return replace(group, drafts=[draft for draft, _ in kept], waiting=[pending for _, pending in kept])

    def _append(self, groups: list[_Group]) -> None:
        slot = self._current_slot()
        mine = [group for group in groups if group.slot is slot and group.drafts]
        for group in groups:
            if group.slot is not slot:
                _fail(group.waiting, SlotLost("the log slot was lost while the mail was written"))
        if not mine:
            return
        try:
            if slot.head is None:
                slot.claim()
            appended = slot.append([draft for group in mine for draft in group.drafts])
        except SlotLost:
            self._abandon(slot)
            raise
        waiting = [pending for group in mine for pending in group.waiting]
        for entry, pending in zip(appended, waiting, strict=True):
            pending.future.set_result(Captured(slot.log, entry.seq, entry.fields["capture"]))

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


def _fail(waiting: Iterable[_Pending], error: ArchiveError) -> None:
    for pending in waiting:
        if not pending.future.done():
            pending.future.set_exception(error)
