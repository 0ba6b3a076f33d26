"""Which messages a hold's search finds. Who writes a mail chooses its date, and with that, alone, whether a hold upon
days finds it, or upon a person, whose addresses each count for some days. So mail that came from a mail server is
looked for by the day of its receipt as well: either is enough. What was imported has no other date than its own."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from archive_service.catalog.base import MessageRow
from archive_service.catalog.merge import sent_or_received
from archive_service.model.clock import from_rfc3339
from search.indexes.base import SearchIndex
from search.query_tree import And, Everything, Ids, Node, Not, Or, Sent, days_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def found_of(index: SearchIndex, node: Node, messages: Sequence[MessageRow]) -> set[str]:
    """Ids of those of these messages that it finds, as sent or as received. Raises QueryError, StoreError."""
    found = _search(index, node, [message.id for message in messages])
    spans = days_of(node)
    for holds, ids in _otherwise(spans, messages).items():
        found |= _search(index, _put(node, dict(zip(spans, holds, strict=True))), ids)
    return found


def _otherwise(spans: Sequence[Sent], messages: Iterable[MessageRow]) -> Mapping[tuple[bool, ...], list[str]]:
    """Messages for which it makes a difference, by whether each of the spans holds the time of a receipt."""
    found: dict[tuple[bool, ...], list[str]] = {}
    for message in messages if spans else ():
        sent = _within(spans, sent_or_received(message.captures[0]))
        for at in {each.finding.received_at for each in message.captures if each.finding.channel is None}:
            received = _within(spans, (from_rfc3339(at) - _EPOCH) // timedelta(seconds=1))
            if received != sent:
                found.setdefault(received, []).append(message.id)
    return found


def _within(spans: Sequence[Sent], seconds: int) -> tuple[bool, ...]:
    return tuple(
        (start is None or start <= seconds) and (end is None or seconds < end)
        for start, end in (span.bounds() for span in spans)
    )


def _put(node: Node, holds: Mapping[Sent, bool]) -> Node:
    """The search with what is known of its days in their place."""
    match node:
        case Sent():
            return Everything() if holds[node] else Not(Everything())
        case And(parts):
            return And(tuple(_put(part, holds) for part in parts))
        case Or(parts):
            return Or(tuple(_put(part, holds) for part in parts))
        case Not(part):
            return Not(_put(part, holds))
    return node


def _search(index: SearchIndex, node: Node, ids: Sequence[str]) -> set[str]:
    if not ids:
        return set()
    query = And((node, Ids(tuple(ids))))
    return {hit.id for hit in index.search(query, limit=len(ids), snippets=False).hits}
