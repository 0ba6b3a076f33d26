"""The text of a journal report of Exchange 2007 and later: ``field: value`` lines ([MS-XJRNL] section 2.1)."""

import re
from dataclasses import dataclass, field

from archive_service.model.mail import Recipient, Role
from ingest.mime.addresses import parse_addresses

_LINE = re.compile(r"([A-Za-z][A-Za-z0-9-]*)[ \t]*:(.*)", re.DOTALL)
_EXTENSION = re.compile(r",\s*(expanded|forwarded)\s*:", re.IGNORECASE)
# It matches an open quote up to the end as well, lest every quote after it is tried again.
_QUOTED = re.compile(r'"(?:[^"\\]++|\\.)*+(?:(")|\\?\Z)', re.DOTALL)
_ROLES = {"to": Role.TO, "cc": Role.CC, "bcc": Role.BCC, "recipient": Role.UNKNOWN}
_ONCE = frozenset(
    ("sender", "on-behalf-of", "subject", "message-id", "label", "mailbox", "sentutc", "receivedutc")
)


@dataclass
class Report:
    """The lines of one report. ``unknown`` counts fields that the grammar does not name."""

    fields: dict[str, str] = field(default_factory=dict)
    recipients: list[Recipient] = field(default_factory=list)
    unknown: int = 0


def parse_report(text: str) -> Report | None:
    """Read a report's text; None unless it keeps to the grammar: ``field: value`` lines, one Sender, no field
    twice that stands once. Field names are matched without case, in any order. Linear."""
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


def bare_addresses(value: str) -> list[str]:
    """Bare addresses of a report value. What is no Internet address (X.400, legacyExchangeDN) stays as is."""
    value = value.strip()
    if "@" in value:
        return parse_addresses(value)
    return [value] if value.strip("<> ") else []


def bare_address(value: str) -> str | None:
    """The first address of a report value, or None."""
    return next(iter(bare_addresses(value)), None)


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


def _hidden(quoted: re.Match[str]) -> str:
    """As many characters that mean nothing; a quote that is never closed hides nothing."""
    return "\x00" * len(quoted.group()) if quoted.group(1) else quoted.group()


def _recipients(role: Role, value: str) -> list[Recipient]:
    """``addr [, Expanded: list] [, Forwarded: addr]``; commas inside quotes belong to an address."""
    hidden = _QUOTED.sub(_hidden, value)
    marks = list(_EXTENSION.finditer(hidden))
    ends = [mark.start() for mark in marks[1:]] + [len(value)]
    extensions = {
        mark.group(1).lower(): bare_address(value[mark.end() : end])
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
        for address in bare_addresses(named)
    ]
