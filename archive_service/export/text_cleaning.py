"""Text as the report may set it: composed, without controls, Arabic letters joined, nothing invisible left
that could make a line read otherwise than it is."""

import re
import unicodedata

from arabic_reshaper import ArabicReshaper

_ARABIC = re.compile("[\u0600-\u06ff\u0750-\u077f\u08a0-\u08ff]")
_RTL = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]")
_OVERRIDES = re.compile("[\u202d\u202e]")
_STEERS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_LINE_ENDS = re.compile("\r\n|[\r\n\x0b\x0c\x85\u2028\u2029]")
_SPACES = re.compile("[\u1680\u2000-\u200a\u202f\u205f]")
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
# Soft hyphens, zero-width marks, bidirectional embeddings and isolates, variation selectors, skin tones,
# keycap frames, tags: each changes only how a neighbour looks.
_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u180b-\u180f\u200b\u200e\u200f\u202a-\u202c\u2060-\u206f\u20e3"
    "\ufe00-\ufe0f\ufeff\ufff9-\ufffb\U0001f3fb-\U0001f3ff\U000e0000-\U000e01ef]"
)
_JOINERS = re.compile("[\u200c\u200d]")
_reshaper = ArabicReshaper(
    configuration={
        "delete_harakat": False,
        "support_zwj": True,
        "ARABIC LIGATURE ALLAH": False,
    }
)


def clean(text: str) -> str:
    """What to set for ``text``, in logical order, lines ended by newlines.

    Characters that override the direction of text are shown as ``[U+202E]``, since they make names read
    backwards; control characters become U+FFFD.
    """
    if text.isascii() and text.isprintable():
        return text
    text = _LINE_ENDS.sub("\n", unicodedata.normalize("NFC", text))
    text = _OVERRIDES.sub(lambda match: f"[U+{ord(match.group()):04X}]", text)
    text = _SPACES.sub(" ", _UNSEEN.sub("", _CONTROLS.sub("\ufffd", text))).replace("\u2011", "-")
    if _ARABIC.search(text):
        text = "\n".join(_reshaper.reshape(line) for line in text.split("\n"))
    return _JOINERS.sub("", text).expandtabs(4)


def one_line(text: str) -> str:
    """The same on one line: line ends become spaces."""
    return clean(text).replace("\n", " ")


def steers(text: str) -> bool:
    """Whether the text has a character of UAX #9 that steers its direction: override, embedding, isolate, mark."""
    return not text.isascii() and _STEERS.search(text) is not None


def reads_right_to_left(text: str) -> bool:
    """Whether the text has a letter that is written from the right."""
    return _RTL.search(text) is not None
