"""Bringing the projections to the logs' heads: by following here, or by waiting for the service that follows."""

import time

from archive_service.bootstrap import Core, Tenant
from archive_service.catalog.sql import SqlCatalog
from archive_service.following import make_checkpointer, make_follower
from archive_service.ledger.reader import find_head, logs
from archive_service.model.errors import Overloaded
from ingest.parser_pool import ParserPool

_PAUSE = 0.1


def catch_up(core: Core, tenant: Tenant, pool: ParserPool, *, wait: float = 60.0) -> None:
    """Return when everything that was in the capture logs at the call is in catalog and index.

    Raises Overloaded (``projection.behind``) when a running service does not get there in ``wait`` seconds
    without progress, ArchiveError when following here fails.
    """
    if core.leases.take("follower"):
        follower = make_follower(core, tenant, pool)
        while follower.step():
            continue
        make_checkpointer(core).run_once()
        return
    _wait(core, tenant, wait)


def seal_looks(core: Core) -> None:
    """Checkpoint and anchor what a command has just recorded, unless a running service does so anyway: an access entry
    that no checkpoint covers could be removed unseen."""
    if core.leases.take("follower"):
        make_checkpointer(core).run_once()


def _wait(core: Core, tenant: Tenant, wait: float) -> None:
    heads = {
        str(log): find_head(core.store, log).seq
        for log in logs(core.store, tenant.id)
        if log.kind == "capture"
    }
    catalog = SqlCatalog.sqlite(core.projections(tenant.id) / "catalog.sqlite")
    deadline = time.monotonic() + wait
    seen = -1
    try:
        while True:
            took, position = catalog.took(), catalog.position()
            if (
                all(took.get(log, 0) >= head for log, head in heads.items())
                and position.indexed >= position.rows
            ):
                return
            if position.indexed != seen:
                seen, deadline = position.indexed, time.monotonic() + wait
            elif time.monotonic() > deadline:
                raise Overloaded("the running service does not catch up", code="projection.behind")
            time.sleep(_PAUSE)
    finally:
        catalog.close()
