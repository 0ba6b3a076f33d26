"""Fuzzy words, exactly.

Lucene's fuzzy query leaves out words that differ in as many letters as the shorter of the two has. That happens where
the word asked for has at most four letters; such a word is spelled out as one regular expression of everything that
lies within its distance. (A swap of neighbours counts as one, and nothing is changed twice.)
"""

from collections.abc import Iterator
from typing import Any

SPELLED_OUT = 4
"""Letters up to which a word is spelled out. A longer one differs in at most two letters of at least three."""


def fuzzy(field: str, word: str, distance: int) -> dict[str, Any]:
    """The query for words of ``field`` within ``distance`` of ``word``."""
    if len(word) <= SPELLED_OUT:
        spelled = "|".join(sorted(set(_within(word, distance)) - {""}))
        return {"regexp": {field: {"value": spelled, "flags": "NONE", "rewrite": "constant_score"}}}
    about = {
        "value": word,
        "fuzziness": distance,
        "prefix_length": 0,
        "transpositions": True,
        # of all words within the distance, not of the fifty nearest
        "rewrite": "constant_score",
    }
    return {"fuzzy": {field: about}}


def _within(word: str, left: int) -> Iterator[str]:
    """Expressions for all words that at most ``left`` changes lead to; ``.`` is any letter."""
    if not word:
        yield from ("." * more for more in range(left + 1))
        return
    for rest in _within(word[1:], left):
        yield word[0] + rest
    if left == 0:
        return
    yield from _within(word[1:], left - 1)  # dropped
    for rest in _within(word[1:], left - 1):  # changed
        yield "." + rest
    for rest in _within(word, left - 1):  # one more before it
        yield "." + rest
    if len(word) > 1:
        for rest in _within(word[2:], left - 1):  # swapped
            yield word[1] + word[0] + rest
