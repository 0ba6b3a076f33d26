"""Refusals of the SMTP endpoint, taken to the access log of the tenant whose source it was: a known sender's each, at
once, strangers summed a minute. What was nobody's is one line of the process's log."""

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

from archive_service.access.events import AccessEvent
from archive_service.access.log import LedgerAccessLog
from archive_service.alarms import names
from archive_service.alarms.tally import Tally
from archive_service.bootstrap import Core
from archive_service.ledger.group_log import GroupLog
from archive_service.model.errors import ArchiveError, NotFound
from ingest.refusals import Refusal, Refusals

_log = logging.getLogger(__name__)
LOOKS = 60
"""How many looks make a minute: known senders are recorded at each, strangers at the last."""
_AT_ONCE = 16  # appends that wait together and share a batch


class RefusalRecords:
    """Writes refusals to access logs. A tenant's slot is claimed with its first refusal."""

    def __init__(self, core: Core, tally: Tally) -> None:
        self._core = core
        self._tally = tally
        self._lock = threading.Lock()
        self._open: dict[str, tuple[LedgerAccessLog, GroupLog]] = {}
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="refusals")

    def write(self, refusals: list[Refusal]) -> list[Refusal]:
        """Record them; those that could not be are returned. Waits until the others are durable."""
        nobodys = [refusal for refusal in refusals if refusal.tenant is None]
        if nobodys:
            said = ", ".join(sorted(f"{refusal.reason} {refusal.count}" for refusal in nobodys))
            _log.info("refused, and of no source: %s", said)
        mine = [refusal for refusal in refusals if refusal.tenant is not None]
        done = self._pool.map(self._record, mine)
        return [refusal for refusal, recorded in zip(mine, done, strict=True) if not recorded]

    def _record(self, refusal: Refusal) -> bool:
        detail = {"source": refusal.source, "reason": refusal.reason, "count": refusal.count}
        event = AccessEvent(
            actor="smtp" if refusal.peer is None else str(refusal.source),
            role="smtp",
            action="smtp.refused",
            outcome="refused",
            origin=refusal.peer,
            detail=detail,
        )
        try:
            self._log_of(str(refusal.tenant)).record(event)
        except ArchiveError as error:
            self._tally.add(names.FAILURES, code=error.code)
            _log.warning("a refusal cannot be recorded: %s", error.code)
            return False
        return True

    def _log_of(self, tenant_id: str) -> LedgerAccessLog:
        with self._lock:
            if tenant_id not in self._open:
                tenant = next((known for known in self._core.tenants() if known.id == tenant_id), None)
                if tenant is None:
                    raise NotFound("a tenant whose source refused mail is not known", code="tenant.unknown")
                slots = self._core.slots(tenant.id, "access")
                group = GroupLog(tenant.vault, slots, "access", lambda: tenant.acts.seen)
                self._open[tenant_id] = LedgerAccessLog(tenant.vault, tenant.id, group), group
            return self._open[tenant_id][0]

    def close(self) -> None:
        """Finish what was begun."""
        self._pool.shutdown()
        for _, group in self._open.values():
            group.close()


async def record(
    refusals: Refusals, records: RefusalRecords, over: asyncio.Event, seconds: float = 1.0
) -> None:
    """Take refusals to the logs until it is ``over``, and then once more, strangers included. What cannot be written
    is summed, and tried again with the next minute's."""
    looks = 0
    while not over.is_set():
        try:
            await asyncio.wait_for(over.wait(), seconds)
        except TimeoutError:
            looks += 1
            await _take(refusals, records, strangers=looks % LOOKS == 0)
    await _take(refusals, records, strangers=True)


async def _take(refusals: Refusals, records: RefusalRecords, *, strangers: bool) -> None:
    taken = refusals.take_singles() + (refusals.take_sums() if strangers else [])
    if taken:
        for left in await asyncio.get_running_loop().run_in_executor(None, records.write, taken):
            refusals.put_back(left)
