"""Erasure batches, wired over an archive's stores: what the scheduler and the command line run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from archive_service.bootstrap import Core, Tenant
from archive_service.leases import KeyPlaceLeases
from archive_service.machine_leases import machine_name
from archive_service.model.errors import Overloaded, StoreError
from archive_service.vault.rewrap import in_use, rewrap
from retention.erasure import ErasureBatch, ErasureParts, Outcome
from retention.fence import Fence

_REMOTE_WORKERS = 16
_TAKEOVER = timedelta(
    minutes=30
)  # of a batch by another machine: far longer than a fenced writer can be silent
_LEASE = "erasure"  # of ``keys rewrap`` too
_FENCED = "erasure-batch"


def run_batch(core: Core, tenant: Tenant, *, today_too: bool = False) -> Outcome:
    """One run of a tenant's batches; see ``ErasureBatch.run``. Raises Overloaded (``erasure.busy``) while another
    process is at it."""
    live = core.engines.live(tenant.id)
    try:
        acts_passed = live.catalog.position().acts
    finally:
        live.close()
    with _alone(core) as fence:
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
        )
        return ErasureBatch(parts).run(today_too=today_too)


@contextmanager
def _alone(core: Core) -> Iterator[Callable[[], None]]:
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
    report = rewrap(core.keys, core.kms, lambda done, total: fence())
    if report.broken:
        raise StoreError(
            "a table key or secret cannot be wrapped anew; see keys rewrap", code="erasure.rewrap"
        )
