"""The scheduler role: long work that somebody asked for, one job at a time; recovery every few
minutes, erasure batches every hour; the alarms, in a thread of their own."""

import logging
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from archive_service.alarms import names
from archive_service.alarms.tally import Tally
from archive_service.alarms.watch import Watch
from archive_service.bootstrap import Core, Tenant, open_core
from archive_service.catalog.base import EXPORT, Job
from archive_service.disposal.disposing import advance
from archive_service.disposal.erasing import run_batch
from archive_service.disposal.expiring import Expiring, exports_place
from archive_service.disposal.sweeping import Sweeping
from archive_service.exporting import ExportAsked, run_export, summary
from archive_service.following import parser_pool
from archive_service.model.clock import rfc3339
from archive_service.model.errors import ArchiveError, Overloaded
from archive_service.model.trouble import Trouble
from archive_service.notices.notifying import sending_of
from archive_service.recovering import make_recovery
from archive_service.serving import child
from archive_service.settings import Settings
from archive_service.tenant_services import OpenTenant, open_tenant
from ingest.parser_pool import ParserPool

_log = logging.getLogger(__name__)
_IDLE = 0.25
_RECOVERY = 300.0  # seconds between looks for what writers left: an orphan counts after ten minutes
_ERASURE = 3600.0  # seconds between erasure batches
_ERASURE_AGAIN = (
    30.0  # after one that was cut off: until it is finished, writers may have no day key to begin with
)
_DISPOSITION = 300.0  # seconds between looks at dispositions: what ends first is a grace, or a lock
_NOTICES = 300.0  # seconds between looks at what is to be told to custodians
_EXPIRE = 300.0  # seconds between looks for exports whose mail another machine's batch has erased
_TRIM = 3600.0  # seconds between looks for exports that have been kept long enough
KINDS = (EXPORT,)


