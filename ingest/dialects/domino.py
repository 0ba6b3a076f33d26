"""Lotus, IBM and HCL Domino: the message by SMTP, and what of its Notes items came along as fields.

An item without a field of its own is sent as ``X-Notes-Item: VALUE; name=AltBlindCopyTo``, other parameters may
stand beside the name. The items ``$JournalRecipients`` and ``$JournalRecipientsExpanded_N`` are the router's list of
recipients; whether and how they are sent is not documented, so that a field of the item's own name is read as well.
"""

import re
from collections.abc import Iterator

from archive_service.model.mail import CaptureRecord, Recipient, Role
from ingest.dialects.base import Envelope, Unwrapped
from ingest.dialects.plain import whole
from ingest.dialects.recipients import delivered_to
from ingest.mime.addresses import parse_addresses
from ingest.mime.headers import decode_value
from ingest.mime.scanner import Headers, scan_headers

_ITEM = "x-notes-item"
_ROUTERS = "$journalrecipients"
_JOURNAL = re.compile(r"\$journalrecipients(?:expanded(?:_\d{1,9})?)?")
_ROLES = {
    prefix + name: role
    for name, role in (("sendto", Role.TO), ("copyto", Role.CC), ("blindcopyto", Role.BCC))
    for prefix in ("", "alt", "inet")
}
_PARAMETER = re.compile(r"\s*([A-Za-z]{1,20})\s*=\s*([^\s;,\"]*)\s*")
_QUOTED_OR_COMMA = re.compile(r'"(?:[^"\\]++|\\.)*+"?|,', re.DOTALL)


class Domino:
    """Several instances of one message may be journaled, each with some recipients. Whoever sends mail can write Notes
    items into it: only the journal's own items count as an envelope, the others as what a header says. Of
    ``$JournalRecipients`` the router writes one: when there are several that differ no delivery is claimed, and
    the capture is flagged ``envelope_ambiguous``."""

    name = "domino"

    def unwrap(self, raw: bytes, record: CaptureRecord) -> Unwrapped:
        """The whole capture, with the recipients that its items name; never complete, for groups may stand among
        them."""
        headers = scan_headers(raw, 0, len(raw))
        journal: list[str] = []
        written: list[Recipient] = []
        lists: set[str] = set()
        for name, value in _items(headers):
            if _JOURNAL.fullmatch(name):
                journal.extend(_names(value))
                lists.update([value] if name == _ROUTERS else ())
            elif name in _ROLES:
                written.extend(Recipient(address=one, role=_ROLES[name]) for one in _names(value))
        recipients = _united(delivered_to(headers, journal), written)
        if len(lists) > 1:
            recipients = tuple(one.model_copy(update={"on_report": False}) for one in recipients)
        flags = ("envelope_ambiguous",) if len(lists) > 1 else ()
        return whole(raw, headers, Envelope(recipients=recipients) if recipients else None, *flags)


def _items(headers: Headers) -> Iterator[tuple[str, str]]:
    """Notes items among the fields: lower-case name and value."""
    for name, value in headers.fields:
        if name == _ITEM:
            yield _item(decode_value(value))
        elif name.startswith("$journalrecipients"):
            yield name, decode_value(value)


def _item(text: str) -> tuple[str, str]:
    """Name and value of an ``X-Notes-Item``; the name is "" when it has none. A value may hold semicolons."""
    pieces = text.split(";")
    name = ""
    while len(pieces) > 1 and (found := _PARAMETER.fullmatch(pieces[-1])) is not None:
        pieces.pop()
        if found.group(1).lower() == "name":
            name = name or found.group(2).lower()
    return name, ";".join(pieces)


def _names(value: str) -> Iterator[str]:
    """The names of a list, as Internet addresses where they are, and as Notes names (CN=.../O=...) where not. A dot
    stands for "the same as in the other list" and names nobody."""
    for piece in _split(value):
        text = piece.strip(' "')
        if "@" in text and not ("/" in text and "=" in text):
            yield from parse_addresses(piece)
        elif text.strip("."):
            yield text


def _split(value: str) -> Iterator[str]:
    """The pieces between commas that no quote hides."""
    start = 0
    for found in _QUOTED_OR_COMMA.finditer(value):
        if found.group() == ",":
            yield value[start : found.start()]
            start = found.end()
    yield value[start:]


def _united(journal: tuple[Recipient, ...], written: list[Recipient]) -> tuple[Recipient, ...]:
    """The journal's recipients, in the role that an item gives who has none; then whom only an item names."""
    roles = {one.address.lower(): one.role for one in reversed(written)}
    found: dict[str, Recipient] = {}
    for one in journal:
        role = one.role if one.role is not Role.UNKNOWN else roles.get(one.address.lower(), Role.UNKNOWN)
        found[one.address.lower()] = one.model_copy(update={"role": role})
    for one in written:
        found.setdefault(one.address.lower(), one)
    return tuple(found.values())
