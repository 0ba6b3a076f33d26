"""The search index on Elasticsearch, joined from its parts."""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from archive_service.model.errors import StoreError
from search.indexes.base import Found, IndexDocument
from search.indexes.elasticsearch import mapping
from search.indexes.elasticsearch.bulk import Bulk, Operation, encoded
from search.indexes.elasticsearch.connection import ElasticsearchConnection, client_of
from search.indexes.elasticsearch.expunging import Expunging
from search.indexes.elasticsearch.failures import RetryPolicy
from search.indexes.elasticsearch.layout import Generation, Layout, new_generation
from search.indexes.elasticsearch.scan import Reader, id_of
from search.indexes.elasticsearch.searching import Search
from search.indexes.elasticsearch.shape import shape
from search.indexes.elasticsearch.writing import Writer
from search.query_language import Node

_READING = RetryPolicy(tries=3, total=10.0)
_ROWS = 5_000
_WHOLE_DOCUMENTS = 100


class ElasticsearchIndex:
    """Implements ``SearchIndex``. Thread-safe; connects at the first request.

    StoreError codes: ``index.unreadable`` (absent, or not ours: rebuild), ``index.unavailable`` (busy or away, for
    longer than the retries last), ``index.moved`` (another took its place during a write: write again),
    ``index.refused``; StoreFull (a full disk: the server takes no writes), StoreDenied ``index.denied`` (credentials,
    rights, TLS).
    """

    def __init__(
        self,
        connection: ElasticsearchConnection,
        owner: str,
        *,
        writing: RetryPolicy | None = None,
        reading: RetryPolicy | None = None,
        generation: str | None = None,
    ) -> None:
        """``owner``: whose documents. ``writing``, ``reading``: how long to ask again; searches give up sooner.
        ``generation``: set by ``beside`` alone. Raises Invalid for a name that cannot stand in the name of an index."""
        self._connection = connection
        self._owner = owner
        self._retry = writing or RetryPolicy()
        self._reading = reading or _READING
        self._generation = generation
        self._client = client_of(connection)
        self._layout = Layout(
            self._client,
            self._retry,
            prefix=connection.prefix,
            owner=owner,
            shards=connection.shards,
            replicas=connection.replicas,
        )
        self._bulk = Bulk(self._client, self._retry)
        self._reader = Reader(self._client, self._reading)
        self._writer = Writer(self._bulk, Reader(self._client, self._retry))
        self._writing = threading.Lock()
        self._sure = False

    def close(self) -> None:
        """Let the connections go."""
        self._client.close()

    def write(self, documents: Sequence[IndexDocument]) -> None:
        """Also copies an index of an older mapping first (``upgrade``). A document that the server refuses is written
        without its words and marked as not fully indexed."""
        newest: dict[str, IndexDocument] = {}
        for document in documents:
            known = newest.get(document.id)
            if known is None or document.version >= known.version:
                newest[document.id] = document
        with self._writing:
            months = {document.month for document in newest.values()}
            generation = self._layout.extend(self._writable(), months, seen=self._generation is None)
            with self._sure_of(generation):
                self._writer.write(generation, list(newest.values()))

    def remove(self, ids: Sequence[str]) -> None:
        with self._writing:
            generation = self._standing()
            if generation is not None:
                with self._sure_of(generation):
                    self._writer.remove(generation, ids)

    def clear(self) -> None:
        """Forget everything, and whatever else stands under our alias; readers see an empty index from one moment to
        the next."""
        with self._writing:
            if self._generation is None:
                self._layout.seize(self._layout.begin(new_generation()))
            else:
                self._layout.drop(self._generation)
                self._layout.begin(self._generation)

    def search(self, query: Node, *, limit: int, below: int | None = None, snippets: bool = True) -> Found:
        """Raises QueryError for what this index cannot answer, StoreError."""
        asked = Search(self._reader, self._target(), query, below=below, snippets=snippets)
        return asked.found(limit)

    def ids(self) -> dict[str, int]:
        """A document that is not ours is among them under a name that no message has."""
        made: dict[str, int] = {}
        pages = self._reader.all(
            self._target(), page=_ROWS, source=False, version=True, docvalue_fields=["id"]
        )
        for hit in (hit for page in pages for hit in page):
            document = id_of(hit) or _stranger(hit)
            made[document] = max(hit["_version"], made.get(document, 0))
        return made

    def documents(self) -> dict[tuple[str, int], str]:
        """By id and version, a digest over all that is kept of each document, its words among them: what a drill
        compares. Several documents under one id have a digest together."""
        made: dict[tuple[str, int], str] = {}
        for page in self._reader.all(self._target(), page=_WHOLE_DOCUMENTS, version=True):
            for hit in page:
                source = hit.get("_source", {})
                text = json.dumps(source, sort_keys=True, ensure_ascii=False)
                digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
                key = _key(hit, source)
                made[key] = " ".join(sorted((digest, *made.get(key, "").split())))
        return made

    def words(self) -> dict[str, str]:
        """By field, a digest over how its words are looked up: the words themselves are in those of ``documents``."""
        return self._retry.run(lambda: shape(self._client, self._layout.alias, self._target()))

    def beside(self) -> "ElasticsearchIndex":
        """A second, empty index of the same owner that readers do not see, until ``take_place``. What an earlier one
        left that never took its place is deleted."""
        with self._writing:
            current = self._layout.current()
            made = new_generation()
            self._layout.sweep({made} | ({current.name} if current else set()))
            self._layout.begin(made)
        return ElasticsearchIndex(
            self._connection, self._owner, writing=self._retry, reading=self._reading, generation=made
        )

    def reopened(self) -> "ElasticsearchIndex":
        """The same one with connections of its own."""
        return ElasticsearchIndex(
            self._connection,
            self._owner,
            writing=self._retry,
            reading=self._reading,
            generation=self._generation,
        )

    def drop_beside(self) -> None:
        """Delete what was made by ``beside`` and never took its place."""
        with self._writing:
            current = self._layout.current()
            self._layout.sweep({current.name} if current else set())

    def take_place(self) -> None:
        """Of one made by ``beside``: readers see it, and no longer what stood, from one moment to the next; what stood
        is then deleted. Idempotent. From then on this is the index. Raises StoreError ``index.moved`` when somebody has
        swept it away meanwhile: an empty one must not take the place."""
        with self._writing:
            if self._generation is not None:
                made = self._layout.generation(self._generation)
                if made.index("base") not in made.indexes:
                    raise StoreError("the index that was built is gone; build it again", code="index.moved")
                self._layout.seize(made)
                self._generation = None

    def upgrade(self) -> bool:
        """Copy an index of an older mapping into a new one, which then takes its place; whether there was one to copy.
        Readers see the old one meanwhile. Words are copied as they are: after a change of the analysis, rebuild."""
        with self._writing:
            standing = self._standing()
            if standing is None or self._generation is not None or standing.mapping >= mapping.VERSION:
                return False
            self._copy(standing)
            return True

    def outdated(self) -> bool:
        """Whether readers see documents of an older release that lack a field: they have to be written anew."""
        standing = self._layout.current()
        return standing is not None and standing.mapping < mapping.WHOLE

    def expunge(self, *, within: float = 120.0) -> bool:
        """Rewrite on disk what holds words of documents removed before; whether that is done. The server keeps such
        words until all copies of a month are known to agree, half a minute or so: False when that took longer than
        ``within`` seconds. The cost is that of merging every segment with a removed document."""
        with self._writing:
            standing = self._standing()
        return standing is None or Expunging(self._client, self._retry, standing.pattern).run(within)

    @contextmanager
    def _sure_of(self, generation: Generation) -> Iterator[None]:
        """What a write before this one left unfinished, here or in a process that died, is seen before anything is
        looked up."""
        if not self._sure:
            self._bulk.refresh(generation.indexes)
        self._sure = False
        yield
        self._sure = True

    def _target(self) -> str:
        """What readers of this index look into."""
        if self._generation is None:
            return self._layout.alias
        return f"{self._layout.alias}.{self._generation}.*"

    def _standing(self) -> Generation | None:
        """The generation that this index writes; None: there is none yet."""
        if self._generation is None:
            return self._layout.current()
        return self._layout.generation(self._generation)

    def _writable(self) -> Generation:
        """Also makes it where there is none, and copies one of an older mapping."""
        standing = self._standing()
        if standing is None:
            made = self._layout.begin(new_generation())
            self._layout.seize(made)
            return self._layout.generation(made.name)
        if standing.mapping > mapping.VERSION:
            message = "the search index was made by a newer release"
            raise StoreError(message, code="index.unreadable")
        return self._copy(standing) if standing.mapping < mapping.VERSION else standing

    def _copy(self, standing: Generation) -> Generation:
        """All documents into a new generation, and the alias to it."""
        made = self._layout.begin(new_generation())
        for page in self._reader.all(standing.pattern, page=_WHOLE_DOCUMENTS):
            sources = [hit["_source"] for hit in page]
            made = self._layout.extend(made, {source["month"] for source in sources}, seen=False)
            self._bulk.send(_copied(made, sources))
        self._bulk.refresh(made.indexes)
        self._layout.seize(made)
        return self._layout.generation(made.name)


def _copied(made: Generation, sources: Sequence[dict[str, Any]]) -> Iterator[Operation]:
    for source in sources:
        index = made.index(source["month"])
        yield Operation(index, source["id"], int(source["version"]), encoded(source))


def _stranger(hit: Mapping[str, Any]) -> str:
    """A name for a document that is not ours."""
    return f"not ours: {hashlib.sha256(str(hit['_id']).encode()).hexdigest()[:16]}"


def _key(hit: Mapping[str, Any], source: Mapping[str, Any]) -> tuple[str, int]:
    """By the server's own version, as in ``ids``: what a document says of itself is in its digest."""
    document = source.get("id")
    return (document if isinstance(document, str) else _stranger(hit)), int(hit["_version"])
