"""What all sessions of a process share."""

import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from archive_service.model.errors import ArchiveError
from ingest.guard import in_networks
from ingest.intake import Intake
from ingest.refusals import Refusals
from ingest.smtp import replies
from ingest.smtp.authentication import MECHANISMS
from ingest.smtp.client_certificates import asking
from ingest.smtp.counters import SmtpCounters
from ingest.smtp.limits import MemoryBudget, SmtpSettings
from ingest.smtp.rates import Rates
from ingest.smtp.replies import Refused, Reply

if TYPE_CHECKING:
    from ingest.smtp.connection import Connection

log = logging.getLogger(__name__)

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
    rates: Rates = field(default_factory=Rates)
    refusals: Refusals = field(default_factory=Refusals)
    fresh_tls: Callable[[], ssl.SSLContext] | None = None  # makes the context of ``tls`` anew
    draining: bool = False

    def may_connect(self) -> Reply | None:
        """None, or why a new connection is turned away."""
        if self.draining:
            return replies.SHUTTING_DOWN
        if len(self.sessions) >= self.settings.max_connections:
            return replies.TOO_MANY_CONNECTIONS
        return None

    def tls_for(self, peer: str | None) -> ssl.SSLContext:
        """The context for a handshake with this address. Raises Refused when TLS is not offered, or not now."""
        if self.tls is None:
            raise Refused(replies.NO_TLS)
        anchors = self.intake.anchors(peer)
        if not anchors or self.fresh_tls is None:
            return self.tls
        try:
            return asking(self.fresh_tls, anchors)
        except (OSError, ArchiveError) as error:  # ssl.SSLError is an OSError
            log.error("a TLS context cannot be made: %s", type(error).__name__)
            raise Refused(replies.TLS_UNAVAILABLE) from error

    def behind_proxy(self, peer: str | None) -> bool:
        """Whether a connection from this address begins with a PROXY header."""
        return bool(self.settings.proxy_networks) and in_networks(self.settings.proxy_networks, peer)

    def greeting(self) -> Reply:
        """The first line of a session."""
        return replies.greeting(self.settings.hostname)

    def hello(self, *, extended: bool, secured: bool) -> Reply:
        """The reply to HELO or EHLO; STARTTLS is offered once only (RFC 3207 section 4.2)."""
        if not extended:
            return replies.hello(self.settings.hostname)
        offered = []
        if secured:
            offered = ["AUTH " + " ".join(MECHANISMS)]  # RFC 4954 section 4: never where it would go in clear
        elif self.tls is not None:
            offered = ["STARTTLS"]
        return replies.hello(
            self.settings.hostname, [*offered, f"SIZE {self.settings.max_size}", *_EXTENSIONS]
        )
