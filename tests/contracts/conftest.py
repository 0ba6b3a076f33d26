"""Back ends under contract. A new one joins the suites by one factory in the dictionaries below."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from archive_service.vault.stores.base import KeyPlace, ObjectStore
from archive_service.vault.stores.filesystem import FileSystemKeyPlace, FileSystemStore
from archive_service.vault.stores.memory import MemoryKeyPlace, MemoryStore


class StoreClock:
    """The time of the test's beginning, until the test moves it. Locks are set from the present on,
    because a store with a clock of its own refuses terms that have passed."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


def _filesystem(folder: Path, clock: StoreClock) -> ObjectStore:
    return FileSystemStore(folder / "objects", state_key=b"k" * 32, clock=clock)


def _memory(folder: Path, clock: StoreClock) -> ObjectStore:
    return MemoryStore(clock=clock)


OBJECT_STORES: dict[str, Callable[[Path, StoreClock], ObjectStore]] = {
    "filesystem": _filesystem,
    "memory": _memory,
}

KEY_PLACES: dict[str, Callable[[Path], KeyPlace]] = {
    "filesystem": lambda folder: FileSystemKeyPlace(folder / "keys"),
    "memory": lambda folder: MemoryKeyPlace(),
}


@pytest.fixture
def store_clock() -> StoreClock:
    return StoreClock()


@pytest.fixture(params=list(OBJECT_STORES))
def make_object_store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, store_clock: StoreClock
) -> Callable[[], ObjectStore]:
    """Makes an empty store at each call."""
    return lambda: OBJECT_STORES[request.param](tmp_path_factory.mktemp("store"), store_clock)


@pytest.fixture
def object_store(make_object_store: Callable[[], ObjectStore]) -> ObjectStore:
    return make_object_store()


@pytest.fixture(params=list(KEY_PLACES))
def make_key_place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], KeyPlace]:
    """Makes an empty key place at each call."""
    return lambda: KEY_PLACES[request.param](tmp_path_factory.mktemp("place"))


@pytest.fixture
def key_place(make_key_place: Callable[[], KeyPlace]) -> KeyPlace:
    return make_key_place()
