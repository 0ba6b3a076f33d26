"""Query text to a tree. ``parse`` is the whole of it; ``query_tree`` has the nodes and ``render``.

    query  = and { OR and }                      AND binds tighter than OR, NEAR than AND, NOT than NEAR
    and    = near { [AND] near }                 side by side means AND
    near   = unary [ (NEAR/n | PRE/n) unary ]
    unary  = { NOT | - } primary
    primary = ( query ) | field:( query ) | field:value | "words side by side" | word | wor* | word~1 | *

Operators are upper case; quotes may be "..." or the typographic ones. Any text either parses or raises
QueryError with the 0-based position of the trouble: ``query.syntax``, ``query.empty``,
``query.too_complex`` (10,000 characters, depth 50, 1,000 terms, 8 wildcards in a word),
``query.too_broad`` (a wildcard with fewer than two other characters), ``query.unsupported`` (understood,
but nothing here can answer it).
"""

from archive_service.model.errors import QueryError
from search import query_values
from search.query_lexer import Kind, Token, tokenize
from search.query_tree import (
    ADDRESS_FIELDS,
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
    render,
    walk,
)

__all__ = [
    "And", "Everything", "Flag", "Fuzzy", "HasAttachment", "Header", "Ids", "Named", "Near", "Node", "Not", "Or",
    "Sent", "Size", "Text", "Wildcard", "parse", "render", "walk",
]  # fmt: skip

MAX_CHARACTERS = 10_000
MAX_DEPTH = 50
MAX_TERMS = 1_000
MAX_MORE_WILDCARDS = 64
"""Wildcards beyond the second of their word, in all of a query: each makes its word's automaton larger."""
MAX_LEADING_WILDCARDS = 32
"""Words that begin with a wildcard: each reads the index's whole dictionary."""


def parse(query: str) -> Node:
    """The tree of a query. Raises QueryError, and nothing else, on any text."""
    if len(query) > MAX_CHARACTERS:
        message = f"a query has at most {MAX_CHARACTERS} characters"
        raise QueryError(message, MAX_CHARACTERS, code="query.too_complex")
    tokens = tokenize(query)
    if tokens[0].kind is Kind.END:
        raise QueryError("the query is empty; * finds everything", 0, code="query.empty")
    return _Parser(tokens).run()


class _Parser:
    """Recursive descent; the depth is bounded, so Python's stack is too."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._next = 0
        self._depth = 0
        self._terms = 0
        self._more_wildcards = 0
        self._leading = 0

    def run(self) -> Node:
        node = self._or(None)
        token = self._peek()
        if token.kind is not Kind.END:  # only ")" ends an expression early
            raise QueryError("a parenthesis is closed that was not opened", token.start)
        return node

    def _peek(self) -> Token:
        return self._tokens[self._next]

    def _take(self) -> Token:
        token = self._tokens[self._next]
        self._next += 1
        return token

    def _enter(self, token: Token) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise QueryError(f"nested deeper than {MAX_DEPTH}", token.start, code="query.too_complex")

    def _or(self, field: str | None) -> Node:
        parts = [self._and(field)]
        while self._peek().kind is Kind.OR:
            self._take()
            parts.append(self._and(field))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _and(self, field: str | None) -> Node:
        parts = [self._near(field)]
        while self._peek().kind not in (Kind.OR, Kind.CLOSE, Kind.END):
            if self._peek().kind is Kind.AND:
                self._take()
            parts.append(self._near(field))
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _near(self, field: str | None) -> Node:
        left = self._unary(field)
        if self._peek().kind not in (Kind.NEAR, Kind.PRE):
            return left
        operator = self._take()
        right = self._unary(field)
        _check_near(left, right, operator)
        again = self._peek()
        if again.kind in (Kind.NEAR, Kind.PRE):
            message = "one NEAR or PRE has two sides; join several with AND"
            raise QueryError(message, again.start, code="query.unsupported")
        return Near(left, right, int(operator.text), operator.kind is Kind.PRE, operator.start)

    def _unary(self, field: str | None) -> Node:
        if self._peek().kind is not Kind.NOT:
            return self._primary(field)
        self._enter(self._take())
        node = Not(self._unary(field))
        self._depth -= 1
        return node

    def _primary(self, field: str | None) -> Node:
        token = self._take()
        match token.kind:
            case Kind.OPEN:
                return self._group(token, field)
            case Kind.FIELD:
                return self._field(token)
            case Kind.WORD | Kind.PHRASE:
                return self._term(token, field)
            case Kind.CLOSE:
                raise QueryError("something to search for is missing before the parenthesis", token.start)
        raise QueryError(f"something to search for is missing before {token.kind.value}", token.start)

    def _group(self, opening: Token, field: str | None) -> Node:
        self._enter(opening)
        node = self._or(field)
        if self._take().kind is not Kind.CLOSE:
            raise QueryError("a parenthesis is not closed", opening.start)
        self._depth -= 1
        return node

    def _field(self, name: Token) -> Node:
        value = self._take()
        special = {
            "sent": query_values.sent,
            "size": query_values.size,
            "has": query_values.has,
            "flag": query_values.flag,
            "custodian": query_values.named,
        }
        is_header = name.text.startswith("header:")
        if value.kind is Kind.OPEN:
            if is_header or name.text in special:
                raise QueryError("this field takes one value, not a group", value.start)
            return self._group(value, name.text)
        self._count(value)
        if name.text in special:
            return special[name.text](value.text, value.start)
        if is_header:
            return query_values.header(name.text.removeprefix("header:"), value.text, value.start)
        return self._read(value, name.text)

    def _term(self, token: Token, field: str | None) -> Node:
        self._count(token)
        return self._read(token, field)

    def _read(self, token: Token, field: str | None) -> Node:
        read = query_values.quoted if token.kind is Kind.PHRASE else query_values.word
        node = read(token.text, field, token.start)
        if isinstance(node, Wildcard):
            self._more_wildcards += max(0, node.pattern.count("*") + node.pattern.count("?") - 2)
            if self._more_wildcards > MAX_MORE_WILDCARDS:
                message = "too many words with more than two wildcards"
                raise QueryError(message, token.start, code="query.too_complex")
            self._leading += node.pattern[0] in "*?"
            if self._leading > MAX_LEADING_WILDCARDS:
                message = f"more than {MAX_LEADING_WILDCARDS} words that begin with a wildcard"
                raise QueryError(message, token.start, code="query.too_complex")
        return node

    def _count(self, token: Token) -> None:
        self._terms += 1
        if self._terms > MAX_TERMS:
            raise QueryError(f"more than {MAX_TERMS} terms", token.start, code="query.too_complex")


def _check_near(left: Node, right: Node, operator: Token) -> None:
    """Distances mean something between words of one field, and nowhere else."""
    leaves = [node for node in (*walk(left), *walk(right)) if not isinstance(node, Or)]
    fields: set[str | None] = set()
    for leaf in leaves:
        if not isinstance(leaf, Text | Wildcard | Fuzzy):
            raise QueryError("NEAR and PRE stand between words, phrases or an OR of these", operator.start)
        fields.add(leaf.field)
    if len(fields) > 1:
        raise QueryError("both sides of NEAR or PRE must search the same field", operator.start)
    if fields & set(ADDRESS_FIELDS):
        raise QueryError("NEAR and PRE search text, not addresses", operator.start)
