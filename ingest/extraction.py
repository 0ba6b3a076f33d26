"""The words of a message for the index: body, attached text, attached messages; and what was left out, and why."""

import re
from dataclasses import dataclass, field

from archive_service.model.mail import Parsed, Part, Text
from ingest.mime.body import decode_body
from ingest.mime.charsets import decode
from ingest.mime.headers import decode_value
from ingest.mime.markup import calendar_text, html_charset, html_text
from ingest.mime.parts import list_parts
from ingest.mime.scanner import scan, scan_headers

LIMIT = 2_000_000
"""Characters of text kept of one message."""

_WORD = re.compile(r"\w+")
_MAX_ENCODED_MESSAGES = 3  # messages inside messages that are transfer-encoded, against the standard
_REPORT_KINDS = 10
_NESTED_FIELDS = ("subject", "from", "to", "cc", "date")
_HTML = frozenset(("text/html", "application/xhtml+xml"))
_CALENDAR = frozenset(("text/calendar", "text/x-vcalendar", "application/ics", "text/vcard", "text/x-vcard"))
_TEXTS = frozenset(
    (
        "application/json",
        "application/sql",
        "application/xml",
        "application/yaml",
        "application/x-yaml",
        "message/delivery-status",
        "message/disposition-notification",
        "message/feedback-report",
        "message/global-headers",
    )
)
_NOT_TEXTS = frozenset(("text/rtf", "text/richtext"))  # markup that no one here reads
_MESSAGES = frozenset(("message/rfc822", "message/global"))
_UNSAID = frozenset(("application/octet-stream", "application/octetstream", "application/unknown"))
_SUFFIX_KINDS = {
    ".txt": "text/plain",
    ".csv": "text/csv",
    ".log": "text/plain",
    ".md": "text/plain",
    ".xml": "text/xml",
    ".json": "application/json",
    ".html": "text/html",
    ".htm": "text/html",
    ".ics": "text/calendar",
    ".vcf": "text/vcard",
    ".eml": "message/rfc822",
}
# Signatures say nothing to search for; their absence from the index is no gap.
_WORDLESS = frozenset(
    ("application/pkcs7-signature", "application/x-pkcs7-signature", "application/pgp-signature")
)
_MEDIA = ("image/", "audio/", "video/", "font/")


def _kind(part: Part) -> str:
    """The kind a part is read as: what it says, or what its name says when it says nothing."""
    if part.content_type in _UNSAID and part.filename is not None and "." in part.filename:
        return _SUFFIX_KINDS.get("." + part.filename.rpartition(".")[2].lower(), part.content_type)
    return part.content_type


def _is_text(kind: str) -> bool:
    if kind in _NOT_TEXTS:
        return False
    return kind.startswith(("text/", "multipart/")) or kind in _TEXTS or kind in _HTML or kind in _CALENDAR


@dataclass
class _Collector:
    """Gathers text up to ``left`` more characters, and the reasons why something is not in it."""

    left: int
    limit: int
    plain: list[str] = field(default_factory=list)
    html: list[str] = field(default_factory=list)
    attached: list[str] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)
    truncated: bool = False

    def take(self, text: str, into: list[str]) -> None:
        if len(text) > self.left:
            self.truncated = True
            text = text[: self.left]
        if text:
            self.left -= len(text)
            into.append(text)

    def message(self, raw: bytes, parts: tuple[Part, ...], depth: int) -> None:
        """All parts of one message; those inside an attached message count as attached."""
        inside = " "  # the path of the attached message whose parts follow it; no path at first
        for part in parts:
            within = part.path.startswith(inside)
            attached = depth > 0 or part.attachment or within
            kind = _kind(part)
            if kind in _MESSAGES:
                inside = inside if within else part.path + "."
                self._attached_message(raw, part, depth)
            elif _is_text(kind):
                self._text(raw, part, kind, attached=attached)
            elif not _is_wordless(part, kind):
                self.kinds.add(kind)

    def _attached_message(self, raw: bytes, part: Part, depth: int) -> None:
        """Its header; its parts are listed on their own unless a transfer encoding hides them."""
        if part.content_type in _MESSAGES and part.encoding in ("7bit", "8bit", "binary"):
            self._header(raw, part.start, part.end)
        elif depth < _MAX_ENCODED_MESSAGES:
            decoded = bytes(decode_body(raw, part.start, part.end, part.encoding))
            self._header(decoded, 0, len(decoded))
            self.message(decoded, list_parts(decoded, scan(decoded, 0, len(decoded))), depth + 1)
        else:
            self.kinds.add(part.content_type)

    def _header(self, raw: bytes, start: int, end: int) -> None:
        headers = scan_headers(raw, start, end)
        values = (decode_value(value) for name in _NESTED_FIELDS for value in headers.all(name))
        self.take("\n".join(value for value in values if value), self.attached)

    def _text(self, raw: bytes, part: Part, kind: str, *, attached: bool) -> None:
        if self.left <= 0:
            self.truncated = self.truncated or part.size > 0
            return
        data = decode_body(raw, part.start, part.end, part.encoding)
        most = 4 * (self.left + 1) * (4 if kind in _HTML else 1)
        self.truncated = self.truncated or len(data) > most
        content = bytes(data[:most])
        if kind in _HTML:
            text = html_text(decode(content, part.charset or html_charset(content)))
            self.take(text, self.attached if attached else self.html)
            return
        text = decode(content, part.charset)
        if kind in _CALENDAR:
            self.take(calendar_text(text), self.attached)
        else:
            self.take(text, self.attached if attached else self.plain)

    def body(self) -> tuple[str, int | None]:
        """Plain text, and HTML unless its words stand in the plain text one after the other: an alternative that
        says "use another reader", or that has the same words in another order, must not hide what the HTML
        says. When both are there: where the HTML begins."""
        plain = "\n".join(self.plain)
        if not self.plain or not self.html:
            return plain or "\n".join(self.html), None
        words = _words(plain)
        more = [text for text in self.html if _words(text) not in words]
        return "\n".join([plain, *more]), len(plain) + 1 if more else None

    def reason(self, parsed: Parsed) -> str | None:
        reasons: list[str] = []
        if "partly_parsed" in parsed.flags:
            reasons.append("mail only partly parsed")
        if self.truncated:
            reasons.append(f"text truncated at {self.limit} characters")
        if self.kinds:
            named = sorted(self.kinds)[:_REPORT_KINDS]
            more = ["..."] if len(self.kinds) > _REPORT_KINDS else []
            reasons.append("attachment kinds not extracted: " + ", ".join([*named, *more]))
        return "; ".join(reasons) or None


def _words(text: str) -> str:
    """The words in their order, each between spaces."""
    return f" {' '.join(_WORD.findall(text.casefold()))} "


def _is_wordless(part: Part, kind: str) -> bool:
    """Signatures, and pictures that belong to the text (logos): nothing that a search could miss."""
    return kind in _WORDLESS or (kind.startswith(_MEDIA) and part.disposition != "attachment")


def extract_text(raw: bytes, parsed: Parsed, *, limit: int = LIMIT) -> Text:
    """What the index may read of the message that ``parsed`` found in ``raw``, at most ``limit`` characters.

    ``not_fully_indexed`` says what is missing: text beyond the limit, and the kinds of attachments that are
    not read. Never raises for what mail contains; HTML trees may take time, so call it in a parser worker.
    """
    collector = _Collector(limit, limit)
    collector.message(raw, parsed.parts, 0)
    body, html_from = collector.body()
    return Text(
        body=body,
        html_from=html_from,
        attachments="\n".join(collector.attached),
        not_fully_indexed=collector.reason(parsed),
    )
