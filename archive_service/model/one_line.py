"""Names and the like, which stand in lists and on paper: one line, and not a long one."""

import unicodedata

LONGEST = 500  # characters
A_LINE = f"one line of {LONGEST} characters at most"
_BREAKING = frozenset(
    {"Cc", "Cs", "Zl", "Zp"}
)  # controls, halves of characters, separators of lines and paragraphs


def is_line(text: object) -> bool:
    """Whether it is a text that says something, on one line, of 500 characters at most."""
    if not isinstance(text, str) or not text.strip() or len(text) > LONGEST:
        return False
    return _BREAKING.isdisjoint(map(unicodedata.category, text))
