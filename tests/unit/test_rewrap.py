"""Rewrapping: whatever fails, each record opens from one place at least, and the next run finishes."""

import pytest

from archive_service.model.canonical import canonical, parse_canonical
from archive_service.model.errors import Invalid, KeyUnavailable, StoreError, Tampered
from archive_service.vault import key_format, key_layout
from archive_service.vault.key_places import KeyStore
from archive_service.vault.keyring import Keyring
from archive_service.vault.kms import LocalKms
from archive_service.vault.kms_record import context_of
from archive_service.vault.rewrap import in_use, places_differ, rewrap, under, wrapped_names
from archive_service.vault.stores.faults import Effect, FaultPlan, FaultyKeyPlace
from archive_service.vault.stores.memory import MemoryKeyPlace
from archive_service.vault.stores.missing import MissingKeyPlace

OWNERS = ("0" * 19 + "1", "0" * 19 + "2")
SECRETS = ("identity", "root-salt", "signing")
RECORDS = len(OWNERS) * (len(SECRETS) + 1)
IDENTITY = key_layout.secret_name(OWNERS[0], "identity")
TABLE = key_layout.table_name(OWNERS[0], 1)


class OtherKms(LocalKms):
    """Another provider."""

    provider = "other"


class World:
    """Two owners' keys behind places that can be made to fail."""

    def __init__(self) -> None:
        self.places = (MemoryKeyPlace(), MemoryKeyPlace())
        self.plans = (FaultPlan(), FaultPlan())
        first, second = (FaultyKeyPlace(*pair) for pair in zip(self.places, self.plans, strict=True))
        self.store = KeyStore(first, second)
        self.kms = LocalKms(MemoryKeyPlace())
        for owner in OWNERS:
            ring = Keyring(owner, self.store, self.kms)
            for name in SECRETS:
                ring.make_secret(name, f"{owner}{name}".encode())
            ring.generations.make_table()
        self.tables = {owner: self.table(owner) for owner in OWNERS}

    def table(self, owner: str, kms: LocalKms | None = None) -> bytes:
        return Keyring(owner, self.store, kms or self.kms).generations.table(1)

    def check_all_opens(self, kms: LocalKms | None = None) -> None:
        for owner in OWNERS:
            ring = Keyring(owner, self.store, kms or self.kms)
            for name in SECRETS:
                assert ring.secret(name) == f"{owner}{name}".encode()
            assert self.table(owner, kms) == self.tables[owner]

    def check_finished(self, version: str, kms: LocalKms | None = None) -> None:
        """Each place alone opens everything, and nothing names another version."""
        self.check_all_opens(kms)
        assert places_differ(self.store) == []
        assert in_use(self.store) == {version: RECORDS}
        for place in self.places:
            alone = KeyStore(place, place)
            for owner in OWNERS:
                assert Keyring(owner, alone, kms or self.kms).secret("signing") == f"{owner}signing".encode()
            alone.close()


@pytest.fixture
def world() -> World:
    return World()


def test_every_record_goes_under_the_newest_version(world: World) -> None:
    version = world.kms.rotate()
    seen: list[tuple[int, int]] = []
    report = rewrap(world.store, world.kms, lambda done, total: seen.append((done, total)))
    assert (report.version, report.records, report.rewrapped) == ("v2", RECORDS, RECORDS)
    assert (report.healed, report.retired, report.broken) == (0, 0, ())
    assert seen == [(done, RECORDS) for done in range(RECORDS + 1)]
    world.check_finished(version)
    world.kms.destroy("v1")
    world.check_all_opens()


def test_what_is_done_is_not_written_again(world: World) -> None:
    world.kms.rotate()
    rewrap(world.store, world.kms)
    before = [sum(call.verb == "put" for call in plan.calls) for plan in world.plans]
    report = rewrap(world.store, world.kms)
    assert (report.rewrapped, report.healed) == (0, 0)
    assert [sum(call.verb == "put" for call in plan.calls) for plan in world.plans] == before


