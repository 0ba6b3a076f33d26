"""The typefaces of the report: which one has a character, and cutting one down to the characters used.

Noto Sans and its sisters come as variable fonts, the Han ones with a hairline default weight: each is
subset to what the report needs, then fixed at weight 400 or 700. What remains is a plain TrueType file.
"""

import io
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import as_file, files

REGULAR, BOLD = 400, 700
REPLACEMENT = "\ufffd"
MONO = "mono"  # Courier, which every PDF reader has; for ASCII only
_MONO_WIDTH = 600
_NOTO = "manimgx_fonts"
_HAN = "justmytype_intl_cjk"
_SCRIPTS = (
    *("Arabic", "Hebrew", "Armenian", "Georgian", "Devanagari", "Bengali", "Gurmukhi", "Gujarati", "Oriya"),
    *("Tamil", "Telugu", "Kannada", "Malayalam", "Sinhala", "Thai", "Lao", "Khmer", "Myanmar", "Ethiopic"),
    "Symbols",
)
_FILES: dict[str, tuple[str, str]] = {
    "Sans": (_NOTO, "NotoSans[wght].ttf"),
    **{script: (_NOTO, f"NotoSans{script}[wght].ttf") for script in _SCRIPTS},
    "Emoji": (_NOTO, "NotoEmoji[wght].ttf"),
    **{
        han: (_HAN, f"fonts/ofl/notosans{han.lower()}/NotoSans{han}[wght].ttf")
        for han in ("SC", "JP", "KR", "TC")
    },
}
_DROPPED = ("BASE", "GDEF", "GPOS", "GSUB", "JSTF", "MVAR", "STAT", "VORG", "VVAR", "vhea", "vmtx", "gasp")
_cutting = threading.Lock()  # fontTools keeps module-level state while it subsets


@dataclass(frozen=True)
class Face:
    """A font cut to measure. ``widths``: code point -> advance in thousandths of the size. ``data``: a
    TrueType file; empty for the built-in fixed-width face."""

    key: str
    data: bytes
    widths: Mapping[int, float]


def face_key(family: str, weight: int) -> str:
    """The name under which a family at a weight goes in pages."""
    return family if family == MONO else f"{family}-{weight}"


@cache
def _covered(family: str) -> frozenset[int]:
    from fontTools.ttLib import TTFont

    package, name = _FILES[family]
    with as_file(files(package) / name) as path, TTFont(path, lazy=True) as font:
        return frozenset(font.getBestCmap())


@lru_cache(maxsize=65536)
def family_of(char: str, han: str) -> str | None:
    """The family that has the character, Latin first; Han characters as ``han`` (SC, JP, KR or TC) draws
    them if it can. None: no family has it."""
    code = ord(char)
    order = sorted(_FILES, key=lambda family: family == han, reverse=True) if _is_han(code) else _FILES
    return next((family for family in order if code in _covered(family)), None)


def _is_han(code: int) -> bool:
    return 0x2E80 <= code <= 0x9FFF or 0xAC00 <= code <= 0xD7FF or 0xF900 <= code <= 0xFAFF or code >= 0x20000


def han_of(text: str) -> str:
    """Which East Asian drawing a text wants: kana says Japanese, hangul Korean, bopomofo traditional
    Chinese; else simplified."""
    for first, last, han in (
        ("\u3041", "\u30ff", "JP"),
        ("\uac00", "\ud7a3", "KR"),
        ("\u3105", "\u312f", "TC"),
    ):
        if any(first <= char <= last for char in text):
            return han
    return "SC"


def cut(family: str, weight: int, characters: Iterable[str]) -> Face:
    """The family's face at a weight, with just these characters and the space."""
    if family == MONO:
        return Face(MONO, b"", dict.fromkeys(range(32, 127), _MONO_WIDTH))
    from fontTools import subset
    from fontTools.ttLib import TTFont
    from fontTools.varLib import instancer

    package, name = _FILES[family]
    options = subset.Options(
        layout_features=[], hinting=False, glyph_names=False, notdef_outline=True, name_IDs=[1, 2, 4, 6]
    )
    options.drop_tables += _DROPPED
    wanted = {ord(char) for char in characters} | {0x20}
    with _cutting, as_file(files(package) / name) as path, TTFont(path, lazy=True) as font:
        cutter = subset.Subsetter(options)
        cutter.populate(unicodes=wanted)
        cutter.subset(font)
        instancer.instantiateVariableFont(font, {"wght": weight}, inplace=True)
        for record in font["name"].names:  # ReportLab takes two faces of one name for the same
            record.string = f"Noto{family}-{weight}"
        font["head"].created = font["head"].modified = 0
        font.recalcTimestamp = False
        scale = 1000 / font["head"].unitsPerEm
        advances = font["hmtx"]
        widths = {code: advances[glyph][0] * scale for code, glyph in font.getBestCmap().items()}
        data = io.BytesIO()
        font.save(data)
    return Face(face_key(family, weight), data.getvalue(), widths)
