"""Where the SMTP endpoint hands its captures: a draft (the envelope) and a sink (the bytes)."""

from dataclasses import dataclass
from typing import Protocol

from archive_service.model.mail import Source


@dataclass(frozen=True)
class Draft:
    """The envelope of one SMTP transaction, as it is known when DATA or the first BDAT begins."""

    tenant: str  # opaque tenant id, from ``SourceMatch``
    source: Source
    acts_seen: int  # the acts-log position under which the source was judged
    mail_from: str
    rcpt_to: tuple[str, ...]
    peer: str | None = None
    helo: str | None = None
    tls: str | None = None
    mail_parameters: tuple[str, ...] = ()


@dataclass(frozen=True)
class SourceMatch:
    """A recipient address that belongs to a source."""

    tenant: str
    source: Source
    acts_seen: int


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

    async def match(self, address: str) -> SourceMatch | None:
        """The source with this secret address (compared case-insensitively), or None after having read
        the acts to their head. Raises ArchiveError when the head cannot be read: answer 451."""
        ...

    async def begin(self, draft: Draft) -> Sink:
        """Start a capture. Raises ArchiveError (Overloaded among them): answer 4xx."""
        ...
