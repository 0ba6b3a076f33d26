"""The steps of the write path, one after the other and without threads of their own: seal a group and create its
objects, with the key record in both places beside it; then append. ``CaptureWriter`` runs them in its threads, the
simulation in its schedules.

A failure leaves what was stored as an orphan, which ``verify`` reports and recovery chains; nobody was answered 250.
"""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from archive_service.ledger.appender import Draft
from archive_service.ledger.payloads import object_fields
from archive_service.ledger.slots import DayKeys, HeldSlot, Slots, Tenure
from archive_service.model.canonical import canonical
from archive_service.model.clock import Clock, rfc3339
from archive_service.model.errors import ArchiveError, SlotLost, StoreError
from archive_service.model.mail import CaptureRecord
from archive_service.vault import key_layout
from archive_service.vault.key_layout import LogId
from archive_service.vault.key_places import Together
from archive_service.vault.keyring import Generation, Keyring
from archive_service.vault.seal import Seal, Sealer, seal_whole
from archive_service.vault.stores.base import Lock, NewObject, ObjectStore, Stored


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


@dataclass(frozen=True)
class SealedGroup:
    """Durable objects with their key record, waiting for their entries under the claim they were sealed for."""

    tenure: Tenure
    generation: int
    drafts: tuple[Draft, ...]

    def only(self, kept: Sequence[bool]) -> "SealedGroup":
        """The group without those captures whose sender has been given up on: recovery owns them."""
        drafts = tuple(draft for draft, keep in zip(self.drafts, kept, strict=True) if keep)
        return SealedGroup(self.tenure, self.generation, drafts)


Outcome = list[Captured] | ArchiveError
"""What became of a group: where each capture stands, or why the sender of each hears 4xx."""


def capture_fields(
    name: str, generation: int, stored: Stored, facts: Seal, lock: Lock, acts_seen: int
) -> dict[str, Any]:
    """A ``capture`` entry's own fields (FORMAT.md section 5)."""
    return {
        "capture": name,
        "object": object_fields(stored.key, stored.version, facts),
        "commit": facts.commit,
        "lock_until": rfc3339(lock.until) if lock.until is not None else None,
        "lock_mode": str(lock.mode),
        "generation": generation,
        "acts_seen": acts_seen,
    }


@dataclass(frozen=True)
class _Names:
    """What a new group is called, and where its keys stand."""

    tenure: Tenure
    generation: Generation
    batch: str

    def name(self, index: int) -> str:
        return key_layout.sealed_name(self.batch, index)

    def object_key(self, index: int) -> str:
        return key_layout.object_key(self.tenure.log, self.name(index))


