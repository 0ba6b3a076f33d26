"""Sending canaries: those that are due, each in a thread, so that a mail server that hangs holds up no alarm."""

import logging
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from archive_service.alarms import names
from archive_service.alarms.canary_book import CanaryBook
from archive_service.alarms.tally import Tally
from archive_service.bootstrap import Tenant
from archive_service.completeness.canary_mail import canary_mail, server_of
from archive_service.model.errors import ArchiveError
from archive_service.model.mail import Canary, Source
from archive_service.notices.mailing import hand_over

_log = logging.getLogger(__name__)
_AT_ONCE = 4


class Canaries:
    """Sends what ``book`` says is due. One machine of an archive does: whoever evaluates its alarms."""

    def __init__(self, book: CanaryBook, tally: Tally) -> None:
        self._book = book
        self._tally = tally
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="canary")
        self._lock = threading.Lock()
        self._sending: set[str] = set()

    def run(self, tenants: Iterable[Tenant]) -> None:
        """Begin to send what is due now. Never raises ArchiveError: a canary that cannot be sent is missed."""
        for tenant in tenants:
            try:
                tenant.acts.refresh()
                for source in tenant.acts.sources():
                    if source.canary is not None and not tenant.acts.moved:
                        self._begin(tenant, source, source.canary)
            except ArchiveError as error:
                self._failed(error)

    def _begin(self, tenant: Tenant, source: Source, canary: Canary) -> None:
        with self._lock:
            if source.id in self._sending:
                return
            number = self._book.due(tenant.id, source, canary)
            if number is None:
                return
            server = server_of(canary)
            mail = canary_mail(tenant.keyring.secret("identity"), source, canary, number)
            self._sending.add(source.id)

        def send() -> None:
            try:
                hand_over(server, mail, canary.sender, [canary.recipient], "canary")
                self._book.taken(tenant.id, source, number)
            except ArchiveError as error:
                self._failed(error)
            finally:
                with self._lock:
                    self._sending.discard(source.id)

        self._pool.submit(send)

    def _failed(self, error: ArchiveError) -> None:
        self._tally.add(names.CANARY_FAILURES, code=error.code)
        _log.warning("a canary was not sent: %s", error.code)

    def close(self) -> None:
        """Let those that are being sent end: each has its bound."""
        self._pool.shutdown(cancel_futures=True)
