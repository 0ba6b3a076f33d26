"""Names that stand in lists and on paper."""

import pytest

from archive_service.model.one_line import is_line


@pytest.mark.parametrize(
    "text", ["RG n\u00b0\u00a026/01234", "Société « Été »", "会社", "x" * 500, "👩\u200d⚖️"]
)
def test_a_line_is_any_text_that_says_something(text):
    assert is_line(text)


@pytest.mark.parametrize(
    "text", ["", " \t", "two\nlines", "two\u2028lines", "a\x00b", "\ud800", "x" * 501, None, 7, ["x"]]
)
def test_no_line_breaks_a_list(text):
    assert not is_line(text)
