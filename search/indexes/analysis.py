"""How text becomes searchable words. One analysis for every index, applied to documents and queries alike.

Folding: compatibility forms (ligatures, full width), case, accents and other combining marks of the
Latin, Greek, Cyrillic, Hebrew and Arabic scripts, a few letters without a decomposition (oe, ae, o
with stroke, dotless i ...), and invisible characters (soft hyphen, zero-width, bidi controls).
Vowel signs of Indic scripts are letters to their readers and stay.

Words: runs of letters and digits; everything else (apostrophe, hyphen, underscore, emoji) separates.
Scripts written without spaces (Han, kana, Hangul, Thai, Lao, Khmer, Burmese) give one word a
character, so that a search for a sequence of them is a phrase. Pure functions; no index is known here.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

LONGEST = 128
"""A longer run of letters is cut into several words, in documents and queries alike."""

_LETTERS = {
    "œ": "oe", "æ": "ae", "ø": "o", "đ": "d", "ð": "d", "ł": "l", "þ": "th", "ħ": "h", "ŧ": "t", "ı": "i",
    "ʼ": "'", "ʹ": "'", "ʻ": "'", "ʽ": "'", "ˈ": "'",
}  # fmt: skip

_SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u19e0-\u19ff\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029"
    "\u303b\u3041-\u3096\u3099\u309a\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3105-\u312f\u31a0-\u31bf"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua48c\ua960-\ua97f\uac00-\ud7fb\uf900-\ufaff"
    "\U0001b000-\U0001b16f\U00020000-\U000323af"
)

_FOLDED_MARKS = (
    (0x0300, 0x074A), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF), (0x20D0, 0x20FF), (0xFE00, 0xFE0F),
    (0xFE20, 0xFE2F), (0xE0100, 0xE01EF),
)  # fmt: skip


def _ranges(points: list[int]) -> str:
    """A regular expression's character class content for sorted code points."""
    spans: list[list[int]] = []
    for point in points:
        if spans and point == spans[-1][1] + 1:
            spans[-1][1] = point
        else:
            spans.append([point, point])
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in spans)


def _is_sign(char: str, category: str) -> bool:
    """A sign that stands for letters or digits without joining its neighbours (trade mark, 1/2, circled
    digits): its compatibility form must not melt into the word beside it. Raised digits may (m2)."""
    form = unicodedata.decomposition(char)
    raised = category == "No" and form.startswith(("<super>", "<sub>"))
    return category in ("So", "Sc", "No") and form.startswith("<") and not raised


def _classes() -> tuple[str, str, str]:
    """Character classes: what folding removes, the combining marks that it keeps, and signs."""
    removed: list[int] = [0x0640]  # Arabic tatweel only stretches a word
    kept: list[int] = []
    signs: list[int] = []
    for point in (*range(0xAD, 0x1FFFF), *range(0xE0000, 0xE01F0)):
        category = unicodedata.category(chr(point))
        if category in ("Cf", "Cs"):
            removed.append(point)
        elif category in ("Mn", "Me", "Mc"):
            folded = category != "Mc" and any(low <= point <= high for low, high in _FOLDED_MARKS)
            (removed if folded else kept).append(point)
        elif _is_sign(chr(point), category):
            signs.append(point)
    return _ranges(sorted(removed)), _ranges(kept), _ranges(signs)


_REMOVED, _MARKS, _SIGNS = _classes()
_SIGN = re.compile(f"([{_SIGNS}])")
_REMOVE = re.compile(f"[{_REMOVED}]+")
_SURROGATES = re.compile("[\ud800-\udfff]")
_REPLACE = re.compile(f"[{''.join(_LETTERS)}]")
_MAY_HAVE_MARKS = re.compile("[\u0700-\u1fff\u2c00-\U0010ffff]")  # quick: most text has none of these
_LETTER = rf"[^\W_{_SPACELESS}]"
_ASCII_WORD = re.compile(f"[a-z0-9]{{1,{LONGEST}}}")
_WORD = re.compile(f"[{_SPACELESS}]|{_LETTER}{{1,{LONGEST}}}")
_MARKED_WORD = re.compile(f"[{_SPACELESS}]|(?:{_LETTER}|[{_MARKS}]){{1,{LONGEST}}}")
_PATTERN = re.compile(f"[{_SPACELESS}]|(?:{_LETTER}|[{_MARKS}*?]){{1,{LONGEST}}}")
_RUN = re.compile(  # the first alternative is only there to be quick
    f"[{_SPACELESS}{_SIGNS}]|(?:[0-9A-Za-zÀ-ÖØ-öø-ſ]++|(?![{_SIGNS}]){_LETTER}|[{_MARKS}{_REMOVED}])++"
)
_OPEN_START = re.compile(f"^[*]+(?=[{_SPACELESS}])")
_OPEN_END = re.compile(f"(?<=[{_SPACELESS}])[*]+$")
_SPACELESS_WILDCARD = re.compile(f"[{_SPACELESS}][*?]|[*?][{_SPACELESS}]")


