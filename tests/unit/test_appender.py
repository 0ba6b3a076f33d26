"""Appending: one winner a place, an unknown outcome settled by looking, no act judged by an old state."""

import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from archive_service.ledger.appender import (
    Appender,
    Draft,
    LedgerPolicy,
    SharedAppender,
    build,
    create_batch,
)
from archive_service.ledger.entry import Entry
from archive_service.ledger.reader import LogReader, Place, find_head
from archive_service.model.clock import utc_now
from archive_service.model.errors import Refused, SlotLost, StoreError, StoreFull
from archive_service.vault.key_layout import LogId
from archive_service.vault.stores import durable
from archive_service.vault.stores.base import Lock, LockMode, ObjectStore
from archive_service.vault.stores.faults import Effect, FaultPlan, FaultyStore
from archive_service.vault.stores.filesystem import FileSystemStore
from archive_service.vault.stores.memory import MemoryStore

LOG = LogId("a1" * 10, "capture-1")
ACTS = LogId("a1" * 10, "acts")
QUICK = LedgerPolicy(settle_tries=3, pause=0.0)


class Slot:
    """A log behind a fault plan."""

    def __init__(self) -> None:
        self.inner, self.plan = MemoryStore(), FaultPlan()
        self.store = FaultyStore(self.inner, self.plan)

    def appender(self) -> Appender:
        return Appender(self.store, LOG, utc_now, QUICK)

    def claimed(self) -> Appender:
        appender = self.appender()
        appender.claim()
        return appender

    def entries(self, log: LogId = LOG) -> list[Entry]:
        return list(LogReader(self.inner, log).entries())

    def names(self) -> list[str]:
        """What each entry of the test's own says."""
        return [entry.fields["name"] for entry in self.entries() if "name" in entry.fields]


@pytest.fixture
def slot() -> Slot:
    return Slot()


def named(*names: str) -> list[Draft]:
    return [("access", {"name": name}) for name in names]


def test_claim_then_append(slot: Slot) -> None:
    appender = slot.appender()
    assert appender.head is None
    appender.claim()
    first = appender.append(named("a", "b"))
    appender.append(named("c"))
    assert [entry.seq for entry in first] == [1, 2]
    assert [entry.type for entry in slot.entries()] == ["claim", "access", "access", "access"]
    assert slot.names() == ["a", "b", "c"]
    assert appender.head == find_head(slot.inner, LOG)


def test_ledger_objects_are_born_locked(slot: Slot) -> None:
    slot.claimed()
    (stored,) = slot.inner.list("ledger/")
    (_, lock), *others = slot.inner.stat(stored.key)
    assert not others
    assert lock.mode is LockMode.COMPLIANCE
    assert lock.until is not None
    assert 364 < (lock.until - utc_now()).days + 1 <= 366


def test_nothing_is_appended_without_a_claim(slot: Slot) -> None:
    with pytest.raises(SlotLost):
        slot.appender().append(named("a"))


def test_who_claims_later_owns_the_slot(slot: Slot) -> None:
    """Recovery claims the dead writer's slot first: should the dead one move again, its append loses."""
    old = slot.claimed()
    old.append(named("a"))
    new = slot.claimed()
    with pytest.raises(SlotLost):
        old.append(named("lost"))
    assert old.head is None
    new.append(named("b"))
    with pytest.raises(SlotLost):
        old.append(named("lost"))
    assert slot.names() == ["a", "b"]


def test_a_writer_that_lost_may_claim_again(slot: Slot) -> None:
    old, _ = slot.claimed(), slot.claimed()
    with pytest.raises(SlotLost):
        old.append(named("lost"))
    old.claim()
    old.append(named("a"))
    assert slot.names() == ["a"]


def test_of_many_claims_at_one_place_one_wins(slot: Slot) -> None:
    appenders = [slot.appender() for _ in range(8)]
    start = threading.Barrier(len(appenders))

    def claim(appender: Appender) -> bool:
        start.wait()
        try:
            appender.claim()
        except SlotLost:
            return False
        return True

    with ThreadPoolExecutor(len(appenders)) as pool:
        won = list(pool.map(claim, appenders))
    assert len(slot.entries()) == sum(won) >= 1


@pytest.mark.parametrize("effect", [Effect.LOST, Effect.KEPT])
@pytest.mark.parametrize("times", [1, 2])
def test_an_unknown_outcome_is_settled(slot: Slot, effect: Effect, times: int) -> None:
    """Lost: it is made again. Kept: it is found. Either way the entry stands once."""
    appender = slot.claimed()
    slot.plan.fail("create", effect=effect, times=times)
    appender.append(named("a"))
    appender.append(named("b"))
    assert slot.names() == ["a", "b"]


