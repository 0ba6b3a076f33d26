"""The contract of ObjectStore, over every back end."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archive_service.model.errors import AlreadyExists, Invalid, Locked, NotFound, StoreError
from archive_service.vault.stores.base import Lock, LockMode, NewObject, ObjectStore

START = datetime.now(UTC).replace(microsecond=0)
MONTH = START + timedelta(days=30)
YEAR = START + timedelta(days=365)

BAD_NAMES = [
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "a/../b",
    "a/./b",
    ".hidden",
    "a/.locks",
    ".tmp/x",
    "a b",
    "a\\b",
    "a\n",
    "a\x00b",
    "é",
    "a:b",
    "x" * 256,
    "/".join(["x" * 102] * 5),
]


def put(store: ObjectStore, key: str, body: bytes = b"body", lock: Lock | None = None) -> str:
    return store.create([NewObject(key, body, lock or Lock())])[0].version


def keys(store: ObjectStore, prefix: str = "", after: str = "") -> list[str]:
    return [stored.key for stored in store.list(prefix, after)]


# create and read


def test_what_is_created_can_be_read_and_described(object_store: ObjectStore) -> None:
    made = object_store.create([NewObject("t1/objects/a", b"first"), NewObject("t1/objects/b", b"")])
    assert [(stored.key, stored.size) for stored in made] == [("t1/objects/a", 5), ("t1/objects/b", 0)]
    for stored, body in zip(made, (b"first", b""), strict=True):
        assert object_store.read(stored.key) == body
        assert object_store.read(stored.key, stored.version) == body
        assert [found for found, _ in object_store.stat(stored.key)] == [stored]
        assert stored.modified.tzinfo is not None


def test_creating_nothing_is_nothing(object_store: ObjectStore) -> None:
    assert object_store.create([]) == []


def test_many_objects_in_several_folders_in_one_call(object_store: ObjectStore) -> None:
    bodies = {f"t1/{number % 3}/{number}": b"%d" % number * 50 for number in range(150)}
    object_store.create([NewObject(key, body, Lock(until=MONTH)) for key, body in bodies.items()])
    assert keys(object_store) == sorted(bodies)
    assert {key: object_store.read(key) for key in bodies} == bodies
    assert all(object_store.stat(key)[0][1] == Lock(until=MONTH) for key in bodies)


def test_any_bytes_come_back(object_store: ObjectStore) -> None:
    body = bytes(range(256)) * 300 + b"\r\n\n\x00"
    put(object_store, "a", body)
    assert object_store.read("a") == body


def test_bodies_are_taken_chunk_by_chunk(object_store: ObjectStore) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"one,"
        yield b""
        yield b"two," * 50_000
        yield b"three"

    (stored,) = object_store.create([NewObject("a", chunks())])
    assert stored.size == 200_009
    assert object_store.read("a") == b"one," + b"two," * 50_000 + b"three"


def test_the_error_of_a_body_propagates_and_nothing_is_created(object_store: ObjectStore) -> None:
    class Broken(OSError):
        pass

    def chunks() -> Iterator[bytes]:
        yield b"some"
        raise Broken

    with pytest.raises(Broken):
        object_store.create([NewObject("a/1", b"whole"), NewObject("a/2", chunks())])
    assert keys(object_store) == []
    put(object_store, "a/1", b"again")
    put(object_store, "a/2", b"again")


def test_spans(object_store: ObjectStore) -> None:
    put(object_store, "a", b"0123456789")
    assert object_store.read("a", offset=3) == b"3456789"
    assert object_store.read("a", offset=3, length=4) == b"3456"
    assert object_store.read("a", offset=8, length=100) == b"89"
    assert object_store.read("a", length=0) == b""
    assert object_store.read("a", offset=10) == b""
    assert object_store.read("a", offset=99, length=1) == b""
    for bad in ({"offset": -1}, {"length": -1}):
        with pytest.raises(Invalid):
            object_store.read("a", **bad)  # type: ignore[arg-type]


# exclusivity


def test_a_taken_name_is_refused_and_keeps_its_body_and_lock(object_store: ObjectStore) -> None:
    put(object_store, "a/1", b"first", Lock(until=YEAR, hold=True))
    with pytest.raises(AlreadyExists):
        put(object_store, "a/1", b"second", Lock(until=MONTH))
    assert object_store.read("a/1") == b"first"
    assert object_store.stat("a/1")[0][1] == Lock(until=YEAR, hold=True)


def test_one_name_twice_in_a_call(object_store: ObjectStore) -> None:
    with pytest.raises(AlreadyExists):
        object_store.create([NewObject("a", b"1"), NewObject("a", b"2")])


def test_sixteen_threads_race_for_a_name_and_one_wins(object_store: ObjectStore) -> None:
    for round_ in range(5):
        key, start = f"log/{round_}", threading.Barrier(16)

        def attempt(number: int, key: str = key, start: threading.Barrier = start) -> int | None:
            start.wait()
            try:
                put(object_store, key, b"writer %d" % number, Lock(until=MONTH))
            except AlreadyExists:
                return None
            return number

        with ThreadPoolExecutor(16) as pool:
            winners = [number for number in pool.map(attempt, range(16)) if number is not None]
        assert len(winners) == 1
        assert object_store.read(key) == b"writer %d" % winners[0]
        assert object_store.stat(key)[0][1] == Lock(until=MONTH)


def test_threads_create_side_by_side_in_one_folder(object_store: ObjectStore) -> None:
    def work(number: int) -> None:
        for turn in range(5):
            object_store.create([NewObject(f"o/{number}-{turn}-{part}", b"x", Lock()) for part in range(3)])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len([object_store.stat(key) for key in keys(object_store, "o/")]) == 8 * 5 * 3


# names


@pytest.mark.parametrize("name", BAD_NAMES, ids=[f"bad-{number}" for number in range(len(BAD_NAMES))])
def test_bad_names_are_refused_by_every_verb(object_store: ObjectStore, name: str) -> None:
    verbs: list[Callable[[], Any]] = [
        lambda: put(object_store, name),
        lambda: object_store.read(name),
        lambda: object_store.stat(name),
        lambda: object_store.protect(name, "1", Lock()),
        lambda: object_store.delete(name, "1"),
    ]
    for verb in verbs:
        with pytest.raises(Invalid):
            verb()


def test_one_bad_name_spoils_the_call_before_anything_is_created(object_store: ObjectStore) -> None:
    with pytest.raises(Invalid):
        object_store.create([NewObject("good", b""), NewObject("../bad", b"")])
    assert keys(object_store) == []


def test_names_at_the_limit(object_store: ObjectStore) -> None:
    longest = "/".join(["x" * 255, "Y" * 128, "-_.z" * 31 + "end"])
    assert len(longest) == 512
    put(object_store, longest)
    assert keys(object_store) == [longest]


@pytest.mark.parametrize("prefix", ["a", "/", "a//", "../", ".tmp/"])
def test_bad_prefixes_are_refused_at_the_call(object_store: ObjectStore, prefix: str) -> None:
    with pytest.raises(Invalid):
        object_store.list(prefix)


def test_what_is_not_there_is_not_found(object_store: ObjectStore) -> None:
    put(object_store, "a/b")
    for name in ("nothing", "a", "a/c", "a/b/c"):
        for verb in (
            lambda name=name: object_store.read(name),
            lambda name=name: object_store.stat(name),
            lambda name=name: object_store.protect(name, "1", Lock()),
            lambda name=name: object_store.delete(name, "1"),
        ):
            with pytest.raises(NotFound):
                verb()


def test_an_unknown_version_is_not_found(object_store: ObjectStore) -> None:
    put(object_store, "a")
    with pytest.raises(NotFound):
        object_store.read("a", "no-such-version")
    with pytest.raises(NotFound):
        object_store.protect("a", "no-such-version", Lock(hold=True))
    with pytest.raises(NotFound):
        object_store.delete("a", "no-such-version")


# list


def test_list_is_in_key_order_even_where_folders_and_names_mix(object_store: ObjectStore) -> None:
    names = ["a-b", "a.b", "a/x", "a/y/z", "a/y-1", "a0", "aa", "b", "B", "_", "a/0"]
    object_store.create([NewObject(name, b"") for name in names])
    assert keys(object_store) == sorted(names)
    assert keys(object_store, "a/") == ["a/0", "a/x", "a/y-1", "a/y/z"]
    assert keys(object_store, "a/y/") == ["a/y/z"]
    assert keys(object_store, "nothing/") == []
    assert keys(object_store, "b/") == []


def test_list_after(object_store: ObjectStore) -> None:
    names = sorted(["log/00/1", "log/00/2", "log/01/1", "log/01/2", "log/02", "tile/1"])
    object_store.create([NewObject(name, b"") for name in names])
    for after in [*names, "", "log", "log/", "log/00", "log/00/", "log/01/15", "log/010", "m", "z", "\x7f"]:
        assert keys(object_store, "", after) == [name for name in names if name > after], after
        assert keys(object_store, "log/", after) == [
            name for name in names if name > after and name.startswith("log/")
        ], after


def test_list_tells_what_stat_tells(object_store: ObjectStore) -> None:
    put(object_store, "a/1", b"12345")
    assert list(object_store.list("")) == [stored for stored, _ in object_store.stat("a/1")]


# locks and holds


def test_locks_come_back_as_set(object_store: ObjectStore) -> None:
    elsewhere = MONTH.astimezone(timezone(timedelta(hours=5, minutes=30)))
    locks = [
        Lock(),
        Lock(hold=True),
        Lock(until=MONTH),
        Lock(LockMode.GOVERNANCE, MONTH),
        Lock(LockMode.GOVERNANCE, elsewhere, hold=True),
    ]
    for number, lock in enumerate(locks):
        put(object_store, f"a/{number}", b"", lock)
        assert object_store.stat(f"a/{number}")[0][1] == lock


def test_a_mode_without_term_says_nothing(object_store: ObjectStore) -> None:
    version = put(object_store, "a", b"", Lock(LockMode.GOVERNANCE))
    assert object_store.stat("a")[0][1] == Lock()
    object_store.protect("a", version, Lock(LockMode.GOVERNANCE, MONTH))
    assert object_store.stat("a")[0][1] == Lock(LockMode.GOVERNANCE, MONTH)


def test_a_term_without_offset_is_refused(object_store: ObjectStore) -> None:
    naive = Lock(until=MONTH.replace(tzinfo=None))
    with pytest.raises(Invalid):
        put(object_store, "a", b"", naive)
    version = put(object_store, "a")
    with pytest.raises(Invalid):
        object_store.protect("a", version, naive)


@pytest.mark.parametrize("mode", list(LockMode))
def test_lengthening_is_free_and_shortening_impossible(object_store: ObjectStore, mode: LockMode) -> None:
    version = put(object_store, "a", b"", Lock(mode, MONTH))
    object_store.protect("a", version, Lock(mode, YEAR))
    object_store.protect("a", version, Lock(mode, YEAR))
    for until in (None, START, MONTH, YEAR - timedelta(seconds=1)):
        with pytest.raises(Locked):
            object_store.protect("a", version, Lock(mode, until))
    assert object_store.stat("a")[0][1] == Lock(mode, YEAR)


def test_governance_may_rise_to_compliance_and_never_back(object_store: ObjectStore) -> None:
    version = put(object_store, "a", b"", Lock(LockMode.GOVERNANCE, MONTH))
    object_store.protect("a", version, Lock(LockMode.COMPLIANCE, MONTH))
    with pytest.raises(Locked):
        object_store.protect("a", version, Lock(LockMode.GOVERNANCE, YEAR))
    assert object_store.stat("a")[0][1] == Lock(until=MONTH)


def test_hold_is_set_and_cleared_at_will(object_store: ObjectStore) -> None:
    version = put(object_store, "a", b"", Lock(until=MONTH))
    for hold in (True, True, False, True, False):
        object_store.protect("a", version, Lock(until=MONTH, hold=hold))
        assert object_store.stat("a")[0][1] == Lock(until=MONTH, hold=hold)


def test_hold_does_not_carry_a_shorter_term_past_the_rule(object_store: ObjectStore) -> None:
    version = put(object_store, "a", b"", Lock(until=YEAR))
    with pytest.raises(Locked):
        object_store.protect("a", version, Lock(until=MONTH, hold=True))
    assert object_store.stat("a")[0][1] == Lock(until=YEAR)


def test_delete_waits_for_term_and_hold(object_store: ObjectStore, store_clock: Any, traits: Any) -> None:
    version = put(object_store, "a/1", b"", Lock(until=MONTH, hold=True))
    with pytest.raises(Locked):
        object_store.delete("a/1", version)
    object_store.protect("a/1", version, Lock(until=MONTH))
    store_clock.now = MONTH - timedelta(seconds=1)
    with pytest.raises(Locked):
        object_store.delete("a/1", version)
    object_store.protect("a/1", version, Lock(until=MONTH, hold=True))
    store_clock.now = MONTH
    with pytest.raises(Locked):
        object_store.delete("a/1", version)
    object_store.protect("a/1", version, Lock(until=MONTH))
    if traits.own_clock:
        with pytest.raises(Locked):  # our clock says that the term has passed, the service's does not
            object_store.delete("a/1", version)
        assert object_store.read("a/1") == b""
        return
    object_store.delete("a/1", version)
    assert_gone(object_store, "a/1", version)


def assert_gone(store: ObjectStore, key: str, version: str) -> None:
    assert keys(store) == []
    for verb in (store.read, store.stat):
        with pytest.raises(NotFound):
            verb(key)
    with pytest.raises(NotFound):
        store.delete(key, version)


def test_delete_after_a_term_that_passed(object_store: ObjectStore, store_clock: Any, traits: Any) -> None:
    until = datetime.now(UTC) + timedelta(seconds=3)  # enough for a machine that stalls
    version = put(object_store, "a/1", b"", Lock(until=until))
    with pytest.raises(Locked):
        object_store.delete("a/1", version)
    store_clock.now = until + timedelta(seconds=1)
    while traits.own_clock:  # asked until its clock agrees
        try:
            object_store.delete("a/1", version)
        except Locked:
            continue
        break
    else:
        object_store.delete("a/1", version)
    assert_gone(object_store, "a/1", version)


def test_the_name_of_a_deleted_object_is_free_on_s3_alone(object_store: ObjectStore, traits: Any) -> None:
    """A difference that no caller may rely on: names are never reused."""
    version = put(object_store, "a/1")
    object_store.delete("a/1", version)
    if traits.frees_names:
        assert put(object_store, "a/1", b"again") != version
        assert object_store.read("a/1") == b"again"
        return
    with pytest.raises(AlreadyExists):
        put(object_store, "a/1")
    assert keys(object_store) == []


# against a model

NAMES = ["a-b", "a/x", "a/y/z", "a0", "b.c"]
_locks = st.builds(
    Lock,
    mode=st.sampled_from(list(LockMode)),
    until=st.sampled_from([None, START + timedelta(days=1), START + timedelta(days=3)]),
    hold=st.booleans(),
)
_names = st.sampled_from(NAMES)
_acts = st.lists(
    st.one_of(
        st.tuples(st.just("create"), _names, st.binary(max_size=20), _locks),
        st.tuples(st.just("protect"), _names, _locks),
        st.tuples(st.just("delete"), _names),
        st.tuples(st.just("wait")),
    ),
    max_size=20,
)


class Model:
    """What a store is, in a dictionary."""

    def __init__(self, *, frees_names: bool) -> None:
        self.now = START
        self.frees_names = frees_names
        self.used: set[str] = set()
        self.objects: dict[str, tuple[bytes, Lock]] = {}

    def create(self, name: str, body: bytes, lock: Lock) -> type[StoreError] | None:
        if name in self.used:
            return AlreadyExists
        self.used.add(name)
        self.objects[name] = (body, lock if lock.until else Lock(hold=lock.hold))
        return None

    def protect(self, name: str, lock: Lock) -> type[StoreError] | None:
        if name not in self.objects:
            return NotFound
        body, old = self.objects[name]
        new = lock if lock.until else Lock(hold=lock.hold)
        shorter = old.until and (not new.until or new.until < old.until)
        weaker = old.until and (old.mode, new.mode) == ("COMPLIANCE", "GOVERNANCE")
        if shorter or weaker:
            return Locked
        self.objects[name] = (body, new)
        return None

    def delete(self, name: str) -> type[StoreError] | None:
        if name not in self.objects:
            return NotFound
        _, lock = self.objects[name]
        if lock.hold or (lock.until and lock.until > self.now):
            return Locked
        del self.objects[name]
        if self.frees_names:
            self.used.discard(name)
        return None


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=_acts)
def test_a_store_does_what_the_model_does(
    make_object_store: Callable[[], ObjectStore], store_clock: Any, traits: Any, acts: list[tuple[Any, ...]]
) -> None:
    if traits.own_clock:  # which no test can move
        acts = [act for act in acts if act[0] != "wait"]
    check_against_model(make_object_store(), store_clock, acts, frees_names=traits.frees_names)


def check_against_model(
    store: ObjectStore, store_clock: Any, acts: list[tuple[Any, ...]], *, frees_names: bool
) -> None:
    model = Model(frees_names=frees_names)
    store_clock.now = model.now
    for verb, *arguments in acts:
        if verb == "wait":
            model.now += timedelta(days=1)
            store_clock.now = model.now
            continue
        expected = getattr(model, verb)(*arguments)
        assert _outcome(store, verb, arguments) is expected, (verb, arguments)
    assert keys(store) == sorted(model.objects)
    for name, (body, lock) in model.objects.items():
        assert store.read(name) == body
        assert [found for _, found in store.stat(name)] == [lock]


def _outcome(store: ObjectStore, verb: str, arguments: list[Any]) -> type[StoreError] | None:
    try:
        if verb == "create":
            store.create([NewObject(*arguments)])
        elif verb == "protect":
            store.protect(arguments[0], version_of(store, arguments[0]), arguments[1])
        else:
            store.delete(arguments[0], version_of(store, arguments[0]))
    except StoreError as error:
        return type(error)
    return None


def version_of(store: ObjectStore, key: str) -> str:
    """The version that stands under a name, or one that does not."""
    try:
        return store.stat(key)[0][0].version
    except NotFound:
        return "1"
