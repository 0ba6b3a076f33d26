"""What all milter sessions of a process share."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ingest.intake import Intake
from ingest.milter.limits import MilterLimits
from ingest.refusals import Refusals
from ingest.smtp import replies
from ingest.smtp.counters import SmtpCounters
from ingest.smtp.limits import MemoryBudget, SmtpSettings
from ingest.smtp.rates import Rates
from ingest.smtp.replies import Reply

if TYPE_CHECKING:
    from ingest.milter.connection import Connection


@dataclass(slots=True)
class MilterEndpoint:
    """``budget``, ``counters``, ``rates`` and ``refusals`` are the process's: SMTP counts there too."""

    intake: Intake
    settings: SmtpSettings
    limits: MilterLimits
    budget: MemoryBudget
    counters: SmtpCounters
    rates: Rates
    refusals: Refusals
    sessions: set["Connection"] = field(default_factory=set)
    draining: bool = False

    def may_connect(self) -> Reply | None:
        """None, or why a new connection is turned away."""
        if self.draining:
            return replies.SHUTTING_DOWN
        if len(self.sessions) >= self.settings.max_connections:
            return replies.TOO_MANY_CONNECTIONS
        return None
