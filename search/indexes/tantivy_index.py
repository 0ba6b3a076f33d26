"""The embedded search index: a tantivy folder. One process writes, any number read beside it.

Readers hold a state of the index and look at ``meta.json``, which every commit replaces, before each
search: so a search sees all that was committed before it began, in whatever process.
"""

import hashlib
import json
import os
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

import tantivy
from tantivy import Occur, Query

from archive_service.model.errors import QueryError, StoreDenied, StoreError, StoreFull
from search.indexes.base import Found, Hit, IndexDocument
from search.indexes.query_parts import ADDRESS_INDEX_FIELDS
from search.indexes.snippets import Snippets
from search.indexes.tantivy_document import of_stored, schema, to_tantivy
from search.indexes.tantivy_query import TantivyQueries
from search.query_language import Node, Wildcard, walk
from search.query_tree import WORD_FIELDS

WRITER_MEMORY = 64 * 1024 * 1024
_LEAST_RANK = -(2**63)
_DIGESTED = ("rank", "sent", "size")
_LOOKS = 20  # at the list of segments, until no merge has changed it meanwhile
_PIECE = 2000  # documents that one call of ``expunge`` writes anew


class TantivyIndex:
    """Implements ``SearchIndex``. Thread-safe. Opened on first use; only ``write`` and ``clear`` take the
    folder's write lock, and keep it until ``close``.

    StoreError codes: ``index.unreadable`` (absent, damaged or of another format: rebuild),
    ``index.locked`` (another process writes).
    """

    def __init__(self, path: Path, *, writer_memory: int = WRITER_MEMORY, writer_threads: int = 1) -> None:
        """``writer_memory``: bytes a writing thread."""
        self._path = path
        self._memory = writer_memory * writer_threads
        self._threads = writer_threads
        self._schema = schema()
        self._queries = TantivyQueries(self._schema)
        self._writing = threading.Lock()
        self._opening = threading.Lock()
        self._index: tantivy.Index | None = None
        self._seen: tuple[int, int, int] | None = None
        self._writer: tantivy.IndexWriter | None = None
        self._expunging: frozenset[str] = frozenset()

    def close(self) -> None:
        """Let the write lock go, once merges under way have ended."""
        with self._writing:
            self._end_writer()

    def write(self, documents: Sequence[IndexDocument]) -> None:
        newest: dict[str, IndexDocument] = {}
        for document in documents:
            known = newest.get(document.id)
            if known is None or document.version >= known.version:
                newest[document.id] = document
        with self._writing, self._changing() as writer:
            searcher = self._searcher()
            for document in newest.values():
                if not _has_newer(searcher, self._queries, document):
                    writer.delete_documents_by_term("id", document.id)
                    writer.add_document(to_tantivy(document))

    def remove(self, ids: Sequence[str]) -> None:
        with self._writing, self._changing() as writer:
            for document in ids:
                writer.delete_documents_by_term("id", document)

    def expunge(self, *, most: int = _PIECE) -> bool:
        """Write anew what shares a segment with removed documents, about ``most`` of them, durable on return; True when
        all that was removed before the first call of a run has left the disk, until which it is called again. A segment
        is a file that is never changed: it goes when nothing of it stands any more."""
        with self._writing:
            if not self._expunging:
                self._end_writer()  # a merge under way may have begun before the removal, and carry it on
                self._expunging = frozenset(name for name, removed in self._segments() if removed)
            self._expunging &= {name for name, _ in self._segments()}
            if self._expunging:
                with self._changing() as writer:
                    for document in islice(self._standing_in(self._expunging), most):
                        writer.delete_documents_by_term("id", document.id)
                        writer.add_document(to_tantivy(document))
                self._expunging &= {name for name, _ in self._segments()}
            return not self._expunging

    def _segments(self) -> list[tuple[str, int]]:
        """Each committed segment and how many of its documents are removed. Raises StoreError."""
        with _translated():
            try:
                meta = json.loads((self._path / "meta.json").read_text("utf-8"))
            except FileNotFoundError:
                return []
            return [
                (str(each["segment_id"]), int((each["deletes"] or {}).get("num_deleted_docs", 0)))
                for each in meta["segments"]
            ]

    def _standing_in(self, segments: frozenset[str]) -> Iterator[IndexDocument]:
        """The documents of these segments, month by month. Raises StoreError (``index.busy``) when a merge takes place
        at every look."""
        for _ in range(_LOOKS):
            before = self._segments()
            searcher = self._searcher()
            if self._segments() == before:
                break
        else:
            raise StoreError("the search index is being merged", code="index.busy")
        wanted = {number for number, (name, _) in enumerate(before) if name in segments}
        for month, _ in searcher.terms_with_prefix("month", "", filter_query=Query.all_query()):
            query = Query.term_query(self._schema, "month", month)
            found = searcher.search(query, limit=max(1, searcher.num_docs), count=False)
            for _, address in found.hits:
                if address.segment_ord in wanted:
                    yield of_stored(searcher.doc(address))

    def clear(self) -> None:
        with self._writing:
            try:
                self._searcher()
            except StoreError:
                self._start_over()
            with self._changing() as writer:
                writer.delete_all_documents()

    def search(self, query: Node, *, limit: int, below: int | None = None, snippets: bool = True) -> Found:
        """Raises QueryError for what this index cannot answer, StoreError."""
        with _translated(), _too_broad(query):
            built = self._queries.build(query)
            searcher = self._searcher()
            partial = Query.term_query(self._schema, "not_fully_indexed", True)
            total = _count(searcher, built)
            paged = built if below is None else self._ranked_below(built, below)
            hits = _hits(searcher, paged, min(limit, total), Snippets(query) if snippets else None)
            return Found(total, _count(searcher, _both(built, partial)), tuple(hits))

    def ids(self) -> dict[str, int]:
        with _translated():
            rows = self._searcher().terms_with_prefix("row", "", filter_query=Query.all_query())
        split = (row.partition("/") for row, _ in rows)
        return {document: int(version) for version, _, document in split}

    def documents(self) -> dict[tuple[str, int], str]:
        """By id and version, a digest over all that is kept of each document: what a drill compares."""
        with _translated():
            searcher = self._searcher()
            found = searcher.search(Query.all_query(), limit=max(1, searcher.num_docs), count=False)
            addresses = [address for _, address in found.hits]
            numbers = [searcher.fast_field_values(name, addresses) for name in ("version", *_DIGESTED)]
            made: dict[tuple[str, int], str] = {}
            for address, version, *others in zip(addresses, *numbers, strict=True):
                stored = searcher.doc(address)
                digest = hashlib.sha256(json.dumps(others).encode("ascii"))
                digest.update(stored["original"][0])
                digest.update(stored["rest"][0])
                made[stored["id"][0], int(version)] = digest.hexdigest()
            return made

    def words(self) -> dict[str, str]:
        """By field, a digest over its words and in how many documents each stands: what a drill compares."""
        made: dict[str, str] = {}
        with _translated():
            searcher = self._searcher()
            for name in (*WORD_FIELDS, *ADDRESS_INDEX_FIELDS, "filename_whole", "flag", "month"):
                found = searcher.terms_with_prefix(name, "", filter_query=Query.all_query())
                digest = hashlib.sha256()
                for word, count in sorted(found):
                    digest.update(f"{count} {word}\n".encode("utf-8", "replace"))
                made[name] = digest.hexdigest()
        return made

    def _ranked_below(self, query: Query, below: int) -> Query:
        if below <= _LEAST_RANK:
            return Query.empty_query()
        return _both(query, self._queries.between("rank", None, min(below, -_LEAST_RANK) - 1))

    def _searcher(self) -> tantivy.Searcher:
        """Of the newest committed state. Raises StoreError ``index.unreadable``."""
        with self._opening:
            try:
                with _translated():
                    meta = self._plain_files()
                    state = (meta.st_ino, meta.st_mtime_ns, meta.st_size)
                    if self._index is None:
                        self._index = tantivy.Index(self._schema, str(self._path))
                        self._index.config_reader("manual")
                    if state != self._seen:
                        self._index.reload()
                        self._seen = state
                    return self._index.searcher()
            except (OSError, StoreError) as error:
                self._index = self._seen = None
                raise StoreError(
                    "the search index cannot be read; rebuild it", code="index.unreadable"
                ) from error

    def _plain_files(self) -> os.stat_result:
        """State of ``meta.json``. Raises StoreError when any file here is no plain one: a pipe put in its
        place would keep whoever opens it waiting for ever."""
        for file in self._path.iterdir():
            try:
                mode = file.lstat().st_mode
            except FileNotFoundError:  # a merge took it away meanwhile
                continue
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise StoreError("the search index holds what is no plain file", code="index.unreadable")
        return (self._path / "meta.json").lstat()

    @contextmanager
    def _changing(self) -> Iterator[tantivy.IndexWriter]:
        """The writer; commits at the end (synced to disk), or forgets everything and lets the lock go."""
        if self._writer is None:
            self._writer = self._open_writer()
        try:
            with _translated():
                yield self._writer
                self._writer.commit()
        except BaseException:
            with suppress(StoreError):
                self._end_writer()
            raise

    def _open_writer(self) -> tantivy.IndexWriter:
        with _translated():
            self._path.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # a new index has no meta.json yet
                self._plain_files()
            index = tantivy.Index(self._schema, str(self._path))
            return index.writer(self._memory, self._threads)

    def _end_writer(self) -> None:
        """What is not committed is gone, and so is the lock."""
        writer, self._writer = self._writer, None
        if writer is not None:
            with _translated():
                writer.wait_merging_threads()

    def _start_over(self) -> None:
        """Take away what cannot be read. Other processes go on with the files they have open; the lock
        files stay, for whoever holds them."""
        with suppress(StoreError):
            self._end_writer()
        with _translated():
            for file in self._path.glob("*"):
                if not file.is_dir() and (file.suffix != ".lock" or not file.is_file()):
                    file.unlink()


