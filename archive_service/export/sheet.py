"""One message as its report pages will show it: every text cleaned and admitted, nothing left to look up."""

import base64
import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from archive_service.export.evidence import CaptureEvidence, ExportFailed, MessageEvidence
from archive_service.export.fonts import han_of
from archive_service.export.headers import quoted_headers
from archive_service.export.look_facts import look_lines, marked
from archive_service.export.typesetting import Typecase
from archive_service.export.words import Words
from archive_service.model.canonical import parse_canonical
from archive_service.model.evidence import marks
from archive_service.model.mail import Parsed, Part, Recipient

BODY_LIMIT = 300_000  # characters of a body that are set: some hundred pages
_VALUE_LIMIT = 40_000
_LISTED_LIMIT = 200


@dataclass(frozen=True)
class Fact:
    """A labelled value; ``mono``: a digest or number, set in the fixed-width face."""

    label: str
    value: str
    mono: bool = False


@dataclass(frozen=True)
class Sheet:
    """The texts of one message's pages, in reading order. Tables are tuples of rows of cells."""

    han: str
    row: tuple[str, str, str]  # for the list of messages: sent, sender, subject
    subject: str
    headers: tuple[Fact, ...]
    sender: str
    recipients: tuple[tuple[str, ...], ...]
    envelope_note: str
    remarks: tuple[str, ...]
    body: str
    html: str  # what HTML says beyond the plain text in ``body``
    body_note: str
    attachments: tuple[tuple[tuple[str, ...], str], ...]  # (name, type, size), SHA-256
    captures: tuple[tuple[Fact, ...], ...]
    events: tuple[tuple[str, ...], ...]
    looks: tuple[tuple[Fact, ...], ...] = ()  # what was seen of the captures

    def dump(self) -> bytes:
        """One line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=True).encode() + b"\n"

    @staticmethod
    def load(line: bytes) -> "Sheet":
        """The reverse of ``dump``."""
        plain: dict[str, Any] = json.loads(line)
        plain["headers"] = tuple(Fact(**fact) for fact in plain["headers"])
        for name in ("captures", "looks"):
            plain[name] = tuple(tuple(Fact(**fact) for fact in facts) for facts in plain[name])
        return Sheet(**plain)


@dataclass(frozen=True)
class Stated:
    """What a checkpoint note states; ``root`` in hex."""

    origin: str
    size: int
    root: str

    @staticmethod
    def of(note: str) -> "Stated":
        """Reads the note's text, unchecked. Raises ExportFailed if it is no checkpoint."""
        try:
            origin, size, root = note.split("\n")[:3]
            return Stated(origin, int(size), base64.b64decode(root, validate=True).hex())
        except ValueError as error:
            raise ExportFailed("a proof without a readable checkpoint") from error


def when(time: str | None) -> str:
    """An RFC 3339 UTC time for the eye, to the second."""
    return time[:19].replace("T", " ") if time else ""


def attachments_of(evidence: MessageEvidence) -> list[Part]:
    """The attachments of ``message.eml``: those of the first capture."""
    parts = evidence.captures[0].row.finding.parsed.parts
    return [part for part in parts if part.attachment]


def make_sheet(evidence: MessageEvidence, words: Words, case: Typecase) -> Sheet:
    """Sets down what the pages of a message say, and admits its characters."""
    return _SheetMaker(evidence, words, case).make()


