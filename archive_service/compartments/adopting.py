"""What a move that was cut off has left in a compartment: looked for before the capture is written there once more."""

import json
from collections.abc import Collection
from datetime import timedelta

from archive_service.bootstrap import Core, Tenant
from archive_service.ledger.reader import find_head, first_since, read_from
from archive_service.ledger.recovery import Recovery
from archive_service.ledger.recovery_marks import FileMarks
from archive_service.ledger.strays import Copy
from archive_service.model.clock import from_rfc3339, rfc3339
from archive_service.vault.key_layout import LogId
from archive_service.vault.seal import Opened

_ANY_AGE = timedelta(hours=-1)  # whatever the store's clock says
_BEFORE = timedelta(
    hours=1
)  # how far behind its act a copy's entry may seem to be, by another machine's clock


def adopted(core: Core, compartment: Tenant, of: str) -> Copy | None:
    """The copy of a capture that stands in the compartment and is not barred there, the newest of several; what was
    sealed and not chained is chained first, so that it does not come to life later. By the compartment's acts as read.
    Raises ArchiveError."""
    known = compartment.acts.strays.known.get(of)
    if known is None:
        return None
    _chain(core, compartment, {each.capture for each in known.copies})
    for copy in reversed(known.copies):
        if not compartment.acts.erasures.barred(copy.capture) and _stands(core, copy):
            return copy
    return None


def _chain(core: Core, compartment: Tenant, copies: Collection[str]) -> None:
    """Who moves has the lease: their writer is dead, or loses its slot to this."""

    def is_copy(opened: Opened) -> bool:
        return json.loads(opened.record).get("capture") in copies

    marks = FileMarks(core.work / "run" / "moving" / "recovery" / compartment.id)
    acts_seen = compartment.acts.refresh
    Recovery(compartment.vault, acts_seen, core.policy, marks, age=_ANY_AGE, only=is_copy).run()


def _stands(core: Core, copy: Copy) -> bool:
    """Whether an entry names it."""
    log = LogId.parse(copy.log)
    since = rfc3339(from_rfc3339(copy.at) - _BEFORE)
    begin = first_since(core.store, log, find_head(core.store, log).seq, since)
    return any(entry.fields.get("capture") == copy.capture for entry in read_from(core.store, log, begin))
