"""Following, wired over the embedded back ends: the parser pool, a tenant's follower, the checkpointer."""

from collections.abc import Callable

from archive_service.bootstrap import Core, Tenant
from archive_service.catalog.sql import SqlCatalog
from archive_service.ledger.checkpointer import Checkpointer, LedgerWriter
from archive_service.model.errors import SlotLost
from archive_service.settings import Settings
from ingest.identity import message_id
from ingest.parser_pool import ParserPool
from search.follower import Follower, FollowerParts
from search.indexes.tantivy_index import TantivyIndex


def parser_pool(settings: Settings) -> ParserPool:
    """Where hostile bytes are read."""
    return ParserPool(1, timeout=settings.parser_seconds, memory_bytes=settings.parser_memory)


def make_follower(core: Core, tenant: Tenant, pool: ParserPool) -> Follower:
    """A tenant's follower over its projections in the embedded archive."""
    folder = core.projections(tenant.id)
    key = tenant.keyring.secret("identity")
    index = TantivyIndex(folder / "index")
    index.write([])  # a young archive's index exists, and finds nothing
    parts = FollowerParts(
        vault=tenant.vault,
        acts=tenant.acts,
        slots=core.slots(tenant.id, "order", _only_first(core.leases.take)),
        catalog=SqlCatalog.sqlite(folder / "catalog.sqlite"),
        index=index,
        interpreter=pool,
        identify=lambda digest, version: message_id(key, digest, version),
    )
    return Follower(parts)


def _only_first(take: Callable[[str], bool]) -> Callable[[str], bool]:
    """An order log has one slot: whoever does not get it stands by."""

    def lease(name: str) -> bool:
        if not name.endswith("/order-1"):
            raise SlotLost("another follower is active")
        return take(name)

    return lease


def make_checkpointer(core: Core) -> Checkpointer:
    """The checkpointer of every log of the archive."""
    writer = LedgerWriter(core.store, core.clock, core.policy)
    return Checkpointer(
        writer, core.archive, lambda: [core.archive, *(tenant.keyring for tenant in core.tenants())]
    )