def _hits(searcher: tantivy.Searcher, query: Query, limit: int, make: Snippets | None) -> Iterator[Hit]:
    """The first by rank; with snippets if there is what makes them."""
    if limit <= 0:
        return
    found = searcher.search(query, limit=limit, count=False, order_by_field="rank")
    addresses = [address for _, address in found.hits]
    for rank, address in zip(searcher.fast_field_values("rank", addresses), addresses, strict=True):
        assert isinstance(rank, int)
        stored = searcher.doc(address)
        marked = make.of(json.loads(stored["original"][0])) if make else ()
        yield Hit(id=stored["id"][0], rank=rank, snippets=marked)


def _count(searcher: tantivy.Searcher, query: Query) -> int:
    counted = searcher.search(query, limit=1, count=True)
    return int(counted.count)  # type: ignore[attr-defined]  # missing in tantivy's stub only


def _both(one: Query, other: Query) -> Query:
    return Query.boolean_query([(Occur.Must, one), (Occur.Must, other)])


def _has_newer(searcher: tantivy.Searcher, queries: TantivyQueries, document: IndexDocument) -> bool:
    newer = queries.between("version", document.version + 1, None)
    return _count(searcher, _both(queries.id(document.id), newer)) > 0


@contextmanager
def _translated() -> Iterator[None]:
    """Tantivy's errors, its panics among them, as ours. Their texts hold paths and terms: not shown."""
    try:
        yield
    except OSError as error:
        raise StoreDenied("the folder of the search index cannot be read or written") from error
    except ValueError as error:
        raise _store_error(str(error)) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # what a Rust panic becomes; it has no public class
            raise
        raise StoreError("the search index is damaged; rebuild it", code="index.unreadable") from error


def _store_error(reason: str) -> StoreError:
    if "LockBusy" in reason:
        return StoreError("another process writes the search index", code="index.locked")
    if "No space left" in reason or "Quota exceeded" in reason:
        return StoreFull("the search index has no space left")
    return StoreError("the search index cannot be read or written; rebuild it", code="index.unreadable")


@contextmanager
def _too_broad(query: Node) -> Iterator[None]:
    """A wildcard beside other words that stands for too many of them to compare positions."""
    try:
        yield
    except ValueError as error:
        if "max expansions" not in str(error) and "size limit" not in str(error):
            raise
        position = next((node.position for node in walk(query) if isinstance(node, Wildcard)), 0)
        message = "a wildcard stands for too many words; give it more letters"
        raise QueryError(message, position, code="query.too_broad") from error
