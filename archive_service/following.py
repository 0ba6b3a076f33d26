"""Following, wired: the parser pool, a tenant's follower, the checkpointer."""

import logging
import time
from collections.abc import Callable

from archive_service.bootstrap import Core, Tenant
from archive_service.catalog.sql import SqlCatalog
from archive_service.ledger.appender import Appender
from archive_service.ledger.checkpointer import Checkpointer, LedgerWriter
from archive_service.model.errors import SlotLost, StoreError
from archive_service.settings import Settings
from archive_service.vault.key_layout import LogId
from archive_service.vault.keyring import Keyring
from ingest.identity import message_id
from ingest.parser_pool import ParserPool
from search.follower import Follower, FollowerParts
from search.indexes.tantivy_index import TantivyIndex
from search.query_language import Everything

_log = logging.getLogger(__name__)
_ASK_AGAIN = 2.0  # seconds between two looks at a lease far away


def parser_pool(settings: Settings, workers: int = 1) -> ParserPool:
    """Where hostile bytes are read, in so many processes."""
    return ParserPool(workers, timeout=settings.parser_seconds, memory_bytes=settings.parser_memory)


def make_follower(core: Core, tenant: Tenant, pool: ParserPool) -> Follower:
    """A tenant's follower over its projections in the work folder."""
    folder = core.projections(tenant.id)
    key = tenant.keyring.secret("identity")
    index = TantivyIndex(folder / "index")
    catalog = SqlCatalog.sqlite(folder / "catalog.sqlite")
    _agree(catalog, index)
    parts = FollowerParts(
        vault=tenant.vault,
        acts=tenant.acts,
        slots=OnlySlot(core, tenant.id),
        catalog=catalog,
        index=index,
        interpreter=pool,
        identify=lambda digest, version: message_id(key, digest, version),
        find_logs=core.census.logs,
        watches=core.distant,
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


class OnlySlot:
    """The one slot of a tenant's order log: whoever does not get it stands by. Not thread-safe.

    On a store far away the lease is asked for every few seconds only; and who has lost the slot to another machine
    leaves it alone for the takeover time, after which a stale lease of its own has ended: the two would only take it
    from each other.
    """

    def __init__(self, core: Core, owner: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._core = core
        self._log = LogId(owner, "order-1")
        self._monotonic = monotonic
        self._had = False
        self._ask_at = monotonic()
        self._asking = _ASK_AGAIN if core.distant else 0.0
        self._rest = core.settings.slot_takeover_seconds if core.distant else 0.0

    def take(self) -> Appender:
        """See ``OrderSlot``."""
        if self._had:
            _log.warning("the order log's slot was lost; standing by")
            self._had, self._ask_at = False, self._monotonic() + self._rest
        if self._monotonic() < self._ask_at:
            raise SlotLost("another follower is active")
        self._ask_at = self._monotonic() + self._asking
        if not self._core.leases.take(str(self._log)):
            raise SlotLost("another follower is active")
        appender = Appender(self._core.store, self._log, self._core.clock, self._core.policy)
        appender.claim()
        self._had = True
        return appender


def make_checkpointer(core: Core, age: float | None = None) -> Checkpointer:
    """The checkpointer of every log of the archive; as they were ``age`` seconds ago at most, if given."""
    writer = LedgerWriter(core.store, core.clock, core.policy)

    def keyrings() -> list[Keyring]:
        return [core.archive, *(tenant.keyring for tenant in core.tenants(age))]

    return Checkpointer(writer, core.archive, keyrings, lambda owner: core.census.logs(owner, age))
