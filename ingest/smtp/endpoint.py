"""What all sessions of a process share."""

import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ingest.intake import Intake
from ingest.smtp import replies
from ingest.smtp.counters import SmtpCounters
from ingest.smtp.limits import MemoryBudget, SmtpSettings
from ingest.smtp.replies import Reply

if TYPE_CHECKING:
    from ingest.smtp.connection import Connection

_EXTENSIONS = ("8BITMIME", "SMTPUTF8", "CHUNKING", "BINARYMIME", "PIPELINING", "ENHANCEDSTATUSCODES", "HELP")


@dataclass(slots=True)
class Endpoint:
    """The intake, the limits and the open sessions; with the replies that only depend on settings."""

    intake: Intake
    settings: SmtpSettings
    tls: ssl.SSLContext | None
    budget: MemoryBudget
    counters: SmtpCounters = field(default_factory=SmtpCounters)
    sessions: set["Connection"] = field(default_factory=set)
    draining: bool = False

    def may_connect(self) -> Reply | None:
        """None, or why a new connection is turned away."""
        if self.draining:
            return replies.SHUTTING_DOWN
        if len(self.sessions) >= self.settings.max_connections:
            return replies.TOO_MANY_CONNECTIONS
        return None

    def greeting(self) -> Reply:
        """The first line of a session."""
        return replies.greeting(self.settings.hostname)

    def hello(self, *, extended: bool, secured: bool) -> Reply:
        """The reply to HELO or EHLO; STARTTLS is offered once only (RFC 3207 section 4.2)."""
        if not extended:
            return replies.hello(self.settings.hostname)
        starttls = ["STARTTLS"] if self.tls is not None and not secured else []
        return replies.hello(
            self.settings.hostname, [*starttls, f"SIZE {self.settings.max_size}", *_EXTENSIONS]
        )
