"""The write path step by step: what was sealed under one claim is never appended under another."""

from collections.abc import Iterator

import pytest

from archive_service.ledger.appender import Appender
from archive_service.ledger.reader import find_head
from archive_service.ledger.slots import Slots
from archive_service.ledger.write_steps import Outcome, SealedGroup, WriteSteps
from archive_service.model.errors import ArchiveError, SlotLost, StoreError
from archive_service.vault.key_places import in_turn
from archive_service.vault.stores.faults import Effect
from tests.unit.core_world import QUICK, Archive


class Steps:
    """An archive and the write steps of one process."""

    def __init__(self) -> None:
        self.archive = Archive()
        world = self.archive.world
        self.keyring = world.keyring(self.archive.owner)
        self.slots: Slots = world.slots(self.archive.owner, "capture")
        self.steps = WriteSteps(world.store, self.keyring, self.slots, world.clock, in_turn)

    def seal(self, *mails: bytes) -> SealedGroup:
        return self.steps.seal([(self.archive.draft(), mail) for mail in mails])

    def append(self, *groups: SealedGroup) -> list[Outcome]:
        return self.steps.append(groups)

    def raws(self) -> list[bytes]:
        return [opened.raw for _, opened in self.archive.captures()]

    def fail_appends(self, effect: Effect, times: int) -> None:
        plan = self.archive.world.plan
        plan.fail("create", effect=effect, prefix=f"ledger/{self.archive.capture_log}/batch/", times=times)


@pytest.fixture
def made() -> Iterator[Steps]:
    steps = Steps()
    yield steps
    steps.archive.world.close()


def code(outcome: Outcome) -> str:
    assert isinstance(outcome, ArchiveError)
    return outcome.code


def test_groups_of_one_claim_share_an_append(made: Steps) -> None:
    first, second = made.seal(b"a", b"b"), made.seal(b"c")
    one, two = made.append(first, second)
    assert not isinstance(one, ArchiveError)
    assert not isinstance(two, ArchiveError)
    assert [each.seq for each in (*one, *two)] == [1, 2, 3]
    assert made.raws() == [b"a", b"b", b"c"]


@pytest.mark.parametrize("effect", [Effect.LOST, Effect.KEPT])
def test_after_an_unknown_outcome_all_that_was_sealed_before_is_given_up(made: Steps, effect: Effect) -> None:
    appended, waiting = made.seal(b"unknown"), made.seal(b"in flight")
    made.fail_appends(effect, QUICK.settle_tries)
    if effect is Effect.KEPT:
        made.archive.world.plan.fail("stat", times=QUICK.settle_tries)
    assert code(made.append(appended)[0]) in {"store.failed", "store.exists"}
    made.archive.world.heal()
    assert code(made.append(waiting)[0]) == SlotLost.code
    after = made.seal(b"after")
    assert code(made.append(waiting)[0]) == SlotLost.code
    assert not isinstance(made.append(after)[0], ArchiveError)
    kept = [b"unknown"] if effect is Effect.KEPT else []
    assert made.raws() == [*kept, b"after"]
    assert made.archive.damage() == []


def test_a_lost_slot_rests_and_is_taken_again_later(made: Steps) -> None:
    world = made.archive.world
    before = made.seal(b"before")
    Appender(world.objects, made.archive.capture_log, world.clock, QUICK).claim()
    assert code(made.append(before)[0]) == SlotLost.code
    assert made.seal(b"next").tenure.log.name == "capture-2"
    other = WriteSteps(world.store, made.keyring, made.slots, world.clock, in_turn)
    assert other.open().name == "capture-2"
    world.clock.pass_days(1)
    third = WriteSteps(world.store, made.keyring, made.slots, world.clock, in_turn)
    assert third.open().name == "capture-1"


def test_at_midnight_groups_of_both_days_are_appended_in_the_order_of_their_keys(made: Steps) -> None:
    evening = made.seal(b"evening")
    made.archive.world.clock.pass_days(1)
    morning = made.seal(b"morning")
    outcomes = made.append(morning, evening)
    assert not any(isinstance(outcome, ArchiveError) for outcome in outcomes)
    assert made.raws() == [b"evening", b"morning"]


def test_a_group_of_yesterday_is_given_up_once_the_log_names_today(made: Steps) -> None:
    evening = made.seal(b"evening")
    made.archive.world.clock.pass_days(1)
    made.append(made.seal(b"morning"))
    assert code(made.append(evening)[0]) == "key.older"
    assert not isinstance(made.append(made.seal(b"later"))[0], ArchiveError)
    assert made.raws() == [b"morning", b"later"]


def test_a_claim_for_a_generation_that_was_closed_meanwhile_seals_nothing(made: Steps) -> None:
    """The writer chose its generation before the batch closed it, and claimed after the batch had looked."""
    number = made.keyring.current(made.archive.world.clock().date()).number
    other = made.archive.world.keyring(made.archive.owner)
    closed = other.generations.reopen(number)
    record = other.generations.record(closed, closed.table, closed=True)
    for place in made.archive.world.places:
        place.put(f"{made.archive.owner}/generations/{number:08d}", record)
    with pytest.raises(StoreError) as refused:
        made.seal(b"too late")
    assert refused.value.code == "key.closed"
    assert find_head(made.archive.world.objects, made.archive.capture_log).generation == number
    group = made.seal(b"again")
    assert group.generation > number
    made.append(group)
    assert find_head(made.archive.world.objects, made.archive.capture_log).generation == group.generation
