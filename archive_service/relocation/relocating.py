"""A whole archive to another, empty store.

    first pass    everything is copied; it may run beside the service
    closing       with all leases held, an act (``archive.moved``) ends every tenant in the source, its slots are
                  claimed so that whoever was frozen loses its next append, and a last checkpoint covers it all
    final pass    what came since
    arrival       in the target the moves are recorded, ``archive.arrived`` opens every tenant, all is anchored

Each step may be cut off anywhere; the next run goes on. Until the target is whole, nothing is appended there; after the
closing nothing is appended here.
"""

from collections.abc import Callable
from dataclasses import dataclass

from archive_service.bootstrap import Core, Tenant
from archive_service.following import make_checkpointer
from archive_service.ledger.appender import Appender
from archive_service.ledger.moves import KIND, move_log
from archive_service.ledger.reader import LogReader, discover, logs, owners
from archive_service.model.errors import Refused
from archive_service.relocation.copying import Copier
from archive_service.relocation.keys import KeyCarrier
from archive_service.relocation.owners import Outcome, OwnerCopy
from archive_service.vault.key_layout import LogId, is_owner

_HERE = ("init", "follower", "scheduler")
_ROLES = ("init", "checkpointer", "scheduler", "erasure")
_SLOTS = ("capture", "access", "order")


@dataclass(frozen=True)
class Plan:
    """``final``: close the source and open the target, not only copy. ``despite_damage``: what is not as its entry
    says stays behind, and ``verify`` names it in the target as in the source."""

    final: bool = True
    despite_damage: bool = False
    jobs: int = 4


class Relocation:
    """Moves the archive of ``source`` into ``target``."""

    def __init__(
        self, source: Core, target: Core, plan: Plan, progress: Callable[[int], None] = lambda done: None
    ) -> None:
        self._source = source
        self._target = target
        self._plan = plan
        self.outcome = Outcome()
        copier = Copier(source.raw, target.raw, target.clock)
        self._copy = OwnerCopy(
            source.raw,
            target.raw,
            copier,
            self.outcome,
            jobs=plan.jobs,
            progress=progress,
            let_go=self._let_go,
        )
        self._keys = KeyCarrier(source.keys, source.kms, target.keys, target.kms)

    def run(self) -> bool:
        """Whether the archive stands in the target now, open there and closed here. False: a first pass, or damage that
        ``outcome`` names. Raises Refused (``relocate.target``, ``.busy``, ``.diverged``, ``.kms``), ArchiveError."""
        self._require_room()
        begun = self._has_begun()
        if begun and not self._is_closed():
            raise Refused(
                "the target has gone on by itself: it is an archive of its own", code="relocate.diverged"
            )
        if self._plan.final:
            self._hold()
        self._pass(keys=not begun)
        if not self._plan.final or (self.outcome.problems and not self._plan.despite_damage):
            return False
        self._close()
        self._pass(keys=not begun)
        self._arrive(begun=begun)
        return True

    def _require_room(self) -> None:
        """The target is empty, or holds what an earlier run brought."""
        here = set(owners(self._source.raw))
        there = {*discover(self._target.raw, "ledger/"), *discover(self._target.raw, "objects/")}
        keys = {name.partition("/")[0] for name in self._target.keys.list("")}
        if there - here or {name for name in keys if is_owner(name)} - here:
            raise Refused("the target is not empty: another archive stands there", code="relocate.target")

    def _has_begun(self) -> bool:
        """Whether an earlier run has begun to append in the target, which it does to the move logs first. From then on
        the target has keys of its own, and what is not in the source is not to be removed there."""
        return any(
            _length(self._target, move_log(owner)) > _length(self._source, move_log(owner))
            for owner in owners(self._source.raw)
        )

    def _is_closed(self) -> bool:
        tenants = self._source.tenants(0)
        for tenant in tenants:
            tenant.acts.refresh()
        return all(tenant.acts.moved for tenant in tenants)

    def _let_go(self, capture: str) -> bool:
        return any(let_go(tenant, capture) for tenant in self._source.tenants())

    def _hold(self) -> None:
        """Every lease that a process of the service would have: so none runs. Raises Refused (``relocate.busy``)."""
        if not hold(self._source, owners(self._source.raw)):
            detail = "the service is running: stop it, or copy beside it with --first-pass"
            raise Refused(detail, code="relocate.busy")

    def _pass(self, *, keys: bool) -> None:
        self.outcome.records = 0
        for owner in owners(self._source.raw):
            if keys:
                self.outcome.records += self._keys.carry(owner)
            self._copy.run(owner)

    # --- closing the source ---------------------------------------------------------------------------

    def _close(self) -> None:
        closed = [self._close_tenant(tenant) for tenant in self._source.tenants(0)]
        if any(closed):
            make_checkpointer(self._source).run_once()

    def _close_tenant(self, tenant: Tenant) -> bool:
        """False when an earlier run has closed it."""
        tenant.acts.refresh()
        if tenant.acts.moved:
            return False
        tenant.acts.append(lambda _: {"version": 1, "act": "archive.moved"})
        for log in logs(self._source.raw, tenant.id):
            if log.kind in _SLOTS:
                self._claim(log)
        return True

    def _claim(self, log: LogId) -> None:
        """A frozen writer loses its next append, hears of the act, and answers 451."""
        Appender(self._source.store, log, self._source.clock, self._source.policy).claim()

    # --- opening the target ---------------------------------------------------------------------------

    def _arrive(self, *, begun: bool) -> None:
        for owner in owners(self._source.raw):
            self._copy.record_moves(owner, self._target.slots(owner, KIND), begun=begun)
        for tenant in self._target.tenants(0):
            tenant.acts.refresh()
            if tenant.acts.moved:
                tenant.acts.append(lambda _: {"version": 1, "act": "archive.arrived"})
        make_checkpointer(self._target).run_once()


def _length(core: Core, log: LogId) -> int:
    return sum(1 for _ in LogReader(core.raw, log).entries())


def hold(core: Core, chosen: list[str]) -> bool:
    """Take every lease that a process of the service would have, and the slots of these owners, for the life of this
    process. False when another process has one of them."""
    slots = [str(log) for owner in chosen for log in logs(core.raw, owner) if log.kind in _SLOTS]
    here = all(core.here.take(name) for name in _HERE)
    return here and all(core.leases.take(name) for name in (*_ROLES, *slots))


def abandon(core: Core) -> list[str]:
    """Open an archive again that a relocation closed, when the target is given up; durable on return. The tenants'
    names. Only if nothing was archived in the target: two archives of one name would both go on."""
    opened: list[str] = []
    for tenant in core.tenants(0):
        tenant.acts.refresh()
        if tenant.acts.moved:
            tenant.acts.append(lambda _: {"version": 1, "act": "archive.arrived"})
            opened.append(tenant.name)
    return opened


def let_go(tenant: Tenant, capture: str) -> bool:
    """Whether the capture's key is destroyed, and its object may be gone by right: a disposition took it, or it was
    swept after an erasure."""
    acts = tenant.acts
    by_right = acts.dispositions.of(capture) is not None or capture in acts.erasures.deleting
    return by_right and capture in acts.erasures.gone()
