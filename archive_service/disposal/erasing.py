"""Erasure batches, wired over an archive's stores: what the scheduler and the command line run."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

from archive_service.access.hold_scopes import HoldScopes
from archive_service.bootstrap import Core, Tenant
from archive_service.bounded_time import behind_ours
from archive_service.disposal.expiring import Expiring
from archive_service.engines.rebuilding import forget_unfinished
from archive_service.model.errors import ArchiveError, Overloaded, StoreError
from archive_service.places.leases import KeyPlaceLeases
from archive_service.places.machine_leases import machine_name
from archive_service.vault.rewrap import in_use, rewrap
from retention.erasure import ErasureBatch, ErasureParts, Outcome
from retention.fence import Fence

_log = logging.getLogger(__name__)
_REMOTE_WORKERS = 16
_TAKEOVER = timedelta(
    minutes=30
)  # of a batch by another machine: far longer than a fenced writer can be silent
_LEASE = "erasure"  # of ``keys rewrap`` too
_FENCED = "erasure-batch"


def run_batch(core: Core, tenant: Tenant, *, today_too: bool = False) -> Outcome:
    """One run of a tenant's batches; see ``ErasureBatch.run``. Raises Overloaded (``erasure.busy``) while another
    process is at it, Refused (``clock.disagrees``)."""
    behind = behind_ours(core)  # keeps end by the clock: by a wrong one nothing goes
    live = core.engines.live(tenant.id)
    try:
        acts_passed = live.catalog.position().acts
    finally:
        live.close()
    with alone(core) as fence:
        outcome = _batch(core, tenant, fence, acts_passed, behind).run(today_too=today_too)
    if outcome.erased:
        _scrub(core, tenant)
        _expire(core, tenant)
    return outcome


def _scrub(core: Core, tenant: Tenant) -> None:
    """The keys are gone either way: an engine that is away now costs a word, not the batch. What an interrupted rebuild
    left goes too: it may hold what was erased, and the next one begins anew. One under way passes the acts itself."""
    try:
        forget_unfinished(core, tenant.id)
        live = core.engines.live(tenant.id)
        try:
            live.scrub(tenant.acts.erasures.last)
        finally:
            live.close()
    except StoreError as error:
        _log.warning(
            "words of erased mail may stand in the engines' files until they are rewritten: %s", error.code
        )


def _expire(core: Core, tenant: Tenant) -> None:
    """Finished exports of this machine go at once; what fails here the scheduler does at its next look."""
    try:
        Expiring().run(core, tenant)
    except ArchiveError as error:
        _log.warning("finished exports hold erased mail until the next look: %s", error.code)


def sweep(core: Core, tenant: Tenant, fence: Callable[[], None]) -> int:
    """Take out again what a backup has put back of a tenant's finished batches; how many records."""
    tenant.acts.refresh()
    return _batch(core, tenant, fence, 0).sweep()


def _batch(
    core: Core, tenant: Tenant, fence: Callable[[], None], acts_passed: int, behind: timedelta = timedelta()
) -> ErasureBatch:
    parts = ErasureParts(
        vault=tenant.vault,
        acts=tenant.acts,
        kms=core.kms,
        policy=core.policy,
        passed=lambda position: position < acts_passed,
        rewrap=lambda: _rewrap(core, fence),
        in_use=lambda: in_use(core.keys, core.kms.provider),
        grace=timedelta(hours=core.settings.erasure_grace_hours),
        workers=_REMOTE_WORKERS if core.distant else 1,
        fence=fence,
        undecided=HoldScopes(tenant.acts).undecided,
        behind=behind,
    )
    return ErasureBatch(parts)


def retired_tables(core: Core) -> dict[str, set[int]]:
    """By tenant, the table keys that the acts say are retired. What cannot be read is taken as it was last known."""
    found: dict[str, set[int]] = {}
    for tenant in core.tenants():
        with suppress(ArchiveError):
            tenant.acts.refresh()
        found[tenant.id] = tenant.acts.erasures.tables()
    return found


@contextmanager
def alone(core: Core) -> Iterator[Callable[[], None]]:
    """While no other process of the archive runs a batch; gives the fence to be passed before every write."""
    if not core.leases.take(_LEASE):
        raise Overloaded("another erasure batch is running", code="erasure.busy")
    try:
        if core.distant:
            with _fenced(core) as fence:
                yield fence
        else:  # the kernel holds a file lock for a frozen process too
            yield lambda: None
    finally:
        core.leases.release(_LEASE)


@contextmanager
def _fenced(core: Core) -> Iterator[Callable[[], None]]:
    """A lease that no other machine takes before a fenced writer has surely stopped."""
    leases = KeyPlaceLeases(
        core.keys.places[0], _TAKEOVER, core.clock, writer=machine_name(core.work / "run"), renewing=False
    )

    def renew() -> bool:
        leases.renew()
        return leases.take(_FENCED)

    try:
        if not leases.take(_FENCED):
            raise Overloaded("another machine runs an erasure batch", code="erasure.busy")
        yield Fence(renew)
    finally:
        leases.close()


def _rewrap(core: Core, fence: Callable[[], None]) -> None:
    fence()
    report = rewrap(core.keys, core.kms, lambda done, total: fence(), retired=retired_tables(core))
    if report.broken:
        raise StoreError(
            "a table key or secret cannot be wrapped anew; see keys rewrap", code="erasure.rewrap"
        )
