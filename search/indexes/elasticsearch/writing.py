"""Writing documents into a generation: where each one stands already, and what must go and come."""

from collections.abc import Sequence
from dataclasses import dataclass

from search.indexes.base import IndexDocument
from search.indexes.elasticsearch.bulk import Bulk, Operation, edition_of, encoded
from search.indexes.elasticsearch.documents import source_of
from search.indexes.elasticsearch.layout import Generation
from search.indexes.elasticsearch.scan import Reader, id_of

_AT_ONCE = 500
_PLACES = 8  # a document stands in one place; in more only after a crash, and then in two


@dataclass(frozen=True)
class Place:
    """Where a document stands."""

    index: str
    edition: int
    version: int


class Writer:
    """Not thread-safe; one writes a generation."""

    def __init__(self, bulk: Bulk, reader: Reader) -> None:
        self._bulk = bulk
        self._reader = reader

    def write(self, generation: Generation, documents: Sequence[IndexDocument]) -> None:
        """Durable and searchable on return. The months' indexes are there. Readers see each month's part as a whole."""
        touched: set[str] = set()
        for start in range(0, len(documents), _AT_ONCE):
            touched |= self._write(generation, documents[start : start + _AT_ONCE])
        self._bulk.refresh(touched)

    def _write(self, generation: Generation, documents: Sequence[IndexDocument]) -> set[str]:
        """The indexes that it touched. A message that changed its month leaves the old one when it has come to the new
        one."""
        standing = self._standing(generation, [document.id for document in documents])
        arriving: list[Operation] = []
        leaving: list[Operation] = []
        for document in documents:
            places = standing.get(document.id, [])
            if any(place.version > document.version for place in places):
                continue
            index = generation.index(document.month)
            edition = max((place.edition for place in places if place.index == index), default=0)
            source = encoded(source_of(document))
            arriving.append(Operation(index, document.id, document.version, source, edition))
            leaving += [
                Operation(place.index, document.id, document.version, None, place.edition)
                for place in places
                if (place.index, place.edition) != (index, edition)
            ]
        self._bulk.send(arriving)
        self._bulk.send(leaving)
        return {operation.index for operation in (*arriving, *leaving)}

    def remove(self, generation: Generation, ids: Sequence[str]) -> None:
        """Durable and no longer found on return."""
        touched: set[str] = set()
        for start in range(0, len(ids), _AT_ONCE):
            standing = self._standing(generation, ids[start : start + _AT_ONCE])
            # As one version more, so that a late repetition of the write that brought it comes to nothing.
            leaving = [
                Operation(place.index, document, place.version + 1, None, place.edition)
                for document, places in standing.items()
                for place in places
            ]
            self._bulk.send(leaving)
            touched |= {operation.index for operation in leaving}
        self._bulk.refresh(touched)

    def _standing(self, generation: Generation, ids: Sequence[str]) -> dict[str, list[Place]]:
        found: dict[str, list[Place]] = {}
        answer = self._reader.ask(
            {"index": generation.pattern},
            query={"terms": {"id": list(ids)}},
            size=_PLACES * _AT_ONCE,
            version=True,
            source=False,
            docvalue_fields=["id"],
            track_total_hits=False,
        )
        for hit in answer["hits"]["hits"]:
            document = id_of(hit)
            edition = edition_of(hit["_id"], document) if document is not None else None
            if document is None or edition is None:
                continue  # not ours: it is left to whoever compares, and must not stop the line
            found.setdefault(document, []).append(Place(hit["_index"], edition, hit["_version"]))
        return found