def fold(text: str) -> str:
    """``text`` without the differences that a search ignores; punctuation stays. Idempotent."""
    if text.isascii():
        return text.lower()
    text = _SIGN.sub(r" \1 ", text)
    text = _REMOVE.sub("", unicodedata.normalize("NFKD", text)).casefold()
    text = _REPLACE.sub(lambda found: _LETTERS[found[0]], text)
    # Folding case can bring a decomposable letter or a mark back; NFC rejoins Hangul and voiced kana.
    return unicodedata.normalize("NFC", _REMOVE.sub("", unicodedata.normalize("NFKD", text)))


def words(text: str) -> list[str]:
    """The searchable words of ``text``, in order; their index is their position."""
    folded = fold(text)
    if folded.isascii():
        return _ASCII_WORD.findall(folded)
    return (_MARKED_WORD if _MAY_HAVE_MARKS.search(folded) else _WORD).findall(folded)


def located_words(text: str) -> Iterator[tuple[str, int, int]]:
    """The words of ``text`` with the [start, end) offsets of the run of characters they come from."""
    for run in _RUN.finditer(text):
        start, end = run.span()
        for word in _words_of_run(run[0]) if end - start <= LONGEST else words(run[0]):
            yield word, start, end


@lru_cache(maxsize=16_384)
def _words_of_run(run: str) -> list[str]:
    return words(run)


def pattern_words(pattern: str) -> list[str] | None:
    """The words of a wildcard pattern, ``*`` and ``?`` kept; [] when it says nothing.

    A ``*`` word at either end adds nothing and is dropped. None when wildcards stand where words have
    no edges (inside a script without spaces, or as a whole word between others).
    """
    folded = _OPEN_END.sub("", _OPEN_START.sub("", fold(pattern)))
    if _SPACELESS_WILDCARD.search(folded):
        return None
    found = _PATTERN.findall(folded)
    while found and not found[0].strip("*"):
        del found[0]
    while found and not found[-1].strip("*"):
        del found[-1]
    return None if any(not word.strip("*") for word in found) else found


def is_wild(word: str) -> bool:
    """Whether a word of a pattern holds a wildcard."""
    return "*" in word or "?" in word


def literal_count(word: str) -> int:
    """How many characters of a pattern are not wildcards."""
    return len(word) - word.count("*") - word.count("?")


def matches_pattern(pattern: str, word: str) -> bool:
    """Whether a word of a pattern means ``word``: ``*`` any characters or none, ``?`` exactly one.

    Only the last star is ever tried again, further on, so the work is at most the product of the lengths:
    no pattern makes it explode, as a backtracking regular expression would.
    """
    at = seen = 0
    star, resumed = -1, 0
    while seen < len(word):
        wanted = pattern[at : at + 1]
        if wanted == "*":
            star, resumed = at, seen
            at += 1
        elif wanted and wanted in ("?", word[seen]):
            at += 1
            seen += 1
        elif star >= 0:
            resumed += 1
            at, seen = star + 1, resumed
        else:
            return False
    return not pattern[at:].strip("*")


def regex_of(word: str) -> str:
    """A word of a pattern as a regular expression (RE2 syntax) over whole words."""
    return "".join({"*": ".*", "?": "."}.get(char, re.escape(char)) for char in word)


def keyword(text: str) -> str:
    """A whole value (a file name) for exact and wildcard comparison: folded, single spaces."""
    return " ".join(fold(text).split())


def address_key(address: str) -> str:
    """A mail address for exact comparison: case folds, accents stay (they make another mailbox)."""
    return unicodedata.normalize("NFC", _SURROGATES.sub("", address).strip().casefold())


def address_parts(address: str) -> tuple[str, str]:
    """Local part and domain of an address, as keys; the domain is "" when there is no ``@``."""
    local, at, domain = address_key(address).rpartition("@")
    return (local, domain) if at else (domain, "")
