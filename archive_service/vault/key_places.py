"""The key store: two independent places that must both hold a record before anything relies on it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from archive_service.model.errors import AlreadyExists, KeyUnavailable, NotFound, StoreError
from archive_service.vault.stores.base import KeyPlace


class KeyStore:
    """Writes go to both places; reads take the first that answers. Thread-safe."""

    def __init__(self, first: KeyPlace, second: KeyPlace) -> None:
        self.places = (first, second)
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="key-place")

    def put(self, name: str, data: bytes) -> None:
        """Durable in both places on return. Raises StoreError if either failed: then rely on nothing."""
        futures = [self._pool.submit(place.put, name, data) for place in self.places]
        for future in futures:
            future.result()

    def claim(self, name: str, data: bytes) -> bytes:
        """Create ``name`` unless it exists, in both places, read back from both; returns what stands there.

        The first place decides who was first, so two callers end with the same record. A crash between
        the places is healed by the next caller.
        """
        try:
            self.places[0].create(name, data)
        except AlreadyExists:
            data = self.places[0].get(name)
        try:
            self.places[1].create(name, data)
        except AlreadyExists:
            if self.places[1].get(name) != data:
                self.places[1].put(name, data)
        if any(place.get(name) != data for place in self.places):
            raise StoreError("a key record does not read back from both places")
        return data

    def get(self, name: str) -> bytes:
        """Raises KeyUnavailable when neither place has it."""
        failures: list[StoreError] = []
        for place in self.places:
            try:
                return place.get(name)
            except StoreError as error:
                failures.append(error)
        if all(isinstance(error, NotFound) for error in failures):
            raise KeyUnavailable("no key record under this name in either place")
        raise failures[0]

    def copies(self, name: str) -> list[bytes | None]:
        """What each place holds under a name: verify compares them."""
        found: list[bytes | None] = []
        for place in self.places:
            try:
                found.append(place.get(name))
            except NotFound:
                found.append(None)
        return found

    def list(self, prefix: str) -> Iterator[str]:
        """Names in either place, in order, each once."""
        names = set(self.places[0].list(prefix)) | set(self.places[1].list(prefix))
        return iter(sorted(names))

    def close(self) -> None:
        """Wait for the threads."""
        self._pool.shutdown()
