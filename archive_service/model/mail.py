"""What is known of a mail: envelope and capture record (sealed with it), finding (learned after the 250)."""

import base64
import hashlib
from enum import StrEnum
from ipaddress import ip_network
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


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


class Guard(Frozen):
    """What a source asks of who hands mail in: nothing, where nothing is set.

    ``networks``: CIDR, one of which must hold the sender's address. ``certificates``: trust anchors as base64 of
    DER, one of which must stand in the chain of the sender's TLS certificate. ``password``: an argon2 hash in PHC
    form; the sender must have logged in with it (RFC 4954). ``max_size``: bytes of a mail. ``rate``: mails a minute
    and process. ``certificates`` and ``password`` need TLS by their nature.
    """

    networks: tuple[str, ...] = ()
    tls: bool = False
    certificates: tuple[str, ...] = ()
    password: str | None = None
    max_size: Annotated[int, Field(ge=1, le=2**53)] | None = None
    rate: Annotated[int, Field(ge=1, le=1_000_000)] | None = None

    @field_validator("networks")
    @classmethod
    def _normal(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(ip_network(network)) for network in networks)

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """SHA-256 of each trust anchor's DER, hex."""
        ders = (base64.b64decode(certificate, validate=True) for certificate in self.certificates)
        return tuple(hashlib.sha256(der).hexdigest() for der in ders)

    def shown(self) -> dict[str, Any]:
        """JSON-ready, as an administrator may see it: certificates as fingerprints, of a password only that it is."""
        shown = self.model_dump(mode="json", exclude_defaults=True)
        if self.certificates:
            shown["certificates"] = list(self.fingerprints)
        if self.password is not None:
            shown["password"] = True
        return shown


class FormerAddress(Frozen):
    """A secret address that another has replaced: good while the archive's clock is before ``until``."""

    address: str
    until: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")]


class Watch(Frozen):
    """When a source's silence, fall of rate and lag are worth an alarm. None: as its kind has it
    (``completeness.windows``); 0: not watched. ``at``: when this was decided (RFC 3339); a source that has been silent
    ever since is silent from then on."""

    silence_minutes: Annotated[int, Field(ge=0, le=60 * 24 * 90)] | None = None
    slow_hours: Annotated[int, Field(ge=0, le=24 * 14)] | None = None
    lag_minutes: Annotated[int, Field(ge=0, le=60 * 24 * 30)] | None = None
    at: str | None = None


class Canary(Frozen):
    """A mail that the archive itself sends through a source's whole route, every ``every_minutes``; it must be back
    within ``within_minutes``. ``ca``: PEM of the authorities trusted for the server; None: the system's. ``password``
    is shown by nothing."""

    host: Annotated[str, Field(min_length=1, max_length=255)]
    port: Annotated[int, Field(ge=1, le=65535)]
    security: Literal["starttls", "tls", "none"] = "starttls"
    ca: str | None = None
    user: str | None = None
    password: str | None = Field(default=None, repr=False)
    sender: str
    recipient: str
    every_minutes: Annotated[int, Field(ge=5, le=24 * 60)] = 60
    within_minutes: Annotated[int, Field(ge=1, le=24 * 60)] = 15

    def shown(self) -> dict[str, Any]:
        """JSON-ready, as an administrator may see it: of a password only that it is."""
        shown = self.model_dump(mode="json", exclude_none=True, exclude={"password", "ca"})
        return shown | {name: True for name in ("password", "ca") if getattr(self, name) is not None}


UNDELIVERABLE = "ndr-"
"""Begins the local part of a source's address for reports that could not be delivered; no other address of a source
has a hyphen."""


IntakeDays = Annotated[int, Field(ge=1, le=365)]
LockName = Literal["COMPLIANCE", "GOVERNANCE"]


class IntakeLock(Frozen):
    """The lock that an object of a source is born with, for as long as nothing has classified it. ``mode``: a retention
    class may only raise it."""

    intake_days: IntakeDays = 30
    lock_mode: LockName = "COMPLIANCE"

    def unless_usual(self) -> "IntakeLock | None":
        """None for the one that every source has of which nothing else is said."""
        return None if self == IntakeLock() else self


class Source(Frozen):
    """A configured feed. ``address`` is its secret recipient address, lower case; ``undeliverable`` a second one, for
    non-delivery reports of what the first did not get."""

    id: str
    name: str
    kind: SourceKind
    address: str
    intake_days: int = 30
    lock_mode: str = "COMPLIANCE"
    guard: Guard = Guard()
    former: tuple[FormerAddress, ...] = ()
    undeliverable: str | None = None
    watch: Watch = Watch()
    canary: Canary | None = None

    def plain(self) -> dict[str, Any]:
        """JSON-ready, without what nobody may see (``Guard.shown``, ``Canary.shown``), and without guard, former
        addresses, watch and canary where there are none. Not for their acts: these hold all of it."""
        hidden = {"guard", "former", "watch", "canary"}
        plain = self.model_dump(mode="json", exclude_none=True, exclude=hidden)
        if self.guard != Guard():
            plain["guard"] = self.guard.shown()
        if self.former:
            plain["former"] = [each.plain() for each in self.former]
        if self.watch != Watch():
            plain["watch"] = self.watch.plain()
        if self.canary is not None:
            plain["canary"] = self.canary.shown()
        return plain

    def answers(self, address: str, now: str) -> bool:
        """Whether mail to ``address`` (lower case) is this source's at ``now`` (RFC 3339, 27 characters)."""
        if address in (self.address, self.undeliverable):
            return True
        return any(each.address == address and now < each.until for each in self.former)

    def rotated(self, address: str, until: str) -> "Source":
        """With a new secret address; the one there was is good until ``until``. Raises ValueError."""
        former = (*self.former, FormerAddress(address=self.address, until=until))
        return self.model_copy(update={"address": address, "former": former})


class MilterClient(Frozen):
    """Whom the mail server that handed a mail over by milter had it from. ``client`` is an IP address; ``user`` the one
    that logged in there; ``queue`` the server's own name of the mail."""

    client: str | None = None
    name: str | None = None
    helo: str | None = None
    tls: str | None = None
    user: str | None = None
    queue: str | None = None


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
    milter: MilterClient | None = None  # it came by milter: ``rcpt_to`` is the mail's own envelope, all of it

    @property
    def undeliverable(self) -> bool:
        """Whether it was handed in as what could not be delivered. Not by milter, where anybody names recipients."""
        if self.milter is not None:
            return False
        return any(address.lower().startswith(UNDELIVERABLE) for address in self.rcpt_to)

    @property
    def way(self) -> str | None:
        """``Finding.channel``."""
        if self.undeliverable:
            return "undeliverable"
        return self.channel if self.channel != "smtp" else None


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

    ``message`` is the public message id (HMAC identity), equal in every capture of the same message. ``channel``: how
    the capture came, when not by the source's own address: ``import``, or ``undeliverable`` (to the address for what
    could not be delivered).
    """

    version: int = 1
    capture: str
    message: str
    source: str
    received_at: str
    channel: str | None = None
    parsed: Parsed
