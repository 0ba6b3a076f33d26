"""The contract of KeyPlace, over every back end."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archive_service.model.errors import AlreadyExists, Invalid, NotFound
from archive_service.vault.stores.base import KeyPlace


def test_a_record_is_put_replaced_and_deleted(key_place: KeyPlace) -> None:
    key_place.put("days/2026-03-01", b"one")
    assert key_place.get("days/2026-03-01") == b"one"
    key_place.put("days/2026-03-01", b"another, longer")
    assert key_place.get("days/2026-03-01") == b"another, longer"
    key_place.put("days/2026-03-01", b"")
    assert key_place.get("days/2026-03-01") == b""
    key_place.delete("days/2026-03-01")
    with pytest.raises(NotFound):
        key_place.get("days/2026-03-01")


def test_create_is_exclusive_and_leaves_the_first(key_place: KeyPlace) -> None:
    key_place.create("a", b"first")
    with pytest.raises(AlreadyExists):
        key_place.create("a", b"second")
    assert key_place.get("a") == b"first"
    key_place.put("a", b"third")
    with pytest.raises(AlreadyExists):
        key_place.create("a", b"fourth")


def test_a_deleted_record_may_come_again(key_place: KeyPlace) -> None:
    key_place.create("a", b"first")
    key_place.delete("a")
    key_place.create("a", b"second")
    assert key_place.get("a") == b"second"


def test_deleting_what_is_not_there_is_no_error(key_place: KeyPlace) -> None:
    key_place.put("folder/a", b"")
    for name in ("nothing", "no/such/folder", "folder/b", "folder"):
        key_place.delete(name)
    assert list(key_place.list("")) == ["folder/a"]


def test_what_is_not_there_is_not_found(key_place: KeyPlace) -> None:
    key_place.put("a/b", b"")
    for name in ("nothing", "a", "a/c", "a/b/c"):
        with pytest.raises(NotFound):
            key_place.get(name)


def test_list_is_in_order_under_a_prefix(key_place: KeyPlace) -> None:
    names = ["a-b", "a.b", "a/x", "a/y/z", "a0", "b", "B", "_"]
    for name in names:
        key_place.put(name, b"")
    assert list(key_place.list("")) == sorted(names)
    assert list(key_place.list("a/")) == ["a/x", "a/y/z"]
    assert list(key_place.list("nothing/")) == []


@pytest.mark.parametrize("name", ["", "/a", "a/", "a//b", "..", "a/../b", ".tmp/x", "a b", "é", "x" * 256])
def test_bad_names_are_refused(key_place: KeyPlace, name: str) -> None:
    verbs: list[Callable[[], Any]] = [
        lambda: key_place.create(name, b""),
        lambda: key_place.put(name, b""),
        lambda: key_place.get(name),
        lambda: key_place.delete(name),
    ]
    for verb in verbs:
        with pytest.raises(Invalid):
            verb()


@pytest.mark.parametrize("prefix", ["a", "/", "../"])
def test_bad_prefixes_are_refused_at_the_call(key_place: KeyPlace, prefix: str) -> None:
    with pytest.raises(Invalid):
        key_place.list(prefix)


def test_sixteen_threads_race_for_a_record_and_one_wins(key_place: KeyPlace) -> None:
    start = threading.Barrier(16)

    def attempt(number: int) -> int | None:
        start.wait()
        try:
            key_place.create("generation/7", b"writer %d" % number)
        except AlreadyExists:
            return None
        return number

    with ThreadPoolExecutor(16) as pool:
        winners = [number for number in pool.map(attempt, range(16)) if number is not None]
    assert len(winners) == 1
    assert key_place.get("generation/7") == b"writer %d" % winners[0]


def test_a_reader_sees_an_old_or_a_new_record_and_never_a_part(key_place: KeyPlace) -> None:
    whole = {bytes([letter]) * 20_000 for letter in b"abc"}
    key_place.put("r", b"a" * 20_000)
    stop = threading.Event()

    def write() -> None:
        for turn in range(30):
            key_place.put("r", bytes([b"abc"[turn % 3]]) * 20_000)
        stop.set()

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        while not stop.is_set():
            assert key_place.get("r") in whole
        writing.result()


_acts = st.lists(
    st.tuples(
        st.sampled_from(["create", "put", "delete"]),
        st.sampled_from(["a-b", "a/x", "a/y/z", "a0"]),
        st.binary(max_size=10),
    ),
    max_size=15,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=_acts)
def test_a_place_does_what_a_dictionary_does(
    make_key_place: Callable[[], KeyPlace], acts: list[tuple[str, str, bytes]]
) -> None:
    place = make_key_place()
    model: dict[str, bytes] = {}
    for verb, name, data in acts:
        if verb == "delete":
            place.delete(name)
            model.pop(name, None)
        elif verb == "create" and name in model:
            with pytest.raises(AlreadyExists):
                place.create(name, data)
        else:
            getattr(place, verb)(name, data)
            model[name] = data
    assert {name: place.get(name) for name in place.list("")} == model
    assert list(place.list("")) == sorted(model)
