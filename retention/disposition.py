"""Disposition: what is past its maximum goes, under two people, after a grace, and it is said when all of it is gone.

    run     two people have decided; until the grace is over anybody of them may stop it
    begin   judged again by whoever knows the schedule: ``erasure.ask`` with ground maximum bars what may still go
    batch   the erasure batch destroys the keys (``retention.erasure``), with a judgement of its own
    sweep   object versions are deleted as their locks end
    done    said only when keys, key versions, object versions, rows and text are seen to be gone

Every step is read off the acts and the stores, so a run that was cut off anywhere goes on to the same end.
"""

import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from archive_service.ledger.acts import Acts
from archive_service.ledger.dispositions import Disposition, Leaving
from archive_service.model.clock import Clock, rfc3339
from archive_service.model.errors import NotFound, Refused
from archive_service.model.grounds import EraseGround
from archive_service.model.reasons import require_reason
from archive_service.vault.key_layout import LogId, object_key
from archive_service.vault.stores.base import ObjectStore

ARCHIVE = "the archive"
"""Who stops a run of which nothing is left to go."""


def decide_run(
    acts: Acts,
    captures: Sequence[Leaving],
    schedule: int,
    by: str,
    spend: Callable[[], str],
    clock: Clock,
    grace: timedelta,
    elimination: str | None = None,
) -> tuple[str, int]:
    """Say that these captures go when the grace is over; durable on return. The run's id, and the acts-log position
    that has passed it. What is barred or kept at the head is left out; ``elimination``: see ``ledger.dispositions``.
    Raises Refused (``disposition.nothing``), and
    what ``spend`` raises."""
    name = "d" + secrets.token_hex(8)

    def act(_: object) -> dict[str, Any]:
        now = clock()
        left = _free(acts, captures, rfc3339(now), acts.dispositions.under_way())
        if not left:
            raise Refused("nothing of this may go now", code="disposition.nothing")
        return {
            "version": 1,
            "act": "disposition.run",
            "disposition": name,
            "captures": [_plain(each) | {"class": each.klass} for each in left],
            "schedule": schedule,
            "due": rfc3339(now + grace),
            "by": by,
            "at": rfc3339(now),
            "approval": spend(),
            **({} if elimination is None else {"elimination": elimination}),
        }

    return name, acts.append(act) + 1


def stop(acts: Acts, disposition: str, by: str, reason: str, clock: Clock) -> int:
    """Call a run off whose grace is not over; the acts-log position that has passed it. Raises NotFound
    (``disposition.unknown``), Refused (``disposition.begun``)."""

    def act(_: object) -> dict[str, Any]:
        known = acts.dispositions.known.get(disposition)
        if known is None:
            raise NotFound("no such disposition", code="disposition.unknown")
        if known.state != "waiting":
            raise Refused("it has begun, or ended, and cannot be stopped", code="disposition.begun")
        require_reason(reason)
        fields = {"disposition": disposition, "by": by, "reason": reason, "at": rfc3339(clock())}
        return {"version": 1, "act": "disposition.stop", **fields}

    return acts.append(act) + 1


def begin(
    acts: Acts,
    run: Disposition,
    still_due: Collection[str],
    basis: str,
    clock: Clock,
    judged: Callable[[], None] = lambda: None,
    schedule: int | None = None,
) -> bool:
    """Bar what of a run may still go: ``still_due`` by the schedule, and by the acts at their head neither kept nor
    barred. ``schedule``: the version that says so, which the certificate names. ``judged``: raises Refused there
    where ``still_due`` rests on what is no longer so. Whether anything goes; a run of which nothing does is stopped,
    one that was not judged by the head waits. Raises ArchiveError."""
    erasure = "e" + secrets.token_hex(8)
    due = [each for each in run.captures if each.id in still_due]

    def act(_: object) -> dict[str, Any]:
        if run.state != "waiting":
            raise Refused("another process has begun it", code="disposition.begun")
        judged()
        going = _not_begun(acts, due) if run.order else _free(acts, due, rfc3339(clock()), ())
        if not going:
            raise Refused("nothing of this may go now", code="disposition.nothing")
        ground = EraseGround.ORDER if run.order else EraseGround.MAXIMUM
        fields = {"erasure": erasure, "ground": str(ground), "basis": basis, "by": run.by}
        named: dict[str, Any] = {"captures": [_plain(each) for each in going], "disposition": run.id}
        named |= {} if schedule is None else {"schedule": schedule}
        return {"version": 1, "act": "erasure.ask", **fields, **named}

    try:
        acts.append(act)
    except Refused as error:
        if error.code == "disposition.nothing":
            stop(acts, run.id, ARCHIVE, "nothing of it may go any more", clock)
        return False
    return True


