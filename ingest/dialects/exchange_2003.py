"""The text of a journal report of Exchange 2003, which later versions do not write: one list of recipients.

    Sender: "Display Name" <smtp:sender@example.com>
    Message-ID: <id@example.com>
    Recipients:
    "Display Name" <smtp:one@example.com>,
    "A name that goes on in
     the next line" <x400:C=US;A= ;P=Org>

Nothing tells To from Bcc, so that every role is unknown. Systems that imitate it indent the list and leave out commas
and address types.
"""

import re

from archive_service.model.mail import Recipient
from ingest.dialects.exchange_report import Report, bare_address

_FIELD = re.compile(r"(sender|message-id|recipients):", re.IGNORECASE)
_LIST = re.compile(r"^recipients:", re.IGNORECASE | re.MULTILINE)
_TYPED = re.compile(r"([A-Za-z][A-Za-z0-9]{0,15}):(.*)", re.DOTALL)


def lists_recipients(text: str) -> bool:
    """Whether a text has the list that only Exchange 2003 writes."""
    return _LIST.search(text) is not None


def parse_report_2003(text: str) -> Report | None:
    """Read a report's text; None unless it has one Sender, one list and at most one Message-ID, and every entry of the
    list is an address. Linear."""
    fields: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in text.removeprefix("\ufeff").split("\n"):
        content = line.strip(" \t\r")
        found = _FIELD.match(line)
        if found is not None:
            name = found.group(1).lower()
            if name in fields:
                return None
            current = fields[name] = [content[found.end() :].strip()]
        elif content:
            if current is None:
                return None
            current.append(content)
    if not {"sender", "recipients"} <= fields.keys():
        return None
    addresses = [_address(entry) for entry in _entries(fields["recipients"])]
    if not addresses or None in addresses:
        return None
    return Report(
        fields={
            "sender": _address(" ".join(fields["sender"])) or "",
            "message-id": " ".join(fields.get("message-id", ())),
        },
        recipients=[Recipient(address=one, on_report=True) for one in addresses if one is not None],
    )


def _entries(lines: list[str]) -> list[str]:
    """The lines of the list with those joined that one long display name takes: an entry ends with its address."""
    entries: list[str] = []
    waiting: list[str] = []
    for line in lines:
        if not line:
            continue
        waiting.append(line)
        if line.rstrip(", ").endswith(">") or ("<" not in line and '"' not in line and "@" in line):
            entries.append(" ".join(waiting).rstrip(", "))
            waiting = []
    return [*entries, " ".join(waiting)] if waiting else entries


def _address(entry: str) -> str | None:
    """The address of ``"Name" <type:address>``; an address of another type than SMTP keeps its type."""
    start = entry.rfind("<")
    inner = entry[start + 1 :].rstrip(">, ") if start >= 0 else entry
    typed = _TYPED.fullmatch(inner)
    if typed is not None and typed.group(1).lower() != "smtp":
        return inner
    plain = typed.group(2).strip() if typed is not None else inner
    if start < 0 and "@" not in plain:
        return None
    return bare_address(plain)
