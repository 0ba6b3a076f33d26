"""HTML and other marked-up text to the words people read in it."""

import re
from collections.abc import Iterator
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
_MANY_COMMENTS = 500
# The time that a tag takes grows with the square of its attributes. A tag that has too many, wherever a reader may
# think that one begins; each "<" counts as one more, which keeps this search linear.
_MANY_ATTRIBUTES = re.compile(
    r"<[a-zA-Z][^\s/><]*+"
    r"(?:[\s/]*+[^\s/>][^\s/>=<]*+(?:\s*+=\s*+(?:\"[^\"]*+\"|'[^']*+'|[^\s><]*+))?+){200}"
)
_SAID = re.compile(r"\b(?i:alt|title)\s*+=\s*+(?:\"([^\"]*+)\"|'([^']*+)')")
_TEMPLATE = re.compile(r"<(?=/?(?i:template)\b)(/?)\w+")
# What only Outlook shows, a comment to others; and the settings of Office that stand in most of them.
_CONDITION = re.compile(r"<!--\[(?i:if)\b[^\]>]{0,200}\]>")
_OFFICE_SETTING = re.compile(
    r"<([ow]:[a-z]{1,40})>(?:\d{1,4}|true|false|normal|x-none|[a-z]{2}-[a-z]{2})</\1>", re.IGNORECASE
)
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

    After it stand what conditional comments show in Outlook alone, and the texts of ``alt`` and ``title``
    attributes. A document nested absurdly deep, or with tags of hundreds of attributes, is read without
    regard to its structure: no word of it is lost.
    """
    if _is_deep(html) or _MANY_ATTRIBUTES.search(html) is not None:
        return _squeezed(clean(_cut(html)))
    text, said = _read(html)
    pieces = [text]
    for number, comment in enumerate(_conditional_comments(html)):
        if number < _MANY_COMMENTS:
            shown, more = _read(_OFFICE_SETTING.sub("", comment))
            said += more
        else:  # a tree for each would take long
            shown = clean(_cut(comment))
        pieces.append(shown)
    return _squeezed("\n".join([*pieces, *dict.fromkeys(said)]))


def _cut(html: str) -> str:
    """All text, that of scripts too, and the ``alt`` and ``title`` attributes, without building a tree."""
    attributes = [found.group(1) or found.group(2) or "" for found in _SAID.finditer(html)]
    return unescape("\n".join([_TAG.sub("\n", html), *attributes]))


def _read(html: str) -> tuple[str, list[str]]:
    """The text, and what its ``alt`` and ``title`` attributes say. Templates are blocks to old readers."""
    tree = LexborHTMLParser(_BLOCK.sub("\n<", _TEMPLATE.sub(r"<\1div", html)))
    tree.strip_tags(["script", "style"])
    root = tree.root
    if root is None:
        return "", []
    attributes = [node.attributes for node in tree.css("[alt], [title]")]
    said = [value for found in attributes for name in ("alt", "title") if (value := found.get(name))]
    text = root.text(deep=True, separator="", strip=False)
    return without_nul(text), [without_nul(value) for value in said]


def _conditional_comments(html: str) -> Iterator[str]:
    """Their content, each a document of its own: a tag left open in one hides nothing of the others."""
    position = 0
    while (found := _CONDITION.search(html, position)) is not None:
        end = html.find("-->", found.end())
        position = end + 3 if end >= 0 else len(html)
        yield html[found.end() : end if end >= 0 else position]


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