class WriteSteps:
    """One owner's capture log slot in one process. Groups may be sealed side by side; one thread at a time appends.

    ``together`` runs the key record and the objects side by side, or one after the other.
    """

    def __init__(
        self, store: ObjectStore, keyring: Keyring, slots: Slots, clock: Clock, together: Together
    ) -> None:
        self._store = store
        self._keyring = keyring
        self._clock = clock
        self._together = together
        self._keys = DayKeys(keyring, clock)
        self._held = HeldSlot(slots, self._keys)

    def open(self) -> LogId:
        """Claim a slot now rather than at the first mail. Raises ArchiveError."""
        return self._held.tenure().log

    # --- sealing --------------------------------------------------------------------------------------

    def seal(self, mails: Sequence[tuple[CaptureDraft, bytes]]) -> SealedGroup:
        """Seal mails that stand in memory under one key record; objects and record are durable on return. Raises
        ArchiveError: then every sender hears 4xx."""
        names = self._new_names()
        keys = [secrets.token_bytes(32) for _ in mails]
        facts: list[Seal] = []
        created: list[Stored] = []

        def create() -> None:
            objects: list[NewObject] = []
            for index, ((draft, raw), key) in enumerate(zip(mails, keys, strict=True)):
                record = _record(draft, names.name(index))
                stored, sealed = seal_whole(key, names.object_key(index), record, raw)
                objects.append(NewObject(names.object_key(index), stored, draft.lock))
                facts.append(sealed)
            created.extend(self._store.create(objects))

        self._together([lambda: self._put_record(names, keys), create])
        return self._group(names, [draft for draft, _ in mails], created, facts)

    def seal_stream(
        self, draft: CaptureDraft, chunks: Iterable[bytes], batch: str | None = None
    ) -> SealedGroup:
        """Seal one large mail in flat memory; as ``seal``. What ``chunks`` raises goes on. ``batch``: its id, where it
        was made before; never one that was written under."""
        names, key = self._new_names(batch), secrets.token_bytes(32)
        sealer = Sealer(key, names.object_key(0), _record(draft, names.name(0)))
        self._put_record(names, [key])
        created = self._store.create([NewObject(names.object_key(0), sealer.chunks(chunks), draft.lock)])
        return self._group(names, [draft], created, [sealer.result()])

    def _new_names(self, batch: str | None = None) -> _Names:
        """The claim comes first: the generation is chosen under it, never below what the log names."""
        tenure = self._held.tenure()
        generation = self._keys.current(tenure.slot.generation)
        return _Names(tenure, generation, batch or key_layout.new_batch(self._clock()))

    def _put_record(self, names: _Names, keys: list[bytes]) -> None:
        self._keyring.put_record(names.tenure.log, names.batch, names.generation, keys)

    @staticmethod
    def _group(
        names: _Names, drafts: Sequence[CaptureDraft], created: Sequence[Stored], facts: Sequence[Seal]
    ) -> SealedGroup:
        number = names.generation.number
        made: list[Draft] = []
        for index, (draft, stored, sealed) in enumerate(zip(drafts, created, facts, strict=True)):
            fields = capture_fields(names.name(index), number, stored, sealed, draft.lock, draft.acts_seen)
            made.append(("capture", fields))
        return SealedGroup(names.tenure, number, tuple(made))

    # --- appending ------------------------------------------------------------------------------------

    def append(self, groups: Sequence[SealedGroup]) -> list[Outcome]:
        """Append groups as one batch; what became of each, in order. Only groups sealed under the claim that stands
        are appended: what was sealed before may have been chained by recovery, or have lost its key, in between.

        Never raises ArchiveError: a failure is every group's outcome."""
        outcomes: dict[int, Outcome] = {}
        mine: list[int] = []
        for place, group in enumerate(groups):
            refused = self._refused(group)
            if refused is not None:
                outcomes[place] = refused
            elif group.drafts:
                mine.append(place)
            else:
                outcomes[place] = []
        mine.sort(key=lambda place: groups[place].generation)  # at midnight two are under way
        if mine:
            outcomes.update(zip(mine, self._append([groups[place] for place in mine]), strict=True))
        return [outcomes[place] for place in range(len(groups))]

    def _refused(self, group: SealedGroup) -> ArchiveError | None:
        if not self._held.is_current(group.tenure):
            return SlotLost("the log slot was lost or claimed again while the mail was written")
        if group.generation < group.tenure.slot.generation:
            return StoreError("the key generation changed while the mail was written", code="key.older")
        return None

    def _append(self, groups: list[SealedGroup]) -> list[Outcome]:
        tenure = groups[0].tenure
        try:
            appended = tenure.slot.append([draft for group in groups for draft in group.drafts])
        except ArchiveError as error:
            self._held.ended(tenure, lost=isinstance(error, SlotLost))
            return [error] * len(groups)
        except Exception:
            self._held.ended(tenure, lost=False)
            raise
        places = iter(appended)
        return [
            [
                Captured(tenure.log, entry.seq, entry.fields["capture"])
                for _, entry in zip(group.drafts, places, strict=False)
            ]
            for group in groups
        ]


def _record(draft: CaptureDraft, name: str) -> bytes:
    return canonical({**draft.record.plain(), "capture": name})
