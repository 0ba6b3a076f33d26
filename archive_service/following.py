"""Following, wired over the embedded back ends: the parser pool, a tenant's follower, the checkpointer."""

from collections.abc import Callable

from archive_service.bootstrap import Core, Tenant
from archive_service.catalog.sql import SqlCatalog
from archive_service.ledger.checkpointer import Checkpointer, LedgerWriter
from archive_service.model.errors import SlotLost, StoreError
from archive_service.settings import Settings
from ingest.identity import message_id
from ingest.parser_pool import ParserPool
from search.follower import Follower, FollowerParts
from search.indexes.tantivy_index import TantivyIndex
from search.query_language import Everything


def parser_pool(settings: Settings) -> ParserPool:
    """Where hostile bytes are read."""
    return ParserPool(1, timeout=settings.parser_seconds, memory_bytes=settings.parser_memory)


def make_follower(core: Core, tenant: Tenant, pool: ParserPool) -> Follower:
    """A tenant's follower over its projections in the embedded archive."""
    folder = core.projections(tenant.id)
    key = tenant.keyring.secret("identity")
    index = TantivyIndex(folder / "index")
    catalog = SqlCatalog.sqlite(folder / "catalog.sqlite")
    _agree(catalog, index)
    parts = FollowerParts(
        vault=tenant.vault,
        acts=tenant.acts,
        slots=core.slots(tenant.id, "order", _only_first(core.leases.take)),
        catalog=catalog,
        index=index,
        interpreter=pool,
        identify=lambda digest, version: message_id(key, digest, version),
    )
    return Follower(parts)


def _agree(catalog: SqlCatalog, index: TantivyIndex) -> None:
    """An index that is missing, or not of this catalog, is filled again from its beginning: it must never answer with
    less than there is as if that were all. A young archive's index is made, and finds nothing."""
    try:
        held = index.search(Everything(), limit=1, snippets=False).total
    except StoreError:
        index.clear()
        held = 0
    position = catalog.position()
    if position.indexed == position.rows and held != catalog.counts()["messages"]:
        index.clear()
        catalog.indexed(0)


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
