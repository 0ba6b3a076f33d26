"""Writing in bulk: by count and bytes, each item judged for itself.

Every operation carries the archive's own version (``external_gte``): what is written again changes nothing, and what
comes late never replaces what is newer. Durable on return; searchable after ``refresh``.
"""

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from elasticsearch import Elasticsearch

from archive_service.model.errors import StoreError
from search.indexes.elasticsearch.documents import stub_of
from search.indexes.elasticsearch.failures import PASSING, Refused, RetryPolicy, of_answer
from search.indexes.elasticsearch.layout import write_alias

_log = logging.getLogger(__name__)

MOST_BYTES = 8 * 1024 * 1024
MOST_OPERATIONS = 500
TOO_LARGE = 413
_ONLY = "items.*.status,items.*.error.type,items.*.error.reason"


@dataclass(frozen=True)
class Operation:
    """Index ``source`` (JSON), or delete when it is None. ``document``: the archive's id. ``edition``: 0, or more where
    the document comes back in an older version than the one that was taken away under the same key: the server
    remembers for an hour what it deleted."""

    index: str
    document: str
    version: int
    source: bytes | None = field(default=None, repr=False)
    edition: int = 0
    stub: bool = False

    def lines(self) -> bytes:
        """As the bulk API reads it."""
        action = "delete" if self.source is None else "index"
        about = {
            "_index": write_alias(self.index),
            "_id": key_of(self.document, self.edition),
            "version": self.version,
            "version_type": "external_gte",
        }
        head = json.dumps({action: about}).encode("ascii")
        return head if self.source is None else head + b"\n" + self.source


def key_of(document: str, edition: int) -> str:
    """The server's key of a document."""
    return document if edition == 0 else f"{document}#{edition}"


def edition_of(key: str, document: str) -> int | None:
    """The edition that ``key_of`` put into a document's key; None: it did not make this key."""
    edition = key.removeprefix(document).removeprefix("#")
    found = int(edition) if re.fullmatch(r"[1-9][0-9]{0,8}", edition) else 0
    return found if key == key_of(document, found) else None


def encoded(source: Mapping[str, Any]) -> bytes:
    """A document's fields as an operation carries them."""
    return json.dumps(source, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


class Bulk:
    """Sends operations until the server has answered for each one."""

    def __init__(self, client: Elasticsearch, retry: RetryPolicy) -> None:
        self._client = client
        self._retry = retry

    def send(self, operations: Iterable[Operation]) -> None:
        """Raises StoreError ``index.unavailable`` when the server stays busy or away, StoreFull, StoreDenied,
        ``index.moved`` when an index has gone meanwhile. A document that the server refuses is written without its
        words. What was taken before an error stays; sending it again is harmless."""
        for batch in _batches(operations):
            self._send(batch)

    def refresh(self, indexes: Iterable[str]) -> None:
        """What was sent is found from now on."""
        names = sorted(set(indexes))
        if names:
            self._retry.run(lambda: self._client.indices.refresh(index=names))

    def _send(self, batch: Sequence[Operation]) -> None:
        """An attempt that the server has no room for is followed by a smaller one; one that went well by a larger."""
        left = list(batch)
        portion = len(left)

        def attempt() -> None:
            nonlocal left, portion
            now, rest = left[:portion], left[portion:]
            portion = max(1, len(now) // 2)
            again, busy = self._once(now)
            left = again + rest
            if busy is not None:
                raise busy
            portion = 4 * portion

        while left:
            alone = portion == 1 or len(left) == 1
            try:
                self._retry.run(attempt)
            except Refused as error:
                if error.status != TOO_LARGE:
                    raise
                if alone:
                    left = [_as_stub(left[0], TOO_LARGE), *left[1:]]

    def _once(self, operations: Sequence[Operation]) -> tuple[list[Operation], StoreError | None]:
        """What must be sent again or in another form, and an error when some were not taken for lack of time."""
        lines: list[Any] = [
            operation.lines() for operation in operations
        ]  # the client takes bytes as they are
        answer = self._client.bulk(operations=lines, require_alias=True, filter_path=_ONLY)
        again: list[Operation] = []
        conflicts: list[Operation] = []
        busy: StoreError | None = None
        for operation, item in zip(operations, answer["items"], strict=True):
            (about,) = item.values()
            status, reason = int(about["status"]), str(about.get("error", ""))
            if status < 300 or (status == 404 and operation.source is None and not reason):
                continue
            if status == 409:
                conflicts.append(operation)
            elif status in PASSING:
                busy = of_answer(status, reason)
                again.append(operation)
            elif (
                status == 400 and _of_document(reason) and operation.source is not None and not operation.stub
            ):
                again.append(_as_stub(operation, status))
            else:
                raise _of_item(status, reason)
        return again + self._under_new_keys(conflicts), busy

    def _under_new_keys(self, conflicts: Sequence[Operation]) -> list[Operation]:
        """A conflict with a newer version is well. One with nothing is the server's memory of what was deleted."""
        asked = [operation for operation in conflicts if operation.source is not None]
        if not asked:
            return []
        docs = [
            {"_index": operation.index, "_id": key_of(operation.document, operation.edition)}
            for operation in asked
        ]
        answer = self._client.mget(docs=docs, source=False)
        return [
            replace(operation, edition=operation.edition + 1)
            for operation, there in zip(asked, answer["docs"], strict=True)
            if not there.get("found")
        ]


def _of_document(reason: str) -> bool:
    """Whether a refusal may be the document's own fault: a month that somebody closed takes none."""
    return "index_closed_exception" not in reason


def _of_item(status: int, reason: str) -> StoreError:
    if status == 404:
        return StoreError("an index was deleted while it was written", code="index.moved")
    return of_answer(status, reason)


def _as_stub(operation: Operation, status: int) -> Operation:
    if operation.source is None or operation.stub:
        raise Refused(status, "a document without words")
    _log.error(
        "Elasticsearch refused document %s (HTTP %d); its words are not indexed", operation.document, status
    )
    return replace(operation, source=encoded(stub_of(json.loads(operation.source))), stub=True)


def _batches(operations: Iterable[Operation]) -> Iterator[list[Operation]]:
    batch: list[Operation] = []
    size = 0
    for operation in operations:
        length = len(operation.lines())
        if batch and (size + length > MOST_BYTES or len(batch) == MOST_OPERATIONS):
            yield batch
            batch, size = [], 0
        batch.append(operation)
        size += length
    if batch:
        yield batch
