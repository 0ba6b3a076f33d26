"""From the bytes of a capture to what is known of it. Deterministic; never raises for what mail contains."""

from archive_service.model.mail import CaptureRecord, Parsed, Recipient, SourceKind
from ingest.dialects import Envelope, dialect_for
from ingest.dialects.recipients import header_addresses, header_recipients
from ingest.identity import IDENTITY_VERSION, identity_digest, whole_digest
from ingest.mime.dates import parse_date
from ingest.mime.headers import LONGEST_VALUE, decode_value
from ingest.mime.nature import natures
from ingest.mime.parts import list_parts
from ingest.mime.scanner import Headers, scan
from ingest.saved_mail import interpret_saved, is_saved_mail

PARSER = "mime-2"
"""Name and version of this reading; a finding names it, so that later ones can be told apart."""

_LONGEST_TEXT = 20_000  # characters of a subject or a From field


def _recipients(headers: Headers, envelope: Envelope | None) -> tuple[Recipient, ...]:
    """All that the journal names; then whom only the header names, for search: no delivery is claimed."""
    named = envelope.recipients if envelope is not None else ()
    known = {recipient.address.lower() for recipient in named}
    return (*named, *(one for one in header_recipients(headers) if one.address.lower() not in known))


def _header_sender(headers: Headers) -> str | None:
    for name in ("from", "sender"):
        addresses = header_addresses(headers, name)
        if addresses:
            return addresses[0]
    return None


def _text(headers: Headers, name: str) -> str:
    value = headers.first(name)
    return decode_value(value) if value is not None else ""


def _is_cut(headers: Headers) -> bool:
    return any(len(value) > LONGEST_VALUE for _, value in headers.fields)


def interpret(raw: bytes, kind: SourceKind, record: CaptureRecord) -> Parsed:
    """Unwrap (by the dialect of ``kind`` alone), scan and read one capture.

    ``record`` is the envelope it came under, for dialects that put something into it. Offsets are into
    ``raw``. Linear in the size of ``raw``. What was imported as a .msg file is read as one, whatever the kind.
    """
    if is_saved_mail(raw, record.channel):
        return interpret_saved(raw, PARSER)
    dialect = dialect_for(kind)
    unwrapped = dialect.unwrap(raw, record)
    tree = scan(raw, unwrapped.start, unwrapped.end)
    headers, envelope = tree.root.headers, unwrapped.envelope
    subject, author = _text(headers, "subject"), _text(headers, "from")
    message_id = _text(headers, "message-id")
    flags = list(unwrapped.flags)
    if not message_id:
        flags.append("no_message_id")
    if (
        not tree.complete
        or max(len(subject), len(author), len(message_id)) > _LONGEST_TEXT
        or _is_cut(headers)
    ):
        flags.append("partly_parsed")
    parts = list_parts(raw, tree)
    flags.extend(natures(raw, tree, parts))
    return Parsed(
        parser=PARSER,
        dialect=dialect.name,
        flags=tuple(flags),
        inner_start=unwrapped.start,
        inner_end=unwrapped.end,
        inner_digest=identity_digest(raw, unwrapped.start, unwrapped.end),
        identity_version=IDENTITY_VERSION,
        sender=(envelope.sender if envelope is not None else None) or _header_sender(headers),
        on_behalf_of=envelope.on_behalf_of if envelope is not None else None,
        recipients=_recipients(headers, envelope),
        envelope_complete=envelope is not None and envelope.complete,
        label=envelope.label if envelope is not None else None,
        mailbox=envelope.mailbox if envelope is not None else None,
        subject=(subject or (envelope.subject if envelope is not None else ""))[:_LONGEST_TEXT],
        from_header=author[:_LONGEST_TEXT],
        message_id=message_id[:_LONGEST_TEXT] or None,
        sent_at=(envelope.sent_at if envelope is not None else None) or parse_date(_text(headers, "date")),
        parts=parts,
    )


def unread(raw: bytes, kind: SourceKind) -> Parsed:
    """What may be said of a capture whose parser broke: its bytes, whole, and nothing read out of them.

    It may run outside the parser's bounds, so that it only hashes: its identity is that of all its bytes.
    """
    return Parsed(
        parser=PARSER,
        dialect=dialect_for(kind).name,
        flags=("partly_parsed",),
        inner_start=0,
        inner_end=len(raw),
        inner_digest=whole_digest(raw, 0, len(raw)),
        identity_version=IDENTITY_VERSION,
    )
