"""An owner's keys: generations made ahead, records bound to their place, destroyed keys gone for good."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archive_service.model.canonical import canonical
from archive_service.model.errors import KeyUnavailable, StoreError, Tampered
from archive_service.vault import key_layout
from archive_service.vault.destruction import Destroyer
from archive_service.vault.healing import heal
from archive_service.vault.key_layout import LogId
from archive_service.vault.key_places import KeyStore, in_turn
from archive_service.vault.keyring import Generation, Keyring, owners
from archive_service.vault.kms import LocalKms
from archive_service.vault.stores.faults import Effect, FaultPlan, FaultyKeyPlace
from archive_service.vault.stores.memory import MemoryKeyPlace

OWNER, OTHER = "a1" * 10, "b2" * 10
LOG = LogId(OWNER, "capture-1")
DAY = date(2026, 3, 1)
BATCH, LATER = "018f" * 8, "0190" * 8
KEYS = [bytes([n]) * 32 for n in range(3)]


class Keys:
    """Places, plans and a key service; keyrings over them are as other processes would open them."""

    def __init__(self) -> None:
        self.places = (MemoryKeyPlace(), MemoryKeyPlace())
        self.plans = (FaultPlan(), FaultPlan())
        first, second = (FaultyKeyPlace(p, plan) for p, plan in zip(self.places, self.plans, strict=True))
        self.store = KeyStore(first, second)
        self.kms_place = MemoryKeyPlace()

    def ring(self, owner: str = OWNER) -> Keyring:
        return Keyring(owner, self.store, LocalKms(self.kms_place))

    def change(self, name: str, change: Callable[[dict[str, Any]], None]) -> None:
        """Edit a record in both places, as someone would who holds them."""
        record = json.loads(self.places[0].get(name))
        change(record)
        for place in self.places:
            place.put(name, canonical(record))

    def copies(self, name: str) -> list[bytes | None]:
        return KeyStore(*self.places).copies(name)


@pytest.fixture
def keys() -> Keys:
    return Keys()


def recorded(keys: Keys, *, log: LogId = LOG, batch: str = BATCH, day: date = DAY) -> Generation:
    ring = keys.ring(log.owner)
    generation = ring.current(day)
    ring.put_record(log, batch, generation, KEYS)
    return generation


# --- generations ---------------------------------------------------------------------------------------


def test_generations_are_made_a_day_ahead(keys: Keys) -> None:
    ring = keys.ring()
    ring.prepare(DAY)
    assert [ring.generation(number).begins for number in ring.numbers()] == [DAY, DAY + timedelta(days=1)]
    ring.prepare(DAY)
    assert ring.numbers() == [1, 2]
    ring.prepare(DAY + timedelta(days=5))
    assert [ring.generation(n).begins.day for n in ring.numbers()] == [1, 2, 6, 7]
    assert len({ring.generation(number).key for number in ring.numbers()}) == 4


@pytest.mark.parametrize("days", [0, 1, 2, 3])
def test_the_key_of_a_day_is_the_newest_that_has_begun(keys: Keys, days: int) -> None:
    keys.ring().prepare(DAY)
    today = DAY + timedelta(days=days)
    for ring in (keys.ring(), keys.ring()):
        assert ring.current(today).begins == today
        assert ring.current(today) is ring.current(today)


def test_every_process_uses_the_same_key(keys: Keys) -> None:
    assert keys.ring().current(DAY).key == keys.ring().current(DAY).key
    assert keys.ring(OTHER).current(DAY).key != keys.ring().current(DAY).key


def test_keyrings_that_race_end_with_the_same_generations(keys: Keys) -> None:
    rings = [keys.ring() for _ in range(6)]
    start = threading.Barrier(len(rings))

    def work(ring: Keyring) -> list[bytes]:
        start.wait()
        found = [ring.current(DAY + timedelta(days=day)).key for day in (0, 1, 4)]
        return [*found, ring.make_secret("identity", bytes(32))]

    with ThreadPoolExecutor(len(rings)) as pool:
        found = list(pool.map(work, rings))
    assert all(each == found[0] for each in found)
    ring = keys.ring()
    begins = [ring.generation(number).begins for number in ring.numbers()]
    assert begins == sorted(set(begins))
    assert [place.get(name) for place in keys.places for name in place.list("")] == [
        place.get(name) for place in reversed(keys.places) for name in place.list("")
    ]


def test_a_day_that_a_faster_process_skipped_gets_its_key(keys: Keys) -> None:
    """Another process, its clock a day behind, takes the number that this one wanted for tomorrow."""
    keys.ring().prepare(DAY)
    late, store = keys.ring(), keys.store
    inner = store.claim
    raced: list[str] = []

    def claim(name: str, data: bytes) -> bytes:
        if name.endswith("generations/00000003") and not raced:
            raced.append(name)
            keys.ring().prepare(DAY + timedelta(days=1))
        return inner(name, data)

    store.claim = claim  # type: ignore[method-assign]
    late.prepare(DAY + timedelta(days=2))
    assert raced
    assert [late.generation(number).begins.day for number in late.numbers()] == [1, 2, 3, 4]
    assert late.current(DAY + timedelta(days=2)).begins == DAY + timedelta(days=2)


@pytest.mark.parametrize("lost", [0, 1])
@pytest.mark.parametrize("folder", ["generations", "table"])
def test_a_generation_that_stands_in_one_place_only_is_healed_before_its_first_use(
    keys: Keys, folder: str, lost: int
) -> None:
    """Its maker died between the places, or a place was wiped since."""
    keys.ring().prepare(DAY)
    name = f"{OWNER}/{folder}/00000001"
    keys.places[lost].delete(name)
    generation = keys.ring().current(DAY)
    copies = keys.copies(name)
    assert copies[0] == copies[1]
    keys.places[1 - lost].delete(name)
    assert keys.ring().generation(generation.number).key == generation.key


@pytest.mark.parametrize("number", [0, 1])
def test_a_generation_that_does_not_read_back_is_not_used(keys: Keys, number: int) -> None:
    keys.ring().prepare(DAY)
    ring = keys.ring()
    keys.plans[number].fail("get", prefix=f"{OWNER}/generations/00000001", times=None)
    with pytest.raises(StoreError):
        ring.current(DAY)
    keys.plans[number].heal()
    assert ring.current(DAY).begins == DAY


def test_places_that_hold_different_day_keys_stop_the_writer(keys: Keys) -> None:
    keys.ring().prepare(DAY)
    foreign = Keys()
    foreign.ring().prepare(DAY)
    name = key_layout.generation_name(OWNER, 1)
    keys.places[1].put(name, foreign.places[1].get(name))
    with pytest.raises(StoreError, match="both places"):
        keys.ring().current(DAY)
    assert keys.copies(name)[0] != keys.copies(name)[1], "nothing was replaced"


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("folder", ["generations", "table"])
@pytest.mark.parametrize("effect", [Effect.LOST, Effect.KEPT])
def test_making_a_generation_fails_whole_or_is_finished_by_the_next(
    keys: Keys, number: int, folder: str, effect: Effect
) -> None:
    keys.plans[number].fail("create", effect=effect, prefix=f"{OWNER}/{folder}/")
    with pytest.raises(StoreError):
        keys.ring().current(DAY)
    generation = recorded(keys)
    for name in (key_layout.generation_name(OWNER, 1), key_layout.table_name(OWNER, 1)):
        copies = keys.copies(name)
        assert copies[0] == copies[1] is not None
    assert keys.ring().generation(generation.number).key == generation.key


def test_no_generation_before_time_began(keys: Keys) -> None:
    keys.ring().prepare(DAY)
    with pytest.raises(KeyUnavailable, match="clock"):
        keys.ring().current(DAY - timedelta(days=400))


def test_a_stray_among_the_generations_stops_nobody(keys: Keys) -> None:
    keys.ring().prepare(DAY)
    for place in keys.places:
        place.create(f"{OWNER}/generations/stray", b"x")
        place.create(f"{OWNER}/table/stray", b"x")
    assert keys.ring().numbers() == [1, 2]
    assert keys.ring().current(DAY + timedelta(days=3)).number == 3


# --- records -------------------------------------------------------------------------------------------


def test_recorded_keys_are_had_again(keys: Keys) -> None:
    recorded(keys)
    for index, key in enumerate(KEYS):
        assert keys.ring().object_key(LOG, f"{BATCH}-{index}") == key
    everything = b"".join(place.get(name) for place in keys.places for name in place.list(""))
    assert not any(key in everything for key in KEYS)


@pytest.mark.parametrize("name", [f"{BATCH}-3", f"{LATER}-0"])
def test_a_key_that_was_never_recorded(keys: Keys, name: str) -> None:
    recorded(keys)
    with pytest.raises(KeyUnavailable):
        keys.ring().object_key(LOG, name)


@pytest.mark.parametrize("number", [0, 1])
def test_a_wiped_place_loses_nothing(keys: Keys, number: int) -> None:
    ring = keys.ring()
    ring.make_secret("signing", b"s" * 32)
    recorded(keys)
    for name in list(keys.places[number].list("")):
        keys.places[number].delete(name)
    after = keys.ring()
    assert after.object_key(LOG, f"{BATCH}-1") == KEYS[1]
    assert after.secret("signing") == b"s" * 32
    later = DAY + timedelta(days=1)
    after.put_record(LOG, LATER, after.current(later), KEYS)
    assert keys.ring().object_key(LOG, f"{LATER}-2") == KEYS[2]


@pytest.mark.parametrize("number", [0, 1])
def test_a_damaged_place_loses_nothing(keys: Keys, number: int) -> None:
    """Every record of one place damaged, each in another way."""
    keys.ring().make_secret("signing", b"s" * 32)
    recorded(keys)
    damages = [b"", b"{}", b"\xff", b'{"version":2}']
    for place, name in enumerate(list(keys.places[number].list(""))):
        keys.places[number].put(name, damages[place % len(damages)])
    after = keys.ring()
    assert after.object_key(LOG, f"{BATCH}-0") == KEYS[0]
    assert after.secret("signing") == b"s" * 32


@pytest.mark.parametrize("number", [0, 1])
def test_a_damaged_key_inside_a_sound_record_loses_nothing(keys: Keys, number: int) -> None:
    recorded(keys)
    name = key_layout.record_name(LOG, BATCH)
    record = json.loads(keys.places[number].get(name))
    record["keys"][1] = record["keys"][0]
    keys.places[number].put(name, canonical(record))
    ring = keys.ring()
    assert [ring.object_key(LOG, f"{BATCH}-{index}") for index in range(3)] == KEYS


def swap(keys: Keys, one: str, other: str) -> None:
    """Two records of the key store change places, in both places of it."""
    for place in keys.places:
        first, second = place.get(one), place.get(other)
        place.put(one, second)
        place.put(other, first)


@pytest.mark.parametrize(
    ("log", "batch"),
    [(LOG, LATER), (LogId(OWNER, "capture-2"), BATCH), (LogId(OTHER, "capture-1"), BATCH)],
    ids=["batches", "logs", "owners"],
)
def test_records_that_change_places_are_refused(keys: Keys, log: LogId, batch: str) -> None:
    recorded(keys)
    recorded(keys, log=log, batch=batch)
    swap(keys, key_layout.record_name(LOG, BATCH), key_layout.record_name(log, batch))
    for owner_log, name in ((LOG, BATCH), (log, batch)):
        with pytest.raises(Tampered):
            keys.ring(owner_log.owner).object_key(owner_log, f"{name}-0")


def relabel(record: dict[str, Any], log: LogId, batch: str) -> None:
    record["log"], record["batch"] = str(log), batch


@pytest.mark.parametrize(
    ("log", "batch"),
    [(LOG, LATER), (LogId(OWNER, "capture-2"), BATCH), (LogId(OTHER, "capture-1"), BATCH)],
    ids=["batches", "logs", "owners"],
)
def test_a_record_whose_label_was_changed_too_is_refused(keys: Keys, log: LogId, batch: str) -> None:
    """The wrapping binds each key to its log, name and generation: a new label does not help."""
    recorded(keys)
    keys.ring(log.owner).prepare(DAY)
    target = key_layout.record_name(log, batch)
    for place in keys.places:
        place.put(target, place.get(key_layout.record_name(LOG, BATCH)))
    keys.change(target, lambda record: relabel(record, log, batch))
    with pytest.raises(Tampered, match="authentication"):
        keys.ring(log.owner).object_key(log, f"{batch}-0")


def reorder(record: dict[str, Any]) -> None:
    record["keys"].reverse()


def renumber(record: dict[str, Any]) -> None:
    record["generation"] = 2


@pytest.mark.parametrize(
    "change",
    [
        reorder,
        renumber,
        lambda record: record["keys"].insert(0, 7),
        lambda record: record["keys"].insert(0, "no base64"),
        lambda record: record["keys"].insert(0, ""),
        lambda record: record.update(keys=None),
        lambda record: record.update(generation="1"),
        lambda record: record.update(version=2),
        lambda record: record.pop("log"),
    ],
    ids=[
        "reordered",
        "generation",
        "number",
        "text",
        "empty",
        "no-keys",
        "no-generation",
        "version",
        "no-log",
    ],
)
def test_an_edited_record_is_refused(keys: Keys, change: Callable[[dict[str, Any]], None]) -> None:
    recorded(keys)
    keys.change(key_layout.record_name(LOG, BATCH), change)
    with pytest.raises(Tampered):
        keys.ring().object_key(LOG, f"{BATCH}-0")


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_flipped_bit_gives_the_right_key_or_none(data: st.DataObject) -> None:
    keys = Keys()
    recorded(keys)
    name = data.draw(st.sampled_from(list(keys.places[0].list(""))))
    damaged = bytearray(keys.places[0].get(name))
    place = data.draw(st.integers(0, len(damaged) - 1))
    damaged[place] ^= 1 << data.draw(st.integers(0, 7))
    for each in keys.places:
        each.put(name, bytes(damaged))
    try:
        assert keys.ring().object_key(LOG, f"{BATCH}-0") == KEYS[0]
    except (Tampered, KeyUnavailable):
        return
    except StoreError as error:  # the flipped bit made it a key version that is yet to come
        assert error.code == "kms.unknown_version"


# --- destroyed keys, restored backups ------------------------------------------------------------------


def forget_first(record: dict[str, Any]) -> None:
    record["keys"][0] = None


def test_a_destroyed_key_is_unavailable_and_its_neighbours_stay(keys: Keys) -> None:
    recorded(keys)
    ring = keys.ring()
    assert ring.object_key(LOG, f"{BATCH}-0") == KEYS[0]
    keys.change(key_layout.record_name(LOG, BATCH), forget_first)
    ring.forget_cache()
    for each in (ring, keys.ring()):
        with pytest.raises(KeyUnavailable):
            each.object_key(LOG, f"{BATCH}-0")
        assert each.object_key(LOG, f"{BATCH}-1") == KEYS[1]


def test_a_restored_record_opens_nothing_once_its_generation_is_destroyed(keys: Keys) -> None:
    generation = recorded(keys)
    name = key_layout.record_name(LOG, BATCH)
    backup = keys.places[0].get(name)
    for place in keys.places:
        place.delete(key_layout.generation_name(OWNER, generation.number))
        place.delete(name)
    with pytest.raises(KeyUnavailable):
        keys.ring().object_key(LOG, f"{BATCH}-0")
    for place in keys.places:
        place.put(name, backup)
    with pytest.raises(KeyUnavailable):
        keys.ring().object_key(LOG, f"{BATCH}-0")


def test_a_restored_generation_opens_nothing_once_its_table_key_is_destroyed(keys: Keys) -> None:
    recorded(keys)
    for place in keys.places:
        place.delete(key_layout.table_name(OWNER, 1))
    with pytest.raises(KeyUnavailable):
        keys.ring().object_key(LOG, f"{BATCH}-0")


def test_a_restored_key_store_opens_nothing_without_its_key_service(keys: Keys) -> None:
    keys.ring().make_secret("identity", b"i" * 32)
    recorded(keys)
    LocalKms(keys.kms_place).rotate()
    LocalKms(keys.kms_place).destroy("v1")
    with pytest.raises(KeyUnavailable):
        keys.ring().object_key(LOG, f"{BATCH}-0")
    with pytest.raises(KeyUnavailable):
        keys.ring().secret("identity")
    keys.kms_place.create("v1.key", b"ab" * 32)  # another service under the same name
    with pytest.raises(Tampered):
        keys.ring().secret("identity")


def test_a_rotated_key_service_still_opens_what_it_wrapped_before(keys: Keys) -> None:
    keys.ring().make_secret("identity", b"i" * 32)
    recorded(keys)
    LocalKms(keys.kms_place).rotate()
    assert keys.ring().secret("identity") == b"i" * 32
    assert keys.ring().object_key(LOG, f"{BATCH}-2") == KEYS[2]


# --- secrets -------------------------------------------------------------------------------------------


def test_a_secret_is_made_once(keys: Keys) -> None:
    assert keys.ring().make_secret("identity", b"i" * 32) == b"i" * 32
    assert keys.ring().make_secret("identity", b"j" * 32) == b"i" * 32
    assert keys.ring().secret("identity") == b"i" * 32
    with pytest.raises(KeyUnavailable):
        keys.ring().secret("signing")


@pytest.mark.parametrize("number", [0, 1])
def test_making_a_secret_again_over_a_wiped_place_keeps_the_one_that_stands(keys: Keys, number: int) -> None:
    keys.ring().make_secret("signing", b"s" * 32)
    keys.places[number].delete(key_layout.secret_name(OWNER, "signing"))
    assert keys.ring().make_secret("signing", b"new" + bytes(29)) == b"s" * 32
    keys.places[1 - number].delete(key_layout.secret_name(OWNER, "signing"))
    assert keys.ring().secret("signing") == b"s" * 32


def test_secrets_that_change_places_are_refused(keys: Keys) -> None:
    for owner in (OWNER, OTHER):
        keys.ring(owner).make_secret("identity", owner.encode() + bytes(12))
        keys.ring(owner).make_secret("signing", bytes(32))
    swap(keys, key_layout.secret_name(OWNER, "identity"), key_layout.secret_name(OWNER, "signing"))
    with pytest.raises(Tampered):
        keys.ring().secret("identity")
    swap(keys, key_layout.secret_name(OWNER, "identity"), key_layout.secret_name(OTHER, "identity"))
    with pytest.raises(Tampered):
        keys.ring(OTHER).secret("identity")


def test_owners_are_found_by_their_secrets(keys: Keys) -> None:
    for owner in (OTHER, OWNER):
        keys.ring(owner).make_secret("identity", bytes(32))
    keys.places[0].create("stray/secrets/x", b"")
    assert owners(keys.store) == [OWNER, OTHER]


def test_many_threads_read_and_write_one_keyring(keys: Keys) -> None:
    """New generations come while others look for theirs."""
    ring = keys.ring()
    days = [DAY + timedelta(days=n % 7) for n in range(60)]

    def work(number: int) -> bool:
        batch = f"{number:032x}"
        ring.put_record(LOG, batch, ring.current(days[number]), [bytes([number]) * 32])
        return ring.object_key(LOG, f"{batch}-0") == bytes([number]) * 32

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(60)))


def test_a_generation_that_was_half_made_and_is_made_anew_is_not_remembered() -> None:
    """Seen in the first place, lost with it, and its number given again with another key: what is sealed under the new
    one opens, also for a process that remembers the old one (simulation seed 5067805)."""
    first, second = MemoryKeyPlace(), MemoryKeyPlace()
    kms = LocalKms(MemoryKeyPlace())
    kms.rotate()
    owner = "a1" * 10
    maker, reader = (Keyring(owner, KeyStore(first, second, in_turn), kms) for _ in range(2))
    number = maker.generations.add(date(2026, 3, 1)).number
    stale = maker.generation(number).key
    assert reader.generation(number).key == stale
    for place in (first, second):
        place.delete(key_layout.generation_name(owner, number))
    assert maker.generations.add(date(2026, 3, 1)).number == number
    assert maker.generation(number).key != stale
    log, batch = LogId(owner, "capture-1"), "0" * 32
    maker.put_record(log, batch, maker.generation(number), [b"k" * 32])
    assert reader.object_key(log, f"{batch}-0") == b"k" * 32


# --- two keys under one number -------------------------------------------------------------------------


class Halves:
    """A generation that stands in the first place with another key than in the second: the first place was wiped while
    it was being made, and somebody else began to make it there."""

    def __init__(self) -> None:
        self.first, self.second = MemoryKeyPlace(), MemoryKeyPlace()
        self.kms = LocalKms(MemoryKeyPlace())
        self.kms.rotate()
        maker = self.ring()
        self.whole = maker.current(DAY)
        self.name = key_layout.generation_name(OWNER, self.whole.number)
        other = Generation(self.whole.number, DAY, b"\x07" * 32, self.whole.table)
        self.half = maker.generations.record(other, self.whole.table)
        self.right = self.second.get(self.name)

    def ring(self) -> Keyring:
        return Keyring(OWNER, KeyStore(self.first, self.second, in_turn), self.kms)


def test_what_one_place_says_is_never_sealed_under(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen half made in the first place, whole by the time that it was read back: the key that was read back counts,
    not the one that was seen (simulation seed 6036832)."""
    halves = Halves()
    ring, whole = halves.ring(), MemoryKeyPlace.get
    answers = [halves.half]

    def get(place: MemoryKeyPlace, name: str) -> bytes:
        half = place is halves.first and name == halves.name and answers
        return answers.pop() if half else whole(place, name)

    monkeypatch.setattr(MemoryKeyPlace, "get", get)
    ring.prepare(DAY)  # looks at the newest generation only
    with pytest.raises(StoreError) as refused:
        ring.current(DAY)
    assert refused.value.code == "key.resealing"
    assert ring.current(DAY).key == halves.whole.key


