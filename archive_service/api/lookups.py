"""From an id in a path to what it names, or to one and the same 404."""

from archive_service.api.errors import NoSuchThing
from archive_service.api.guard import Caller, well_formed
from archive_service.catalog.base import CaptureRow, Job, MessageRow


def message(caller: Caller, message_id: str) -> MessageRow:
    """A message with at least one visible capture. Raises NoSuchThing."""
    rows = caller.tenant.catalog.messages([message_id]) if well_formed(message_id) else []
    if not rows or not rows[0].captures:
        raise NoSuchThing
    return rows[0]


def capture(caller: Caller, capture_id: str) -> CaptureRow:
    """Raises NoSuchThing."""
    row = caller.tenant.catalog.capture(capture_id) if well_formed(capture_id) else None
    if row is None:
        raise NoSuchThing
    return row


def job(caller: Caller, job_id: str, kind: str | None = None) -> Job:
    """A job, of that kind if one is given. Raises NoSuchThing."""
    found = caller.tenant.jobs.get(job_id) if well_formed(job_id) else None
    if found is None or kind not in (None, found.kind):
        raise NoSuchThing
    return found
