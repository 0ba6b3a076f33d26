"""Erasure batches, wired over an archive's stores: what the scheduler and the command line run."""

from datetime import timedelta

from archive_service.bootstrap import Core, Tenant
from archive_service.catalog.sql import SqlCatalog
from archive_service.vault.rewrap import in_use, rewrap
from retention.erasure import ErasureBatch, ErasureParts, Outcome

_REMOTE_WORKERS = 16


def run_batch(core: Core, tenant: Tenant, *, today_too: bool = False) -> Outcome:
    """One run of a tenant's batches; see ``ErasureBatch.run``. The caller holds the lease ``erasure``."""
    catalog = SqlCatalog.sqlite(core.projections(tenant.id) / "catalog.sqlite")
    try:
        acts_passed = catalog.position().acts
    finally:
        catalog.close()
    parts = ErasureParts(
        vault=tenant.vault,
        acts=tenant.acts,
        kms=core.kms,
        policy=core.policy,
        passed=lambda position: position < acts_passed,
        rewrap=lambda: _rewrap(core),
        in_use=lambda: in_use(core.keys),
        grace=timedelta(hours=core.settings.erasure_grace_hours),
        workers=_REMOTE_WORKERS if core.settings.store == "s3" else 1,
    )
    return ErasureBatch(parts).run(today_too=today_too)


def _rewrap(core: Core) -> None:
    rewrap(core.keys, core.kms)
