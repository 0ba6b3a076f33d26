"""What is known of a mail: envelope and capture record (sealed with it), finding (learned after the 250)."""

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Base of the archive's records: immutable, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def plain(self) -> dict[str, Any]:
        """JSON-ready values; what ``canonical`` takes. Fields that are None are left out."""
        return self.model_dump(mode="json", exclude_none=True)


class SourceKind(StrEnum):
    """The system that journals; decides the dialect."""

    EXCHANGE = "exchange"
    M365 = "m365"
    GOOGLE = "google"
    DOMINO = "domino"
    ZIMBRA = "zimbra"
    BLUEMIND = "bluemind"
    POSTFIX = "postfix"
    GENERIC = "generic"


class Source(Frozen):
    """A configured feed. ``address`` is its secret recipient address, lower case."""

    id: str
    name: str
    kind: SourceKind
    address: str
    intake_days: int = 30
    lock_mode: str = "COMPLIANCE"


class CaptureRecord(Frozen):
    """Who handed a capture in, and how; sealed with it (``E`` of its commit).

    ``mail_from`` is "" for the null reverse-path (RFC 5321 section 4.5.5). Addresses are text as
    decoded from UTF-8; bytes that are not UTF-8 appear as ``\\xNN``.
    """

    version: int = 1
    capture: str
    source: str
    received_at: str
    mail_from: str
    rcpt_to: tuple[str, ...]
    channel: str = "smtp"  # or "import"
    peer: str | None = None
    helo: str | None = None
    tls: str | None = None
    mail_parameters: tuple[str, ...] = ()
    origin: str | None = None  # for imports: what the item was called there


class Role(StrEnum):
    """A recipient's role. UNKNOWN: a journal's ``Recipient:`` line, or an envelope without roles."""

    TO = "to"
    CC = "cc"
    BCC = "bcc"
    UNKNOWN = "unknown"


class Recipient(Frozen):
    """One recipient. ``on_report``: named by a journal report or envelope, not just by a header."""

    address: str
    role: Role = Role.UNKNOWN
    expanded_from: str | None = None
    forwarded_from: str | None = None
    on_report: bool = False


class Part(Frozen):
    """A leaf of the MIME tree as offsets into the raw capture; nothing is ever re-serialised.

    ``start``/``end`` bound the still encoded body. ``size`` and ``sha256`` are of the decoded bytes.
    ``path`` is "1", "1.2", ... from the message's own body as in IMAP (RFC 9051 section 6.4.5.1).
    """

    path: str
    content_type: str
    charset: str | None = None
    encoding: str = "7bit"
    disposition: str | None = None
    filename: str | None = None
    start: int
    end: int
    size: int
    sha256: str
    attachment: bool = False


class Parsed(Frozen):
    """What a parser worker says of one capture's bytes. All strings are free of lone surrogates.

    ``inner_start``/``inner_end`` bound the message inside the raw capture (the whole capture when
    nothing wraps it). ``inner_digest`` is SHA-256 of the inner bytes normalised for identity under
    ``identity_version``; ``flags`` are stable words: ``journal_report``, ``report_unparsed``,
    ``forged_report``, ``no_message_id``, ``partly_parsed``, ``decrypted_copy`` ... ``mailbox`` is the one that the
    journal says it took the message from, where it says so.
    """

    parser: str
    dialect: str
    flags: tuple[str, ...] = ()
    inner_start: int
    inner_end: int
    inner_digest: str
    identity_version: int = 1
    sender: str | None = None  # bare address
    on_behalf_of: str | None = None
    recipients: tuple[Recipient, ...] = ()
    envelope_complete: bool = False
    label: str | None = None
    mailbox: str | None = None
    subject: str = ""
    from_header: str = ""
    message_id: str | None = None
    sent_at: str | None = None  # RFC 3339 UTC, from SentUtc else Date
    parts: tuple[Part, ...] = ()


class Text(Frozen):
    """What the index may read of a message; never stored in a log."""

    body: str = ""
    html_from: int | None = None  # where in ``body`` HTML text begins that follows plain text
    attachments: str = ""
    not_fully_indexed: str | None = None  # the reason


class Finding(Frozen):
    """What the follower learned of a capture; sealed under a key derived from its object's key.

    ``message`` is the public message id (HMAC identity), equal in every capture of the same message.
    """

    version: int = 1
    capture: str
    message: str
    source: str
    received_at: str
    parsed: Parsed
