"""Planned faults: lost, kept, slow; by number, by prefix; over stores and key places."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from archive_service.model.errors import AlreadyExists, Invalid, NotFound, StoreError, StoreFull
from archive_service.vault.stores.base import KeyPlace, Lock, NewObject, ObjectStore
from archive_service.vault.stores.faults import Call, Effect, FaultPlan, FaultyKeyPlace, FaultyStore
from archive_service.vault.stores.memory import MemoryKeyPlace, MemoryStore


@pytest.fixture
def plan() -> FaultPlan:
    return FaultPlan()


@pytest.fixture
def store(plan: FaultPlan) -> ObjectStore:
    return FaultyStore(MemoryStore(), plan)


@pytest.fixture
def place(plan: FaultPlan) -> KeyPlace:
    return FaultyKeyPlace(MemoryKeyPlace(), plan)


def test_without_a_plan_all_verbs_work(store: ObjectStore, plan: FaultPlan) -> None:
    store.create([NewObject("a/1", b"x"), NewObject("a/2", b"y")])
    store.protect("a/1", "1", Lock(hold=True))
    assert store.stat("a/1")[0][1].hold
    assert store.read("a/2", "1", 0, 1) == b"y"
    store.delete("a/2", "1")
    assert [stored.key for stored in store.list("a/", "a/0")] == ["a/1"]
    assert plan.calls == [
        Call("create", ("a/1", "a/2")),
        Call("protect", ("a/1",)),
        Call("stat", ("a/1",)),
        Call("read", ("a/2",)),
        Call("delete", ("a/2",)),
        Call("list", ("a/",)),
    ]


def test_lost_did_nothing(store: ObjectStore, plan: FaultPlan) -> None:
    fault = plan.fail("create")
    with pytest.raises(StoreError):
        store.create([NewObject("a", b"")])
    assert fault.reached.is_set()
    with pytest.raises(NotFound):
        store.stat("a")
    store.create([NewObject("a", b"")])


def test_kept_did_it(store: ObjectStore, plan: FaultPlan) -> None:
    plan.fail("create", effect=Effect.KEPT)
    with pytest.raises(StoreError):
        store.create([NewObject("a", b"kept")])
    assert store.read("a") == b"kept"


def test_the_error_of_the_inner_store_goes_before_a_kept_fault(store: ObjectStore, plan: FaultPlan) -> None:
    store.create([NewObject("a", b"")])
    plan.fail("create", effect=Effect.KEPT)
    with pytest.raises(AlreadyExists):
        store.create([NewObject("a", b"")])


def test_the_nth_call_and_times(store: ObjectStore, plan: FaultPlan) -> None:
    store.create([NewObject("a", b"x")])
    plan.fail("read", 2, times=2)
    outcomes = [_fails(store, "a") for _ in range(5)]
    assert outcomes == [False, True, True, False, False]
    plan.fail("read", times=None)
    assert all(_fails(store, "a") for _ in range(5))
    plan.heal()
    assert not _fails(store, "a")


def _fails(store: ObjectStore, key: str) -> bool:
    try:
        store.read(key)
    except StoreError:
        return True
    return False


def test_only_keys_under_the_prefix_count(store: ObjectStore, plan: FaultPlan) -> None:
    plan.fail("create", 2, prefix="log/")
    store.create([NewObject("log/1", b"")])
    store.create([NewObject("objects/1", b"")])
    with pytest.raises(StoreError):
        store.create([NewObject("objects/2", b""), NewObject("log/2", b"")])
    store.create([NewObject("objects/3", b"")])


def test_another_error_may_be_planned(store: ObjectStore, plan: FaultPlan) -> None:
    plan.fail("list", error=lambda: StoreFull("planned"))
    with pytest.raises(StoreFull):
        store.list("")


def test_a_slow_call_waits_for_the_test(store: ObjectStore, plan: FaultPlan) -> None:
    fault = plan.fail("create", effect=Effect.SLOW)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(store.create, [NewObject("a", b"")])
        assert fault.reached.wait(30)
        assert not call.done()
        with pytest.raises(NotFound):
            store.stat("a")
        fault.release.set()
        call.result()
    assert store.stat("a")


def test_heal_lets_slow_calls_go_on(store: ObjectStore, plan: FaultPlan) -> None:
    fault = plan.fail("create", effect=Effect.SLOW)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(store.create, [NewObject("a", b"")])
        assert fault.reached.wait(30)
        plan.heal()
        call.result()


def test_exactly_one_of_many_threads_meets_a_fault(store: ObjectStore, plan: FaultPlan) -> None:
    plan.fail("create", 20)
    start, failures = threading.Barrier(8), []

    def work(number: int) -> None:
        start.wait()
        for turn in range(8):
            try:
                store.create([NewObject(f"a/{number}-{turn}", b"")])
            except StoreError as error:
                failures.append(error)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(failures) == 1
    assert len(plan.calls) == 64


def test_key_places_fail_too(place: KeyPlace, plan: FaultPlan) -> None:
    place.create("a", b"1")
    plan.fail("put", effect=Effect.KEPT)
    plan.fail("delete")
    with pytest.raises(StoreError):
        place.put("a", b"2")
    assert place.get("a") == b"2"
    with pytest.raises(StoreError):
        place.delete("a")
    assert list(place.list("")) == ["a"]
    place.delete("a")
    assert [call.verb for call in plan.calls] == ["create", "put", "get", "delete", "list", "delete"]


@pytest.mark.parametrize(("verb", "nth"), [("write", 1), ("create", 0)])
def test_a_plan_that_could_never_come_true_is_refused(plan: FaultPlan, verb: str, nth: int) -> None:
    with pytest.raises(Invalid):
        plan.fail(verb, nth)


def test_memory_forge_lays_a_newer_version_over_the_truth() -> None:
    store = MemoryStore()
    store.create([NewObject("log/1", b"true", Lock(hold=True))])
    forged = store.forge_version("log/1", b"forged")
    assert store.read("log/1") == b"true"
    assert store.read("log/1", forged) == b"forged"
    versions = [(stored.version, lock.hold) for stored, lock in store.stat("log/1")]
    assert versions == [("1", True), (forged, False)]
    assert [stored.version for stored in store.list("")] == ["1", forged]
    store.delete("log/1", forged)
    assert len(store.stat("log/1")) == 1
    with pytest.raises(NotFound):
        store.forge_version("log/2", b"")
