"""Locks that last as long as the law asks: each capture's intake lock is made as long as its legal minimum.

Only a minimum makes a lock longer, never beyond its end: a lock cannot be shortened, so it is never longer than what
is justified. Where the term starts with an event that has not happened yet the lock rolls: some weeks ahead, renewed
while it waits. The active follower does this, after the holds and in the same thread, since a lock and a hold are set
together. How far it is stands in a file of this machine: losing it costs a look at every object.
"""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from archive_service.catalog.base import CaptureRow, Catalog
from archive_service.catalog.vouching import flaw_of
from archive_service.ledger.acts import Acts
from archive_service.ledger.schedules import Version
from archive_service.model.clock import Clock, from_rfc3339, rfc3339
from archive_service.model.errors import ArchiveError, NotFound
from archive_service.model.schedule import EVENTS, Schedule
from archive_service.terms.retaining import assessed
from archive_service.vault.key_layout import LogId
from archive_service.vault.stores.base import Lock, LockMode, ObjectStore
from retention.schedule.terms import Assessment

_log = logging.getLogger(__name__)
_REST = 60.0  # seconds
_PIECE = 200  # messages a call
_REMEMBERED = 100  # captures whose class cannot be told
_BREATH = 2.0  # seconds, after which a piece ends: mail may have to be read
_AHEAD = timedelta(days=90)  # of a rolling lock
_RENEW = timedelta(days=45)  # left of it when it is renewed


@dataclass(frozen=True)
class Mark:
    """How far a pass is: every capture below ``at`` in the order log is locked as ``key`` asks, which says what the
    pass is for. ``reached``: how far any pass has been; what lies behind has only its intake lock. ``undecided``: the
    first captures that it met whose text decides and cannot be told; no lock is made longer on a guess."""

    key: str = ""
    at: int = 0
    reached: int = 0
    undecided: tuple[str, ...] = ()


def read_mark(file: Path) -> Mark:
    """As the active follower of this machine left it; the beginning, where it left none that can be read."""
    try:
        plain = json.loads(file.read_text("utf-8"))
        undecided = tuple(map(str, plain.get("undecided", ())))
        return Mark(str(plain["key"]), int(plain["at"]), int(plain["reached"]), undecided)
    except (OSError, ValueError, KeyError, TypeError):
        return Mark()


def first_unkept(work: Path, acts: Acts, catalog: Catalog, now: str) -> tuple[LogId, int] | None:
    """The place of the first capture whose lock is not what its class asks, for no pass has reached it, its class
    cannot be told, or, without a schedule in force, nothing has a class; by the mark of this machine, which follows.
    None where there is none, and where no follower of this machine keeps locks yet. Raises StoreError."""
    file = mark_file(work, acts.log.owner)
    if acts.schedules.in_force(now) is None:
        mark = Mark()
    elif file.exists():
        mark = read_mark(file)
    else:
        return None
    rows = [
        row for name in mark.undecided if (row := catalog.capture(name)) and not acts.erasures.barred(name)
    ]
    for message in catalog.changed(mark.reached, catalog.position().rows):
        rows += [each for each in message.captures if each.order_seq >= mark.reached]
        break
    first = min(rows, key=lambda each: each.order_seq, default=None)
    return None if first is None else (LogId.parse(first.log), first.seq)


def mark_file(work: Path, owner: str) -> Path:
    """Where an owner's mark lies."""
    return work / "locks" / f"{owner}.json"


Classify = Callable[[CaptureRow, Schedule], CaptureRow]
"""Reads a capture for what decides its class, where that is not known yet (``classifying``)."""


def as_it_is(capture: CaptureRow, schedule: Schedule) -> CaptureRow:
    """A ``Classify`` that reads nothing."""
    del schedule
    return capture


