"""The key store: two independent places that must both hold a record before anything relies on it."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from archive_service.model.errors import AlreadyExists, KeyUnavailable, NotFound, StoreError, Tampered
from archive_service.vault.stores.base import KeyPlace

_Opened = TypeVar("_Opened")

Together = Callable[[Sequence[Callable[[], object]]], None]
"""Runs all calls, side by side or in turn; returns when every one has ended, and raises the first one's failure."""


def in_turn(calls: Sequence[Callable[[], object]]) -> None:
    """One after the other, whether or not one fails."""
    failures: list[Exception] = []
    for call in calls:
        try:
            call()
        except Exception as error:  # noqa: BLE001 - raised below, when the others have run too
            failures.append(error)
    if failures:
        raise failures[0]


class SideBySide:
    """In threads; the last call in the caller's own."""

    def __init__(self, threads: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)

    def __call__(self, calls: Sequence[Callable[[], object]]) -> None:
        """As ``Together`` says."""
        started = [self._pool.submit(call) for call in calls[:-1]]
        in_turn([*calls[-1:], *(future.result for future in started)])

    def close(self) -> None:
        """Wait for the threads."""
        self._pool.shutdown()


class KeyStore:
    """Writes go to both places, side by side unless ``together`` says otherwise; reads take the first that answers.
    Thread-safe."""

    def __init__(self, first: KeyPlace, second: KeyPlace, together: Together | None = None) -> None:
        self.places = (first, second)
        self._threads = SideBySide(2, "key-place") if together is None else None
        self._together: Together = together or self._threads or in_turn

    def put(self, name: str, data: bytes) -> None:
        """Durable in both places on return. Raises StoreError if either failed: then rely on nothing."""
        self._together([partial(place.put, name, data) for place in self.places])

    def add(self, name: str, data: bytes) -> None:
        """As ``put``, for a record that is written once, under a name of its own: a writer that was frozen half-way, or
        a call that arrives late, cannot replace what an erasure batch has made of it since. Raises AlreadyExists when
        something else stands there."""
        self._together([partial(self._add, place, name, data) for place in self.places])

    @staticmethod
    def _add(place: KeyPlace, name: str, data: bytes) -> None:
        try:
            place.create(name, data)
        except AlreadyExists:
            if place.get(name) != data:
                raise

    def claim(self, name: str, data: bytes) -> bytes:
        """Create ``name`` unless it exists, in both places, read back from both; returns what stands there.

        The first place decides who was first, so two callers end with the same record. A crash between the
        places, and a place that was wiped, are healed by the next caller. Nothing that stands is replaced:
        where the places differ, no one here can say which is right, and StoreError is raised.
        """
        first, _ = self.places
        made = False
        for place, other in (self.places, self.places[::-1]):
            standing = self._standing(other, name)
            try:
                place.create(name, data if standing is None else standing)
                made = made or place is first
            except AlreadyExists:
                data = place.get(name)
        if made and first.get(name) != data:
            # The second place has only ever what stood in the first: the first was wiped after we had looked, and what
            # we have just put there is not what everybody else relies on.
            first.put(name, data)
        if any(place.get(name) != data for place in self.places):
            raise StoreError("a key record is not the same in both places")
        return data

    @staticmethod
    def _standing(place: KeyPlace, name: str) -> bytes | None:
        try:
            return place.get(name)
        except NotFound:
            return None

    def read(self, name: str, opened: Callable[[bytes], _Opened]) -> _Opened:
        """What ``opened`` makes of the record in the first place whose copy it accepts: a place that fails, or
        that holds a damaged copy, does not stop the other from serving.

        Raises KeyUnavailable when neither place has the record, else the ``most_telling`` of what went wrong.
        """
        failures: list[StoreError | Tampered | KeyUnavailable] = []
        for place in self.places:
            try:
                return opened(place.get(name))
            except (StoreError, Tampered, KeyUnavailable) as error:
                failures.append(error)
        if all(isinstance(error, NotFound) for error in failures):
            raise KeyUnavailable("no key record under this name in either place")
        raise most_telling(failures)

    def get(self, name: str) -> bytes:
        """The record as the first place that answers has it. Raises KeyUnavailable when neither place has it."""
        return self.read(name, bytes)

    def copies(self, name: str) -> list[bytes | None]:
        """What each place holds under a name: verify compares them."""
        return [self._standing(place, name) for place in self.places]

    def list(self, prefix: str) -> Iterator[str]:
        """Names in either place, in order, each once."""
        names = set(self.places[0].list(prefix)) | set(self.places[1].list(prefix))
        return iter(sorted(names))

    def close(self) -> None:
        """Wait for the threads."""
        if self._threads is not None:
            self._threads.close()


def most_telling(
    failures: Sequence[StoreError | Tampered | KeyUnavailable],
) -> StoreError | Tampered | KeyUnavailable:
    """Of what went wrong in the two places, what a caller must hear: that one could not be asked (so nothing may be
    called destroyed), else that a copy is damaged, else that the key is gone. A copy that is just not there says least.
    """
    found = [error for error in failures if not isinstance(error, NotFound)]
    for kind in (StoreError, Tampered):
        for error in found:
            if isinstance(error, kind):
                return error
    return found[0] if found else failures[0]
