"""How much is archived: objects and bytes that came, by the capture logs, and that stand, by class and by source.

What a byte costs is between the archive and its store's price list (``prices``).
"""

from array import array
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from archive_service.catalog.base import Catalog
from archive_service.event_journal.walk import chained
from archive_service.ledger.acts import Acts
from archive_service.ledger.reader import find_head, logs
from archive_service.model.errors import Tampered
from archive_service.terms.retaining import assessed
from archive_service.vault.key_layout import LogId
from archive_service.vault.stores.base import ObjectStore
from archive_service.yearly_pack.prices import Price
from archive_service.yearly_pack.span import Span


@dataclass
class Amount:
    """So many captures, and so many bytes of their sealed objects."""

    captures: int = 0
    bytes: int = 0

    def add(self, size: int) -> None:
        """One more."""
        self.captures += 1
        self.bytes += size

    def plain(self) -> dict[str, int]:
        """JSON-ready."""
        return {"captures": self.captures, "bytes": self.bytes}


@dataclass
class _Came:
    """Sizes by log and place (0 where no capture stands), what came before and within the span, and for how long of it
    that was there, as if nothing had gone."""

    sizes: dict[str, "array[int]"] = field(default_factory=dict)
    before: Amount = field(default_factory=Amount)
    within: Amount = field(default_factory=Amount)
    byte_seconds: int = 0


def quantities_part(
    store: ObjectStore, owner: str, acts: Acts, catalog: Catalog, span: Span, price: Price | None
) -> dict[str, Any]:
    """What came counts by the ledger; what stands by the catalog as it is now, of captures that came before the end of
    the span. Raises StoreError, Tampered."""
    came = _came(store, owner, span)
    by_class: defaultdict[str, Amount] = defaultdict(Amount)
    by_source: defaultdict[str, Amount] = defaultdict(Amount)
    stands = Amount()
    for row in catalog.changed(0, catalog.position().rows):
        for capture in row.captures:
            size = _size(came, capture.log, capture.seq)
            if not size:
                continue  # it came after the span
            found = assessed(acts, capture, span.ends)
            by_class["" if found is None else found[1].klass.id].add(size)
            by_source[capture.finding.source].add(size)
            stands.add(size)
    return {
        "before": came.before.plain(),
        "came": came.within.plain(),
        "stands_now": stands.plain(),
        "classes": [{"class": name, **each.plain()} for name, each in sorted(by_class.items())],
        "sources": [_source(acts, name, each) for name, each in sorted(by_source.items())],
        "price": None if price is None else price.of(stands.bytes, came.byte_seconds),
    }


def _came(store: ObjectStore, owner: str, span: Span) -> _Came:
    came = _Came()
    for log in logs(store, owner):
        if log.kind == "capture":
            came.sizes[str(log)] = _read(store, log, came, span)
    return came


def _read(store: ObjectStore, log: LogId, came: _Came, span: Span) -> "array[int]":
    sizes = array("Q")
    for entry in chained(store, log, 0, find_head(store, log).seq):
        size = 0
        if entry.type == "capture" and entry.time < span.ends:
            try:
                size = int(entry.fields["object"]["size"])
            except (KeyError, TypeError, ValueError) as error:
                raise Tampered("an entry that does not describe its object") from error
            (came.within if entry.time >= span.begins else came.before).add(size)
            came.byte_seconds += size * span.seconds_from(entry.time)
        sizes.append(size)
    return sizes


def _size(came: _Came, log: str, seq: int) -> int:
    sizes = came.sizes.get(log, ())
    return sizes[seq] if seq < len(sizes) else 0


def _source(acts: Acts, source: str, amount: Amount) -> dict[str, Any]:
    known = acts.source(source)
    return {"source": source, "name": None if known is None else known.name, **amount.plain()}
