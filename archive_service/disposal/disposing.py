"""Dispositions, wired over an archive: what may go now, the runs as people see them, and what the scheduler does."""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from archive_service.access.events import Actor
from archive_service.access.forms import lists, texts
from archive_service.access.four_eyes import Spend, StrongAction
from archive_service.bootstrap import Core, Tenant
from archive_service.bounded_time import bounded_now
from archive_service.catalog.base import CaptureRow, Catalog
from archive_service.catalog.vouching import flaw_of
from archive_service.disposal.expiring import none_left
from archive_service.engines.projection_engines import Pair
from archive_service.export.certificate import certificate
from archive_service.export.proving import LedgerProofs
from archive_service.ledger.acts import Acts
from archive_service.ledger.approvals import Approval
from archive_service.ledger.dispositions import Disposition, Leaving
from archive_service.ledger.eliminations import Elimination
from archive_service.ledger.schedules import Version
from archive_service.model.clock import Clock, rfc3339
from archive_service.model.errors import ArchiveError, NotFound, Refused
from archive_service.terms.retaining import assessed_to_go, judged_by, require_judged
from archive_service.terms.retention_actions import OVERSIGHT
from retention import disposition
from retention.elimination import require_visa

_log = logging.getLogger(__name__)
_MOST = 10_000  # captures of one run
_SAMPLES = 20
_BASIS = "the end of the retention term (GDPR article 5(1)(e))"


def due_now(
    acts: Acts, catalog: Catalog, now: str, classes: Collection[str] = (), omit: Collection[str] = ()
) -> Iterator[Leaving]:
    """The captures that may go at ``now``: past their maximum, not kept, not barred, in no other run; of these classes
    where any are named. By the acts as read and every capture in the catalog."""
    taken = acts.dispositions.under_way()
    for row in catalog.changed(0, catalog.position().rows):
        for capture in row.captures:
            if capture.id in omit or capture.id in taken or acts.erasures.barred(capture.id):
                continue
            found = past(acts, capture, now)
            wanted = found is not None and (not classes or found.klass in classes)
            if found is not None and wanted and not acts.erasures.keeps_of(capture.id, now):
                yield found


def past(acts: Acts, capture: CaptureRow, now: str) -> Leaving | None:
    """The capture as one that goes, if its maximum is over."""
    found = assessed_to_go(acts, capture, now)
    if found is None or not found[1].past(now):
        return None
    return Leaving(capture.log, capture.seq, capture.id, found[1].klass.id)


def _any_row(row: CaptureRow) -> bool:
    """For what destroys nothing yet."""
    del row
    return True


def _still(
    acts: Acts,
    catalog: Catalog,
    classes: Mapping[str, str],
    now: str,
    believed: Callable[[CaptureRow], bool] = _any_row,
) -> Iterator[Leaving]:
    """Of captures, by id with the class that two people saw them in, those whose maximum is over and that are of that
    class still: what has become of another one was not decided over, and its certificate would name a wrong law."""
    for name, klass in classes.items():
        row = catalog.capture(name)
        found = None if row is None else past(acts, row, now)
        if row is not None and found is not None and found.klass == klass and believed(row):
            yield found