@pytest.mark.parametrize("place", [0, 1])
def test_a_key_opens_while_the_places_hold_different_generations(place: int) -> None:
    halves = Halves()
    halves.ring().put_record(LOG, BATCH, halves.whole, KEYS)
    (halves.first, halves.second)[place].put(halves.name, halves.half)
    assert halves.ring().object_key(LOG, f"{BATCH}-1") == KEYS[1]


def test_no_erasure_batch_writes_one_of_two_keys_over_the_other() -> None:
    halves = Halves()
    halves.ring().put_record(LOG, BATCH, halves.whole, KEYS)
    halves.first.put(halves.name, halves.half)
    destroyer = Destroyer(halves.ring())
    for act in (
        lambda: destroyer.close([halves.whole.number]),
        lambda: destroyer.reseal([], [halves.whole.table]),
    ):
        with pytest.raises(StoreError) as refused:
            act()
        assert refused.value.code == "key.places_differ"
    assert halves.ring().object_key(LOG, f"{BATCH}-1") == KEYS[1]


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("used", [True, False])
def test_healing_keeps_the_key_that_opens_the_records(place: int, used: bool) -> None:
    """Where nothing is recorded under either, the second place's."""
    halves = Halves()
    if used:
        halves.ring().put_record(LOG, BATCH, halves.whole, KEYS)
    (halves.first, halves.second)[place].put(halves.name, halves.half)
    healed = heal(halves.ring(), [])
    assert (healed.replaced, healed.left) == (1, [])
    expected = halves.right if used or place == 0 else halves.half
    assert [halves.first.get(halves.name), halves.second.get(halves.name)] == [expected, expected]


