"""Rich text: compressed as Outlook stores it ([MS-OXRTFCP]), with HTML inside it ([MS-OXRTFEX]), down to its words.

Linear in the size of what goes in and comes out; never raises.
"""

import re
import struct
from dataclasses import dataclass

from ingest.mime.charsets import clean, codec_for
from ingest.mime.markup import html_text

_HEADER = struct.Struct("<IIII")
_COMPRESSED, _PLAIN = 0x75465A4C, 0x414C454D
_WINDOW = 4096
_DEEPEST = 1000
MOST_RTF = 8 << 20
"""Bytes of one rich text that should be read at most: every brace takes its time."""
# What every compressed text may refer to before it has said anything ([MS-OXRTFCP] section 2.1.2.1).
_DICTIONARY = (
    rb"{\rtf1\ansi\mac\deff0\deftab720{\fonttbl;}{\f0\fnil \froman \fswiss \fmodern \fscript \fdecor MS Sans "
    rb"SerifSymbolArialTimes New RomanCourier{\colortbl\red0\green0\blue0"
    b"\r\n"
    rb"\par \pard\plain\f0\fs20\b\i\u\tab\tx"
)

_TOKEN = re.compile(
    r"\\([a-zA-Z]{1,32})(-?\d{1,9})? ?|\\'([0-9a-fA-F]{2})|\\([^a-zA-Z])|([{}])|([^\\{}\r\n]+)", re.DOTALL
)
# Groups whose words nobody reads.
_UNSHOWN = frozenset(
    (
        *("fonttbl", "colortbl", "stylesheet", "info", "pict", "themedata", "colorschememapping"),
        *("datastore", "latentstyles", "listtable", "listoverridetable", "rsidtbl", "generator", "xmlnstbl"),
        *("fldinst", "filetbl", "revtbl", "objdata"),
    )
)
_SIGNS = {
    **dict.fromkeys(("par", "line", "row", "sect", "page", "pard", "cell", "nestcell", "nestrow"), "\n"),
    "tab": "\t",
    "emdash": "\u2014",
    "endash": "\u2013",
    "bullet": "\u2022",
    "lquote": "\u2018",
    "rquote": "\u2019",
    "ldblquote": "\u201c",
    "rdblquote": "\u201d",
}
_ESCAPES = {"~": "\u00a0", "_": "\u2011", "\n": "\n", "\r": "\n", "\\": "\\", "{": "{", "}": "}"}


def expand_rtf(data: bytes, most: int) -> tuple[bytes, bool]:
    """Undo the compression of PR_RTF_COMPRESSED, up to ``most`` bytes; and whether that is all of it."""
    if len(data) < _HEADER.size:
        return b"", False
    _, size, magic, _ = _HEADER.unpack_from(data)
    if magic == _PLAIN:
        plain = data[_HEADER.size : _HEADER.size + min(size, most)]
        return plain, len(plain) == size
    if magic != _COMPRESSED:
        return b"", False
    return _expanded(data, most)


def _expanded(data: bytes, most: int) -> tuple[bytes, bool]:
    out = bytearray(_DICTIONARY)
    most += len(_DICTIONARY)
    position, end = _HEADER.size, len(data)
    while position < end:
        control = data[position]
        position += 1
        for bit in range(8):
            if len(out) >= most:
                return bytes(out[len(_DICTIONARY) : most]), False
            if not control >> bit & 1:
                out += data[position : position + 1]
                position += 1
                continue
            reference = int.from_bytes(data[position : position + 2], "big")
            position += 2
            back = (len(out) - (reference >> 4)) % _WINDOW
            if back == 0 or position > end:  # a reference to the place of writing is the end
                return bytes(out[len(_DICTIONARY) :]), back == 0 and position <= end
            if back > len(out):
                return bytes(out[len(_DICTIONARY) :]), False
            length = (reference & 15) + 2
            piece = out[len(out) - back : len(out) - back + length]
            out += (piece * (length // len(piece) + 1))[:length]
    return bytes(out[len(_DICTIONARY) :]), False


@dataclass(slots=True)
class _Group:
    """What holds between two braces."""

    shown: bool = True
    rich_only: bool = False  # what such HTML does not show
    skip: int = 1  # characters that stand in for one of Unicode


class _Reader:
    """One pass. ``out`` holds text; bytes of the code page wait in ``waiting`` until they are whole characters."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.out: list[str] = []
        self.waiting = bytearray()
        self.codec = "cp1252"
        self.is_html = False
        self.skipping = 0
        self.group = _Group()
        self.outer: list[_Group] = []

    def read(self) -> None:
        position = 0
        starred = False
        while (found := _TOKEN.search(self.text, position)) is not None:
            position = found.end()
            word, number, byte, escape, brace, plain = found.groups()
            if word is not None:
                if word == "bin":
                    position += max(0, int(number or 0))
                self._word(word, number, starred=starred)
            elif byte is not None:
                self._byte(int(byte, 16))
            elif brace is not None:
                self._brace(brace)
            elif plain is not None:
                self._say(plain if plain.isascii() else plain.encode("latin-1").decode(self.codec, "replace"))
            elif escape in _ESCAPES:
                self._say(_ESCAPES[escape])
            starred = escape == "*"
        self._flush()

    def _brace(self, brace: str) -> None:
        self.skipping = 0
        if brace == "{":
            group = self.group
            self.outer.append(group)
            if len(self.outer) < _DEEPEST:  # groups that lie deeper are as good as one
                self.group = _Group(group.shown, group.rich_only, group.skip)
        elif self.outer:
            self.group = self.outer.pop()

    def _word(self, word: str, number: str | None, *, starred: bool) -> None:
        if word == "htmltag" and starred:  # the tags of HTML that was turned into rich text
            self.group.shown = self.group.shown and self.is_html
        elif word in _UNSHOWN or (starred and word != "shppict"):
            self.group.shown = False
        elif word == "u" and number is not None:
            self._say(chr(int(number) & 0xFFFF))
            self.skipping = self.group.skip
        elif word == "uc":
            self.group.skip = min(max(0, int(number or 1)), 8)
        elif word == "htmlrtf":
            self.group.rich_only = number != "0"
        elif word == "fromhtml":
            self.is_html = number != "0"
        elif word == "ansicpg":
            self.codec = codec_for(f"cp{number}") or self.codec
        elif word in _SIGNS:
            self._say(_SIGNS[word])

    def _byte(self, value: int) -> None:
        if self.skipping:
            self.skipping -= 1
        elif self._is_shown():
            self.waiting.append(value)

    def _is_shown(self) -> bool:
        return self.group.shown and not (self.is_html and self.group.rich_only)

    def _say(self, text: str) -> None:
        if self.skipping:
            text, self.skipping = text[self.skipping :], max(0, self.skipping - len(text))
        if text and self._is_shown():
            self._flush()
            self.out.append(text)

    def _flush(self) -> None:
        if self.waiting:
            self.out.append(self.waiting.decode(self.codec, "replace"))
            self.waiting.clear()


def _whole_characters(text: str) -> str:
    """Pairs of surrogates as the characters they stand for."""
    return clean(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))


def rtf_text(data: bytes) -> str:
    """The words of a rich text. HTML that was put into it is read as HTML. Of a character that its font alone
    places in a code page, the document's code page is used."""
    reader = _Reader(data.decode("latin-1"))
    reader.read()
    text = _whole_characters("".join(reader.out))
    if reader.is_html:
        return html_text(text)
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return "\n".join(line for line in lines if line)
