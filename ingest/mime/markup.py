"""HTML and other marked-up text to the words people read in it."""

import re
from html import unescape

from selectolax.lexbor import LexborHTMLParser

from ingest.mime.charsets import clean, without_nul

# A block ends a word, an inline element does not: <b>con</b>trat is one word, <td>a</td><td>b</td> two.
_BLOCK = re.compile(  # the flag stands inside, so that the search for "<" is a plain one
    r"<(?=/?(?i:address|article|aside|blockquote|body|br|button|caption|center|dd|details|div|dl|dt|fieldset|"
    r"figcaption|figure|footer|form|h[1-6]|head|header|hr|html|img|input|legend|li|main|nav|ol|option|p|pre|"
    r"section|select|summary|table|tbody|td|textarea|tfoot|th|thead|title|tr|ul)\b)"
)
_TAG = re.compile(r"<(/?)[a-zA-Z][^<>]*>")
# HTML trees take a time that grows with the square of their depth: beyond these bounds tags are only cut out.
_MANY_TAGS = 20_000
_DEEP = 5_000
_META_CHARSET = re.compile(
    rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([A-Za-z0-9_.:-]{2,40})""", re.IGNORECASE
)
_FOLDED_LINE = re.compile(r"\r?\n[ \t]")
_CALENDAR_ESCAPE = re.compile(r"\\([nN,;\\])")


def _is_deep(html: str) -> bool:
    if html.count("<") <= _MANY_TAGS:
        return False
    depth = 0
    for tag in _TAG.finditer(html):
        depth += -1 if tag.group(1) else 1
        if depth > _DEEP:
            return True
    return False


def html_text(html: str) -> str:
    """The text of an HTML document, entities decoded, without scripts, styles and comments.

    A document nested absurdly deep is read without regard to its structure: no word of it is lost.
    """
    if _is_deep(html):
        return _squeezed(clean(unescape(_TAG.sub("\n", html))))
    tree = LexborHTMLParser(_BLOCK.sub("\n<", html))
    tree.strip_tags(["script", "style", "noscript", "template"])
    root = tree.root
    if root is None:
        return ""
    return _squeezed(without_nul(root.text(deep=True, separator="", strip=False)))


def _squeezed(text: str) -> str:
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return "\n".join(line for line in lines if line)


def html_charset(data: bytes) -> str | None:
    """The charset that the head of an HTML document declares, for mails that do not say it themselves."""
    found = _META_CHARSET.search(data, 0, 4096)
    return found.group(1).decode("ascii") if found is not None else None


def calendar_text(text: str) -> str:
    """iCalendar or vCard lines unfolded and unescaped (RFC 5545 sections 3.1 and 3.3.11)."""
    return _CALENDAR_ESCAPE.sub(_calendar_character, _FOLDED_LINE.sub("", text))


def _calendar_character(found: re.Match[str]) -> str:
    return "\n" if found.group(1) in "nN" else found.group(1)
