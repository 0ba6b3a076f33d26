"""Reading: pages of hits, of one request or of a frozen view (point in time)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from elasticsearch import Elasticsearch

from archive_service.model.errors import StoreError
from search.indexes.elasticsearch.failures import Passing, RetryPolicy

_KEPT = "5m"  # the server forgets a view that nobody asked for so long

Hits = list[Mapping[str, Any]]


class Reader:
    """Asks, again where the server was busy. Thread-safe."""

    def __init__(self, client: Elasticsearch, retry: RetryPolicy) -> None:
        self._client = client
        self._retry = retry

    def ask(self, where: Mapping[str, Any], **asked: Any) -> Mapping[str, Any]:
        """One answer of all shards. ``where``: what to look into, ``{"index": ...}`` or what ``view`` gives."""
        whole = {"allow_partial_search_results": False, **where, **asked}
        return self._retry.run(lambda: _whole(self._client.search(**whole).body))

    @contextmanager
    def view(self, target: str) -> Iterator[Mapping[str, Any]]:
        """``target`` as it is now, whatever is written meanwhile; let go at the end."""
        opened = self._retry.run(lambda: self._client.open_point_in_time(index=target, keep_alive=_KEPT))
        try:
            yield {"pit": {"id": opened["id"], "keep_alive": _KEPT}}
        finally:
            with suppress(StoreError):  # a view that is not let go ends by itself
                self._retry.run(lambda: self._client.close_point_in_time(id=opened["id"]))

    def all(self, target: str, *, page: int, **asked: Any) -> Iterator[Hits]:
        """Every document's hit, a page at a time, in no order. ``asked``: what of each."""
        with self.view(target) as view:
            after: dict[str, Any] = {}
            while True:
                answer = self.ask(
                    view, size=page, sort=["_shard_doc"], track_total_hits=False, **after, **asked
                )
                hits: Hits = answer["hits"]["hits"]
                if hits:
                    yield hits
                if len(hits) < page:
                    return
                after = {"search_after": hits[-1]["sort"]}


def id_of(hit: Mapping[str, Any]) -> str | None:
    """The archive's id of a hit that was asked for it; None: the document is not ours, whoever wrote it."""
    found = hit.get("fields", {}).get("id", ())
    return found[0] if len(found) == 1 and isinstance(found[0], str) else None


def _whole(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Raises Passing when some shards have not answered: a part is no answer."""
    if answer.get("timed_out") or answer["_shards"]["failed"]:
        raise Passing("Elasticsearch gave a part of an answer")
    return answer