@pytest.mark.parametrize("verb", ["stat", "read"])
@pytest.mark.parametrize("effect", [Effect.LOST, Effect.KEPT])
def test_an_unknown_outcome_is_settled_even_when_looking_fails_once(
    slot: Slot, verb: str, effect: Effect
) -> None:
    appender = slot.claimed()
    slot.plan.fail("create", effect=effect)
    slot.plan.fail(verb)
    appender.append(named("a"))
    assert slot.names() == ["a"]


@pytest.mark.parametrize("effect", [Effect.LOST, Effect.KEPT])
def test_an_outcome_that_stays_unknown_is_an_error_and_the_slot_must_be_claimed_again(
    slot: Slot, effect: Effect
) -> None:
    appender = slot.claimed()
    slot.plan.fail("create", effect=effect, times=None)
    for verb in ("read", "stat"):
        slot.plan.fail(verb, times=None)
    with pytest.raises(StoreError):
        appender.append(named("a"))
    slot.plan.heal()
    assert appender.head is None
    with pytest.raises(SlotLost):
        appender.append(named("b"))
    appender.claim()
    appender.append(named("b"))
    assert slot.names() == (["b"] if effect is Effect.LOST else ["a", "b"])


# --- key generations -----------------------------------------------------------------------------------


def capture(generation: int) -> Draft:
    return "capture", {"generation": generation, "capture": f"c{generation}"}


def under(slot: Slot, today: int) -> Appender:
    """A writer whose clock and key store say that this generation is today's."""
    return Appender(slot.store, LOG, utc_now, QUICK, generation=lambda floor: max(today, floor))


def test_a_claim_names_the_generation_and_nothing_older_follows(slot: Slot) -> None:
    appender = under(slot, 5)
    appender.claim()
    appender.append([capture(5)])
    appender.append([capture(7)])
    for older in ([capture(6)], [capture(7), capture(5)]):
        with pytest.raises(StoreError) as refused:
            appender.append(older)
        assert refused.value.code == "key.older"
    appender.append([capture(7)])  # nothing was written, so the slot is still claimed
    assert [entry.fields["generation"] for entry in slot.entries()] == [5, 5, 7, 7]


def test_who_claims_with_a_slow_clock_uses_what_the_log_names(slot: Slot) -> None:
    first = under(slot, 5)
    first.claim()
    late = under(slot, 3)
    late.claim()
    assert late.generation == 5
    with pytest.raises(StoreError, match="older"):
        late.append([capture(3)])
    assert find_head(slot.inner, LOG).generation == 5


def test_a_claim_that_needs_no_key_keeps_what_the_log_names(slot: Slot) -> None:
    under(slot, 5).claim()
    plain = slot.claimed()
    assert plain.generation == 5
    assert slot.entries()[-1].fields["generation"] == 5


def test_recovered_orphans_may_be_older_and_leave_the_log_where_it_stood(slot: Slot) -> None:
    recovery = under(slot, 7)
    recovery.claim()
    made = recovery.append_recovered([capture(4), capture(9)])
    assert [entry.fields["generation"] for entry in made] == [4, 9]
    assert find_head(slot.inner, LOG).generation == 7
    assert slot.entries()[-1].type == "claim"
    recovery.append([capture(7)])


def test_a_full_disk_is_told_as_such(slot: Slot) -> None:
    appender = slot.claimed()
    slot.plan.fail("create", times=None, error=lambda: StoreFull("no space"))
    with pytest.raises(StoreFull):
        appender.append(named("a"))


def test_another_s_batch_is_never_taken_for_ours(slot: Slot) -> None:
    """A lost create with an unknown outcome, and meanwhile another writer's batch of the same shape."""
    appender = slot.claimed()
    head = appender.head
    assert head is not None
    theirs = build(LOG, head, "2026-11-23T10:00:00.000000Z", named("theirs"))
    create_batch(slot.inner, LOG, theirs, Lock(), QUICK)
    slot.plan.fail("create")
    with pytest.raises(SlotLost):
        appender.append(named("ours"))
    assert slot.names() == ["theirs"]


def test_an_entry_that_is_too_large_fails_before_anything_is_written(slot: Slot) -> None:
    appender = slot.claimed()
    with pytest.raises(ValueError, match="32 KiB"):
        appender.append(named("a", "x" * 40_000))
    appender.claim()
    assert slot.names() == []


