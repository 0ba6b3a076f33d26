"""Back ends under contract. A new one joins the suites by its makers below."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from archive_service.vault.stores.base import KeyPlace, ObjectStore
from archive_service.vault.stores.filesystem import FileSystemKeyPlace, FileSystemStore
from archive_service.vault.stores.memory import MemoryKeyPlace, MemoryStore
from archive_service.vault.stores.s3.key_place import S3KeyPlace
from archive_service.vault.stores.s3.store import S3Store
from tests.services.s3 import S3Service, new_bucket, s3_service

__all__ = ["s3_service"]  # a fixture


class StoreClock:
    """The time of the test's beginning, until the test moves it. Locks are set from the present on,
    because a store with a clock of its own refuses terms that have passed."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


@dataclass(frozen=True)
class Traits:
    """In what a back end differs where the contract leaves it open. ``own_clock``: terms end by the service's clock,
    which a test cannot move. ``frees_names``: a deleted object's name may be created again."""

    own_clock: bool = False
    frees_names: bool = False


@dataclass(frozen=True)
class Makers:
    """How to make an empty object store and an empty key place."""

    traits: Traits
    store: Callable[[Path, StoreClock], ObjectStore]
    place: Callable[[Path], KeyPlace]


def _embedded() -> Makers:
    return Makers(
        Traits(),
        lambda folder, clock: FileSystemStore(folder / "objects", state_key=b"k" * 32, clock=clock),
        lambda folder: FileSystemKeyPlace(folder / "keys"),
    )


def _memory() -> Makers:
    return Makers(Traits(), lambda folder, clock: MemoryStore(clock=clock), lambda folder: MemoryKeyPlace())


def _s3(service: S3Service) -> Makers:
    return Makers(
        Traits(own_clock=True, frees_names=True),
        lambda folder, clock: S3Store(new_bucket(service), clock=clock),
        lambda folder: S3KeyPlace(new_bucket(service, locked=False)),
    )


BACK_ENDS = ["filesystem", "memory", "s3"]


@pytest.fixture(params=BACK_ENDS)
def makers(request: pytest.FixtureRequest) -> Makers:
    """The back end under test."""
    if request.param == "s3":
        return _s3(request.getfixturevalue("s3_service"))
    return {"filesystem": _embedded, "memory": _memory}[request.param]()


@pytest.fixture
def traits(makers: Makers) -> Traits:
    return makers.traits


@pytest.fixture
def store_clock() -> StoreClock:
    return StoreClock()


@pytest.fixture
def make_object_store(
    makers: Makers, tmp_path_factory: pytest.TempPathFactory, store_clock: StoreClock
) -> Iterator[Callable[[], ObjectStore]]:
    """Makes an empty store at each call."""
    with ExitStack() as made:

        def make() -> ObjectStore:
            store = makers.store(tmp_path_factory.mktemp("store"), store_clock)
            made.callback(getattr(store, "close", lambda: None))
            return store

        yield make


@pytest.fixture
def object_store(make_object_store: Callable[[], ObjectStore]) -> ObjectStore:
    return make_object_store()


@pytest.fixture
def make_key_place(
    makers: Makers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], KeyPlace]]:
    """Makes an empty key place at each call."""
    with ExitStack() as made:

        def make() -> KeyPlace:
            place = makers.place(tmp_path_factory.mktemp("place"))
            made.callback(getattr(place, "close", lambda: None))
            return place

        yield make


@pytest.fixture
def key_place(make_key_place: Callable[[], KeyPlace]) -> KeyPlace:
    return make_key_place()
