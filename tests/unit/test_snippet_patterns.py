"""Patterns of a search compared with words in Python: right, and bounded whatever stands in query and mail."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.indexes import analysis, snippets
from search.query_language import Fuzzy, Or, Text, Wildcard, parse

_PATTERNS = st.text("ab*?", max_size=9)


@given(_PATTERNS, st.text("abc", max_size=12))
def test_a_pattern_means_what_its_regular_expression_means(pattern: str, word: str) -> None:
    expected = re.fullmatch(analysis.regex_of(pattern), word) is not None
    assert analysis.matches_pattern(pattern, word) is expected


class _Counted(str):
    """A word that counts the looks at its characters."""

    looks = 0

    def __getitem__(self, place: object) -> str:
        type(self).looks += 1
        return str(super().__getitem__(place))  # type: ignore[index]


@pytest.mark.parametrize("pattern", ["*" + "a*" * 14 + "b", "a*" * 40 + "b", "*a" + "?" * 40 + "*b"])
def test_no_pattern_takes_more_than_the_product_of_the_lengths(pattern: str) -> None:
    _Counted.looks = 0
    word = _Counted("a" * analysis.LONGEST)
    assert not analysis.matches_pattern(pattern, word)
    assert 0 < _Counted.looks <= len(pattern) * len(word)


def test_a_pattern_that_takes_long_in_a_regular_expression_marks_at_once() -> None:
    hostile = Wildcard("*" + "a*" * 14 + "b")
    marked = snippets.Snippets(Or((Text("hello"), hostile))).of({"body": "hello " + "a" * 60})
    assert marked == ("<b>hello</b> " + "a" * 60,)


def test_the_snippets_of_one_search_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the work is spent, plain words are still marked, and patterns no longer."""
    monkeypatch.setattr(snippets, "_PATTERN_WORK", 20)
    make = snippets.Snippets(Or((Text("plain"), Wildcard("patt*"), Fuzzy("fuzzy", 1))))
    assert make.of({"subject": "pattern"}) == ("<b>pattern</b>",)
    assert make.of({"subject": "fuzzi patterns plain"}) == ("fuzzi patterns <b>plain</b>",)
    assert snippets.Snippets(parse("fuzzy~1")).of({"subject": "fuzzi"}) == ("<b>fuzzi</b>",)
