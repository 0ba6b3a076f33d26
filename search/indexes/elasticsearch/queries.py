"""A query tree in Elasticsearch's own language, over the fields that ``documents`` makes.

What cannot be answered exactly raises QueryError; nothing is approximated. Everything stands in filter context: there
are no scores. Nearness is asked with spans, of which both sides are single phrases: among several lengths of one side
the server would look at the nearest alone.
"""

from collections.abc import Sequence
from itertools import product
from typing import Any

from archive_service.model.errors import QueryError
from search.indexes import analysis
from search.indexes.elasticsearch.fuzzy import fuzzy
from search.indexes.query_parts import (
    ADDRESS_INDEX_FIELDS,
    address_term,
    alternatives,
    check_layouts,
    fields_of,
    is_specific,
    text_of,
    words_of,
)
from search.query_language import (
    And,
    Everything,
    Flag,
    Fuzzy,
    HasAttachment,
    Header,
    Ids,
    Named,
    Near,
    Node,
    Not,
    Or,
    Sent,
    Size,
    Text,
    Wildcard,
    walk,
)
from search.query_tree import ADDRESS_FIELDS, WORD_FIELDS

DEEPEST = 30
"""Queries within queries that the server takes (``indices.query.bool.max_nested_depth``)."""

LEAST_LONG, MOST_LONG = -(2**63), 2**63 - 1
_EVERYTHING: dict[str, Any] = {"match_all": {}}
_NOTHING: dict[str, Any] = {"match_none": {}}

Query = dict[str, Any]


def built(node: Node) -> Query:
    """Raises QueryError ``query.unsupported`` or ``query.too_complex``."""
    check_layouts(node)
    made = _built(node)
    if _depth(made) > DEEPEST:
        position = next(
            (part.position for part in walk(node) if isinstance(part, Text | Wildcard | Fuzzy)), 0
        )
        raise QueryError("nested too deeply for this index", position, code="query.too_complex")
    return made


def between(field: str, least: int | None, most: int | None) -> Query:
    """Both bounds included; None is open. Bounds may be any number."""
    if (least is not None and least > MOST_LONG) or (most is not None and most < LEAST_LONG):
        return _NOTHING
    bounds = {}
    if least is not None:
        bounds["gte"] = max(least, LEAST_LONG)
    if most is not None:
        bounds["lte"] = min(most, MOST_LONG)
    return {"range": {field: bounds}}


def _built(node: Node) -> Query:
    match node:
        case Everything():
            return _EVERYTHING
        case And(parts):
            return _all(parts)
        case Or(parts):
            return _any([_built(part) for part in parts])
        case Not():
            return _all([node])
        case Near():
            return _near(node)
        case Text() | Wildcard() | Fuzzy():
            return _leaf(node)
        case HasAttachment():
            return {"term": {"has_attachment": True}}
        case Flag(word):
            return {"term": {"flag": word}}
        case Sent():
            start, end = node.bounds()
            return between("sent", start, None if end is None else end - 1)
        case Size(least, most):
            return between("size", least, most)
        case Ids(ids):
            return {"terms": {"id": list(ids)}}
        case Named(position=position):
            raise QueryError("people are not in this index", position, code="query.unsupported")
        case Header(position=position):
            raise QueryError("header fields are not in this index", position, code="query.unsupported")
    raise TypeError(f"not a query node: {type(node).__name__}")


def _all(parts: Sequence[Node]) -> Query:
    made: dict[str, list[Query]] = {"filter": [], "must_not": []}
    for part in parts:
        if isinstance(part, Not):
            made["must_not"].append(_built(part.part))
        else:
            made["filter"].append(_built(part))
    return {"bool": {kind: queries for kind, queries in made.items() if queries}}


def _any(queries: Sequence[Query]) -> Query:
    if not queries:
        return _NOTHING
    if len(queries) == 1:
        return queries[0]
    return {"bool": {"should": list(queries), "minimum_should_match": 1}}


