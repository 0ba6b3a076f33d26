"""Bringing the projections to the logs' heads: by following here, or by waiting for the service that follows."""

import logging
import time
from collections.abc import Callable

from archive_service.bootstrap import Core, Tenant
from archive_service.following import make_checkpointer, make_follower
from archive_service.ledger.reader import find_head
from archive_service.model.errors import Overloaded, StoreError
from archive_service.places.leases import Leases
from archive_service.vault.key_layout import LogId
from ingest.parser_pool import ParserPool

_log = logging.getLogger(__name__)
_PAUSE = 0.1


def catch_up(core: Core, tenant: Tenant, pool: ParserPool, *, wait: float = 60.0) -> None:
    """Return when everything that was in the capture logs at the call is in catalog and index.

    Follows here, unless a service here does; while a follower on another machine is active, projects what that one
    orders. Raises Overloaded (``projection.behind``) when whoever is active does not get there in ``wait`` seconds
    without progress, ArchiveError when following here fails. Whoever wants to follow afterwards, may: no lease is kept.
    """
    heads = _heads(core, tenant)
    if not core.here.take("follower"):
        _wait(core, tenant, heads, wait, lambda: 0)
        return
    try:
        follower = make_follower(core, tenant, pool)
        while follower.follow():
            continue
        if not follower.active:
            _wait(core, tenant, heads, wait, follower.follow)
        _seal(core)
    finally:
        _let_go(core.order_leases, str(LogId(tenant.id, "order-1")))
        _let_go(core.here, "follower")


def seal_looks(core: Core) -> None:
    """Checkpoint and anchor what a command has just recorded, unless a running service does so anyway: an access entry
    that no checkpoint covers could be removed unseen."""
    if not core.here.take("follower"):
        return
    try:
        _seal(core)
    finally:
        _let_go(core.here, "follower")


def _seal(core: Core) -> None:
    if not core.leases.take("checkpointer"):
        return
    try:
        make_checkpointer(core, 0).run_once()
    finally:
        _let_go(core.leases, "checkpointer")


def _let_go(leases: Leases, name: str) -> None:
    """One that cannot be let go ends with this process, or by its silence."""
    try:
        leases.release(name)
    except StoreError as error:
        _log.warning("a lease could not be given back: %s", error.code)


def _heads(core: Core, tenant: Tenant) -> dict[str, int]:
    found = [log for log in core.census.logs(tenant.id, 0) if log.kind == "capture"]
    return {str(log): find_head(core.store, log).seq for log in found}


def _wait(core: Core, tenant: Tenant, heads: dict[str, int], wait: float, follow: Callable[[], int]) -> None:
    live = core.engines.live(tenant.id)
    catalog = live.catalog
    deadline = time.monotonic() + wait
    seen = -1
    try:
        while True:
            follow()
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
        live.close()
