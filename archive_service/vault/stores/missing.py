"""A key place whose disk is not there: the other place serves what is read, and nothing is written by halves."""

from collections.abc import Iterator

from archive_service.model.errors import NotFound, StoreDenied


class MissingKeyPlace:
    """Implements KeyPlace: holds nothing, takes nothing. Making the folder anew would turn an unmounted disk into one
    place less, unseen."""

    def __init__(self, name: str) -> None:
        self._name = name

    def _refuse(self) -> StoreDenied:
        return StoreDenied(
            f"the key place {self._name} is missing: is its disk mounted?", code="key.place_missing"
        )

    def create(self, name: str, data: bytes) -> None:
        """Raises StoreDenied."""
        raise self._refuse()

    def put(self, name: str, data: bytes) -> None:
        """Raises StoreDenied."""
        raise self._refuse()

    def get(self, name: str) -> bytes:
        """Raises NotFound."""
        raise NotFound(f"record {name}: the key place {self._name} is missing")

    def list(self, prefix: str) -> Iterator[str]:
        """Nothing."""
        return iter(())

    def delete(self, name: str) -> None:
        """Raises StoreDenied: a deletion that did not reach both places is none."""
        raise self._refuse()
