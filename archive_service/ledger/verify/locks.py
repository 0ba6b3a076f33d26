"""Retention state: not edited from outside, neither newer versions nor delete markers over an object."""

from archive_service.ledger.verify.report import Report, What
from archive_service.model.errors import NotFound, StoreError, Tampered
from archive_service.vault.key_layout import LogId
from archive_service.vault.stores.base import Lock, ObjectStore


class Locks:
    """Looks at the retention state of one log's objects. What is wrong with a whole folder is said once."""

    def __init__(self, store: ObjectStore, report: Report, log: LogId) -> None:
        self._store = store
        self._report = report
        self._log = str(log)
        self._said = ""
        self.version: str | None = None
        """The oldest version of what was last looked at; None when there was none to be had."""

    def check(self, key: str, seq: int | None = None) -> Lock | None:
        """The lock of the oldest version; None when there is none to be had, which is named unless the object is
        missing: that is named where it is read."""
        self._report.tally.locks += 1
        self.version = None
        try:
            versions = self._store.stat(key)
        except NotFound:
            return None
        except Tampered as error:
            if str(error) != self._said:
                self._said = str(error)
                self._report.damage(What.LOCK, self._said, log=self._log, seq=seq, name=key)
            return None
        except StoreError as error:
            self._report.damage(What.STORE, str(error), log=self._log, seq=seq, name=key)
            return None
        if sum(not stored.marker for stored, _ in versions) > 1:
            detail = "newer versions stand over an object"
            self._report.damage(What.OBJECT, detail, log=self._log, seq=seq, name=key)
        if any(stored.marker for stored, _ in versions):
            detail = "a delete marker stands over an object"
            self._report.damage(What.OBJECT, detail, log=self._log, seq=seq, name=key)
        self.version = versions[0][0].version
        return versions[0][1]