def _leaf(node: Text | Wildcard | Fuzzy) -> Query:
    if node.field in ADDRESS_FIELDS:
        lists = ADDRESS_INDEX_FIELDS if node.field == "participants" else (node.field,)
        return _any([query for name in lists for query in _in_addresses(node, name)])
    fields = WORD_FIELDS if node.field is None else (node.field,)
    return _any([query for field in fields for query in _in_words(node, field)])


def _in_words(node: Text | Wildcard | Fuzzy, field: str) -> list[Query]:
    if isinstance(node, Fuzzy):
        return [_fuzzy(node, field)]
    found = []
    if isinstance(node, Wildcard) and field == "filename":
        found.append(_wildcard("filename_whole", analysis.keyword(node.pattern)))
    return found + _as_phrase(field, words_of(node))


def _in_addresses(node: Text | Wildcard | Fuzzy, field: str) -> list[Query]:
    if isinstance(node, Fuzzy):
        return [_fuzzy(node, field)]
    keys = f"{field}_key"
    if isinstance(node, Wildcard):
        found = [_wildcard(keys, "a:" + analysis.address_key(node.pattern))]
    elif "@" in node.text:
        return [{"term": {keys: address_term(node.text)}}]
    else:
        value = analysis.address_key(node.text)
        found = [{"terms": {keys: [f"{kind}:{value}" for kind in "dl"]}}]
    if "@" not in analysis.fold(text_of(node)):
        found += _as_phrase(field, words_of(node))
    return found


def _fuzzy(node: Fuzzy, field: str) -> Query:
    return fuzzy(field, analysis.words(node.word)[0], node.distance)


def _as_phrase(field: str, words: Sequence[str]) -> list[Query]:
    """Words side by side; nothing where one of them says too little."""
    if not words or not all(is_specific(word) for word in words):
        return []
    if len(words) == 1:
        word = words[0]
        return [_wildcard(field, word) if analysis.is_wild(word) else {"term": {field: word}}]
    if any(analysis.is_wild(word) for word in words):
        return [_span(field, words)]
    return [{"match_phrase": {field: {"query": " ".join(words), "analyzer": "whitespace"}}}]


def _wildcard(field: str, pattern: str) -> Query:
    value = pattern.replace("\\", "\\\\")
    return {"wildcard": {field: {"value": value, "rewrite": "constant_score"}}}


def _near(node: Near) -> Query:
    pairs = list(product(alternatives(node.left, node), alternatives(node.right, node)))
    if not node.ordered:
        pairs += [(right, left) for left, right in pairs]
    return _any(
        [_within(name, *pair, distance=node.distance) for name, pair in product(fields_of(node), pairs)]
    )


def _within(field: str, left: Sequence[str], right: Sequence[str], *, distance: int) -> Query:
    """``right`` begins 1 to ``distance`` positions after the last word of ``left``: so many less one stand between."""
    return _in_order([_span(field, left), _span(field, right)], distance - 1)


def _span(field: str, words: Sequence[str]) -> Query:
    spans = [
        {"span_multi": {"match": _wildcard(field, word)}}
        if analysis.is_wild(word)
        else {"span_term": {field: word}}
        for word in words
    ]
    return spans[0] if len(spans) == 1 else _in_order(spans, 0)


def _in_order(spans: Sequence[Query], slop: int) -> Query:
    return {"span_near": {"clauses": list(spans), "slop": slop, "in_order": True}}


def _depth(query: Any) -> int:
    """How many queries stand within each other."""
    if isinstance(query, list):
        return max(map(_depth, query), default=0)
    if not isinstance(query, dict):
        return 0
    deeper = max(map(_depth, query.values()), default=0)
    return deeper + (1 if query.keys() & _NESTING else 0)


_NESTING = frozenset(
    (
        *("bool", "match_phrase", "range", "span_multi", "span_near", "span_term"),
        *("fuzzy", "regexp", "term", "terms", "wildcard"),
    )
)
