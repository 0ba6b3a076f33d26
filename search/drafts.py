"""Drafts stand beside what was sent: a search leaves them out, and says how many, unless it is asked for them."""

from archive_service.catalog.merge import DRAFT
from search.indexes.base import SearchIndex
from search.query_language import And, Flag, Node, Not, walk


def without_drafts(query: Node) -> Node:
    """What of the query's matches is no draft."""
    return And((query, Not(Flag(DRAFT))))


def sets_aside(query: Node) -> bool:
    """Whether drafts are left out unless somebody asks for them: a query that names the mark itself has decided."""
    return not any(isinstance(node, Flag) and node.word == DRAFT for node in walk(query))


def drafts_among(index: SearchIndex, query: Node) -> int:
    """How many of the query's matches are drafts. Raises QueryError, StoreError."""
    return index.search(And((query, Flag(DRAFT))), limit=0, snippets=False).total
