"""What is known of a capture that is a file of Outlook (.msg): it holds a message's properties, and is no mail itself.

The capture is the message, whole: nothing lies inside it as bytes. So its identity is that of all its bytes, and a
journaled copy of the same mail is another message. Recipients are those that the file names; nothing is complete.
"""

import hashlib
import re

from archive_service.model.mail import Parsed, Part, Recipient
from ingest.dialects.recipients import header_addresses, header_recipients
from ingest.identity import IDENTITY_VERSION, whole_digest
from ingest.mime.dates import parse_date
from ingest.mime.headers import decode_value
from ingest.mime.msg import is_msg, read_saved
from ingest.mime.msg_envelope import MsgEnvelope
from ingest.mime.outlook import OutlookFile, OutlookItem
from ingest.mime.scanner import Headers, scan_headers

DIALECT = "msg"
FLAG = "outlook_msg"
"""The word of ``Parsed.flags`` that says that the capture is a .msg file."""

INSIDE = "msg"
"""``Part.encoding`` of an attached file: its bytes lie in pieces inside the compound file, at no offsets."""

_LONGEST_TEXT = 20_000
_LONGEST_NAME = 1000
_KIND = re.compile(r"[a-z0-9.+-]{1,60}/[a-z0-9.+-]{1,60}")
_SIGNED_CLASS, _SEALED_CLASS = "ipm.note.smime.multipartsigned", "ipm.note.smime"
_MEETING_CLASS = "ipm.schedule.meeting"


def is_saved_mail(raw: bytes, channel: str) -> bool:
    """Whether a capture is read as a .msg file: one that was imported, and begins as no mail can. What comes by SMTP
    is mail, whatever it holds."""
    return channel == "import" and is_msg(raw)


def interpret_saved(raw: bytes, parser: str) -> Parsed:
    """Of a capture of which ``is_saved_mail`` says yes. Deterministic, linear; never raises for what it contains."""
    found = read_saved(raw)
    if found is None:
        return _parsed(raw, parser, (FLAG, "no_message_id", "partly_parsed"))
    item, envelope = found
    headers = scan_headers(envelope.headers, 0, len(envelope.headers))
    message_id = (_field(headers, "message-id") or envelope.message_id)[:_LONGEST_TEXT] or None
    author = next(iter(header_addresses(headers, "from")), "") or envelope.author[0] or envelope.sender[0]
    return _parsed(raw, parser, _flags(item, envelope, message_id)).model_copy(
        update={
            "sender": author[:_LONGEST_TEXT] or None,
            "recipients": _recipients(headers, envelope),
            "subject": item.subject[:_LONGEST_TEXT],
            "from_header": (_field(headers, "from") or _shown(envelope))[:_LONGEST_TEXT],
            "message_id": message_id,
            "sent_at": parse_date(_field(headers, "date")) or envelope.submitted_at or envelope.delivered_at,
            "parts": tuple(_part(raw, number, file) for number, file in enumerate(item.files, 1)),
        }
    )


def _parsed(raw: bytes, parser: str, flags: tuple[str, ...]) -> Parsed:
    return Parsed(
        parser=parser,
        dialect=DIALECT,
        flags=flags,
        inner_start=0,
        inner_end=len(raw),
        inner_digest=whole_digest(raw, 0, len(raw)),
        identity_version=IDENTITY_VERSION,
    )


def _flags(item: OutlookItem, envelope: MsgEnvelope, message_id: str | None) -> tuple[str, ...]:
    kind = envelope.message_class
    said = {
        FLAG: True,
        "draft": envelope.unsent,
        "no_message_id": message_id is None,
        "partly_parsed": not item.complete or len(item.subject) > _LONGEST_TEXT,
        "signed_smime": kind.startswith(_SIGNED_CLASS),
        "encrypted_smime": kind == _SEALED_CLASS,
        "invitation": kind.startswith(_MEETING_CLASS),
    }
    return tuple(flag for flag, holds in said.items() if holds)


def _field(headers: Headers, name: str) -> str:
    value = headers.first(name)
    return decode_value(value) if value is not None else ""


def _recipients(headers: Headers, envelope: MsgEnvelope) -> tuple[Recipient, ...]:
    """Those of the file's table, then whom only the header names."""
    known = {one.address.lower() for one in envelope.recipients}
    more = (one for one in header_recipients(headers) if one.address.lower() not in known)
    return (*envelope.recipients, *more)


def _shown(envelope: MsgEnvelope) -> str:
    address, name = envelope.author if any(envelope.author) else envelope.sender
    return f"{name} <{address}>" if name and name != address else address


def _part(raw: bytes, number: int, file: OutlookFile) -> Part:
    """``size`` and ``sha256`` are of the file's bytes; an attached message is a folder of properties and has none
    of its own: then they are those of nothing."""
    name = file.name or (file.item.subject if file.item is not None else "")
    kind = "application/vnd.ms-outlook" if file.item is not None else file.kind
    return Part(
        path=str(number),
        content_type=kind if _KIND.fullmatch(kind) else "application/octet-stream",
        encoding=INSIDE,
        disposition="attachment",
        filename=name.strip()[:_LONGEST_NAME] or None,
        start=0,
        end=len(raw),
        size=len(file.data),
        sha256=hashlib.sha256(file.data).hexdigest(),
        attachment=True,
    )
