"""Bytes to text under whatever charset a mail claims; never raises, always free of lone surrogates."""

import codecs
import re
from functools import lru_cache

# What mail means by a name, where that is not what Python means by it. As the WHATWG encoding standard
# does, a name is read as its superset, because that is what senders put under it.
_ALIASES = {
    "iso-8859-1": "cp1252",
    "iso8859-1": "cp1252",
    "latin1": "cp1252",
    "latin-1": "cp1252",
    "ansi": "cp1252",
    "x-ansi": "cp1252",
    "iso-8859-9": "cp1254",
    "iso-8859-8-i": "iso-8859-8",
    "iso-8859-8-e": "iso-8859-8",
    "iso-8859-6-i": "iso-8859-6",
    "tis-620": "cp874",
    "windows-874": "cp874",
    "iso-8859-11": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "x-gbk": "gb18030",
    "cp936": "gb18030",
    "big5": "big5hkscs",
    "big-5": "big5hkscs",
    "x-x-big5": "big5hkscs",
    "shift_jis": "cp932",
    "shift-jis": "cp932",
    "sjis": "cp932",
    "x-sjis": "cp932",
    "ks_c_5601-1987": "cp949",
    "ks_c_5601": "cp949",
    "euc-kr": "cp949",
    "x-windows-949": "cp949",
    "iso-2022-jp": "iso2022_jp_ext",
    "unicode-1-1-utf-8": "utf-8",
    "unicode-1-1-utf-7": "utf-7",
    "x-mac-roman": "mac-roman",
    "macintosh": "mac-roman",
    "x-mac-cyrillic": "mac-cyrillic",
    "x-cp1250": "cp1250",
    "x-cp1251": "cp1251",
    "x-cp1252": "cp1252",
}
# Codecs that are no charset, or that take quadratic time (idna, punycode) or warn (the escapes).
_REFUSED = frozenset(
    (
        *("base64", "bz2", "hex", "quopri", "rot-13", "uu", "zlib"),
        *("idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined", "mbcs", "oem"),
    )
)
_NAME = re.compile(r"[a-z0-9][a-z0-9_.:+-]{0,59}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_ISO_2022_JP = re.compile(rb"\x1b\$[@B]")


@lru_cache(maxsize=512)
def codec_for(charset: str) -> str | None:
    """The Python codec for a charset name as mails write it; None when there is none or it says nothing."""
    name = charset.strip().strip("\"'").lower()
    found = _NAME.match(name)
    if found is None:
        return None
    try:
        codec = codecs.lookup(_ALIASES.get(found.group(), found.group())).name
    except LookupError:
        return None
    return None if codec in _REFUSED or codec == "ascii" else codec


def clean(text: str) -> str:
    """``text`` with U+FFFD for lone surrogates and a space for NUL: neither has a place in the databases."""
    text = without_nul(text)
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def without_nul(text: str) -> str:
    """``text`` with a space for NUL. Enough after every codec but UTF-7, which alone lets surrogates pass."""
    return text.replace("\x00", " ") if "\x00" in text else text


def _western(data: bytes) -> str:
    """Windows-1252, or ISO 8859-1 where that has no character: every byte string has a reading."""
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def guess(data: bytes) -> str:
    """Text of bytes without a (known) charset: UTF-8 if it is, ISO-2022-JP if it says so, else Western."""
    if _ISO_2022_JP.search(data):
        return without_nul(data.decode("iso2022_jp_ext", "replace"))
    try:
        return without_nul(data.decode("utf-8"))
    except UnicodeDecodeError:
        return without_nul(_western(data))


def _broken_utf8(data: bytes) -> str:
    """Bytes that claim UTF-8 and are not: Western when no byte of theirs is UTF-8 beyond ASCII."""
    text = data.decode("utf-8", "replace")
    return text if _has_other_than_ascii(text) else _western(data)


def _has_other_than_ascii(text: str) -> bool:
    return not text.replace("\ufffd", "").isascii()


def decode(data: bytes, charset: str | None) -> str:
    """Text of ``data`` under the ``charset`` it claims, best effort: U+FFFD for what has no meaning."""
    codec = codec_for(charset) if charset else None
    if codec is None:
        return guess(data)
    if codec == "utf-7":
        return clean(data.decode(codec, "replace"))
    try:
        return without_nul(data.decode(codec))
    except UnicodeDecodeError:
        pass
    if codec == "utf-8":
        return without_nul(_broken_utf8(data))
    if codec == "cp1252":
        return without_nul(_western(data))
    return without_nul(data.decode(codec, "replace"))
