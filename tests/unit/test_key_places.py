"""Two places: both hold a record before anything relies on it, and either alone serves."""

from collections.abc import Callable

import pytest

from archive_service.model.errors import KeyUnavailable, NotFound, StoreError, Tampered
from archive_service.vault.key_places import KeyStore
from archive_service.vault.stores.base import KeyPlace
from archive_service.vault.stores.faults import Effect, FaultPlan, FaultyKeyPlace
from archive_service.vault.stores.memory import MemoryKeyPlace

NAME = "a1/secrets/identity"


class Places:
    """A key store over two places with a plan each."""

    def __init__(self) -> None:
        self.first, self.second = MemoryKeyPlace(), MemoryKeyPlace()
        self.plans = (FaultPlan(), FaultPlan())
        self.store = KeyStore(
            FaultyKeyPlace(self.first, self.plans[0]), FaultyKeyPlace(self.second, self.plans[1])
        )

    def copies(self) -> list[bytes | None]:
        return KeyStore(self.first, self.second).copies(NAME)

    def place(self, number: int) -> MemoryKeyPlace:
        return (self.first, self.second)[number]


@pytest.fixture
def places() -> Places:
    return Places()


def test_a_put_is_in_both_places(places: Places) -> None:
    places.store.put(NAME, b"x")
    assert places.copies() == [b"x", b"x"]
    places.store.put(NAME, b"y")
    assert places.copies() == [b"y", b"y"]


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("effect", [Effect.LOST, Effect.KEPT])
def test_a_put_that_one_place_does_not_confirm_is_no_put(places: Places, number: int, effect: Effect) -> None:
    places.plans[number].fail("put", effect=effect)
    with pytest.raises(StoreError):
        places.store.put(NAME, b"x")


@pytest.mark.parametrize("number", [0, 1])
def test_a_place_that_is_wiped_or_out_of_reach_loses_nothing(places: Places, number: int) -> None:
    places.store.put(NAME, b"x")
    places.plans[number].fail("get", times=None)
    assert places.store.get(NAME) == b"x"
    places.plans[number].heal()
    places.place(number).delete(NAME)
    assert places.store.get(NAME) == b"x"
    assert list(places.store.list("a1/")) == [NAME]


def test_what_neither_place_has_is_unavailable(places: Places) -> None:
    with pytest.raises(KeyUnavailable):
        places.store.get(NAME)


def test_what_one_place_lacks_and_the_other_cannot_say_is_not_unavailable(places: Places) -> None:
    """It may come back: nobody may conclude that the key is destroyed."""
    places.plans[0].fail("get", times=None)
    with pytest.raises(StoreError):
        places.store.get(NAME)


def opened(data: bytes) -> str:
    if data == b"damaged":
        raise Tampered("damaged")
    return data.decode()


@pytest.mark.parametrize("number", [0, 1])
def test_a_damaged_copy_does_not_keep_the_other_from_serving(places: Places, number: int) -> None:
    places.store.put(NAME, b"good")
    places.place(number).put(NAME, b"damaged")
    assert places.store.read(NAME, opened) == "good"
    places.place(1 - number).put(NAME, b"damaged")
    with pytest.raises(Tampered):
        places.store.read(NAME, opened)
    places.place(1 - number).delete(NAME)
    with pytest.raises(Tampered):
        places.store.read(NAME, opened)


def test_a_copy_put_back_from_a_backup_does_not_hide_the_one_that_opens(places: Places) -> None:
    """It stands under a key that is no more; the other place was wrapped anew before that key went."""
    places.first.create(NAME, b"of a dead key")
    places.second.create(NAME, b"still here")

    def read(data: bytes) -> str:
        if data == b"of a dead key":
            raise KeyUnavailable("destroyed")
        return data.decode()

    assert places.store.read(NAME, read) == "still here"
    places.second.put(NAME, b"of a dead key")
    with pytest.raises(KeyUnavailable):
        places.store.read(NAME, read)


