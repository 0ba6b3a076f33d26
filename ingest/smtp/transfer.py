"""One message on its way from the socket to the intake's sink."""

from ingest.intake import Draft, Intake, Receipt, Sink
from ingest.smtp import replies
from ingest.smtp.counters import SmtpCounters
from ingest.smtp.limits import RETAINED_OCTETS, Charge, MemoryBudget, SmtpSettings
from ingest.smtp.replies import Reply
from ingest.smtp.steps import attempt


class Transfer:
    """Takes the content in pieces and ends with one reply.

    After a failure it swallows what still comes, so that the session stays in step with the sender, and
    keeps the failure for the final reply. The sink's ``abort`` is called once if ``commit`` was never
    begun; after that the outcome may be unknown and the intake alone settles it.
    """

    def __init__(
        self, intake: Intake, settings: SmtpSettings, budget: MemoryBudget, counters: SmtpCounters
    ) -> None:
        self._intake = intake
        self._settings = settings
        self._budget = budget
        self._counters = counters
        self._charge = Charge(budget)
        self._sink: Sink | None = None
        self._largest = settings.max_size
        self.octets = 0
        self.failure: Reply | None = None
        self.over_guard = False  # it failed for the source's own limit, as the source was known at RCPT

    async def open(self, draft: Draft) -> None:
        """Ask the intake for a sink; ``failure`` tells whether there is none."""
        guard = draft.source.guard
        if guard.max_size is not None:
            self._largest = min(guard.max_size, self._largest)
        outcome = await attempt("begin", self._intake.begin(draft), self._settings.commit_timeout)
        if isinstance(outcome, Reply):
            self.failure = outcome
        else:
            self._sink = outcome

    async def write(self, content: bytes) -> None:
        """Hand on a piece of the message, or swallow it after a failure. Waits while the sink does."""
        self.octets += len(content)
        sink = self._sink
        if sink is None:
            return
        if self.octets > self._largest:
            self.over_guard = self.octets <= self._settings.max_size
            await self._fail(replies.TOO_LARGE)
            return
        if self._budget.exhausted:
            await self._fail(replies.OVERLOADED)
            return
        self._charge.add(len(content))
        outcome = await attempt("write", sink.write(content), self._settings.commit_timeout)
        if isinstance(outcome, Reply):
            await self._fail(outcome)
        elif self._charge.held > RETAINED_OCTETS:
            self._charge.drop(self._charge.held - RETAINED_OCTETS)

    async def finish(self) -> Reply:
        """Commit. The 250 is returned only after the sink's receipt; everything else is a refusal."""
        sink, self._sink = self._sink, None
        if sink is None:
            return self.failure or replies.NOT_ARCHIVED
        try:
            outcome: Receipt | Reply = await attempt("commit", sink.commit(), self._settings.commit_timeout)
        finally:
            self._charge.clear()
        if isinstance(outcome, Reply):
            self.failure = outcome
            return outcome
        self._counters.accepted += 1
        self._counters.accepted_bytes += self.octets
        return replies.archived(outcome)

    async def abort(self) -> None:
        """The sender went away or sent RSET. Does nothing once ``finish`` was called."""
        if self._sink is not None:
            self._counters.abandoned += 1
        await self._drop_sink()

    async def _fail(self, reply: Reply) -> None:
        self.failure = reply
        await self._drop_sink()

    async def _drop_sink(self) -> None:
        sink, self._sink = self._sink, None
        self._charge.clear()
        if sink is not None:
            await attempt("abort", sink.abort(), self._settings.commit_timeout)
