"""Leases between machines: polite, renewed, stolen after silence; and harmless when they are wrong."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from archive_service.ledger.slots import Slots
from archive_service.ledger.write_steps import WriteSteps
from archive_service.model.errors import ArchiveError, SlotLost, StoreError
from archive_service.places.leases import KeyPlaceLeases
from archive_service.vault.key_places import in_turn
from archive_service.vault.stores.faults import Effect, FaultPlan, FaultyKeyPlace
from archive_service.vault.stores.memory import MemoryKeyPlace
from tests.unit.core_world import QUICK, Archive, TestClock

_TAKEOVER = timedelta(seconds=60)
_SLOT = "a1" * 10 + "/capture-1"


class Machines:
    """A key place that several machines share."""

    def __init__(self) -> None:
        self.clock, self.plan, self.inner = TestClock(), FaultPlan(), MemoryKeyPlace()
        self.place = FaultyKeyPlace(self.inner, self.plan)

    def leases(self) -> KeyPlaceLeases:
        return KeyPlaceLeases(self.place, _TAKEOVER, self.clock, renewing=False)

    def wait(self, seconds: int) -> None:
        self.clock.now += timedelta(seconds=seconds)


@pytest.fixture
def machines() -> Machines:
    return Machines()


def test_one_holds_it_and_keeps_it_by_renewing(machines: Machines) -> None:
    one, other = machines.leases(), machines.leases()
    assert one.take(_SLOT)
    assert one.take(_SLOT)
    for _ in range(5):
        machines.wait(59)
        assert not other.take(_SLOT)
        one.renew()
    assert other.take(_SLOT.replace("-1", "-2"))


def test_silence_makes_it_anybody_s_and_its_old_holder_learns_so(machines: Machines) -> None:
    frozen, other = machines.leases(), machines.leases()
    frozen.take(_SLOT)
    machines.wait(61)
    assert other.take(_SLOT)
    frozen.renew()
    assert not frozen.take(_SLOT)
    assert other.take(_SLOT)


def test_letting_go_frees_it_but_never_another_s(machines: Machines) -> None:
    one, other = machines.leases(), machines.leases()
    one.take(_SLOT)
    machines.wait(61)
    other.take(_SLOT)
    one.close()
    assert not machines.leases().take(_SLOT)
    other.close()
    assert machines.leases().take(_SLOT)


@pytest.mark.parametrize("seconds", [-3600, 3600])
def test_a_time_far_off_is_no_lease_for_ever(machines: Machines, seconds: int) -> None:
    machines.wait(seconds)
    machines.leases().take(_SLOT)
    machines.wait(-seconds)
    assert machines.leases().take(_SLOT)


def test_a_damaged_record_has_no_holder(machines: Machines) -> None:
    machines.inner.put(f"leases/{_SLOT}", b"{")
    assert machines.leases().take(_SLOT)


@pytest.mark.parametrize("effect", [Effect.LOST, Effect.KEPT])
@pytest.mark.parametrize("verb", ["get", "create", "put"])
def test_a_place_that_fails_fails_the_taking_and_no_more(
    machines: Machines, verb: str, effect: Effect
) -> None:
    if verb != "create":
        machines.leases().take(_SLOT)
        machines.wait(61)
    machines.plan.fail(verb, effect=effect)
    leases = machines.leases()
    with pytest.raises(StoreError):
        leases.take(_SLOT)
    machines.wait(61)
    assert leases.take(_SLOT)


def test_closing_says_nothing_when_the_place_is_away(machines: Machines) -> None:
    one = machines.leases()
    one.take(_SLOT)
    machines.plan.fail("delete")
    one.close()
    machines.wait(61)
    assert machines.leases().take(_SLOT)


def test_the_thread_renews_until_it_is_closed() -> None:
    clock, plan = TestClock(), FaultPlan()
    renewed = plan.fail("put", effect=Effect.SLOW)
    leases = KeyPlaceLeases(FaultyKeyPlace(MemoryKeyPlace(), plan), timedelta(milliseconds=3), clock)
    assert leases.take(_SLOT)
    assert renewed.reached.wait(60)
    plan.heal()
    leases.close()


@pytest.fixture
def archive() -> Iterator[Archive]:
    made = Archive()
    yield made
    made.world.close()


def test_a_stolen_lease_costs_one_round_and_nothing_else(archive: Archive) -> None:
    world, place = archive.world, MemoryKeyPlace()

    def process() -> WriteSteps:
        leases = KeyPlaceLeases(place, _TAKEOVER, world.clock, renewing=False)
        slots = Slots(world.store, archive.owner, "capture", world.clock, leases.take, QUICK)
        return WriteSteps(world.store, world.keyring(archive.owner), slots, world.clock, in_turn)

    one, other = process(), process()
    first = one.seal([(archive.draft(), b"one")])
    world.clock.now += timedelta(seconds=61)
    second = other.seal([(archive.draft(), b"two")])
    assert second.tenure.log == first.tenure.log
    assert isinstance(one.append([first])[0], SlotLost)
    assert not isinstance(other.append([second])[0], ArchiveError)
    again = one.seal([(archive.draft(), b"one")])
    assert again.tenure.log.name == "capture-2"
    assert not isinstance(one.append([again])[0], ArchiveError)
    assert [opened.raw for _, opened in archive.captures()] == [b"two", b"one"]
    assert archive.damage() == []
