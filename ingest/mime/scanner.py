"""The structure of a mail as byte offsets: header blocks and multipart boundaries (RFC 5322, 2045, 2046).

Nothing is copied but header values, nothing is decoded but Content-Type and the like. Lines end with CRLF
or LF, mixed at will. Work is linear in the size of the mail times its nesting, which is bounded.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ingest.mime.headers import Media, parse_media, unfold

MAX_DEPTH = 30
MAX_PARTS = 10_000

_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)\n?")
_CR = 13
_LINE_END = b"\r\n"
_BLANK = re.compile(rb"\r*\n")
_LINE = re.compile(rb"[^\n]*\n?")
_KNOWN_FIELD = re.compile(
    rb"(?:received|return-path|delivered-to|from|to|cc|bcc|reply-to|sender|subject|date|message-id|references|"
    rb"in-reply-to|mime-version|content-[a-z-]+|x-[a-z0-9_-]+|list-[a-z-]+|dkim-signature|importance)[ \t]*:",
    re.IGNORECASE,
)
_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+")
_TOKEN = re.compile(r"[a-z0-9._-]{1,40}")
_IDENTITY = frozenset(("", "7bit", "8bit", "binary"))
_ENCODINGS = {
    "7-bit": "7bit",
    "8-bit": "8bit",
    "quoted-printable": "quoted-printable",
    "quotedprintable": "quoted-printable",
    "base64": "base64",
    "base-64": "base64",
    "uuencode": "uuencode",
    "x-uuencode": "uuencode",
    "uue": "uuencode",
    "x-uue": "uuencode",
}
_MESSAGES = frozenset(("message/rfc822", "message/global"))


@dataclass(frozen=True, slots=True)
class Headers:
    """One header block: lower-case names and raw values (folded as they stand), in order."""

    fields: tuple[tuple[str, bytes], ...]
    end: int  # where the body begins

    def first(self, name: str) -> bytes | None:
        """The value of the first field of this lower-case name, or None."""
        for found, value in self.fields:  # asked often: a loop is twice as fast as a generator here
            if found == name:
                return value
        return None

    def all(self, name: str) -> list[bytes]:
        """The values of all fields of this lower-case name, in order."""
        return [value for found, value in self.fields if found == name]

    def __contains__(self, name: str) -> bool:
        return any(found == name for found, _ in self.fields)


def scan_headers(raw: bytes, start: int, end: int) -> Headers:
    """The header block at ``start``: up to its blank line, the first line that is no field, or ``end``.

    A leading mbox ``From `` line is passed over. So is a line that is no field when a well-known field
    follows it: a fold whose space got lost must not hide the rest of the header. A line that begins with two
    hyphens is none of these: it is a delimiter whose part has no blank line.
    """
    fields: list[tuple[str, bytes]] = []
    position = start
    if raw.startswith((b"From ", b">From "), start, end):
        position = _next_line(raw, start, end)
    while position < end:
        if raw[position] in _LINE_END:
            blank = _BLANK.match(raw, position, end)
            if blank is not None:
                return Headers(tuple(fields), blank.end())
        found = _FIELD.match(raw, position, end)
        if found is not None:
            name, value = found.groups()
            fields.append((name.decode("ascii").lower(), value))
            position = found.end()
            continue
        after = _next_line(raw, position, end)
        if raw[position] not in b" \t" and (
            raw.startswith(b"--", position, end) or _KNOWN_FIELD.match(raw, after, end) is None
        ):
            break
        position = after
    return Headers(tuple(fields), min(position, end))


def _next_line(raw: bytes, position: int, end: int) -> int:
    found = _LINE.match(raw, position, end)
    return found.end() if found is not None else end


@dataclass(slots=True)
class Entity:
    """A message or a part of one. ``start`` .. ``body`` is its header block, ``body`` .. ``end`` its body.

    ``children`` are the parts of a multipart, or the one message inside a ``message/rfc822``.
    """

    start: int
    body: int
    end: int
    headers: Headers
    media: Media
    content_type: str
    encoding: str
    path: str = ""
    children: list["Entity"] = field(default_factory=list)

    @property
    def is_message(self) -> bool:
        """A message/rfc822 (or message/global) part."""
        return self.content_type in _MESSAGES

    def leaves(self) -> Iterator["Entity"]:
        """Parts that hold content, in order; a message part comes before the leaves inside it."""
        stack = [self]
        while stack:
            entity = stack.pop()
            if entity.is_message or not entity.children:
                yield entity
            stack.extend(reversed(entity.children))


@dataclass(slots=True)
class Tree:
    """A scanned message. ``complete`` is False when a bound (depth, number of parts) cut the scan short."""

    root: Entity
    complete: bool = True


def _encoding(headers: Headers) -> str:
    value = unfold((headers.first("content-transfer-encoding") or b"")[:200]).decode("latin-1").lower()
    word = _TOKEN.match(value.strip("\"' "))
    name = word.group() if word is not None else ""
    return _ENCODINGS.get(name, name or "7bit")


def _content_type(media: Media, default: str) -> str:
    if not media.value:
        return default
    found = _MEDIA_TYPE.fullmatch(media.value)
    return media.value if found is not None and len(media.value) <= 127 else "text/plain"


class _Scan:
    def __init__(self, raw: bytes, max_depth: int, max_parts: int) -> None:
        self.raw = raw
        self.max_depth = max_depth
        self.parts_left = max_parts
        self.complete = True

    def entity(self, start: int, end: int, depth: int, default: str = "text/plain") -> Entity:
        self.parts_left -= 1
        headers = scan_headers(self.raw, start, end)
        value = headers.first("content-type")
        media = parse_media(value) if value is not None else Media("")
        kind = _content_type(media, default)
        entity = Entity(start, headers.end, end, headers, media, kind, _encoding(headers))
        if kind.startswith("multipart/"):
            self._multipart(entity, depth)
        elif entity.is_message and entity.encoding in _IDENTITY:
            self._message(entity, depth)
        return entity

    def _multipart(self, entity: Entity, depth: int) -> None:
        boundary = entity.media.boundary
        if not boundary:
            return
        default = "message/rfc822" if entity.content_type == "multipart/digest" else "text/plain"
        for start, end in self._split(entity.body, entity.end, boundary):
            if depth >= self.max_depth or self.parts_left <= 0:
                self.complete = False
                return
            entity.children.append(self.entity(start, end, depth + 1, default))

    def _message(self, entity: Entity, depth: int) -> None:
        if entity.body == entity.end:
            return
        if depth >= self.max_depth or self.parts_left <= 0:
            self.complete = False
            return
        entity.children.append(self.entity(entity.body, entity.end, depth + 1))

    def _split(self, start: int, end: int, boundary: bytes) -> Iterator[tuple[int, int]]:
        """The parts between delimiter lines; without a closing one the last part ends with its parent."""
        opened: int | None = None
        for before, after, closing in self._delimiters(start, end, boundary):
            if opened is not None:
                yield opened, max(opened, before)
            if closing:
                return
            opened = after
        if opened is not None:
            yield opened, end

    def _delimiters(self, start: int, end: int, boundary: bytes) -> Iterator[tuple[int, int, bool]]:
        """Each delimiter line: where it begins (the line end before it is its own, RFC 2046 section 5.1.1),
        where the next line begins, and whether it is the closing one. Trailing white space is allowed."""
        raw, needle = self.raw, b"\n--" + boundary
        length = len(needle) - 1
        position = start if raw.startswith(needle[1:], start, end) else self._find(needle, start, end)
        while position >= 0:
            line_end = _next_line(raw, position, end)
            rest = raw[position + length : line_end].rstrip(b" \t\r\n")
            if rest in (b"", b"--"):
                before = position - 1 if position > start else position
                if before > start and raw[before - 1] == _CR:
                    before -= 1
                yield before, line_end, rest == b"--"
            position = self._find(needle, line_end - 1, end)

    def _find(self, needle: bytes, start: int, end: int) -> int:
        found = self.raw.find(needle, start, end)
        return found + 1 if found >= 0 else -1


def _number(root: Entity) -> None:
    """Give every part its path (RFC 9051 section 6.4.5.1); iterative, for depth is the sender's choice."""
    stack: list[tuple[Entity, str]] = [(root, "")]
    while stack:
        message, prefix = stack.pop()
        if message.content_type.startswith("multipart/") and message.children:
            message.path = prefix
            parts = [
                (child, f"{prefix}.{n}" if prefix else str(n)) for n, child in enumerate(message.children, 1)
            ]
        else:
            parts = [(message, f"{prefix}.1" if prefix else "1")]
        for part, path in parts:
            part.path = path
            if part.is_message:
                stack.extend((child, path) for child in part.children)
            elif part.children:
                stack.append((part, path))


def scan(raw: bytes, start: int, end: int, *, max_depth: int = MAX_DEPTH, max_parts: int = MAX_PARTS) -> Tree:
    """Scan the message in ``raw[start:end]``. Never raises for what it contains.

    ``max_depth`` counts multiparts and messages inside each other: 1 finds the parts of the message and
    looks into none of them. What lies deeper, or beyond ``max_parts``, is left unscanned.
    """
    work = _Scan(raw, max_depth, max_parts)
    root = work.entity(start, end, 0)
    _number(root)
    return Tree(root, work.complete)
