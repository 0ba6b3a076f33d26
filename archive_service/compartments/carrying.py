"""What goes along when a capture is moved into a compartment: its holds, its legal minimum, and what people decided of
its term. It is said in the compartment's acts before anything is written there, so that nothing there takes it sooner.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from archive_service.bootstrap import Tenant
from archive_service.catalog.base import CaptureRow
from archive_service.holds.objects import set_hold
from archive_service.ledger.acts import Acts
from archive_service.model.clock import Clock, rfc3339
from archive_service.model.errors import Overloaded, Refused
from archive_service.model.grounds import KeepGround
from archive_service.model.schedule import RetentionClass
from archive_service.terms.locking import wanted_until
from archive_service.terms.retaining import assessed, judged_by, minimums
from archive_service.vault.key_layout import LogId
from archive_service.vault.stores.base import Lock, LockMode
from retention.erasure import Capture


@dataclass(frozen=True)
class Terms:
    """What a capture stands under where it was. ``kept``: each legal minimum as (until, since, article); ``until``: a
    reviewer's end, "" for none; ``klass``: the one it has by hand; ``lock``: what its minimum is worth in the store;
    ``rests_on``: changes when any of these may have."""

    held: bool = False
    kept: tuple[tuple[str, str, str], ...] = ()
    until: str = ""
    klass: RetentionClass | None = None
    lock: Lock | None = None
    rests_on: object = None

    def plain(self) -> dict[str, Any]:
        """As the act has it."""
        kept = [
            {"until": until, **({"since": since} if since else {}), "article": article}
            for until, since, article in self.kept
        ]
        until = {"until": self.until} if self.until else {}
        klass = {} if self.klass is None else {"class": self.klass.plain()}
        return {"held": self.held, "kept": kept, **until, **klass}


def terms_of(acts: Acts, row: CaptureRow, now: datetime) -> Terms:
    """By the acts read so far. Where its class is not known yet it is the one that lasts longest, and where the event
    of a minimum has not happened, the latest end that it can have: what is kept by mistake can still be erased."""
    at = rfc3339(now)
    return Terms(
        held=KeepGround.HOLD in acts.erasures.keeps_of(row.id, at),
        kept=tuple(dict.fromkeys(_kept(acts, row, at))),
        until=acts.reviews.until.get(row.id, ""),
        klass=_by_hand(acts, row.id, at),
        lock=_lock(acts, row, now),
        rests_on=rests_on(acts, row.id, at),
    )


def rests_on(acts: Acts, capture: str, now: str) -> object:
    """What the terms of a capture follow from beside its finding, by the acts as read."""
    keeps = acts.erasures.keeps_of(capture, now)
    return judged_by(acts), KeepGround.HOLD in keeps, keeps.count(KeepGround.MINIMUM)


def _kept(acts: Acts, row: CaptureRow, now: str) -> Iterator[tuple[str, str, str]]:
    for since, found in minimums(acts, row, now):
        yield str(found.keep_until), since, found.klass.article
    for keep in acts.erasures.keeps_named(row.id):  # of a request that was not carried out in the end
        if keep.until is not None and keep.until > now:
            yield keep.until, keep.since, "a minimum that stood where it was"


def _by_hand(acts: Acts, capture: str, now: str) -> RetentionClass | None:
    version = acts.schedules.in_force(now)
    name = None if version is None else acts.reviews.by_hand(capture, version.schedule)
    if version is None or name not in {each.id for each in version.schedule.classes}:
        return None
    return version.schedule.klass(str(name))


def _lock(acts: Acts, row: CaptureRow, now: datetime) -> Lock | None:
    """As long as the follower makes it; not on a guess (``locking``)."""
    found = assessed(acts, row, rfc3339(now))
    until = None if found is None or found[1].undecided else wanted_until(found[1], None, now)
    return None if found is None or until is None else Lock(LockMode(found[1].klass.lock), until)


@dataclass(frozen=True)
class Carried:
    """A capture of the tenant and what it is in a compartment: ``capture`` of ``log``. ``ends``: until when the
    original may be withdrawn for it (RFC 3339)."""

    compartment: Tenant
    of: Capture
    capture: str
    log: str
    ends: str
    by: str

    def say(self, terms: Terms, clock: Clock, *, first: bool) -> None:
        """That it is there, or will be, and under what; durable on return. ``first``: by who begins this try, whoever
        was at it before. Raises Overloaded (``reseal.busy``) where another one is at it, or the copy has gone."""
        acts = self.compartment.acts

        def act(_: object) -> dict[str, Any]:
            if not first:
                self._require_counts()
            if acts.erasures.barred(self.capture):
                raise _overtaken()
            fields = {"of": self.of.plain(), "capture": self.capture, "log": self.log, "ends": self.ends}
            said = {"by": self.by, "at": rfc3339(clock())}
            return {"version": 1, "act": "stray.take", **fields, **terms.plain(), **said}

        acts.append(act)

    def hold(self, terms: Terms) -> None:
        """Have the object bear the hold too, where there is one; durable on return. Raises StoreError."""
        if terms.held:
            place = (LogId.parse(self.log), self.capture)
            set_hold(self.compartment.vault.store, place, held=True)

    def require(self, now: str) -> None:
        """That this copy is the one that counts, by the compartment's acts at their head, and that it is time still.
        Raises Overloaded (``reseal.busy``), Refused (``approval.expired``)."""
        self.compartment.acts.refresh()
        self._require_counts()
        if now >= self.ends:
            raise Refused("this request has expired", code="approval.expired")

    def _require_counts(self) -> None:
        acts = self.compartment.acts
        if acts.erasures.barred(self.capture) or not acts.strays.counts(self.of.id, self.capture):
            raise _overtaken()


def _overtaken() -> Overloaded:
    return Overloaded("another process moves it, or its copy has gone: try again", code="reseal.busy")


def leave(compartment: Tenant, of: Capture, by: str, clock: Clock) -> None:
    """Say that no copy of a stray belongs into a compartment: it goes elsewhere; durable on return."""

    def act(_: object) -> dict[str, Any]:
        said = {"by": by, "at": rfc3339(clock())}
        return {"version": 1, "act": "stray.leave", "of": of.plain(), **said}

    compartment.acts.append(act)
