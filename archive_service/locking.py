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
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

from archive_service.catalog.base import CaptureRow, Catalog
from archive_service.ledger.acts import Acts
from archive_service.ledger.schedules import Version
from archive_service.model.clock import Clock, from_rfc3339, rfc3339
from archive_service.model.errors import ArchiveError, NotFound
from archive_service.model.schedule import EVENTS
from archive_service.retaining import assessed
from archive_service.vault.key_layout import LogId
from archive_service.vault.stores.base import LockMode, ObjectStore
from retention.schedule.terms import Assessment

_log = logging.getLogger(__name__)
_REST = 60.0  # seconds
_PIECE = 200  # messages a call
_AHEAD = timedelta(days=90)  # of a rolling lock
_RENEW = timedelta(days=45)  # left of it when it is renewed


@dataclass(frozen=True)
class Mark:
    """How far a pass is: every capture below ``at`` in the order log is locked as ``key`` asks, which says what the
    pass is for. ``reached``: how far any pass has been; what lies behind has only its intake lock."""

    key: str = ""
    at: int = 0
    reached: int = 0


def read_mark(file: Path) -> Mark:
    """As the active follower of this machine left it; the beginning, where it left none that can be read."""
    try:
        plain = json.loads(file.read_text("utf-8"))
        return Mark(str(plain["key"]), int(plain["at"]), int(plain["reached"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Mark()


def first_unkept(work: Path, acts: Acts, catalog: Catalog, now: str) -> tuple[LogId, int] | None:
    """The place of the first capture that no pass has reached, by the mark of this machine; None where all are reached,
    where no schedule is in force, and where no follower of this machine keeps locks. Raises StoreError."""
    file = mark_file(work, acts.log.owner)
    if acts.schedules.in_force(now) is None or not file.exists():
        return None
    start = read_mark(file).reached
    for message in catalog.changed(start, catalog.position().rows):
        first = min(
            (each for each in message.captures if each.order_seq >= start), key=lambda each: each.order_seq
        )
        return LogId.parse(first.log), first.seq
    return None


def mark_file(work: Path, owner: str) -> Path:
    """Where an owner's mark lies."""
    return work / "locks" / f"{owner}.json"


class LockKeeper:
    """One owner's. Not thread-safe."""

    def __init__(self, store: ObjectStore, acts: Acts, catalog: Catalog, clock: Clock, file: Path) -> None:
        self._store = store
        self._acts = acts
        self._catalog = catalog
        self._clock = clock
        self._file = file
        self._mark = read_mark(file)
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
        rows = self._catalog.position().rows
        if start >= rows and self._mark.key == key:
            return 0
        done, at = 0, start
        for message in islice(self._catalog.changed(start, rows), _PIECE):
            ours = [capture for capture in message.captures if capture.order_seq >= start]
            for capture in ours:
                self._keep(capture, now)
            done, at = done + 1, min(capture.order_seq for capture in ours) + 1
        at = at if done == _PIECE else rows
        self._note(Mark(key, at, max(at, self._mark.reached)))
        return done

    def _key(self, version: Version, now: datetime) -> str:
        """Another one begins a pass anew: with the version, and, where terms start with events, with what the acts tell
        of these, and every week, for locks that roll."""
        if not any(each.start in EVENTS and each.minimum for each in version.schedule.classes):
            return f"{version.number}/{self._acts.reviews.count}"
        closed = sum(matter.closed is not None for matter in self._acts.matters.known.values())
        year, week, _ = now.isocalendar()
        return (
            f"{version.number}/{self._acts.reviews.count}/{closed}/{self._acts.custodians.last}/{year}-{week}"
        )

    def _keep(self, capture: CaptureRow, now: datetime) -> None:
        found = assessed(self._acts, capture, rfc3339(now))
        if found is None or self._acts.erasures.barred(capture.id):
            return
        try:
            stored, lock = self._store.stat(capture.object_key)[0]
        except NotFound:
            _log.error("an object is not there to be locked: %s", capture.object_key)  # ``verify`` names it
            return
        until = wanted_until(found[1], lock.until, now)
        if until is None:
            return
        strict = LockMode.COMPLIANCE in (lock.mode if lock.until else None, LockMode(found[1].klass.lock))
        mode = LockMode.COMPLIANCE if strict else LockMode.GOVERNANCE
        later = until if lock.until is None else max(until, lock.until)
        if (later, mode) != (lock.until, lock.mode):
            self._store.protect(capture.object_key, stored.version, replace(lock, until=later, mode=mode))

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
