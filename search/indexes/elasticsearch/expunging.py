"""Words of removed documents leave the disk.

A merge drops a removed document only when every copy of its shard is known to have seen the removal: until then the
server holds a lease on the operations since, which it renews every half minute.
"""

from collections.abc import Iterator
from typing import Any

from elasticsearch import Elasticsearch

from search.indexes.elasticsearch.failures import RetryPolicy

_PAUSE = 1.0
_MERGING = 4 * 3600.0  # seconds


class Expunging:
    """One pass over the indexes of a pattern."""

    def __init__(self, client: Elasticsearch, retry: RetryPolicy, pattern: str) -> None:
        self._client = client
        self._retry = retry
        self._pattern = pattern

    def run(self, within: float) -> bool:
        """Whether all that was removed before has left the disk; False when a lease still held it ``within`` seconds
        later."""
        removed = {shard: last for shard, last, _ in self._shards()}
        ends = self._retry.monotonic() + within
        while any(leased <= removed.get(shard, -1) for shard, _, leased in self._shards()):
            if self._retry.monotonic() >= ends:
                return False
            self._retry.sleep(_PAUSE)
        patient = self._client.options(request_timeout=_MERGING)
        self._retry.run(lambda: patient.indices.flush(index=self._pattern, force=True))
        self._retry.run(lambda: patient.indices.forcemerge(index=self._pattern, only_expunge_deletes=True))
        self._retry.run(lambda: patient.indices.refresh(index=self._pattern))
        return True

    def _shards(self) -> Iterator[tuple[tuple[str, str], int, int]]:
        """Of each copy of each shard: which shard, the number of its last operation, the first one under a lease."""
        asked: dict[str, Any] = {"index": self._pattern, "level": "shards", "metric": "docs"}
        answer = self._retry.run(lambda: self._client.indices.stats(**asked).body)
        for index, about in answer["indices"].items():
            for shard, copies in about["shards"].items():
                last = max(copy["seq_no"]["max_seq_no"] for copy in copies)
                leases = [lease for copy in copies for lease in copy["retention_leases"]["leases"]]
                leased = min((lease["retaining_seq_no"] for lease in leases), default=last + 1)
                yield (index, shard), last, leased
