"""The follower role: per tenant one active follower in a thread, and the checkpointer of all logs.

One process does this for one work folder. Where several machines write to one archive, each has such a process with
projections of its own; one of them holds a tenant's order slot and orders, the others project what it ordered, and one
takes over when it is silent. One of them checkpoints.
"""

import logging
import os
import threading
from collections.abc import Callable
from functools import partial

from archive_service.alarms import names
from archive_service.alarms.tally import Sample, Tally
from archive_service.bootstrap import Core, Tenant, open_core
from archive_service.following import make_checkpointer, make_follower, parser_pool
from archive_service.ledger.anchors import now_and_then
from archive_service.ledger.checkpointer import Checkpointer
from archive_service.looking import Looking
from archive_service.model.errors import ArchiveError, SlotLost
from archive_service.model.evidence import Look
from archive_service.serving import child
from archive_service.settings import Settings
from ingest.parser_pool import ParserPool
from search.follower import Follower

_log = logging.getLogger(__name__)


def run(settings: Settings, tally: Tally) -> None:
    """Follow until SIGTERM. A second follower process stands by until the first has gone."""
    stop = threading.Event()
    child.on_stop(stop.set)
    core = open_core(settings)
    try:
        child.say_ready()
        _await_turn(core, stop)
        core.sweep()
        with parser_pool(settings) as pool, parser_pool(settings, settings.evidence_threads) as cage:
            looking = Looking(cage, partial(_count, tally))
            threads = [
                threading.Thread(
                    target=_or_restart,
                    args=(partial(_checkpoint, core, settings, stop, tally),),
                    name="checkpointer",
                )
            ]
            threads[0].start()
            follow = partial(_follow, core, settings, pool, looking, stop, tally)
            _follow_all(core, follow, stop, threads)
            for thread in threads:
                thread.join()
    finally:
        core.close()


def _await_turn(core: Core, stop: threading.Event) -> None:
    while not core.here.take("follower") and not stop.wait(0.5):
        continue


def _count(tally: Tally, look: Look, outcome: str) -> None:
    tally.add(names.EVIDENCE_LOOKS, look=look.value, outcome=outcome)


def _follow_all(
    core: Core, follow: Callable[[Tenant], None], stop: threading.Event, threads: list[threading.Thread]
) -> None:
    """A thread a tenant, new tenants included."""
    followed: set[str] = set()
    while not stop.is_set():
        for tenant in _tenants(core):
            if tenant.id in followed:
                continue
            followed.add(tenant.id)
            thread = threading.Thread(
                target=_or_restart,
                args=(partial(follow, tenant),),
                name=f"follow-{tenant.id[:6]}",
            )
            threads.append(thread)
            thread.start()
        stop.wait(1.0)


def _tenants(core: Core) -> list[Tenant]:
    try:
        return core.tenants()
    except ArchiveError as error:
        _log.warning("tenants cannot be listed: %s", error.code)
        return []


def _or_restart(work: Callable[[], None]) -> None:
    """Run a thread's work; on a fault that nobody foresaw end the process, so that the supervisor starts it anew:
    a follower that is dead while its process lives would leave mail unfindable, silently."""
    try:
        work()
    except Exception:  # noqa: BLE001 - logged, and ended loudly
        _log.exception("a follower thread failed; the process ends and is started again")
        logging.shutdown()
        os._exit(70)


def _follow(
    core: Core,
    settings: Settings,
    pool: ParserPool,
    looking: Looking,
    stop: threading.Event,
    tally: Tally,
    tenant: Tenant,
) -> None:
    def failed(error: ArchiveError) -> None:
        if not isinstance(error, SlotLost):  # to stand by is no failure
            tally.add(names.FAILURES, code=error.code)
        stop.wait(0.5)

    watch = _Activity(tenant.id, tally)
    tally.also(watch.samples)
    while not stop.is_set():
        try:
            follower = make_follower(core, tenant, pool, looking)
            watch.now = follower
            follower.run(stop, settings.follow_seconds, failed)
        except ArchiveError as error:
            tally.add(names.FAILURES, code=error.code)
            _log.error("the follower cannot start: %s", error.code)
            stop.wait(1.0)


class _Activity:
    """Whether a tenant's follower is the active one, looked at with every report. That it is not any more means that
    another one took its slot."""

    def __init__(self, owner: str, tally: Tally) -> None:
        self._owner = owner
        self._tally = tally
        self._tally.add(names.SLOT_TAKEOVERS, 0, slot="order")
        self._was = False
        self.now: Follower | None = None

    def samples(self) -> list[Sample]:
        """As it is now."""
        active = self.now is not None and self.now.active
        if self._was and not active:
            self._tally.add(names.SLOT_TAKEOVERS, slot="order")
        self._was = active
        return [Sample.of(names.FOLLOWER_ACTIVE, active, owner=self._owner)]


def _checkpoint(core: Core, settings: Settings, stop: threading.Event, tally: Tally) -> None:
    checkpointer: Checkpointer | None = None
    while True:
        stopping = stop.wait(settings.checkpoint_seconds)
        decoy = now_and_then(settings.checkpoint_seconds, settings.anchor_decoy_seconds)
        checkpointer = _checkpoint_once(core, checkpointer, tally, decoy=decoy)
        if stopping:
            return


def _checkpoint_once(
    core: Core, checkpointer: Checkpointer | None, tally: Tally | None = None, *, decoy: bool = False
) -> Checkpointer | None:
    """One run, if it is this process's turn; what to go on with. After another's turn it is made anew from the store;
    after a fault it goes on with what it knows: made anew it would anchor every log's newest checkpoint again, at every
    run for as long as one log is damaged."""
    try:
        if not core.leases.take("checkpointer"):
            return None
        checkpointer = checkpointer or make_checkpointer(core)
        checkpointer.run_once(decoy=decoy)
    except ArchiveError as error:
        if tally is not None:
            tally.add(names.FAILURES, code=error.code)
        _log.warning("checkpointing failed: %s", error.code)
        return None if isinstance(error, SlotLost) else checkpointer
    return checkpointer