def test_healing_leaves_two_keys_that_both_open_something() -> None:
    halves = Halves()
    halves.ring().put_record(LOG, BATCH, halves.whole, KEYS)
    other = halves.ring().generations.open(halves.half, halves.whole.number)
    halves.ring().put_record(LOG, LATER, other, KEYS)
    halves.first.put(halves.name, halves.half)
    healed = heal(halves.ring(), [])
    assert [name for name, _ in healed.left] == [halves.name]
    ring = halves.ring()
    assert [ring.object_key(LOG, f"{batch}-1") for batch in (BATCH, LATER)] == [KEYS[1], KEYS[1]]


@pytest.mark.parametrize("seen", ["before", "now"])
def test_a_table_key_that_was_half_made_and_is_made_anew_is_not_remembered(seen: str) -> None:
    """``before``: it was seen in the first place alone and lost with it; ``now``: it stands there still."""
    first, second = MemoryKeyPlace(), MemoryKeyPlace()
    kms = LocalKms(MemoryKeyPlace())
    kms.rotate()
    stores = [KeyStore(first, second, in_turn) for _ in range(2)]
    maker, reader = (Keyring(OWNER, store, kms) for store in stores)
    number = maker.generations.make_table()
    name = key_layout.table_name(OWNER, number)
    half = first.get(name)
    reader.generations.table(number)
    for place in (first, second):
        place.delete(name)
    maker.generations.forget()
    assert maker.generations.make_table() == number
    written = maker.current(DAY)
    if seen == "now":
        first.put(name, half)
    assert reader.generation(written.number).key == written.key


def test_a_new_day_begins_while_the_key_service_is_away(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    ring = keys.ring()
    ring.current(DAY)

    def away(*_: object) -> bytes:
        raise StoreError("the key service is away", code="kms.away")

    monkeypatch.setattr(LocalKms, "unwrap", away)
    assert ring.current(DAY + timedelta(days=1)).begins == DAY + timedelta(days=1)