class Scheduler:
    """Works through the jobs of every tenant, recovers what their writers left, and runs their erasure batches: at the
    start, then every ``recovery`` and ``erasure`` seconds by ``monotonic``."""

    def __init__(
        self,
        core: Core,
        pool: ParserPool,
        tally: Tally | None = None,
        *,
        recovery: float = _RECOVERY,
        erasure: float = _ERASURE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._core = core
        self._pool = pool
        self._tally = tally or Tally()
        self._open: dict[str, OpenTenant] = {}
        self._recovery = recovery
        self._monotonic = monotonic
        self._recover_at = monotonic()
        self._erasure = erasure
        self._erase_at = monotonic()
        self._trim_at = monotonic()
        self._dispose_at = monotonic()
        self._sweeping = Sweeping()
        self._expire_at = monotonic()
        self._expiring = Expiring()
        self._notify_at = monotonic()

    def step(self) -> bool:
        """Recover if it is time; do one job if any waits; whether there was one."""
        if self._monotonic() >= self._recover_at:
            self._recover()
        if self._monotonic() >= self._erase_at:
            self._erase()
        if self._monotonic() >= self._expire_at:
            self._expire()
        if self._monotonic() >= self._dispose_at:
            self._dispose()
        if self._monotonic() >= self._notify_at:
            self._notify()
        if self._monotonic() >= self._trim_at:
            self._trim()
        for tenant in self._core.tenants():
            opened = self._opened(tenant)
            job = opened.services.jobs.claim(KINDS)
            if job is not None:
                self._export(opened, job)
                return True
        return False

    def _opened(self, tenant: Tenant) -> OpenTenant:
        if tenant.id not in self._open:
            self._open[tenant.id] = open_tenant(self._core, tenant)
        return self._open[tenant.id]

    def _recover(self) -> None:
        self._recover_at = self._monotonic() + self._recovery
        for tenant in self._core.tenants():
            try:
                if not self._core.leases.take(f"{tenant.id}/recovery"):
                    continue  # another machine's scheduler looks
                found = make_recovery(self._core, tenant).run()
            except ArchiveError as error:  # jobs go on, and the next look is soon
                self._failed("recovery", error)
                continue
            self._tally.add(names.ORPHANS_RECOVERED, found.chained, owner=tenant.id)
            self._tally.set(names.ORPHANS_REPORTED, len(found.reported), owner=tenant.id)
            if found.reported:
                _log.warning("%d orphans cannot be chained; see recover", len(found.reported))

    def _trim(self) -> None:
        """Exports and jobs that have been kept long enough go: the file first, for a job without its file says so, and
        a file without its job would be mail in clear that nobody knows of."""
        self._trim_at = self._monotonic() + _TRIM
        before = self._core.clock() - timedelta(days=self._core.settings.exports_keep_days)
        for tenant in self._core.tenants():
            try:
                files = remove_older(self._core.exports(tenant.id), before)
                jobs = self._opened(tenant).services.jobs.trim(rfc3339(before))
            except (ArchiveError, OSError) as error:  # the next look is soon
                code = error.code if isinstance(error, ArchiveError) else "export.remove"
                self._tally.add(names.FAILURES, code=code)
                _log.warning("exports that are to go: %s", code)
                continue
            if files or jobs:
                _log.info("%d exports and %d jobs were removed after their time", files, jobs)

    def _failed(self, what: str, error: ArchiveError) -> None:
        self._tally.add(names.FAILURES, code=error.code)
        _log.warning("%s: %s", what, error.code)

    def _erase(self) -> None:
        """Every tenant's erasure batches: what may go goes, what was cut off is finished."""
        self._erase_at = self._monotonic() + self._erasure
        for tenant in self._core.tenants():
            try:
                run_batch(self._core, tenant)
            except Overloaded:
                return  # another machine's scheduler runs them, or somebody by hand
            except ArchiveError as error:  # the next run goes on where this one stopped
                self._erase_at = self._monotonic() + min(self._erasure, _ERASURE_AGAIN)
                self._failed("erasure", error)

    def _expire(self) -> None:
        """Finished exports of this machine that hold what is erased."""
        self._expire_at = self._monotonic() + _EXPIRE
        for tenant in self._core.tenants():
            try:
                self._expiring.run(self._core, tenant)
            except ArchiveError as error:  # the next look goes on where this one stopped
                self._failed("exports", error)

    def _dispose(self) -> None:
        """Every tenant's dispositions as far as they can go now, and what else nobody can open any more."""
        self._dispose_at = self._monotonic() + _DISPOSITION
        for tenant in self._core.tenants():
            begin = partial(advance, damaged=partial(self._failed, "disposition"))
            for what, look in (("disposition", begin), ("sweep", self._sweeping.run)):
                try:
                    if self._core.leases.take(f"{tenant.id}/disposition"):
                        look(self._core, tenant)
                except ArchiveError as error:  # the next look goes on where this one stopped
                    self._failed(what, error)

    def _notify(self) -> None:
        """Notices to custodians that are due. Without a mail server, or without the address of the API that goes into
        them, they wait."""
        self._notify_at = self._monotonic() + _NOTICES
        for tenant in self._core.tenants():
            try:
                sending = sending_of(self._core, tenant)
                if sending is not None and self._core.leases.take(f"{tenant.id}/notices"):
                    sending.run()
            except ArchiveError as error:  # the next look goes on where this one stopped
                self._failed("notices", error)

    def _export(self, opened: OpenTenant, job: Job) -> None:
        jobs = opened.services.jobs
        current = job

        def progress(done: int, total: int) -> None:
            nonlocal current
            current = replace(current, done=done, total=total)
            jobs.update(current)

        target = opened.services.exports / f"{job.id}.zip"
        try:
            result, selected = run_export(opened, self._asked(job), self._pool, target, progress)
        except ArchiveError as error:
            self._failed("export failed", error)
            target.unlink(missing_ok=True)
            jobs.update(replace(current, state="failed", error=f"{error.code}: {error}"))
            return
        except Exception as error:  # noqa: BLE001 - one job's fault must not end the others' work
            _log.exception("export failed")
            target.unlink(missing_ok=True)
            jobs.update(replace(current, state="failed", error=f"internal: {type(error).__name__}"))
            return
        count = len(selected.ids)
        made = summary(result, selected)
        made |= {"capture_ids": list(result.capture_ids), "place": exports_place(self._core)}
        jobs.update(replace(current, state="done", done=count, total=count, result=made))

    @staticmethod
    def _asked(job: Job) -> ExportAsked:
        request = job.request
        ids = request.get("ids")
        return ExportAsked(
            id=job.id,
            actor=job.actor,
            role=str(request.get("role", "")),
            requested_at=job.created_at,
            query=request.get("query"),
            ids=tuple(ids) if ids else None,
            matter=request.get("matter"),
            purpose=request.get("purpose"),
            bound=request.get("bound"),
            include_drafts=request.get("include_drafts") is True,
        )

    def close(self) -> None:
        """Finish the access logs."""
        for opened in self._open.values():
            opened.close()


def remove_older(exports: Path, before: datetime) -> int:
    """Remove one owner's finished exports that were written before this time; how many. Raises OSError."""
    removed = 0
    for file in sorted(exports.glob("*.zip")):
        if file.stat().st_mtime < before.timestamp():
            file.unlink()
            removed += 1
    return removed


def sweep(exports: Path) -> None:
    """Remove what a killed scheduler left half made: it holds mail in clear. Only while no other scheduler works."""
    for leftover in exports.glob("*/.bundle-*"):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)


def work(step: Callable[[], bool], stop: threading.Event, tally: Tally) -> None:
    """Job after job until ``stop`` is set. A fault that lasts is said once, and asked about less and less often."""
    trouble = Trouble(_log, "jobs")
    while not stop.is_set():
        try:
            worked = step()
        except ArchiveError as error:
            tally.add(names.FAILURES, code=error.code)
            stop.wait(trouble.failed(error))
            continue
        trouble.passed()
        if not worked:
            stop.wait(_IDLE)


def run(settings: Settings, tally: Tally) -> None:
    """Work until SIGTERM; a job under way is taken up again by the next scheduler."""
    stop = threading.Event()
    child.on_stop(stop.set)
    watch = Watch(settings, tally)  # says what is wrong with its settings before anything begins
    core = open_core(settings)
    child.say_ready()
    while not core.here.take("scheduler") and not stop.wait(_IDLE):
        continue  # another scheduler works here: two would write one export twice
    sweep(core.work / "exports")
    watch.start()
    with parser_pool(settings) as pool:
        scheduler = Scheduler(core, pool, tally)
        try:
            work(scheduler.step, stop, tally)
        finally:
            watch.close()
            scheduler.close()
            core.close()
