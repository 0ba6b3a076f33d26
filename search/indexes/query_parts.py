"""What of a query means the same to every index: words, sides of NEAR and PRE, keys of addresses. Pure."""

from collections.abc import Iterator, Sequence

from archive_service.model.errors import QueryError
from search.indexes import analysis
from search.query_language import Fuzzy, Near, Node, Or, Text, Wildcard, walk
from search.query_tree import WORD_FIELDS

ADDRESS_INDEX_FIELDS = ("from", "to", "cc", "bcc", "other")
MAX_LAYOUTS = 4096
"""Layouts of all NEAR and PRE of a query that are tried; phrases far apart within many alternatives need more."""


def check_layouts(query: Node) -> None:
    """Raises QueryError ``query.too_complex`` for a query of more than MAX_LAYOUTS layouts, ``query.unsupported`` for
    sides of NEAR and PRE that have no words."""
    layouts = 0
    for part in walk(query):
        layouts += _layouts(part) if isinstance(part, Near) else 0
        if layouts > MAX_LAYOUTS and isinstance(part, Near):
            message = "too many alternatives, or too far apart, for NEAR and PRE"
            raise QueryError(message, part.position, code="query.too_complex")


def address_term(text: str) -> str:
    """The exact key that ``anne@ex.fr``, ``@ex.fr`` or ``anne@`` asks for."""
    local, domain = analysis.address_parts(text)
    if not local:
        return f"d:{domain}"
    return f"a:{local}@{domain}" if domain else f"l:{local}"


def fields_of(node: Near) -> Sequence[str]:
    """The fields that a NEAR or PRE looks into."""
    field = next(_leaves(node.left)).field
    return WORD_FIELDS if field is None else (field,)


def alternatives(side: Node, near: Near) -> list[list[str]]:
    """The phrases (words, or wild words) that one side of ``near`` stands for. Raises QueryError
    ``query.unsupported``."""
    found = []
    for leaf in _leaves(side):
        words = [] if isinstance(leaf, Fuzzy) else words_of(leaf)
        if not words or not all(is_specific(word) for word in words):
            message = "NEAR and PRE take words, phrases and plain wildcards here, no fuzzy words"
            raise QueryError(message, near.position, code="query.unsupported")
        found.append(words)
    return found


def text_of(node: Text | Wildcard) -> str:
    """What was asked for, as written."""
    return node.text if isinstance(node, Text) else node.pattern


def words_of(node: Text | Wildcard) -> list[str]:
    """Words, or wild words; [] for a pattern that makes sense on whole values only."""
    if isinstance(node, Text):
        return analysis.words(node.text)
    return analysis.pattern_words(node.pattern) or []


def is_specific(word: str) -> bool:
    """Whether a word says enough to be looked up."""
    return not analysis.is_wild(word) or analysis.literal_count(word) >= 2


def _layouts(node: Near) -> int:
    """How many phrases it stands for: of two single words one or two, of longer sides one a place."""
    sides = [[len(words) for words in alternatives(side, node)] for side in (node.left, node.right)]
    all_pairs, single = len(sides[0]) * len(sides[1]), sides[0].count(1) * sides[1].count(1)
    one_way = single * (2 - node.distance % 2) + (all_pairs - single) * node.distance
    return one_way * (1 if node.ordered else 2) * len(fields_of(node))


def _leaves(node: Node) -> Iterator[Text | Wildcard | Fuzzy]:
    if isinstance(node, Or):
        for part in node.parts:
            yield from _leaves(part)
    elif isinstance(node, Text | Wildcard | Fuzzy):
        yield node
