"""What an import that was killed has sealed and not chained: it is chained before the next import looks, or it would be
taken a second time now and chained beside that by recovery ten minutes later."""

import json
import logging
from datetime import timedelta

from archive_service.bootstrap import Core, Tenant
from archive_service.ledger.recovery import Recovery, _Orphan
from archive_service.ledger.recovery_marks import FileMarks, LogMark
from archive_service.model.errors import Invalid, KeyUnavailable, NotFound, Tampered
from archive_service.vault.key_layout import LogId
from archive_service.vault.stores.base import Stored

_log = logging.getLogger(__name__)
_ANY_AGE = timedelta(hours=-1)  # whatever the store's clock says


class OrphansOfSource(Recovery):
    """Recovery of one source's captures, whatever their age: who holds the source's lease knows that their writer is
    dead. Captures of others are left to the recovery that waits."""

    def __init__(self, core: Core, tenant: Tenant, source: str) -> None:
        marks = FileMarks(core.work / "run" / "importing" / "recovery" / source)
        super().__init__(tenant.vault, tenant.acts.refresh, core.policy, marks, age=_ANY_AGE)
        self._source = source

    def _orphan(self, log: LogId, stored: Stored, mark: LogMark) -> _Orphan | None:
        if self._is_ours(log, stored):
            return super()._orphan(log, stored, mark)
        return None

    def _is_ours(self, log: LogId, stored: Stored) -> bool:
        """One that does not open may be on its way: it is looked at again next time."""
        try:
            data = self._store.read(stored.key, stored.version)
            _, opened = self._open(log, stored.key.rpartition("/")[2], stored.key, data)
            return bool(json.loads(opened.record).get("source") == self._source)
        except (Tampered, KeyUnavailable, Invalid, NotFound) as error:
            _log.info("an object without entry was left to recovery: %s", error.code)
            return False