@pytest.mark.parametrize("effect", [Effect.LOST, Effect.KEPT])
@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("verb", ["put", "get"])
@pytest.mark.parametrize("nth", range(1, RECORDS + 1))
def test_a_failure_at_any_call_loses_nothing_and_the_next_run_finishes(
    world: World, verb: str, nth: int, place: int, effect: Effect
) -> None:
    version = world.kms.rotate()
    world.plans[place].fail(verb, nth, effect)
    with pytest.raises(StoreError):
        rewrap(world.store, world.kms)
    world.plans[place].heal()
    world.check_all_opens()
    assert rewrap(world.store, world.kms).broken == ()
    world.check_finished(version)


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("nth", range(1, RECORDS + 1))
def test_a_kill_between_the_places_is_finished_by_the_next_run(world: World, place: int, nth: int) -> None:
    version = world.kms.rotate()
    world.plans[place].fail("put", nth, Effect.LOST, times=None)  # from here on one place gets nothing
    with pytest.raises(StoreError):
        rewrap(world.store, world.kms)
    world.plans[place].heal()
    assert len(places_differ(world.store)) == 1
    world.check_all_opens()
    report = rewrap(world.store, world.kms)
    assert (report.rewrapped, report.healed) == (RECORDS - nth, 1)
    world.check_finished(version)


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("nth", range(1, RECORDS + 1))
def test_a_place_wiped_during_a_run_loses_nothing(world: World, place: int, nth: int) -> None:
    version = world.kms.rotate()

    def wipe(done: int, total: int) -> None:
        if done == nth - 1:
            for name in list(world.places[place].list("")):
                world.places[place].delete(name)

    rewrap(world.store, world.kms, wipe)
    world.check_all_opens()
    rewrap(world.store, world.kms)
    world.check_finished(version)


def test_a_place_that_is_missing_stops_it(world: World) -> None:
    world.kms.rotate()
    store = KeyStore(world.places[0], MissingKeyPlace("b"))
    with pytest.raises(StoreError) as missing:
        rewrap(store, world.kms)
    assert missing.value.code == "key.place_missing"
    world.check_all_opens()
    store.close()


@pytest.mark.parametrize("place", [0, 1])
def test_a_place_put_back_from_a_backup_is_healed_towards_the_newer_copy(world: World, place: int) -> None:
    backup = {name: world.places[place].get(name) for name in world.places[place].list("")}
    world.kms.rotate()
    rewrap(world.store, world.kms)
    for name, data in backup.items():
        world.places[place].put(name, data)
    assert in_use(world.store) == {"v1": RECORDS, "v2": RECORDS}
    assert rewrap(world.store, world.kms).healed == RECORDS
    world.check_finished("v2")


@pytest.mark.parametrize("place", [0, 1])
def test_a_damaged_copy_is_healed_from_the_other(world: World, place: int) -> None:
    record = parse_canonical(world.places[place].get(IDENTITY))
    assert isinstance(record, dict)
    for damaged in (b"", b"{}", canonical({**record, "sealed": key_format.b64(bytes(60))})):
        world.places[place].put(IDENTITY, damaged)
        world.kms.rotate()
        assert rewrap(world.store, world.kms).broken == ()
        world.check_finished(world.kms.versions()[-1])


def test_a_record_that_opens_nowhere_is_named_and_the_rest_is_done(world: World) -> None:
    world.kms.rotate()
    for place in world.places:
        place.put(IDENTITY, place.get(IDENTITY).replace(b'"v1"', b'"v2"'))
    report = rewrap(world.store, world.kms)
    assert [name for name, _ in report.broken] == [IDENTITY]
    assert report.rewrapped == RECORDS - 1


def test_two_places_with_different_keys_are_named_and_neither_is_chosen(world: World) -> None:
    version, wrapped = world.kms.wrap(context_of(OWNERS[0], "secret", "identity"), b"another")
    kms = {"key": version, "provider": "local-file"}
    other = canonical({"version": 1, "name": "identity", "kms": kms, "sealed": key_format.b64(wrapped)})
    world.places[1].put(IDENTITY, other)
    world.kms.rotate()
    report = rewrap(world.store, world.kms)
    assert report.broken == ((IDENTITY, f"{IDENTITY}: the two places hold different keys"),)
    assert world.places[1].get(IDENTITY) == other


