"""The words of a message for the index: body, attached text, attached messages; and what was left out, and why."""

import re
from dataclasses import dataclass, field

from archive_service.model.mail import Parsed, Part, Text
from ingest.mime.body import decode_body
from ingest.mime.charsets import decode
from ingest.mime.cms import COMPRESSED, ENCRYPTED, OTHER, read_cms
from ingest.mime.headers import decode_value
from ingest.mime.markup import calendar_text, html_charset, html_text
from ingest.mime.msg import read_msg
from ingest.mime.nature import MOST_EXPANDED, opened
from ingest.mime.outlook import OutlookFile, OutlookItem
from ingest.mime.parts import list_parts
from ingest.mime.rtf import MOST_RTF, expand_rtf, rtf_text
from ingest.mime.scanner import scan, scan_headers
from ingest.mime.tnef import TNEF_NAME, read_tnef
from ingest.saved_mail import FLAG as SAVED_MAIL

LIMIT = 2_000_000
"""Characters of text kept of one message."""

_WORD = re.compile(r"\w+")
_SAID_KIND = re.compile(r"[a-z0-9.+-]{1,60}/[a-z0-9.+-]{1,60}")
_MOST_DECODED = (
    5  # what is decoded to be looked into, inside each other: every level reads the bytes once more
)
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
        "message/global-delivery-status",
        "message/global-disposition-notification",
        "message/global-headers",
    )
)
_RICH = frozenset(("application/rtf", "text/rtf", "application/x-rtf"))
_NOT_TEXTS = frozenset(("text/richtext",))  # markup that no one here reads
_READ = _TEXTS | _HTML | _CALENDAR | _RICH
_TNEF = frozenset(("application/ms-tnef", "application/vnd.ms-tnef"))
_SAVED = "application/vnd.ms-outlook"
_ENVELOPES = _TNEF | {_SAVED, "application/pkcs7-mime", "application/x-pkcs7-mime"}
_ENCRYPTED_FLAGS = {
    "encrypted_pgp": "PGP",
    "encrypted_smime": "S/MIME",
    "rights_protected": "rights management",
}
_ENCRYPTED = {
    "application/pgp-encrypted": "PGP",
    "application/x-microsoft-rpmsg-message": "rights management",
}
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
    ".rtf": "application/rtf",
    ".msg": _SAVED,
    ".p7m": "application/pkcs7-mime",
    ".pgp": "application/pgp-encrypted",
    ".gpg": "application/pgp-encrypted",
}
# Signatures say nothing to search for; their absence from the index is no gap.
_WORDLESS = frozenset(
    ("application/pkcs7-signature", "application/x-pkcs7-signature", "application/pgp-signature")
)
_MEDIA = ("image/", "audio/", "video/", "font/")


def _kind(part: Part) -> str:
    """The kind a part is read as: what it says, or what its name says when it says nothing."""
    if part.content_type not in _UNSAID or part.filename is None or "." not in part.filename:
        return part.content_type
    if part.filename.lower() == TNEF_NAME:
        return "application/ms-tnef"
    return _SUFFIX_KINDS.get("." + part.filename.rpartition(".")[2].lower(), part.content_type)


def _is_text(kind: str) -> bool:
    if kind in _NOT_TEXTS:
        return False
    return kind.startswith(("text/", "multipart/")) or kind in _READ


