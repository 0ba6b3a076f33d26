"""What the archive asks of a search index: a projection, safe to delete and rebuild."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from search.query_language import Node


@dataclass(frozen=True)
class IndexDocument:
    """One message as fields. Addresses are bare and lower case. ``sent`` is seconds since 1970 (UTC).

    ``rank`` and ``version`` as in ``catalog.base.MessageRow``; ``size`` in bytes of the inner message; ``flags``: the
    marks that the message bears (``catalog.merge.flags_of``).
    """

    id: str
    rank: int
    version: int
    month: str
    sent: int
    size: int
    subject: str
    sender: str
    to: tuple[str, ...]
    cc: tuple[str, ...]
    bcc: tuple[str, ...]
    other_recipients: tuple[str, ...]
    body: str
    attachments: str
    filenames: tuple[str, ...]
    not_fully_indexed: bool = False
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hit:
    """One found message; ``snippets`` are plain text around matches with <b></b> marks, the rest HTML-escaped."""

    id: str
    rank: int
    snippets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """A page: ``total`` of all matches (not of the page), ``not_fully_indexed`` among them, hits by rank
    descending."""

    total: int
    not_fully_indexed: int
    hits: tuple[Hit, ...] = field(default=())


class SearchIndex(Protocol):
    """Thread-safe. One process writes; many read, and see a write when ``write`` has returned."""

    def write(self, documents: Sequence[IndexDocument]) -> None:
        """Replace documents by id; durable and searchable on return. Idempotent; a document never
        replaces one of a higher version."""
        ...

    def remove(self, ids: Sequence[str]) -> None:
        """Take documents away; durable and no longer found on return. Absent is no error. What the engine still holds
        of their words on disk goes with the next merge of its segment."""
        ...

    def search(self, query: Node, *, limit: int, below: int | None = None, snippets: bool = True) -> Found:
        """Matches with rank < ``below`` (all when None), highest rank first."""
        ...

    def ids(self) -> dict[str, int]:
        """Every document's id and version: what verify compares with the catalog."""
        ...

    def clear(self) -> None:
        """Forget everything; what rebuild starts with."""
        ...


class KeptIndex(SearchIndex, Protocol):
    """A search index as those see it who keep it: they compare it with another, and let it go."""

    def documents(self) -> dict[tuple[str, int], str]:
        """By id and version, a digest over all that is kept of each document."""
        ...

    def words(self) -> dict[str, str]:
        """By field, a digest over its words and in how many documents each stands; empty where the engine cannot tell
        them apart from its documents."""
        ...

    def close(self) -> None:
        """Let locks and connections go."""
        ...
