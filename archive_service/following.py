"""Following, wired: the parser pool, a tenant's follower, the checkpointer."""

import logging
import time
from collections.abc import Callable
from functools import partial

from archive_service.access.hold_scopes import HoldScopes
from archive_service.bootstrap import Core, Tenant
from archive_service.bounded_time import bounded_now
from archive_service.compartments.excluding import Excluding
from archive_service.compartments.leftovers import Leftovers
from archive_service.disposal.tidying import Tidying
from archive_service.engines.projection_engines import Pair
from archive_service.holds.asked import AskedReader
from archive_service.holds.covering import Covering
from archive_service.holds.objects import ObjectHolds
from archive_service.holds.step import HoldsStep
from archive_service.ledger.appender import Appender
from archive_service.ledger.checkpointer import Checkpointer, LedgerWriter
from archive_service.looking import Looking, make_desk
from archive_service.model.canaries import is_canary
from archive_service.model.errors import SlotLost, StoreError
from archive_service.model.mail import SourceKind
from archive_service.settings import Settings
from archive_service.terms.classifying import Classifier
from archive_service.terms.locking import LockKeeper, in_turn, mark_file
from archive_service.vault.key_layout import LogId
from archive_service.vault.keyring import Keyring
from ingest.identity import message_id
from ingest.parser_pool import ParserPool
from search.follower import Follower, FollowerParts
from search.indexes.tantivy_index import TantivyIndex

_log = logging.getLogger(__name__)
_ASK_AGAIN = 2.0  # seconds between two looks at a lease far away
_DISTANT_LOCKS = 16  # holds laid upon objects of a store far away at once
_DISTANT_READS = 8  # captures on their way from a store far away, beside those that are being parsed


def parser_pool(settings: Settings, workers: int | None = None) -> ParserPool:
    """Where hostile bytes are read, in so many processes; as many as the settings say unless given."""
    return ParserPool(
        workers or settings.parsers, timeout=settings.parser_seconds, memory_bytes=settings.parser_memory
    )


def make_follower(core: Core, tenant: Tenant, pool: ParserPool, looking: Looking | None = None) -> Follower:
    """A tenant's follower over its projections. Where these are shared, only the active one may look after them.
    ``looking``: where captures are looked at after their ``250``; None: not by this follower. Raises Invalid."""
    key = tenant.keyring.secret("identity")
    live = core.engines.live(tenant.id)
    if not core.engines.shared:
        _agree(live)
    parts = FollowerParts(
        vault=tenant.vault,
        acts=tenant.acts,
        slots=OnlySlot(core, tenant.id),
        catalog=live.catalog,
        index=live.index,
        interpreter=pool,
        identify=lambda digest, version: message_id(key, digest, version),
        find_logs=core.census.logs,
        width=pool.workers + (_DISTANT_READS if core.distant else 1),
        watches=core.distant and not core.engines.shared,
        prepare=partial(_agree, live) if core.engines.shared else None,
        is_canary=partial(is_canary, key),
        exclude=Excluding(core, tenant),
        desk=None if looking is None else make_desk(core, tenant, live.catalog, looking),
        holds=in_turn(
            _holds_step(core, tenant, live, pool),
            Leftovers(tenant.acts, live.catalog, core.clock),
            _lock_keeper(core, tenant, live, pool),
        ),
        tidy=_tidying(tenant, live),
    )
    return Follower(parts)


def _tidying(tenant: Tenant, live: Pair) -> Callable[[], int] | None:
    if live.rewrite is None:
        return None
    return Tidying(tenant.acts, live.catalog, live.rewrite, live.notes)


def _lock_keeper(core: Core, tenant: Tenant, live: Pair, pool: ParserPool) -> LockKeeper:
    file = mark_file(core.work, tenant.id)
    classify = Classifier(tenant.vault, tenant.acts, live.catalog, pool)
    return LockKeeper(core.store, tenant.acts, live.catalog, partial(bounded_now, core), file, classify)


def _holds_step(core: Core, tenant: Tenant, live: Pair, pool: ParserPool) -> HoldsStep:
    key = tenant.keyring.secret("identity")

    def kind(source: str) -> SourceKind:
        known = tenant.acts.source(source)
        return known.kind if known is not None else SourceKind.GENERIC

    reader = AskedReader(
        tenant.vault,
        live.catalog,
        pool,
        lambda digest, version: message_id(key, digest, version),
        kind,
        TantivyIndex,
        core.work / "holds" / tenant.id,
    )
    covering = Covering(tenant.acts, live.catalog, live.index, HoldScopes(tenant.acts), reader)
    return HoldsStep(covering, ObjectHolds(core.store, tenant.acts, _DISTANT_LOCKS if core.distant else 1))


def _agree(live: Pair) -> None:
    """An index that is missing, or not of this catalog, is filled again from its beginning: it must never answer with
    less than there is as if that were all. A young archive's index is made, and finds nothing. Raises StoreError for
    one that is only away."""
    try:
        held = live.held()
        if live.outdated is not None and live.outdated():
            raise StoreError("the search index is of an older release", code="index.unreadable")
    except StoreError as error:
        if error.code == "index.unavailable":
            raise
        live.index.clear()
        held = 0
    position = live.catalog.position()
    if position.indexed == position.rows and held != live.catalog.counts()["messages"]:
        live.index.clear()
        live.catalog.indexed(0)


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
        if not self._core.order_leases.take(str(self._log)):
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
