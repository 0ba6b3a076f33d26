"""The search index as the service's readers see it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from archive_service.catalog.base import Catalog
from archive_service.model.errors import StoreError
from search.indexes.base import Found, IndexDocument, SearchIndex
from search.query_language import Node


@dataclass(frozen=True)
class ServedIndex:
    """Implements ``SearchIndex`` over another, which only the active follower makes: until one has become active, a
    young archive has none. With no row in the catalog nothing was to be indexed, so nothing is found; with any, an
    index that is not there stays an error, for it would answer with less than there is.
    """

    index: SearchIndex
    catalog: Catalog

    def search(self, query: Node, *, limit: int, below: int | None = None, snippets: bool = True) -> Found:
        """See ``SearchIndex``. Raises QueryError, StoreError."""
        ask = partial(self.index.search, query, limit=limit, below=below, snippets=snippets)
        try:
            return ask()
        except StoreError as error:
            if error.code != "index.unreadable":
                raise
        if self.catalog.position().rows == 0:
            return Found(total=0, not_fully_indexed=0)
        # the follower makes the index before the first row: it may have done both meanwhile
        return ask()

    def write(self, documents: Sequence[IndexDocument]) -> None:
        """See ``SearchIndex``."""
        self.index.write(documents)

    def remove(self, ids: Sequence[str]) -> None:
        """See ``SearchIndex``."""
        self.index.remove(ids)

    def ids(self) -> dict[str, int]:
        """See ``SearchIndex``."""
        return self.index.ids()

    def clear(self) -> None:
        """See ``SearchIndex``."""
        self.index.clear()