class _SheetMaker:
    def __init__(self, evidence: MessageEvidence, words: Words, case: Typecase) -> None:
        self._evidence, self._words, self._case = evidence, words, case
        self._han = han_of(evidence.message.subject + evidence.text.body[:BODY_LIMIT])

    def make(self) -> Sheet:
        replaced, steered = self._case.replaced, self._case.steered
        message = self._evidence.message
        body, html, body_note = self._body()
        sheet = Sheet(
            han=self._han,
            row=(when(message.sent_at), self._listed(message.sender), self._listed(message.subject)),
            subject=self._line(message.subject),
            headers=self._headers(),
            sender=self._line(message.sender or ""),
            recipients=tuple(self._recipient(recipient) for recipient in message.recipients),
            envelope_note=self._words("complete" if message.envelope_complete else "incomplete"),
            remarks=self._remarks(),
            body=body,
            html=html,
            body_note=body_note,
            attachments=tuple(self._attachment(part) for part in attachments_of(self._evidence)),
            captures=tuple(self._capture(number) for number in range(len(self._evidence.captures))),
            events=self._events(),
            looks=self._looks(),
        )
        if self._case.steered > steered:
            sheet = replace(sheet, remarks=(*sheet.remarks, self._line(self._words("flag_steered"))))
        lost = self._case.replaced - replaced
        if lost:
            sheet = replace(
                sheet, remarks=(*sheet.remarks, self._text(self._words("flag_replaced", count=lost)))
            )
        return sheet

    def _line(self, text: str) -> str:
        return self._case.admit_line(text[:_VALUE_LIMIT], self._han)

    def _listed(self, text: str | None) -> str:
        """For the list, which is set in one East Asian drawing for all."""
        return self._case.admit_line((text or "")[:_LISTED_LIMIT])

    def _text(self, text: str) -> str:
        return self._case.admit(text, self._han)

    def _fact(self, label: str, value: object) -> Fact:
        return Fact(self._words(label), self._line(str(value)))

    def _headers(self) -> tuple[Fact, ...]:
        first = self._evidence.captures[0]
        parsed = first.row.finding.parsed
        fields = quoted_headers(first.raw[parsed.inner_start : parsed.inner_end])
        return tuple(Fact(name, self._shortened(value)) for name, value in fields)

    def _shortened(self, value: str) -> str:
        left = len(value) - _VALUE_LIMIT
        return self._line(value) + (" " + self._line(self._words("cut", count=left)) if left > 0 else "")

    def _recipient(self, recipient: Recipient) -> tuple[str, ...]:
        via = []
        if recipient.expanded_from:
            via.append(self._words("expanded", address=recipient.expanded_from))
        if recipient.forwarded_from:
            via.append(self._words("forwarded", address=recipient.forwarded_from))
        via.append(self._words("on_report" if recipient.on_report else "in_header"))
        role = self._words(f"role_{recipient.role.value}")
        return self._line(recipient.address), role, self._line("; ".join(via))

    def _remarks(self) -> tuple[str, ...]:
        """Each flag in a sentence; which capture has it, when not all have."""
        captures = self._evidence.captures
        flags: dict[str, list[int]] = {}
        for number, capture in enumerate(captures, 1):
            for flag in capture.row.finding.parsed.flags:
                flags.setdefault(flag, []).append(number)
        remarks = []
        for flag, numbers in flags.items():
            place = "" if len(numbers) == len(captures) else ", ".join(map(str, numbers))
            prefix = self._words("flag_on_capture", number=place) if place else ""
            remarks.append(self._line(prefix + self._words.flag(flag)))
        names = marks(look.evidence for capture in captures for look in capture.looks)
        if names:
            remarks.insert(0, self._line(marked(names, self._words)))
        reason = self._evidence.text.not_fully_indexed
        if reason:
            remarks.append(self._line(self._words("flag_not_indexed", reason=reason)))
        return tuple(remarks)

    def _body(self) -> tuple[str, str, str]:
        """The text, or the plain and the HTML text when the latter says more; and a note on what is missing."""
        text, html_from = self._evidence.text.body, self._evidence.text.html_from
        note = ""
        if not text.strip():
            note = self._words("empty")
        elif len(text) > BODY_LIMIT:
            note = self._words("body_cut", count=len(text) - BODY_LIMIT)
        shown = text[:BODY_LIMIT]
        plain, html = (shown, "") if html_from is None else (shown[:html_from], shown[html_from:])
        if not plain.strip():
            plain, html = html, ""
        return self._text(plain.strip("\r\n")), self._text(html.strip("\r\n")), self._line(note)

    def _attachment(self, part: Part) -> tuple[tuple[str, ...], str]:
        name = self._line(part.filename or self._words("unnamed"))
        size = self._words("bytes", count=part.size)
        return (name, self._line(part.content_type), self._line(size)), part.sha256

    def _capture(self, number: int) -> tuple[Fact, ...]:
        """What the ledger says of a capture, from receipt to anchor."""
        capture, words = self._evidence.captures[number], self._words
        finding, proof, entry = capture.row.finding, capture.proof, _entry(capture)
        point, root = Stated.of(proof.checkpoint), Stated.of(proof.root.checkpoint)
        root_log = words("entry_at", log=root.origin, seq=proof.root.index)
        return (
            self._fact("capture_id", finding.capture),
            self._fact("source", finding.source),
            *self._mailbox(finding.parsed),
            self._fact("received", when(finding.received_at)),
            self._fact("file", f"capture-{number + 1}.eml, {words('bytes', count=len(capture.raw))}"),
            Fact(words("sha256"), hashlib.sha256(capture.raw).hexdigest(), mono=True),
            *([] if number else [self._inner(capture)]),
            self._fact("log_entry", words("entry_at", log=entry["log"], seq=entry["seq"])),
            self._fact("entry_time", when(str(entry.get("time", "")))),
            Fact(words("entry_hash"), hashlib.sha256(proof.entry).hexdigest(), mono=True),
            Fact(words("object_hash"), self._line(str(_field(entry, "object", "sha256"))), mono=True),
            Fact(words("commit"), self._line(str(entry.get("commit", ""))), mono=True),
            self._fact("locked", f"{when(entry.get('lock_until'))} {entry.get('lock_mode', '')}"),
            self._fact("checkpoint", words("checkpoint_at", origin=point.origin, size=point.size)),
            Fact(words("root_hash"), point.root, mono=True),
            self._fact("anchored", root_log),
            Fact(words("root_hash"), root.root, mono=True),
        )

    def _mailbox(self, parsed: Parsed) -> list[Fact]:
        return [] if parsed.mailbox is None else [self._fact("mailbox", parsed.mailbox)]

    def _inner(self, capture: CaptureEvidence) -> Fact:
        parsed = capture.row.finding.parsed
        inner = capture.raw[parsed.inner_start : parsed.inner_end]
        return Fact(self._words("inner"), hashlib.sha256(inner).hexdigest(), mono=True)

    def _looks(self) -> tuple[tuple[Fact, ...], ...]:
        return tuple(
            tuple(
                Fact(label, self._shortened(value), mono)
                for label, value, mono in look_lines(look, number, self._words)
            )
            for number, capture in enumerate(self._evidence.captures, 1)
            for look in capture.looks
        )

    def _events(self) -> tuple[tuple[str, ...], ...]:
        rows = []
        for item in self._evidence.custody:
            event, detail = self._words.event(item.event, item.detail)
            place = f"{item.log.rpartition('/')[2]} #{item.seq}"
            rows.append((when(item.time), self._line(event), self._line(place), self._line(detail)))
        return tuple(rows)


def _entry(capture: CaptureEvidence) -> dict[str, Any]:
    try:
        entry = parse_canonical(capture.proof.entry)
    except (ValueError, RecursionError) as error:
        raise ExportFailed("a proof whose entry is not canonical JSON") from error
    if not isinstance(entry, dict) or not {"log", "seq"} <= entry.keys():
        raise ExportFailed("a proof whose entry is none of a capture")
    return entry


def _field(entry: dict[str, Any], outer: str, inner: str) -> object:
    value = entry.get(outer)
    return value.get(inner, "") if isinstance(value, dict) else ""
