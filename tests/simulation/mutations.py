"""Rules switched off one at a time: a simulation that does not notice is worth nothing."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from archive_service.ledger import appender
from archive_service.ledger.appender import Appender
from archive_service.ledger.entry import Entry
from archive_service.ledger.recovery import Recovery
from archive_service.ledger.slots import DayKeys, HeldSlot, Tenure
from archive_service.ledger.write_steps import WriteSteps
from archive_service.model.errors import SlotLost, StoreError
from archive_service.vault.key_places import KeyStore


@contextmanager
def old_drafts_after_a_claim() -> Iterator[None]:
    """What was sealed before a claim is appended after it, if only the slot is the same."""

    def is_current(self: HeldSlot, tenure: Tenure) -> bool:
        return self._tenure is not None and self._slot is tenure.slot

    with patch.object(HeldSlot, "is_current", is_current):
        yield


@contextmanager
def unknown_is_lost() -> Iterator[None]:
    """An append whose outcome is not known counts as not done, and is done again under a new claim."""
    append = Appender.append

    def again(self: Appender, drafts: Sequence[Any]) -> list[Entry]:
        try:
            return append(self, drafts)
        except SlotLost:
            raise
        except StoreError:
            self.claim()
            return append(self, drafts)

    with patch.object(Appender, "append", again):
        yield


@contextmanager
def unknown_is_kept() -> Iterator[None]:
    """An append whose outcome is not known counts as done."""
    create = appender.create_batch

    def optimistic(*arguments: Any) -> None:
        try:
            create(*arguments)
        except SlotLost:
            raise
        except StoreError:
            return

    with patch.object(appender, "create_batch", optimistic):
        yield


@contextmanager
def recovery_reads_before_it_claims() -> Iterator[None]:
    """Recovery trusts what it read before the slot was its own."""
    read_on = Recovery._read_on

    def chain(self: Recovery, log: Any, reader: Any, mark: Any, orphans: list[Any]) -> int:
        made = Appender(self._store, log, self._clock, self._policy, generation=self._keys.number)
        made.claim()
        made.append_recovered([orphan.draft for orphan in orphans])
        read_on(reader, mark)
        return len(orphans)

    with patch.object(Recovery, "_chain", chain):
        yield


@contextmanager
def no_exclusive_create() -> Iterator[None]:
    """A batch replaces whatever stands under its name."""
    create = appender.create_batch

    def over(store: Any, log: Any, batch: Any, lock: Any, policy: Any) -> None:
        key = appender.key_layout.batch_key(log, batch[0].seq)
        store.inner._objects.pop(key, None)
        create(store, log, batch, lock, policy)

    with patch.object(appender, "create_batch", over):
        yield


@contextmanager
def no_floor() -> Iterator[None]:
    """Whoever claims uses the generation that its own clock and memory say, whatever the log names."""

    def current(self: DayKeys, floor: int) -> Any:
        return self.keyring.current(self.clock().date(), 0)

    with (
        patch.object(DayKeys, "current", current),
        patch.object(appender, "_require_newer", lambda drafts, floor: None),
        patch.object(WriteSteps, "_refused", _refused_by_claim_alone),
    ):
        yield


def _refused_by_claim_alone(self: WriteSteps, group: Any) -> Any:
    return None if self._held.is_current(group.tenure) else SlotLost("lost")


@contextmanager
def closed_keys_are_used() -> Iterator[None]:
    """A claim is not followed by a look whether its generation was closed meanwhile."""
    with patch.object(DayKeys, "require_open", lambda self, number: None):
        yield


@contextmanager
def one_place_is_enough() -> Iterator[None]:
    """A key record counts as durable in the first place alone."""

    def add(self: KeyStore, name: str, data: bytes) -> None:
        self._add(self.places[0], name, data)

    with patch.object(KeyStore, "add", add):
        yield


MUTATIONS: dict[str, Callable[[], Any]] = {
    made.__name__: made
    for made in (
        old_drafts_after_a_claim,
        unknown_is_lost,
        unknown_is_kept,
        recovery_reads_before_it_claims,
        no_exclusive_create,
        no_floor,
        closed_keys_are_used,
        one_place_is_enough,
    )
}