def sweep(
    store: ObjectStore, run: Disposition, gone: Collection[str], now: datetime
) -> tuple[int, datetime | None]:
    """Delete the object versions of what has no key any more and is not locked; how many objects are left, and when
    the last of the locks seen ends. Raises StoreError."""
    left, last = 0, None
    for each in run.going:
        if each.id not in gone:
            left += 1
            continue
        name = object_key(LogId.parse(each.log), each.id)
        if run.order:
            _free_of_holds(store, name)
        stays, until = _delete(store, name, now)
        left += stays
        last = until if last is None or (until is not None and until > last) else last
    return left, last


def _free_of_holds(store: ObjectStore, key: str) -> None:
    """An order to erase stands above a hold: what nobody can open any more is held for nobody."""
    try:
        versions = store.stat(key)
    except NotFound:
        return
    for stored, lock in versions:
        if lock.hold and not stored.marker:
            store.protect(key, stored.version, replace(lock, hold=False))


def locked_until(store: ObjectStore, key: str, now: datetime) -> datetime | None:
    """Until when some version of an object may not be deleted, ``datetime.max`` for a hold in the store itself; None
    when each may, or none is there. Raises StoreError."""
    try:
        versions = store.stat(key)
    except NotFound:
        return None
    if any(lock.hold for _, lock in versions):
        return datetime.max.replace(tzinfo=now.tzinfo)
    return max(
        (lock.until for _, lock in versions if lock.until is not None and lock.until > now), default=None
    )


def delete_versions(store: ObjectStore, key: str, now: datetime) -> bool:
    """Delete what may be deleted of an object; whether anything of it stays. Raises StoreError."""
    return _delete(store, key, now)[0]


def _delete(store: ObjectStore, key: str, now: datetime) -> tuple[bool, datetime | None]:
    """Whether anything of it stays, and until when it is locked. A hold in the store itself keeps it."""
    try:
        versions = store.stat(key)
    except NotFound:
        return False, None
    locked = [lock.until for _, lock in versions if lock.until is not None and lock.until > now]
    if locked or any(lock.hold for _, lock in versions):
        return True, max(locked, default=None)
    for stored, _ in reversed(versions):  # the oldest last: cut off, the truth still stands
        if not stored.marker:
            store.delete(key, stored.version)
    return False, None


def unreadable_since(acts: Acts, run: Disposition) -> str | None:
    """Since when no backup of the keys opens any of a run's captures; None while one may."""
    wanted = {each.id for each in run.going}
    batches = [each for each in acts.erasures.batches.values() if not wanted.isdisjoint(each.captures)]
    if wanted - {capture for batch in batches for capture in batch.captures}:
        return None
    ends = [batch.destroyed_at for batch in batches]
    return None if None in ends else max(str(end) for end in ends)


def say_done(acts: Acts, run: Disposition, unreadable: str, deleted: str) -> None:
    """Say that all of a run is gone, from finished exports too; durable on return, and said once."""

    def act(_: object) -> dict[str, Any]:
        if run.state != "going":
            raise Refused("another process has ended it", code="disposition.ended")
        fields = {"disposition": run.id, "unreadable": unreadable, "deleted": deleted, "at": deleted}
        return {"version": 1, "act": "disposition.done", **fields, "exports_gone": True}

    acts.append(act)


def _free(acts: Acts, captures: Sequence[Leaving], now: str, taken: Collection[str]) -> list[Leaving]:
    """Those that nothing keeps and nobody has asked to be forgotten, by the acts at their head."""
    return [
        each
        for each in captures
        if each.id not in taken
        and not acts.erasures.barred(each.id)
        and not acts.erasures.keeps_of(each.id, now)
    ]


def _not_begun(acts: Acts, captures: Sequence[Leaving]) -> list[Leaving]:
    """Those whose keys are not going already, on whatever ground."""
    return [each for each in captures if not acts.erasures.begun(each.id)]


def _plain(capture: Leaving) -> dict[str, Any]:
    return {"log": capture.log, "seq": capture.seq, "capture": capture.id}