@dataclass(frozen=True)
class TenantDispositions:
    """See ``api.services.Dispositions``. ``clock``: what may go is judged by it, and it may refuse; ``ours`` does not,
    so that a run can be called off whatever the clocks say."""

    acts: Acts
    catalog: Catalog
    proofs: LedgerProofs
    clock: Clock
    ours: Clock
    owner: str

    def preview(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """By the acts at their head."""
        found, more = self.due(given)
        return {**counts(found), "more": more, "samples": [each.id for each in found[:_SAMPLES]]}

    def due(self, given: Mapping[str, Any]) -> tuple[list[Leaving], bool]:
        """What may go now, of these ``classes``, without those to ``omit``, and whether there is more."""
        self.acts.refresh()
        found: list[Leaving] = []
        wanted = frozenset(given.get("classes") or ())
        omit = frozenset(given.get("omit") or ())
        for each in due_now(self.acts, self.catalog, rfc3339(self.clock()), wanted, omit):
            if len(found) == _MOST:
                return found, True
            found.append(each)
        return found, False

    def action(self, grace: timedelta) -> StrongAction:
        """``disposition.run`` {classes?, omit?, elimination?}: let go what is past its maximum."""

        def check(given: Mapping[str, Any], _: Actor) -> dict[str, Any]:
            found, more = self.due(given)
            version = self.acts.schedules.in_force(rfc3339(self.clock()))
            listed = self._listed(version, given.get("elimination"))
            found = [each for each in found if listed is None or each.id in listed.captures]
            if not found or version is None:
                raise Refused("nothing is past its maximum, or all of it is kept", code="disposition.nothing")
            named = [
                {"log": each.log, "seq": each.seq, "capture": each.id, "class": each.klass} for each in found
            ]
            by = {} if listed is None else {"elimination": listed.id}
            return {**by, **counts(found), "more": more, "schedule": version.number, "list": named}

        def carry_out(approval: Approval, spend: Spend) -> dict[str, Any]:
            now = rfc3339(self.clock())
            listed_as = {str(each["capture"]): str(each["class"]) for each in approval.request["list"]}
            found = list(_still(self.acts, self.catalog, listed_as, now))
            version = self.acts.schedules.in_force(now)
            if version is None:
                raise Refused("no schedule is in force", code="disposition.nothing")
            listed = self._listed(version, approval.request.get("elimination"))
            by = None if listed is None else listed.id
            name, seq = disposition.decide_run(
                self.acts, found, version.number, approval.by, lambda: spend().id, self.clock, grace, by
            )
            run = self.acts.dispositions.known[name]
            return {"disposition": name, "captures": len(run.captures), "due": run.due, "seq": seq}

        forms = lists("classes", "omit") | texts("elimination")
        return StrongAction(
            "disposition.run", OVERSIGHT, OVERSIGHT, check, carry_out, forms=forms, beside=frozenset()
        )

    def _listed(self, version: Version | None, elimination: str | None) -> Elimination | None:
        """The list that a run goes by; public archives have one, with its visa. Raises Refused, NotFound."""
        if elimination is None and (version is None or not version.schedule.public_service):
            return None
        return require_visa(self.acts, elimination)

    def all(self) -> list[dict[str, Any]]:
        """Newest first, by the acts at their head."""
        self.acts.refresh()
        runs = reversed(self.acts.dispositions.known.values())
        return [view(each, self.acts) for each in runs if not each.order]

    def get(self, name: str) -> dict[str, Any]:
        """One, by the acts at their head. Raises NotFound."""
        return view(self._known(name), self.acts)

    def stop(self, name: str, by: str, reason: str) -> dict[str, Any]:
        """See ``retention.disposition.stop``."""
        self._known(name)
        disposition.stop(self.acts, name, by, reason, self.ours)
        return view(self.acts.dispositions.known[name], self.acts)

    def certificate(self, name: str) -> dict[str, Any]:
        """Raises NotFound, Refused (``disposition.not_done``), Overloaded (``proof.pending``)."""
        run = self._known(name)
        if run.done is None:
            raise Refused("its certificate is made when all of it is gone", code="disposition.not_done")
        return certificate(run, self.acts, self.owner, self.proofs)

    def _known(self, name: str) -> Disposition:
        self.acts.refresh()
        known = self.acts.dispositions.known.get(name)
        if known is None or known.order:
            raise NotFound("no such disposition", code="disposition.unknown")
        return known


def counts(found: Collection[Leaving]) -> dict[str, Any]:
    """How many, and of which classes."""
    return {"captures": len(found), "classes": dict(sorted(Counter(each.klass for each in found).items()))}


def view(run: Disposition, acts: Acts) -> dict[str, Any]:
    """JSON-ready."""
    gone = acts.erasures.gone()
    return {
        "id": run.id,
        "state": run.state,
        **counts(run.going or run.captures),
        "schedule_version": run.schedule,
        "decided_at": run.at,
        "due": run.due,
        "approval": run.approval,
        "elimination": run.elimination,
        "stopped_at": run.stopped,
        "keys_gone": sum(each.id in gone for each in run.going),
        "unreadable_since": run.unreadable,
        "deleted_at": run.deleted,
        "done_at": run.done,
    }


def _ignore(error: ArchiveError) -> None:
    """Who has no tally."""
    del error


def advance(core: Core, tenant: Tenant, damaged: Callable[[ArchiveError], None] = _ignore) -> int:
    """Take every run of a tenant as far as it can go now; how many were ended. Safe beside others, and after a crash
    anywhere. ``damaged`` is told of captures that stay since the catalog does not say of them what the ledger says.
    Raises ArchiveError: the next call goes on; Refused (``clock.disagrees``): nothing is destroyed by a clock that is
    wrong."""
    acts = tenant.acts
    acts.refresh()
    under_way = [each for each in acts.dispositions.known.values() if each.state in ("waiting", "going")]
    if not under_way or acts.incidents.open:  # nothing is destroyed while an incident is open
        return 0
    clock = partial(bounded_now, core)
    now = rfc3339(clock())
    live = core.engines.live(tenant.id)
    try:
        # Nothing is disposed of before the projections are at the head; what begins here does not move it for the next.
        at_head = live.catalog.position().acts >= acts.seen

        def begin(run: Disposition) -> bool:
            if run.state == "waiting" and run.order:
                _begin_order(acts, run, clock)
            elif run.state == "waiting" and run.due <= now and at_head:
                _begin(acts, live.catalog, run, clock, damaged)
            return False

        def end(run: Disposition) -> bool:
            return run.state == "going" and _end(core, tenant, live, run, clock)

        return _each_in_turn(under_way, begin, end)
    finally:
        live.close()


def _each_in_turn(runs: Sequence[Disposition], *deeds: Callable[[Disposition], bool]) -> int:
    """Each of these with every run; how often one said yes. A run that one object holds up holds up no other: what went
    wrong first is raised when all had their turn. Raises ArchiveError."""
    said, troubles = 0, list[ArchiveError]()
    for deed in deeds:
        for run in runs:
            try:
                said += deed(run)
            except ArchiveError as error:
                troubles.append(error)
    if troubles:
        raise troubles[0]
    return said


def _begin(
    acts: Acts, catalog: Catalog, run: Disposition, clock: Clock, damaged: Callable[[ArchiveError], None]
) -> None:
    now, before = rfc3339(clock()), judged_by(acts)
    version = acts.schedules.in_force(now)
    if version is not None and version.schedule.public_service and run.elimination is None:
        disposition.begin(acts, run, (), _BASIS, clock)  # decided before the archives were public: it stops
        return
    classes = {each.id: each.klass for each in run.captures}
    still = {
        each.id for each in _still(acts, catalog, classes, now, lambda row: _believed(acts, row, damaged))
    }
    number = None if version is None else version.number
    disposition.begin(acts, run, still, _BASIS, clock, lambda: require_judged(acts, before), number)


def _believed(acts: Acts, row: CaptureRow, damaged: Callable[[ArchiveError], None]) -> bool:
    """Whether the ledger says of a capture what the catalog does: nobody's mail grows old by a change in a database."""
    flaw = flaw_of(acts.vault, row)
    if flaw is not None:
        _log.error("a capture stays, for its row cannot be believed: %s", flaw.code)
        damaged(flaw)
    return flaw is None


def _begin_order(acts: Acts, run: Disposition, clock: Clock) -> None:
    """An order needs no schedule, and waits for no projection: what it names was decided by two people."""
    order = acts.orders.known[run.id]
    basis = f"order {order.reference} of {order.issuer}"
    disposition.begin(acts, run, {each.id for each in run.captures}, basis, clock)


def _end(core: Core, tenant: Tenant, live: Pair, run: Disposition, clock: Clock) -> bool:
    """Delete what may be deleted; say that it is over when it is, by the time at which that was seen."""
    acts = tenant.acts
    left, _ = disposition.sweep(core.raw, run, acts.erasures.gone(), clock())
    since = disposition.unreadable_since(acts, run)
    if left or since is None or not _forgotten(live, run):
        return False
    if not live.scrub(run.positions["erasure.ask"]):
        return False  # words of it stand in the index's files
    if not none_left(core, tenant, (each.id for each in run.going)):
        return False  # finished exports of another machine hold it, or one is being made
    disposition.say_done(acts, run, since, rfc3339(clock()))
    _log.info("a disposition is done: %d captures", len(run.going))
    return True


def _forgotten(live: Pair, run: Disposition) -> bool:
    """Whether rows and documents are gone: no row stands, and the index has passed the act that took them away."""
    position = live.catalog.position()
    if position.acts <= run.positions["erasure.ask"] or position.indexed < position.rows:
        return False
    return all(live.catalog.capture(each.id) is None for each in run.going)
