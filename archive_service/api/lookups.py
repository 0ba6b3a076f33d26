"""From an id in a path to what it names, or to one and the same 404, after the same looks at catalog, acts and index:
the time of an answer tells no more than the answer (``bench.ids``)."""

from collections.abc import Sequence

from archive_service.access.policy import Right, decide
from archive_service.api.errors import NoSuchThing
from archive_service.api.guard import Caller, well_formed
from archive_service.catalog.base import CaptureRow, Job, MessageRow
from archive_service.catalog.merge import merge
from archive_service.model.evidence import Evidence
from search.query_language import And, Ids


def message(caller: Caller, message_id: str) -> MessageRow:
    """A message with at least one visible capture, and what is asked of who looks at it was said. Raises NoSuchThing,
    and Invalid (``purpose.required``) where one of its captures is of a class that asks for a purpose."""
    rows = caller.tenant.catalog.messages([message_id]) if well_formed(message_id) else []
    visible = unbarred(caller, rows)
    seen = well_formed(message_id) and within(caller, [message_id])
    if not visible or not seen:
        raise NoSuchThing
    caller.require_purpose(visible[0].captures)
    return visible[0]


def within(caller: Caller, ids: Sequence[str]) -> bool:
    """Whether every one of these messages lies within what the caller may see, by the index: one that the index does
    not hold yet does not."""
    if caller.bound is None or not ids:
        return True
    query = And((caller.bound, Ids(tuple(ids))))
    return caller.tenant.index.search(query, limit=1, snippets=False).total == len(set(ids))


def unbarred(caller: Caller, rows: Sequence[MessageRow]) -> list[MessageRow]:
    """The messages as their captures that may be shown say them; those without one are left out. The projections may
    not have passed the act that bars a capture: the acts at their head decide."""
    barred = caller.tenant.barred(capture.id for row in rows for capture in row.captures)
    found: list[MessageRow] = []
    for row in rows:
        left = [capture for capture in row.captures if capture.id not in barred]
        if left:
            found.append(row if len(left) == len(row.captures) else merge(left))
    return found


def capture(caller: Caller, capture_id: str) -> CaptureRow:
    """Raises as ``message``: the other captures of its message carry the same mail, so their classes count too."""
    if not well_formed(capture_id):
        raise NoSuchThing
    row = caller.tenant.catalog.capture(capture_id)
    barred = caller.tenant.barred([capture_id])
    seen = within(caller, [capture_id if row is None else row.finding.message])
    if row is None or barred or not seen:
        raise NoSuchThing
    same = unbarred(caller, caller.tenant.catalog.messages([row.finding.message]))
    caller.require_purpose([row, *(each for message in same for each in message.captures)])
    return row


def looks(caller: Caller, captures: Sequence[CaptureRow]) -> dict[str, list[Evidence]]:
    """By capture, what was seen of it after its ``250``, checked against the ledger. Raises as ``Contents.looks``."""
    known = caller.tenant.catalog.evidence([row.id for row in captures])
    found = (
        (row.id, caller.tenant.contents.looks(row, known[row.id])) for row in captures if row.id in known
    )
    return {name: [look.evidence for look in seen] for name, seen in found}


def holds(caller: Caller, captures: Sequence[CaptureRow]) -> list[dict[str, str]]:
    """The legal holds upon these captures, as far as the caller may know of them: silent ones are for those who see
    matters; whoever sees a part of the archive is told of none."""
    if caller.bound is not None:
        return []
    all_of_them = decide(caller.actor, Right.MATTERS).allowed
    return caller.tenant.holds.of_captures((row.id for row in captures), silent=all_of_them)


def job(caller: Caller, job_id: str, kind: str | None = None) -> Job:
    """A job, of that kind if one is given. Raises NoSuchThing."""
    found = caller.tenant.jobs.get(job_id) if well_formed(job_id) else None
    if found is None or kind not in (None, found.kind):
        raise NoSuchThing
    if caller.bound is not None and found.actor != caller.actor.subject:
        raise NoSuchThing  # it may speak of mail beyond what he is shown
    return found
