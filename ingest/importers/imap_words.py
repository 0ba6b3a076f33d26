"""Words of IMAP: folder lists, folder names, and URLs that name a mail for good."""

import base64
import binascii
import re
from dataclasses import dataclass
from urllib.parse import quote

_LIST = re.compile(rb'\(([^)]*)\) (?:NIL|"(?:[^"\\]|\\.)*") (.*)\Z', re.DOTALL)
_LITERAL = re.compile(rb"\{[0-9]+\+?\}\Z")
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_SHIFTED = re.compile(r"&([A-Za-z0-9+,]*)-")
_NO_FOLDER = (b"\\noselect", b"\\nonexistent")  # RFC 9051 section 7.3.1


@dataclass(frozen=True)
class Folder:
    """A folder by its name as on the wire; ``selectable``: whether it can hold mail."""

    wire: bytes
    selectable: bool = True

    @property
    def quoted(self) -> bytes:
        """As an argument (RFC 9051 section 9, ``quoted``)."""
        return b'"' + re.sub(rb'(["\\])', rb"\\\1", self.wire) + b'"'

    @property
    def sendable(self) -> bool:
        """Whether it can be quoted."""
        return not re.search(rb"[\x00\r\n]", self.wire)

    @property
    def path(self) -> str:
        """For a URL: UTF-8, percent-encoded; the bytes on the wire where these are not modified UTF-7, so that two
        folders never have one path."""
        text = decode_name(self.wire)
        plain = text.encode("utf-8") if text is not None else self.wire
        return quote(plain, safe="/")


def folders(answer: list[bytes | tuple[bytes, bytes] | None]) -> list[Folder]:
    """Of a LIST, as ``imaplib`` gives it: lines, or pairs of a line and a literal. What does not parse is left out by
    no one here: it raises ValueError."""
    found: dict[bytes, Folder] = {}
    for each in answer:
        if each is None or each == b"":
            continue  # no folder at all, or what follows a literal
        line, literal = each if isinstance(each, tuple) else (each, None)
        parsed = _LIST.match(line)
        if parsed is None:
            raise ValueError("a line of LIST that does not parse")
        flags = parsed[1].lower().split()
        name = _name(parsed[2], literal)
        found.setdefault(name, Folder(name, not any(flag in flags for flag in _NO_FOLDER)))
    return list(found.values())


def _name(text: bytes, literal: bytes | None) -> bytes:
    if literal is not None and _LITERAL.match(text):
        return literal
    if text.startswith(b'"') and text.endswith(b'"') and len(text) > 1:
        return _ESCAPED.sub(rb"\1", text[1:-1])
    return text


def decode_name(wire: bytes) -> str | None:
    """Modified UTF-7 (RFC 3501 section 5.1.3) as text, or None for what would not be written so again."""
    try:
        text = _SHIFTED.sub(lambda found: _unshifted(found[1]), wire.decode("ascii"))
        return text if encode_name(text) == wire else None
    except (UnicodeError, binascii.Error):
        return None


def _unshifted(text: str) -> str:
    if not text:
        return "&"
    padded = text.replace(",", "/") + "=" * (-len(text) % 4)
    return base64.b64decode(padded, validate=True).decode("utf-16-be")


def encode_name(text: str) -> bytes:
    """The one way to write a name in modified UTF-7."""

    def shifted(found: re.Match[str]) -> str:
        data = base64.b64encode(found[0].encode("utf-16-be")).decode("ascii")
        return f"&{data.rstrip('=').replace('/', ',')}-"

    return re.sub(r"[^ -~]+", shifted, text.replace("&", "&-")).encode("ascii")


def mail_url(host: str, user: str, folder: Folder, uidvalidity: int, uid: int) -> str:
    """The URL of a mail (RFC 5092): while the server keeps its promise, it never names another one."""
    place = f"{quote(user, safe='')}@{host}/{folder.path}"
    return f"imap://{place};UIDVALIDITY={uidvalidity}/;UID={uid}"


def folder_url(host: str, user: str, folder: Folder) -> str:
    """The URL of a folder."""
    return f"imap://{quote(user, safe='')}@{host}/{folder.path}"
