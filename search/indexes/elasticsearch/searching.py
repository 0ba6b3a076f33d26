"""A search: exact counts, hits by rank, snippets."""

from collections.abc import Mapping
from typing import Any

from archive_service.model.errors import QueryError
from search.indexes.base import Found, Hit
from search.indexes.elasticsearch import queries
from search.indexes.elasticsearch.failures import Missing, Refused
from search.indexes.elasticsearch.scan import Hits, Reader, id_of
from search.indexes.snippets import Snippets
from search.query_language import Node, Wildcard, walk

_PAGE = 1_000
_PAGE_WITH_TEXTS = 50  # each hit brings the texts that snippets are made of
_COUNTS: dict[str, Any] = {
    "all": {"filter": {"match_all": {}}},
    "partial": {"filter": {"term": {"not_fully_indexed": True}}},
}
_TOO_MUCH = (
    "too_many",
    "too many",
    "maxClauseCount",
    "TooManyClauses",
    "too_complex",
    "too complex",
    "TooComplex",
)


class Search:
    """One search of ``target``, an index or alias. A search of one page is one request; a longer one looks at a frozen
    view."""

    def __init__(
        self, reader: Reader, target: str, query: Node, *, below: int | None, snippets: bool
    ) -> None:
        """Raises QueryError."""
        self._reader = reader
        self._target = target
        self._query = query
        self._make = Snippets(query) if snippets else None
        self._page = _PAGE_WITH_TEXTS if snippets else _PAGE
        self._asked: dict[str, Any] = {
            "query": queries.built(query),
            "sort": [{"rank": "desc"}, {"id": "asc"}],
            "track_total_hits": False,
            "source": ["original"] if snippets else False,
            "docvalue_fields": ["id"],
        }
        if below is not None:
            # beside the query, which leaves the counts alone
            self._asked["post_filter"] = queries.between("rank", None, below - 1)

    def found(self, limit: int) -> Found:
        """Raises QueryError for what the server finds too much, StoreError."""
        try:
            return self._found(limit)
        except Missing:
            return self._found(limit)  # another index may just have taken the place of this one
        except Refused as error:
            raise self._query_error(error) from error

    def _found(self, limit: int) -> Found:
        if limit <= self._page:
            return self._in({"index": self._target}, max(limit, 0))
        with self._reader.view(self._target) as view:
            return self._in(view, limit)

    def _in(self, where: Mapping[str, Any], limit: int) -> Found:
        size = min(limit, self._page)
        answer = self._reader.ask(where, size=size, aggs=_COUNTS, **self._asked)
        rows: Hits = answer["hits"]["hits"]
        hits = self._hits(rows)
        while len(rows) == size and len(hits) < limit:
            size = min(limit - len(hits), self._page)
            more = self._reader.ask(where, size=size, search_after=rows[-1]["sort"], **self._asked)
            rows = more["hits"]["hits"]
            hits += self._hits(rows)
        counts = answer["aggregations"]
        return Found(counts["all"]["doc_count"], counts["partial"]["doc_count"], tuple(hits))

    def _hits(self, rows: Hits) -> list[Hit]:
        """Documents that are not ours are no hits."""
        found = []
        for row in rows:
            document = id_of(row)
            if document is not None:
                snippets = self._make.of(_texts(row.get("_source"))) if self._make else ()
                found.append(Hit(id=document, rank=row["sort"][0], snippets=snippets))
        return found

    def _query_error(self, error: Refused) -> Exception:
        """A query of more words than the server compares, or a fault of ours."""
        if not any(sign in error.reason for sign in _TOO_MUCH):
            return error
        wild = next((node.position for node in walk(self._query) if isinstance(node, Wildcard)), None)
        if wild is not None:
            message = "a wildcard stands for too many words; give it more letters"
            return QueryError(message, wild, code="query.too_broad")
        return QueryError("more alternatives than this index takes", 0, code="query.too_complex")


def _texts(source: Any) -> dict[str, str]:
    """What snippets are made of; what somebody else left in its place is none."""
    original = source.get("original") if isinstance(source, dict) else None
    texts = original if isinstance(original, dict) else {}
    return {name: text for name, text in texts.items() if isinstance(text, str)}
