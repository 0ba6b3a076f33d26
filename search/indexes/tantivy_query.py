"""A query tree as a tantivy query over the fields that ``tantivy_index`` writes.

What tantivy cannot answer exactly raises QueryError ``query.unsupported``; nothing is approximated.
"""

from collections.abc import Iterator, Sequence
from itertools import product

from tantivy import FieldType, Occur, Query, Schema

from archive_service.model.errors import QueryError
from search.indexes import analysis
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
)
from search.query_tree import ADDRESS_FIELDS, WORD_FIELDS


class TantivyQueries:
    """Builds queries for one schema."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema

    def build(self, node: Node) -> Query:
        """Raises QueryError, before anything is built, also for a query of more than MAX_LAYOUTS layouts."""
        check_layouts(node)
        return self._built(node)

    def _built(self, node: Node) -> Query:
        match node:
            case Everything():
                return Query.all_query()
            case And(parts):
                return self._all(parts)
            case Or(parts):
                return any_of([self._built(part) for part in parts])
            case Not():
                return self._all([node])
            case Near():
                return self._near(node)
            case Text() | Wildcard() | Fuzzy():
                return self._leaf(node)
            case HasAttachment():
                return Query.term_query(self._schema, "has_attachment", True)
            case Flag(word):
                return Query.term_query(self._schema, "flag", word)
            case Sent():
                start, end = node.bounds()
                return self.between("sent", start, None if end is None else end - 1)
            case Size(least, most):
                return self.between("size", least, most)
            case Ids(ids):
                return any_of([self.id(each) for each in ids])
            case Named(position=position):
                raise QueryError("people are not in this index", position, code="query.unsupported")
            case Header(position=position):
                message = "header fields are not in this index"
                raise QueryError(message, position, code="query.unsupported")
        raise TypeError(f"not a query node: {type(node).__name__}")

    def between(self, field: str, least: int | None, most: int | None) -> Query:
        """Both bounds included; at least one given."""
        return Query.range_query(self._schema, field, FieldType.Integer, least, most)

    def id(self, document: str) -> Query:
        """The document with this id."""
        return Query.term_query(self._schema, "id", document)

    def _all(self, parts: Sequence[Node]) -> Query:
        clauses = [
            (Occur.MustNot, self._built(part.part))
            if isinstance(part, Not)
            else (Occur.Must, self._built(part))
            for part in parts
        ]
        if all(occur is Occur.MustNot for occur, _ in clauses):
            clauses.append((Occur.Must, Query.all_query()))
        return Query.boolean_query(clauses)

    def _leaf(self, node: Text | Wildcard | Fuzzy) -> Query:
        if node.field in ADDRESS_FIELDS:
            lists = ADDRESS_INDEX_FIELDS if node.field == "participants" else (node.field,)
            return any_of([self._in_addresses(node, name) for name in lists])
        fields = WORD_FIELDS if node.field is None else (node.field,)
        return any_of([query for field in fields for query in self._in_words(node, field)])

    def _in_words(self, node: Text | Wildcard | Fuzzy, field: str) -> Iterator[Query]:
        if isinstance(node, Fuzzy):
            yield self._fuzzy(node, field)
            return
        if isinstance(node, Wildcard) and field == "filename":
            whole = analysis.regex_of(analysis.keyword(node.pattern))
            yield Query.regex_query(self._schema, "filename_whole", whole)
        words = words_of(node)
        if words and all(is_specific(word) for word in words):
            yield self._side_by_side(field, words)

    def _in_addresses(self, node: Text | Wildcard | Fuzzy, field: str) -> Query:
        if isinstance(node, Fuzzy):
            return self._fuzzy(node, field)
        keys = f"{field}_key"
        if isinstance(node, Wildcard):
            whole = "a:" + analysis.regex_of(analysis.address_key(node.pattern))
            queries = [Query.regex_query(self._schema, keys, whole)]
        elif "@" in node.text:
            return Query.term_query(self._schema, keys, address_term(node.text))
        else:
            value = analysis.address_key(node.text)
            queries = [Query.term_query(self._schema, keys, f"{kind}:{value}") for kind in "dl"]
        words = words_of(node) if "@" not in analysis.fold(text_of(node)) else []
        if words and all(is_specific(word) for word in words):
            queries.append(self._side_by_side(field, words))
        return any_of(queries)

    def _fuzzy(self, node: Fuzzy, field: str) -> Query:
        return Query.fuzzy_term_query(
            self._schema,
            field,
            analysis.words(node.word)[0],
            distance=node.distance,
            transposition_cost_one=True,
        )

    def _side_by_side(self, field: str, words: Sequence[str]) -> Query:
        if len(words) > 1:
            return self._placed(field, list(enumerate(words)))
        if analysis.is_wild(words[0]):
            return Query.regex_query(self._schema, field, analysis.regex_of(words[0]))
        return Query.term_query(self._schema, field, words[0])

    def _placed(self, field: str, words: Sequence[tuple[int, str]], slop: int = 0) -> Query:
        """Words at given distances; with two of them, ``slop`` is how far the second may be off."""
        if any(analysis.is_wild(word) for _, word in words):
            words = [(offset, analysis.regex_of(word)) for offset, word in words]
            return Query.regex_phrase_query(self._schema, field, list(words), slop)
        return Query.phrase_query(self._schema, field, list(words), slop)

    def _near(self, node: Near) -> Query:
        pairs = list(product(alternatives(node.left, node), alternatives(node.right, node)))
        if not node.ordered:
            pairs += [(right, left) for left, right in pairs]
        clauses: list[Query] = []
        for name, (left, right) in product(fields_of(node), pairs):
            clauses += self._within(name, left, right, node.distance)
        return any_of(clauses)

    def _within(self, field: str, left: list[str], right: list[str], distance: int) -> Iterator[Query]:
        """``right`` begins 1 to ``distance`` positions after the last word of ``left``.

        Tantivy's slop is exact between two words: the second stands at its place, give or take. So an
        odd number of places is one phrase around the middle; an even one needs the last place apart.
        Longer sides are tried at each distance."""
        if len(left) == len(right) == 1:
            half = (distance - 1) // 2
            yield self._placed(field, [(0, left[0]), (half + 1, right[0])], slop=half)
            if distance % 2 == 0:
                yield self._placed(field, [(0, left[0]), (distance, right[0])])
            return
        start = list(enumerate(left))
        for gap in range(1, distance + 1):
            yield self._placed(field, start + list(enumerate(right, len(left) - 1 + gap)))


def any_of(queries: Sequence[Query]) -> Query:
    """At least one; none of none."""
    if len(queries) == 1:
        return queries[0]
    return Query.boolean_query([(Occur.Should, query) for query in queries])
