"""Where the SMTP and milter endpoints hand their captures: a draft (the envelope) and a sink (the bytes)."""

from dataclasses import dataclass
from typing import Protocol

from archive_service.model.mail import MilterClient, Source


@dataclass(frozen=True)
class Draft:
    """The envelope of one transaction, as it is known when the mail's bytes begin."""

    tenant: str  # opaque tenant id, from ``SourceMatch``
    source: Source
    acts_seen: int  # the acts-log position under which the source was judged
    mail_from: str
    rcpt_to: tuple[str, ...]
    peer: str | None = None
    helo: str | None = None
    tls: str | None = None
    mail_parameters: tuple[str, ...] = ()
    milter: MilterClient | None = (
        None  # by milter: ``rcpt_to`` are the mail's own recipients, not the source's address
    )


@dataclass(frozen=True)
class Sender:
    """Who is at the other end, as far as the session has shown it; what a source's guard is held against."""

    peer: str | None = None  # IP address; behind a proxy the one that the proxy names
    tls: bool = False
    chain: frozenset[str] = frozenset()  # SHA-256 of each certificate of the verified chain, hex
    login: str | None = None  # the source whose password it gave (RFC 4954)
    size: int = 0  # of the mail in bytes, as declared or as received so far


@dataclass(frozen=True)
class SourceMatch:
    """A recipient address that belongs to a source, and whose sender lacks nothing that the source asks."""

    tenant: str
    source: Source
    acts_seen: int


@dataclass(frozen=True)
class TurnedAway:
    """A recipient address that belongs to a source, and what its sender lacks (``guard.Lack``), by the acts at their
    head. Who lacks the network is to be told what a stranger is told."""

    tenant: str
    source: Source
    lack: str


@dataclass(frozen=True)
class Login:
    """A source whose id was given as a user, and whether the password fits."""

    tenant: str
    source: str
    fits: bool


@dataclass(frozen=True)
class Receipt:
    """The entry that a 250 names: log, sequence number in it, capture id."""

    log: str
    seq: int
    capture: str


class Sink(Protocol):
    """One capture on its way. Not thread-safe; used by one asyncio task."""

    async def write(self, chunk: bytes) -> None:
        """Take raw bytes (dot-unstuffed). Waits while the store is behind. Raises ArchiveError."""
        ...

    async def commit(self) -> Receipt:
        """Return when object, key record (both places) and entry are durable: only then may a 250 be
        sent. Raises ArchiveError: then answer 4xx, for the outcome may be unknown."""
        ...

    async def abort(self) -> None:
        """The sender went away or sent RSET; nothing is archived. Never raises."""
        ...


class Intake(Protocol):
    """What the endpoint needs of the archive."""

    async def match(self, address: str, sender: Sender) -> SourceMatch | TurnedAway | None:
        """The source with this secret address (compared case-insensitively) if its guard lets the sender in. Who it
        turns away and None are by the acts read to their head. Raises ArchiveError when the head cannot be read:
        answer 451."""
        ...

    async def authenticate(self, user: str, password: str, sender: Sender) -> Login | None:
        """Whether the password is that of the source whose id is ``user``; None when there is no such source. A source
        without a password, or one that takes no mail from the sender's network, fits nothing. No is by the acts read
        to their head, and costs the same whatever was wrong. Raises ArchiveError when it cannot be checked now:
        answer 454."""
        ...

    def anchors(self, peer: str | None) -> tuple[bytes, ...]:
        """The trust anchors (DER) of all sources that want a client certificate and take mail from this address;
        none: no certificate need be asked for. From memory."""
        ...

    async def begin(self, draft: Draft) -> Sink:
        """Start a capture. Raises ArchiveError (Overloaded among them): answer 4xx."""
        ...
