"""The local key service: what it wraps opens under the same context only, and never once its key is destroyed."""

from collections.abc import Iterator

import pytest

from archive_service.model.errors import KeyUnavailable, Refused, StoreError, Tampered
from archive_service.vault.kms import LocalKms
from archive_service.vault.stores.memory import MemoryKeyPlace

CONTEXT = b"archive-service/secret/v1\0owner/identity"


@pytest.fixture
def place() -> MemoryKeyPlace:
    return MemoryKeyPlace()


@pytest.fixture
def kms(place: MemoryKeyPlace) -> LocalKms:
    return LocalKms(place)


def test_what_was_wrapped_opens_in_another_process(kms: LocalKms, place: MemoryKeyPlace) -> None:
    version, wrapped = kms.wrap(CONTEXT, b"secret")
    assert b"secret" not in wrapped
    assert LocalKms(place).unwrap(version, CONTEXT, wrapped) == b"secret"


def test_another_context_or_damage_is_tampering(kms: LocalKms) -> None:
    version, wrapped = kms.wrap(CONTEXT, b"secret")
    for context, data in (
        (CONTEXT + b"x", wrapped),
        (b"", wrapped),
        (CONTEXT, wrapped[:-1]),
        (CONTEXT, wrapped[:5]),
        (CONTEXT, b""),
        (CONTEXT, bytes([wrapped[0] ^ 1]) + wrapped[1:]),
        (CONTEXT, wrapped[:-1] + bytes([wrapped[-1] ^ 1])),
    ):
        with pytest.raises(Tampered):
            kms.unwrap(version, context, data)


def test_rotation_keeps_old_versions_until_they_are_destroyed(kms: LocalKms, place: MemoryKeyPlace) -> None:
    old, wrapped_old = kms.wrap(CONTEXT, b"old")
    assert kms.rotate() == "v2"
    new, wrapped_new = kms.wrap(CONTEXT, b"new")
    assert (old, new) == ("v1", "v2")
    assert kms.unwrap(old, CONTEXT, wrapped_old) == b"old"
    kms.destroy(old)
    for service in (kms, LocalKms(place)):
        with pytest.raises(KeyUnavailable):
            service.unwrap(old, CONTEXT, wrapped_old)
        assert service.unwrap(new, CONTEXT, wrapped_new) == b"new"


def test_an_old_copy_of_the_service_opens_nothing_newer(kms: LocalKms) -> None:
    kms.wrap(CONTEXT, b"first")
    kms.rotate()
    version, wrapped = kms.wrap(CONTEXT, b"second")
    restored = MemoryKeyPlace()
    restored.create("v2.key", b"00" * 32)  # another machine's second version
    with pytest.raises(Tampered):
        LocalKms(restored).unwrap(version, CONTEXT, wrapped)
    older = MemoryKeyPlace()
    older.create("v1.key", b"00" * 32)
    with pytest.raises(StoreError) as unknown:
        LocalKms(older).unwrap(version, CONTEXT, wrapped)
    assert unknown.value.code == "kms.unknown_version"
    with pytest.raises(StoreError) as empty:
        LocalKms(MemoryKeyPlace()).unwrap(version, CONTEXT, wrapped)
    assert empty.value.code == "kms.away"


def test_versions_are_counted_not_sorted_as_text(place: MemoryKeyPlace) -> None:
    for number in (2, 9, 10):
        place.create(f"v{number}.key", b"ab" * 32)
    kms = LocalKms(place)
    assert kms.wrap(CONTEXT, b"x")[0] == "v10"
    assert kms.rotate() == "v11"


@pytest.mark.parametrize("data", [b"", b"zz" * 32, b"ab" * 16, b"ab" * 33, b"\xff" * 64], ids=repr)
def test_a_damaged_key_file_is_said_to_be_damaged(place: MemoryKeyPlace, data: bytes) -> None:
    place.create("v1.key", data)
    for verb in (
        lambda: LocalKms(place).wrap(CONTEXT, b"x"),
        lambda: LocalKms(place).unwrap("v1", CONTEXT, bytes(40)),
    ):
        with pytest.raises(StoreError, match="damaged") as damaged:
            verb()
        assert damaged.value.code == "kms.damaged"


@pytest.mark.parametrize("version", ["", "v0", "1", "v01", "../v1", "v1\n"])
def test_a_version_that_could_not_be(kms: LocalKms, version: str) -> None:
    kms.rotate()
    with pytest.raises(Tampered):
        kms.unwrap(version, CONTEXT, bytes(40))
    kms.rotate()
    kms.destroy(version)
    assert kms.versions() == ["v1", "v2"]


class SlowToShow(MemoryKeyPlace):
    """Lists nothing at first: as another process sees it that looked just before the key was made."""

    looks = 0

    def list(self, prefix: str) -> Iterator[str]:
        self.looks += 1
        return super().list(prefix) if self.looks > 2 else iter(())


def test_two_processes_that_make_the_first_version_at_once_share_it() -> None:
    place = SlowToShow()
    place.create("v1.key", b"ab" * 32)
    version, wrapped = LocalKms(place).wrap(CONTEXT, b"x")
    assert version == "v1"
    assert LocalKms(place).unwrap("v1", CONTEXT, wrapped) == b"x"


def test_a_place_that_is_empty_makes_no_key_unless_the_archive_is_new() -> None:
    place = MemoryKeyPlace()
    kms = LocalKms(place, create=False)
    for verb in (lambda: kms.wrap(CONTEXT, b"x"), kms.versions, lambda: kms.destroy("v1")):
        with pytest.raises(StoreError) as empty:
            verb()
        assert empty.value.code == "kms.away"
    assert list(place.list("")) == []


def test_what_lies_beside_the_keys_is_no_version(place: MemoryKeyPlace, kms: LocalKms) -> None:
    place.create("lock-state.key", b"00" * 32)
    place.create("v7", b"")
    kms.rotate()
    assert kms.versions() == ["v1"]


def test_the_newest_version_is_never_destroyed_so_no_name_is_used_twice(kms: LocalKms) -> None:
    kms.rotate()
    kms.rotate()
    with pytest.raises(Refused) as refused:
        kms.destroy("v2")
    assert refused.value.code == "kms.newest"
    kms.destroy("v1")
    assert (kms.versions(), kms.rotate()) == (["v2"], "v3")