@dataclass
class _Collector:
    """Gathers text up to ``left`` more characters, and the reasons why something is not in it.

    ``depth`` counts what had to be decoded to be looked into: encoded messages, envelopes, signatures.
    """

    left: int
    limit: int
    plain: list[str] = field(default_factory=list)
    html: list[str] = field(default_factory=list)
    attached: list[str] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)
    encrypted: set[str] = field(default_factory=set)
    truncated: bool = False
    damaged: bool = False
    expansion: int = MOST_EXPANDED  # bytes that what is compressed may still expand to

    def take(self, text: str, into: list[str]) -> None:
        if len(text) > self.left:
            self.truncated = True
            text = text[: self.left]
        if text:
            self.left -= len(text)
            into.append(text)

    def message(self, raw: bytes, parts: tuple[Part, ...], depth: int, *, attached: bool) -> None:
        """All parts of one message; those inside an attached message count as attached."""
        inside = " "  # the path of the attached message whose parts follow it; no path at first
        for part in parts:
            within = part.path.startswith(inside)
            kind = _kind(part)
            if kind in _MESSAGES:
                inside = inside if within else part.path + "."
                self._attached_message(raw, part, depth)
            elif kind in _ENVELOPES:
                self._envelope(raw, part, kind, depth, attached=attached or within)
            elif kind in _ENCRYPTED:
                self.encrypted.add(_ENCRYPTED[kind])
            elif _is_text(kind):
                self._text(raw, part, kind, attached=attached or within or part.attachment)
            elif not _is_wordless(part, kind):
                self.kinds.add(kind)

    def _entity(self, data: bytes, depth: int, *, attached: bool) -> None:
        """A message or part that was decoded."""
        tree = scan(data, 0, len(data))
        self.damaged = self.damaged or not tree.complete
        self.message(data, list_parts(data, tree), depth, attached=attached)

    def _attached_message(self, raw: bytes, part: Part, depth: int) -> None:
        """Its header; its parts are listed on their own unless a transfer encoding hides them."""
        if part.content_type in _MESSAGES and part.encoding in ("7bit", "8bit", "binary"):
            self._header(raw, part.start, part.end)
        elif depth < _MOST_DECODED:
            decoded = bytes(decode_body(raw, part.start, part.end, part.encoding))
            self._header(decoded, 0, len(decoded))
            self._entity(decoded, depth + 1, attached=True)
        else:
            self.kinds.add(part.content_type)

    def _envelope(self, raw: bytes, part: Part, kind: str, depth: int, *, attached: bool) -> None:
        """What stands inside of a signature or of Outlook's envelope is the message that it stands in."""
        if depth >= _MOST_DECODED:
            self.kinds.add(kind)
            return
        data = bytes(decode_body(raw, part.start, part.end, part.encoding))
        if kind in _TNEF:
            self._item(read_tnef(data), kind, depth + 1, attached=attached)
        elif kind == _SAVED:
            self._item(read_msg(data), kind, depth + 1, attached=True)
        else:
            self._smime(data, kind, depth + 1, attached=attached)

    def _smime(self, data: bytes, kind: str, depth: int, *, attached: bool) -> None:
        cms = read_cms(data)
        if cms.kind == ENCRYPTED:
            self.encrypted.add("S/MIME")
        elif cms.kind == OTHER:
            self.kinds.add(kind)
        elif cms.content is None and cms.kind == COMPRESSED:
            self.damaged = True
        content, whole = opened(cms.kind, cms.content, self.expansion)
        if cms.kind == COMPRESSED:
            self.expansion -= len(content)
        self.damaged = self.damaged or not (whole and cms.complete)
        if content:
            self._entity(content, depth, attached=attached)

    def saved(self, raw: bytes) -> None:
        """A capture that is a .msg file."""
        self._item(read_msg(raw), _SAVED, 1, attached=False)

    def _item(self, envelope: OutlookItem | None, kind: str, depth: int, *, attached: bool) -> None:
        if envelope is None:
            self.kinds.add(kind)
            return
        self.damaged = self.damaged or not envelope.complete
        if attached:
            self.take("\n".join(filter(None, [envelope.subject, *envelope.people])), self.attached)
        self._item_body(envelope, attached=attached)
        for file in envelope.files:
            self.take(file.name, self.attached)
            if file.item is not None:
                self._item(file.item, kind, depth, attached=True)
            elif file.message and depth < _MOST_DECODED:
                self._item(read_tnef(file.data), kind, depth + 1, attached=True)
            elif file.message:
                self.kinds.add(kind)
            elif file.data:
                self.message(file.data, (_file_part(file),), depth, attached=True)

    def _item_body(self, envelope: OutlookItem, *, attached: bool) -> None:
        """The same text in up to three forms: the richest is left out if it says nothing more. Beside a mail's own
        text it is treated as HTML is: Outlook sends both."""
        rich = self._item_rich(envelope)
        more = _words(rich) not in _words(envelope.text)
        into = self.attached if attached else self.html
        self.take("\n".join(filter(None, [envelope.text, rich if more else ""])), into)

    def _item_rich(self, envelope: OutlookItem) -> str:
        most = 16 * (self.left + 1)
        if envelope.html:
            html = envelope.html[:most]
            self.truncated = self.truncated or len(envelope.html) > most
            return html_text(decode(html, envelope.html_charset or html_charset(html)))
        if not envelope.rtf:
            return ""
        data, whole = expand_rtf(envelope.rtf, max(0, min(most, MOST_RTF, self.expansion)))
        self.expansion -= len(data)
        self.damaged = self.damaged or not whole
        return rtf_text(data)

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
        if kind in _RICH:
            self.take(rtf_text(content), self.attached)
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
        if "partly_parsed" in parsed.flags or self.damaged:
            reasons.append("mail only partly parsed")
        if self.truncated:
            reasons.append(f"text truncated at {self.limit} characters")
        encrypted = self.encrypted | {name for flag, name in _ENCRYPTED_FLAGS.items() if flag in parsed.flags}
        if encrypted:
            reasons.append("encrypted: " + ", ".join(sorted(encrypted)))
        if self.kinds:
            named = sorted(self.kinds)[:_REPORT_KINDS]
            more = ["..."] if len(self.kinds) > _REPORT_KINDS else []
            reasons.append("attachment kinds not extracted: " + ", ".join([*named, *more]))
        return "; ".join(reasons) or None


def _file_part(file: OutlookFile) -> Part:
    """A file of an envelope as a part of its own data."""
    kind = file.kind if _SAID_KIND.fullmatch(file.kind) else "application/octet-stream"
    return Part(
        path="1",
        content_type=kind,
        encoding="binary",
        disposition="attachment",
        filename=file.name or None,
        start=0,
        end=len(file.data),
        size=len(file.data),
        sha256="",
        attachment=True,
    )


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
    if SAVED_MAIL in parsed.flags:
        collector.saved(raw)
    else:
        collector.message(raw, parsed.parts, 0, attached=False)
    body, html_from = collector.body()
    return Text(
        body=body,
        html_from=html_from,
        attachments="\n".join(collector.attached),
        not_fully_indexed=collector.reason(parsed),
    )