def test_who_claims_first_wins_and_both_see_the_same(places: Places) -> None:
    assert places.store.claim(NAME, b"mine") == b"mine"
    assert places.store.claim(NAME, b"yours") == b"mine"
    assert places.copies() == [b"mine", b"mine"]


@pytest.mark.parametrize("number", [0, 1])
def test_a_claim_heals_what_a_crash_or_a_wipe_left(places: Places, number: int) -> None:
    places.place(number).create(NAME, b"standing")
    assert places.store.claim(NAME, b"new") == b"standing"
    assert places.copies() == [b"standing", b"standing"]


def test_a_claim_never_replaces_what_stands(places: Places) -> None:
    places.first.create(NAME, b"one")
    places.second.create(NAME, b"two")
    with pytest.raises(StoreError, match="both places"):
        places.store.claim(NAME, b"three")
    assert places.copies() == [b"one", b"two"]


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize(
    ("verb", "effect"), [("create", Effect.LOST), ("create", Effect.KEPT), ("get", Effect.LOST)]
)
def test_a_claim_that_failed_half_way_is_finished_by_the_next(
    places: Places, number: int, verb: str, effect: Effect
) -> None:
    places.plans[number].fail(verb, effect=effect)
    with pytest.raises(StoreError):
        places.store.claim(NAME, b"first")
    standing = [copy for copy in places.copies() if copy is not None]
    again = places.store.claim(NAME, b"second")
    assert again == (b"first" if standing else b"second")
    assert places.copies() == [again, again]


def test_two_claimers_at_every_step_of_each_other_end_with_the_same(places: Places) -> None:
    """The second claims, whole, just before each single call of the first."""
    for step in range(6):
        fresh = Places()
        others = KeyStore(fresh.first, fresh.second)
        calls = 0

        def between(data: bytes, step: int = step, others: KeyStore = others) -> None:
            nonlocal calls
            if calls == step:
                others.claim(NAME, data)
            calls += 1

        store = KeyStore(
            *(Interrupted(place, lambda: between(b"theirs")) for place in (fresh.first, fresh.second))
        )
        assert store.claim(NAME, b"ours") == others.get(NAME)
        assert len({fresh.first.get(NAME), fresh.second.get(NAME)}) == 1
        assert calls > step


class Interrupted(MemoryKeyPlace):
    """Something happens before each of its calls."""

    def __init__(self, inner: MemoryKeyPlace, before: Callable[[], None]) -> None:
        super().__init__()
        self._inner = inner
        self._before = before

    def create(self, name: str, data: bytes) -> None:
        self._before()
        self._inner.create(name, data)

    def get(self, name: str) -> bytes:
        self._before()
        return self._inner.get(name)


def test_copies_say_what_verify_compares(places: Places) -> None:
    places.second.create(NAME, b"x")
    assert places.store.copies(NAME) == [None, b"x"]
    with pytest.raises(NotFound):
        places.first.get(NAME)


def test_a_place_wiped_while_a_claim_was_under_way_gets_back_what_all_rely_on(places: Places) -> None:
    """The claimer had looked, found nothing, and was frozen; others made the record; then the first place was wiped."""
    inner = places.store._standing
    looked: list[bytes | None] = []

    def standing(place: KeyPlace, name: str) -> bytes | None:
        found = inner(place, name)
        if not looked:
            looked.append(found)
            places.second.put(NAME, b"all rely on this")
        return found

    places.store._standing = standing  # type: ignore[method-assign]
    assert places.store.claim(NAME, b"late") == b"all rely on this"
    assert looked == [None]
    assert places.first.get(NAME) == b"all rely on this"


@pytest.mark.parametrize("number", [0, 1])
def test_a_record_that_is_written_once_never_replaces_another(places: Places, number: int) -> None:
    places.store.add(NAME, b"one")
    places.store.add(NAME, b"one")
    (places.first, places.second)[number].put(NAME, b"made anew since")
    with pytest.raises(StoreError):
        places.store.add(NAME, b"one")
    assert (places.first, places.second)[number].get(NAME) == b"made anew since"
