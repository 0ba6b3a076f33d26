"""What nobody can open any more leaves the store: objects of captures that were erased on request, or withdrawn.

Those that a disposition took are its own to delete. Here an act says first which objects go from then on, so that
``verify`` never takes one for lost; a second one says that they are gone. A look at a locked object is remembered until
its lock ends. Every step is read off the acts and the store: a sweep that was cut off anywhere goes on.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import islice

from archive_service.bootstrap import Core, Tenant
from archive_service.bounded_time import bounded_now
from archive_service.ledger.acts import Acts
from archive_service.ledger.erasures import Asked
from archive_service.model.clock import rfc3339
from archive_service.vault.key_layout import object_key
from archive_service.vault.stores.base import ObjectStore
from retention.disposition import delete_versions, locked_until

_MOST = 500  # captures of one act


class Sweeping:
    """Of all tenants, in one process. Not thread-safe. ``notice``: between the act that says so and the deletion; a
    ``verify`` that has read the acts before is over by then."""

    def __init__(self, notice: timedelta = timedelta(days=1)) -> None:
        self._notice = notice
        self._locked: dict[str, datetime] = {}

    def run(self, core: Core, tenant: Tenant) -> int:
        """How many captures' objects were seen to be gone. Raises ArchiveError: the next call goes on; Refused
        (``clock.disagrees``)."""
        acts = tenant.acts
        acts.refresh()
        if acts.incidents.open:
            return 0
        now = bounded_now(core)
        chosen = list(islice((each for each in left(acts) if self._free(core.raw, each, now)), _MOST))
        if not chosen:
            return 0
        new = [each for each in chosen if each.capture not in acts.erasures.deleting]
        _say(acts, "erasure.delete", new, now)
        before = rfc3339(now - self._notice)
        due = [each for each in chosen if acts.erasures.deleting[each.capture] <= before]
        gone = [each for each in due if not delete_versions(core.raw, _key(each), now)]
        _say(acts, "erasure.deleted", gone, bounded_now(core))
        return len(gone)

    def _free(self, store: ObjectStore, asked: Asked, now: datetime) -> bool:
        if self._locked.get(asked.capture, now) > now:
            return False
        until = locked_until(store, _key(asked), now)
        if until is None:
            self._locked.pop(asked.capture, None)
            return True
        self._locked[asked.capture] = until
        return False


def left(acts: Acts) -> list[Asked]:
    """What has no key any more and whose object was not seen to be gone, but for what dispositions took."""
    gone, deleted = acts.erasures.gone(), acts.erasures.deleted
    asked = acts.erasures.asked
    return [
        asked[name]
        for name in sorted(gone)
        if name in asked and name not in deleted and acts.dispositions.of(name) is None
    ]


def _key(asked: Asked) -> str:
    return object_key(asked.log, asked.capture)


def _say(acts: Acts, word: str, captures: Sequence[Asked], now: datetime) -> None:
    if captures:
        said = {"captures": [each.capture for each in captures], "at": rfc3339(now)}
        acts.append(lambda _: {"version": 1, "act": word, **said})