@pytest.mark.parametrize("in_places", [(0,), (1,), (0, 1)])
def test_a_retired_table_key_stays_under_its_old_version(world: World, in_places: tuple[int, ...]) -> None:
    for place in in_places:
        record = parse_canonical(world.places[place].get(TABLE))
        assert isinstance(record, dict)
        world.places[place].put(TABLE, canonical({**record, "retired": True}))
    before = world.store.copies(TABLE)
    world.kms.rotate()
    assert rewrap(world.store, world.kms).retired == 1
    assert world.store.copies(TABLE) == before
    assert in_use(world.store) == {"v1": 1, "v2": RECORDS - 1}


def test_what_else_a_record_says_is_kept(world: World) -> None:
    for place in world.places:
        record = parse_canonical(place.get(IDENTITY))
        assert isinstance(record, dict)
        place.put(IDENTITY, canonical({**record, "later": 7}))
    world.kms.rotate()
    rewrap(world.store, world.kms)
    assert key_format.parse(world.places[0].get(IDENTITY), "x")["later"] == 7


def test_a_move_to_another_provider_and_its_interruption(world: World) -> None:
    new = OtherKms(MemoryKeyPlace())
    new.rotate()
    world.plans[1].fail("put", 3)
    with pytest.raises(StoreError):
        rewrap(world.store, new, old_kms=world.kms)
    report = rewrap(world.store, new, old_kms=world.kms)
    assert report.broken == () and report.healed == 1
    assert {under(world.store.get(each.name), "x") for each in wrapped_names(world.store)} == {
        ("other", "v1")
    }
    assert (in_use(world.store, "local-file"), in_use(world.store, "other")) == ({}, {"v1": RECORDS})
    world.check_finished("v1", new)


def test_without_the_old_service_a_move_names_every_record_and_changes_none(world: World) -> None:
    new = OtherKms(MemoryKeyPlace())
    new.rotate()
    report = rewrap(world.store, new)
    assert len(report.broken) == RECORDS and report.rewrapped == 0
    world.check_all_opens()


def test_two_services_of_one_provider_are_refused(world: World) -> None:
    with pytest.raises(Invalid):
        rewrap(world.store, world.kms, old_kms=LocalKms(MemoryKeyPlace()))


def test_a_key_service_that_goes_away_stops_it_and_names_nothing_broken(world: World) -> None:
    place = MemoryKeyPlace()
    kms = LocalKms(place)
    kms.rotate()

    class Away(LocalKms):
        def unwrap(self, version: str, context: bytes, wrapped: bytes) -> bytes:
            raise StoreError("away", code="kms.away")

    with pytest.raises(StoreError) as away:
        rewrap(world.store, Away(place))
    assert away.value.code == "kms.away"
    world.check_all_opens()


def test_a_key_service_that_wraps_rubbish_replaces_nothing(world: World) -> None:
    class Rubbish(LocalKms):
        def wrap(self, context: bytes, plaintext: bytes) -> tuple[str, bytes]:
            return super().wrap(context, plaintext[::-1])

    place = world.kms._place
    world.kms.rotate()
    with pytest.raises(StoreError):
        rewrap(world.store, Rubbish(place))
    world.check_all_opens()
    assert in_use(world.store) == {"v1": RECORDS}


def test_a_destroyed_version_is_named(world: World) -> None:
    world.kms.rotate()
    world.kms.destroy("v1")
    report = rewrap(world.store, world.kms)
    assert len(report.broken) == RECORDS
    with pytest.raises(KeyUnavailable):
        Keyring(OWNERS[0], world.store, world.kms).secret("signing")


@pytest.mark.parametrize("name", ["table/1", "table/0000000x", "table/00000001/x", "secrets/a/b"])
def test_a_record_under_a_name_that_it_cannot_have_stops_the_count(world: World, name: str) -> None:
    world.store.put(f"{OWNERS[0]}/{name}", b"{}")
    with pytest.raises(Tampered):
        in_use(world.store)
