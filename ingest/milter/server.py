"""The listener: accepts an MTA's connections, shares its port with other processes, and stops without losing mail."""

import asyncio

from ingest.intake import Intake
from ingest.milter.endpoint import MilterEndpoint
from ingest.milter.limits import MilterLimits
from ingest.milter.session import MilterSession
from ingest.refusals import Refusals
from ingest.smtp.counters import SmtpCounters
from ingest.smtp.limits import MemoryBudget, SmtpSettings
from ingest.smtp.listening import Listeners, drain
from ingest.smtp.rates import Rates


class MilterServer:
    """The milter endpoint of one process. ``budget``, ``counters``, ``rates`` and ``refusals`` are those of the
    process's SMTP endpoint, where there is one."""

    def __init__(
        self,
        intake: Intake,
        settings: SmtpSettings,
        limits: MilterLimits | None = None,
        *,
        budget: MemoryBudget | None = None,
        counters: SmtpCounters | None = None,
        rates: Rates | None = None,
        refusals: Refusals | None = None,
    ) -> None:
        self.endpoint = MilterEndpoint(
            intake,
            settings,
            limits or MilterLimits(),
            budget or MemoryBudget(settings.max_in_flight),
            counters or SmtpCounters(),
            rates or Rates(),
            refusals or Refusals(),
        )
        self._listeners = Listeners("milter")

    async def start(self, host: str, port: int, reuse_port: bool = True) -> tuple[str, int]:
        """Listen, and return the first address listened on (see ``Listeners.open``). Raises ArchiveError
        ``milter.listen``."""
        loop = asyncio.get_running_loop()
        self.endpoint.draining = False
        return await self._listeners.open(lambda: MilterSession(self.endpoint, loop), host, port, reuse_port)

    async def stop(self, drain_seconds: float = 30.0) -> None:
        """Stop accepting, end idle sessions, let mails under way finish, and end what is left: it got no "go on", so
        its sender keeps it. Returns when no session is left."""
        self.endpoint.draining = True
        self._listeners.close()
        await drain(self.endpoint.sessions, drain_seconds, "milter")