class LockKeeper:
    """One owner's. Not thread-safe."""

    def __init__(
        self,
        store: ObjectStore,
        acts: Acts,
        catalog: Catalog,
        clock: Clock,
        file: Path,
        classify: Classify = as_it_is,
    ) -> None:
        self._classify = classify
        self._store = store
        self._acts = acts
        self._catalog = catalog
        self._clock = clock
        self._file = file
        self._mark = read_mark(file)
        self._undecided: list[str] = list(self._mark.undecided)
        self._rest_until = 0.0

    def __call__(self) -> int:
        """A piece of the pass that is due; how many messages, 0 when every lock is as it should be. After a fault it
        rests for a minute, and does that piece again: following goes on, and an alarm tells of a fault that lasts."""
        if time.monotonic() < self._rest_until:
            return 0
        try:
            return self._step()
        except ArchiveError as error:
            self._rest_until = time.monotonic() + _REST
            _log.warning("locks cannot be made longer: %s", error.code)
            return 0

    def _step(self) -> int:
        now = self._clock()
        version = self._acts.schedules.in_force(rfc3339(now))
        if version is None:
            return 0
        key = self._key(version, now)
        start = self._mark.at if self._mark.key == key else 0
        if self._mark.key != key:
            self._undecided.clear()
        rows = self._catalog.position().rows
        if start >= rows and self._mark.key == key:
            return 0
        done, at, whole = 0, start, True
        breath = time.monotonic() + _BREATH
        for message in self._catalog.changed(start, rows):
            if done == _PIECE or time.monotonic() > breath:
                whole = False
                break
            ours = [capture for capture in message.captures if capture.order_seq >= start]
            for capture in ours:
                self._keep(self._classify(capture, version.schedule), now)
            done, at = done + 1, min(capture.order_seq for capture in ours) + 1
        at = rows if whole else at
        undecided = tuple(dict.fromkeys(self._undecided[:_REMEMBERED]))
        self._note(Mark(key, at, max(at, self._mark.reached), undecided))
        return done

    def _key(self, version: Version, now: datetime) -> str:
        """Another one begins a pass anew: with the version, and, where terms start with events, with what the acts tell
        of these, and every week, for locks that roll; where words decide, with a catalog that knows of none yet."""
        schedule = version.schedule
        parts: list[object] = [version.number, self._acts.reviews.count]
        if any(rule.custodians for rule in schedule.rules) and any(each.minimum for each in schedule.classes):
            parts.append(f"people {self._acts.custodians.last}")  # whose mail is whose says the directory
        if any(each.start in EVENTS and each.minimum for each in schedule.classes):
            closed = sum(matter.closed is not None for matter in self._acts.matters.known.values())
            year, week, _ = now.isocalendar()
            parts += [closed, self._acts.custodians.last, f"{year}-{week}"]
        if schedule.reads_text():
            parts += [self._acts.custodians.last, self._catalog.born()]
        return "/".join(map(str, parts))

    def _keep(self, capture: CaptureRow, now: datetime) -> None:
        found = assessed(self._acts, capture, rfc3339(now))
        if found is None or self._acts.erasures.barred(capture.id):
            return
        if found[1].undecided:
            self._undecided.append(capture.id)
            return
        try:
            stored, lock = self._store.stat(capture.object_key)[0]
        except NotFound:
            _log.error("an object is not there to be locked: %s", capture.object_key)  # ``verify`` names it
            return
        until = wanted_until(found[1], lock.until, now)
        if until is None:
            return
        longer = lock.lengthened(Lock(LockMode(found[1].klass.lock), until))
        if longer != lock and self._believed(capture):
            self._store.protect(capture.object_key, stored.version, longer)

    def _believed(self, capture: CaptureRow) -> bool:
        """Whether the ledger says what the row does: a lock that an altered row asks for could never be undone."""
        flaw = flaw_of(self._acts.vault, capture)
        if flaw is not None:
            _log.error("no lock is made longer by the row of %s: %s", capture.object_key, flaw.code)
        return flaw is None

    def _note(self, mark: Mark) -> None:
        """Atomic; not synced, since losing it costs a look."""
        self._mark = mark
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside = self._file.with_suffix(".new")
        beside.write_text(json.dumps(vars(mark)), "utf-8")
        beside.replace(self._file)


def wanted_until(found: Assessment, held: datetime | None, now: datetime) -> datetime | None:
    """Until when an object is to be locked; None where the lock that it has is enough for now."""
    if found.keep_until is None or not found.kept(rfc3339(now)):
        return None
    end = from_rfc3339(found.keep_until)
    if not found.open:
        return end
    if held is not None and held > now + _RENEW:
        return None
    return min(end, now + _AHEAD)


def in_turn(*steps: Callable[[], int]) -> Callable[[], int]:
    """One step that does each of these; how much all of them did."""
    return lambda: sum(step() for step in steps)
