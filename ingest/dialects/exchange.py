"""Exchange envelope journaling: reports as [MS-XJRNL] section 2.1 has them, unwrapped by byte offsets.

A report is a multipart/mixed of a text/plain part (``field: value`` lines) and the message as message/rfc822.
With journal report decryption there are two messages, the clear copy and the protected original.
"""

import re
from dataclasses import dataclass, field

from archive_service.model.mail import CaptureRecord, Recipient, Role
from ingest.dialects.base import Envelope, Unwrapped, marked_as_report
from ingest.mime.addresses import parse_addresses
from ingest.mime.body import decode_body
from ingest.mime.charsets import decode
from ingest.mime.dates import parse_report_date
from ingest.mime.scanner import Entity, scan

_LONGEST_REPORT = 1 << 26  # bytes of report text; some 500,000 recipients
_LINE = re.compile(r"([A-Za-z][A-Za-z0-9-]*)[ \t]*:(.*)", re.DOTALL)
_EXTENSION = re.compile(r",\s*(expanded|forwarded)\s*:", re.IGNORECASE)
# It matches an open quote up to the end as well, lest every quote after it is tried again.
_QUOTED = re.compile(r'"(?:[^"\\]++|\\.)*+(?:(")|\\?\Z)', re.DOTALL)
_ROLES = {"to": Role.TO, "cc": Role.CC, "bcc": Role.BCC, "recipient": Role.UNKNOWN}
_ONCE = frozenset(
    ("sender", "on-behalf-of", "subject", "message-id", "label", "mailbox", "sentutc", "receivedutc")
)
_PROTECTED_KINDS = frozenset(
    ("application/x-microsoft-rpmsg-message", "application/pkcs7-mime", "application/x-pkcs7-mime")
)
_IDENTITY = frozenset(("7bit", "8bit", "binary"))


@dataclass
class Report:
    """The lines of one report. ``unknown`` counts fields that the grammar does not name."""

    fields: dict[str, str] = field(default_factory=dict)
    recipients: list[Recipient] = field(default_factory=list)
    unknown: int = 0


def _logical_lines(text: str) -> list[str] | None:
    """Report lines with folded ones joined; None if it begins with a fold. Only CRLF and LF end lines: a
    subject may hold any other character that Unicode calls a line end."""
    lines: list[list[str]] = []
    for line in text.removeprefix("\ufeff").split("\n"):
        content = line.strip(" \t\r")
        if not content:
            continue
        if line[0] not in " \t":
            lines.append([content])
        elif lines:
            lines[-1].append(content)
        else:
            return None
    return [" ".join(parts) for parts in lines]


def parse_report(text: str) -> Report | None:
    """Read a report's text; None unless it keeps to the grammar: ``field: value`` lines, one Sender, no field
    twice that stands once. Field names are matched without case, in any order."""
    report = Report()
    lines = _logical_lines(text)
    for line in lines or ():
        found = _LINE.fullmatch(line)
        if found is None:
            return None
        name, value = found.group(1).lower(), found.group(2).strip()
        if name in _ROLES:
            recipients = _recipients(_ROLES[name], value)
            if not recipients:
                return None
            report.recipients.extend(recipients)
        elif name not in _ONCE:
            report.unknown += 1
        elif name in report.fields:
            return None
        else:
            report.fields[name] = value
    return report if "sender" in report.fields else None


def _hidden(quoted: re.Match[str]) -> str:
    """As many characters that mean nothing; a quote that is never closed hides nothing."""
    return "\x00" * len(quoted.group()) if quoted.group(1) else quoted.group()


def _recipients(role: Role, value: str) -> list[Recipient]:
    """``addr [, Expanded: list] [, Forwarded: addr]``; commas inside quotes belong to an address."""
    hidden = _QUOTED.sub(_hidden, value)
    marks = list(_EXTENSION.finditer(hidden))
    ends = [mark.start() for mark in marks[1:]] + [len(value)]
    extensions = {
        mark.group(1).lower(): _address(value[mark.end() : end])
        for mark, end in zip(marks, ends, strict=False)
    }
    named = value[: marks[0].start()] if marks else value
    return [
        Recipient(
            address=address,
            role=role,
            expanded_from=extensions.get("expanded"),
            forwarded_from=extensions.get("forwarded"),
            on_report=True,
        )
        for address in _addresses(named)
    ]


def _addresses(value: str) -> list[str]:
    """Bare addresses of a report value. What is no Internet address (X.400, legacyExchangeDN) stays as is."""
    value = value.strip()
    if "@" in value:
        return parse_addresses(value)
    return [value] if value.strip("<> ") else []


def _address(value: str) -> str | None:
    return next(iter(_addresses(value)), None)


def _read_report(raw: bytes, part: Entity | None) -> Report | None:
    if part is None or part.end - part.body > _LONGEST_REPORT:
        return None
    data = decode_body(raw, part.body, part.end, part.encoding)
    return parse_report(decode(bytes(data), part.media.parameters.get("charset")))


def _is_protected(raw: bytes, message: Entity) -> bool:
    """Whether a message is the still encrypted original (rights management or S/MIME)."""
    inner = scan(raw, message.body, message.end).root
    return any(leaf.content_type in _PROTECTED_KINDS for leaf in inner.leaves())


def _choose(raw: bytes, messages: list[Entity]) -> tuple[Entity | None, bool]:
    """The message that a report carries, and whether it is the decrypted copy of a protected one. None when
    there is no telling."""
    if len(messages) == 1:
        return messages[0], False
    clear = [message for message in messages if not _is_protected(raw, message)]
    if len(clear) == 1:
        return clear[0], True
    return None, False


def _envelope(report: Report, *, complete: bool) -> Envelope:
    return Envelope(
        sender=_address(report.fields["sender"]),
        on_behalf_of=_address(report.fields.get("on-behalf-of", "")),
        recipients=tuple(dict.fromkeys(report.recipients)),
        label=report.fields.get("label") or None,
        sent_at=parse_report_date(report.fields.get("sentutc", "")),
        subject=report.fields.get("subject", ""),
        complete=complete and not report.unknown and bool(report.recipients),
    )


class Exchange:
    """Exchange Server on premises."""

    name = "exchange"

    def unwrap(self, raw: bytes, record: CaptureRecord) -> Unwrapped:
        """The message inside an envelope report. A capture that is no report is the message itself; a report
        that does not parse is archived whole, flagged ``report_unparsed``, and keeps what its text says of
        sender and recipients if that much can be read."""
        root = scan(raw, 0, len(raw), max_depth=1).root
        if not marked_as_report(root.headers):
            return Unwrapped(0, len(raw))
        text = next((part for part in root.children if part.content_type == "text/plain"), None)
        report = _read_report(raw, text)
        if report is None:
            return Unwrapped(0, len(raw), ("journal_report", "report_unparsed"))
        inner, decrypted = _choose(raw, [part for part in root.children if part.is_message])
        if inner is None or inner.encoding not in _IDENTITY or inner.body == inner.end:
            envelope = _envelope(report, complete=False)
            return Unwrapped(0, len(raw), ("journal_report", "report_unparsed"), envelope)
        flags = ["journal_report"]
        if decrypted:
            flags.append("decrypted_copy")
        if report.unknown:
            flags.append("report_unknown_field")
        return Unwrapped(inner.body, inner.end, tuple(flags), _envelope(report, complete=True))
