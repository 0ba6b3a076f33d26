"""The listener: accepts connections, shares its port with other processes, and stops without losing mail."""

import asyncio
import logging
import ssl
from collections.abc import Callable

from ingest.intake import Intake
from ingest.refusals import Refusals
from ingest.smtp.counters import SmtpCounters
from ingest.smtp.endpoint import Endpoint
from ingest.smtp.limits import MemoryBudget, SmtpSettings
from ingest.smtp.listening import Listeners, drain
from ingest.smtp.rates import Rates
from ingest.smtp.session import SmtpSession


class SmtpServer:
    """The SMTP endpoint of one process.

    Give every server of a process the same ``budget``; without one it gets its own of
    ``settings.max_in_flight`` bytes. ``fresh_tls`` makes another context like ``tls``, for handshakes that ask for a
    client certificate; without it none is asked for.
    """

    def __init__(
        self,
        intake: Intake,
        settings: SmtpSettings,
        tls: ssl.SSLContext | None = None,
        budget: MemoryBudget | None = None,
        fresh_tls: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        self._endpoint = Endpoint(
            intake, settings, tls, budget or MemoryBudget(settings.max_in_flight), fresh_tls=fresh_tls
        )
        self._listeners = Listeners("smtp")
        # aiosmtpd logs to this name at INFO, for every connection; above all it must never log command
        # lines, which hold the secret addresses.
        logging.getLogger("mail.log").setLevel(logging.WARNING)
        logging.getLogger("mail.debug").setLevel(logging.ERROR)  # a warning for every bad PROXY header

    @property
    def counters(self) -> SmtpCounters:
        """What was counted since the start."""
        return self._endpoint.counters

    @property
    def budget(self) -> MemoryBudget:
        """The memory held now, and its peak."""
        return self._endpoint.budget

    @property
    def rates(self) -> Rates:
        """How many mails each source has handed in."""
        return self._endpoint.rates

    @property
    def refusals(self) -> Refusals:
        """Who was turned away, until it is taken to a log."""
        return self._endpoint.refusals

    async def start(self, host: str, port: int, reuse_port: bool = True) -> tuple[str, int]:
        """Listen, and return the first address listened on (see ``Listeners.open``). Raises ArchiveError
        ``smtp.listen``."""
        loop = asyncio.get_running_loop()
        self._endpoint.draining = False
        return await self._listeners.open(lambda: SmtpSession(self._endpoint, loop), host, port, reuse_port)

    async def stop(self, drain_seconds: float = 30.0) -> None:
        """Stop accepting, say 421 to idle sessions, let open transactions finish, and end what is left.

        Returns when no session is left. A message that is cut off after ``drain_seconds`` got no 250,
        so its sender keeps it.
        """
        self._endpoint.draining = True
        self._listeners.close()
        await drain(self._endpoint.sessions, drain_seconds, "SMTP")