def test_what_a_power_cut_would_take_away_is_not_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch is linked, but the folder's sync fails: it can be read, and may be gone tomorrow."""
    store = FileSystemStore(tmp_path / "objects", state_key=b"k" * 32)
    appender = Appender(store, LOG, utc_now, QUICK)
    appender.claim()
    real = durable.fsync

    def fsync(fd: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{fd}"):
            raise OSError(errno.EIO, "no")
        real(fd)

    monkeypatch.setattr(durable, "fsync", fsync)
    with pytest.raises(StoreError):
        appender.append(named("a"))
    monkeypatch.undo()
    with pytest.raises(StoreError):  # this process no longer trusts the folder
        appender.claim()


# --- the acts: many writers ----------------------------------------------------------------------------


class Counter:
    """A writer of a shared log; each entry must be the next number, judged at the head."""

    def __init__(self, store: ObjectStore) -> None:
        self.state: list[int] = []
        self.reader = LogReader(store, ACTS)
        self.shared = SharedAppender(store, ACTS, utc_now, QUICK)

    def take(self, batch: list[Entry]) -> None:
        self.state += [entry.fields["number"] for entry in batch]

    def drafts(self, place: Place) -> list[Draft]:
        assert place.seq == len(self.state), "judged by all that stands before it"
        return [("act", {"number": len(self.state), "acts_seen": place.seq})]

    def count(self) -> Entry:
        (made,) = self.shared.append(self.reader, self.take, self.drafts)
        return made


def test_many_threads_leave_no_gap_and_no_double() -> None:
    store = MemoryStore()
    start = threading.Barrier(8)

    def work(_: int) -> list[int]:
        counter = Counter(store)
        start.wait()
        return [counter.count().fields["number"] for _ in range(6)]

    with ThreadPoolExecutor(8) as pool:
        made = [number for each in pool.map(work, range(8)) for number in each]
    assert sorted(made) == list(range(48))
    entries = list(LogReader(store, ACTS).entries())
    assert [entry.fields["number"] for entry in entries] == list(range(48))
    assert all(entry.fields["acts_seen"] == entry.seq for entry in entries)


def test_an_act_is_validated_again_after_a_lost_race() -> None:
    store = MemoryStore()
    first, second = Counter(store), Counter(store)
    judged: list[int] = []

    def only_first(place: Place) -> list[Draft]:
        judged.append(place.seq)
        if not judged[1:]:
            second.count()  # another is faster between judgement and append
        if second.state and place.seq > 0:
            raise Refused("there is one already")
        return [("act", {"number": 0})]

    with pytest.raises(Refused):
        first.shared.append(first.reader, first.take, only_first)
    assert judged == [0, 1]
    assert first.state == [0]
    assert len(list(LogReader(store, ACTS).entries())) == 1


@pytest.mark.parametrize("effect", [Effect.LOST, Effect.KEPT])
def test_an_act_s_unknown_outcome_is_settled(effect: Effect) -> None:
    inner, plan = MemoryStore(), FaultPlan()
    counter = Counter(FaultyStore(inner, plan))
    plan.fail("create", effect=effect)
    assert [counter.count().seq for _ in range(3)] == [0, 1, 2]
    assert counter.state == [0, 1, 2]


def test_an_act_sealed_under_an_older_generation_than_the_head_names_is_refused() -> None:
    store = MemoryStore()
    shared = SharedAppender(store, ACTS, utc_now, QUICK)
    reader = LogReader(store, ACTS)
    places: list[Place] = []

    def claim(place: Place) -> list[Draft]:
        places.append(place)
        return [("claim", {"writer": "0" * 16, "generation": 6})]

    shared.append(reader, lambda _: None, claim)
    with pytest.raises(StoreError, match="older"):
        shared.append(reader, lambda _: None, lambda place: [("act", {"payload": {"generation": 5}})])
    shared.append(
        reader, lambda _: None, lambda place: [("act", {"payload": {"generation": place.generation}})]
    )
    assert places[0].generation == 0
    assert reader.place.generation == 6


def test_an_act_that_is_durable_but_could_not_be_read_back_is_taken_later() -> None:
    inner, plan = MemoryStore(), FaultPlan()
    counter = Counter(FaultyStore(inner, plan))
    plan.fail("read", 2)  # the first finds the head
    with pytest.raises(StoreError):
        counter.count()
    assert counter.count().fields["number"] == 1
    assert counter.state == [0, 1]


def test_a_state_that_cannot_take_a_batch_now_takes_it_later() -> None:
    inner = MemoryStore()
    Counter(inner).count()
    counter = Counter(inner)
    failures: list[Any] = [StoreError("the key place is away")]
    take = counter.take

    def unable_once(batch: list[Entry]) -> None:
        if failures:
            raise failures.pop()
        take(batch)

    with pytest.raises(StoreError):
        counter.shared.append(counter.reader, unable_once, counter.drafts)
    counter.shared.append(counter.reader, unable_once, counter.drafts)
    assert counter.state == [0, 1]
