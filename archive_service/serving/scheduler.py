"""The scheduler role: long work that somebody asked for, one job at a time."""

import logging
import shutil
import threading
from dataclasses import replace
from pathlib import Path

from archive_service.bootstrap import Core, open_core
from archive_service.catalog.base import Job
from archive_service.exporting import ExportAsked, run_export, summary
from archive_service.following import parser_pool
from archive_service.model.errors import ArchiveError
from archive_service.serving import child
from archive_service.settings import Settings
from archive_service.tenant_services import OpenTenant, open_tenant
from ingest.parser_pool import ParserPool

_log = logging.getLogger(__name__)
_IDLE = 0.25
KINDS = ("export",)


class Scheduler:
    """Works through the jobs of every tenant."""

    def __init__(self, core: Core, pool: ParserPool) -> None:
        self._core = core
        self._pool = pool
        self._open: dict[str, OpenTenant] = {}

    def step(self) -> bool:
        """Do one job if any waits; whether there was one."""
        for tenant in self._core.tenants():
            if tenant.id not in self._open:
                self._open[tenant.id] = open_tenant(self._core, tenant)
            opened = self._open[tenant.id]
            job = opened.services.jobs.claim(KINDS)
            if job is not None:
                self._export(opened, job)
                return True
        return False

    def _export(self, opened: OpenTenant, job: Job) -> None:
        jobs = opened.services.jobs
        current = job

        def progress(done: int, total: int) -> None:
            nonlocal current
            current = replace(current, done=done, total=total)
            jobs.update(current)

        target = opened.services.exports / f"{job.id}.zip"
        try:
            result, ids = run_export(opened, self._asked(job), self._pool, target, progress)
        except ArchiveError as error:
            _log.warning("export failed: %s", error.code)
            target.unlink(missing_ok=True)
            jobs.update(replace(current, state="failed", error=f"{error.code}: {error}"))
            return
        except Exception as error:  # noqa: BLE001 - one job's fault must not end the others' work
            _log.exception("export failed")
            target.unlink(missing_ok=True)
            jobs.update(replace(current, state="failed", error=f"internal: {type(error).__name__}"))
            return
        done = replace(current, state="done", done=len(ids), total=len(ids))
        jobs.update(replace(done, result={**summary(result), "messages": ids}))

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
        )

    def close(self) -> None:
        """Finish the access logs."""
        for opened in self._open.values():
            opened.close()


def sweep(exports: Path) -> None:
    """Remove what a killed scheduler left half made: it holds mail in clear. Only while no other scheduler works."""
    for leftover in exports.glob("*/.bundle-*"):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)


def run(settings: Settings) -> None:
    """Work until SIGTERM; a job under way is taken up again by the next scheduler."""
    stop = threading.Event()
    child.on_stop(stop.set)
    core = open_core(settings)
    child.say_ready()
    while not core.leases.take("scheduler") and not stop.wait(_IDLE):
        continue  # another scheduler works here: two would write one export twice
    sweep(core.data / "exports")
    with parser_pool(settings) as pool:
        scheduler = Scheduler(core, pool)
        try:
            while not stop.is_set():
                try:
                    worked = scheduler.step()
                except ArchiveError as error:
                    _log.warning("jobs: %s", error.code)
                    worked = False
                if not worked:
                    stop.wait(_IDLE)
        finally:
            scheduler.close()
            core.close()
