"""Finished exports that hold what is erased. No download leaves from the moment a capture of one is barred; the file
goes when the capture's key may, so that what is kept is kept there too. A file lies in the exports folder of the
machine that made it, and the scheduler of each such folder looks after its own: the file first, its job after, so that
a job which still stands as it was tells the others that the file may.
"""

import json
import logging
import os
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from archive_service.bootstrap import Core, Tenant
from archive_service.catalog.base import EXPORT, Job
from archive_service.catalog.jobs import SqlJobs
from archive_service.export.manifest import MANIFEST
from archive_service.ledger.erasures import Erasures
from archive_service.model.clock import rfc3339
from archive_service.model.errors import StoreError
from archive_service.places.machine_leases import machine_name

_log = logging.getLogger(__name__)


class Expiring:
    """Of all tenants, in one exports folder. Not thread-safe. Remembers what it has seen to hold nothing that goes, and
    looks into it again when there has been another batch."""

    def __init__(self) -> None:
        self._clean: dict[tuple[Path, int], int] = {}
        self._told: dict[str, int] = {}

    def run(self, core: Core, tenant: Tenant) -> int:
        """Remove what has to go of this folder's; how many files. Durable on return. While an incident is open nothing
        is destroyed. Raises ArchiveError: the next call goes on."""
        tenant.acts.refresh()
        if tenant.acts.incidents.open:
            return 0
        erasures, folder = tenant.acts.erasures, core.exports(tenant.id)
        gone = [file for file in self._files(folder, erasures) if _removed(file)]
        if gone:
            _sync(folder)
        batches = len(erasures.batches)
        if gone or self._told.get(tenant.id) != batches:
            self._tell(core, tenant, gone)
            self._told[tenant.id] = batches
        return len(gone)

    def _tell(self, core: Core, tenant: Tenant, gone: Sequence[Path]) -> None:
        """Have the jobs of files that are gone say so, also of those that went before somebody was cut off here."""
        erasures, folder, place = tenant.acts.erasures, core.exports(tenant.id), exports_place(core)
        with closing(core.engines.jobs(tenant.id)) as jobs:
            done = [job for job in _done(jobs) if _is_here(job, place) and not _file(folder, job).exists()]
            left = {job.id for job in done if _holds_begun(job, erasures)} | {file.stem for file in gone}
            for name in sorted(left):
                jobs.expire(name, rfc3339(core.clock()))
            if left:
                jobs.scrub()
                _log.info("%d exports went with what was erased", len(left))

    def _files(self, folder: Path, erasures: Erasures) -> Iterator[Path]:
        """Those that go; none while no key was ever to go. A link is none of ours, wherever it leads."""
        batches = len(erasures.batches)
        if not batches:
            return
        for file in sorted(folder.glob("*.zip")):
            with _telling():
                known = file, file.lstat().st_mtime_ns
                if file.is_symlink() or not file.is_file() or self._clean.get(known) == batches:
                    continue
                held = captures_in(file)
            if held is None or any(map(erasures.begun, held)):
                yield file
            else:
                self._clean[known] = batches


def none_left(core: Core, tenant: Tenant, captures: Iterable[str]) -> bool:
    """Whether no finished export of the archive holds any of these, on whatever machine, and none is being made; what
    this machine has to remove is removed first. Raises ArchiveError."""
    Expiring().run(core, tenant)
    wanted = frozenset(captures)
    with closing(core.engines.jobs(tenant.id)) as jobs:
        return not any(_may_hold(job, wanted, core) for job in jobs.standing(EXPORT))


def captures_in(file: Path) -> frozenset[str] | None:
    """The captures of a finished export, by its manifest; None where that cannot be told. Raises OSError."""
    try:
        with zipfile.ZipFile(file) as zipped:
            listed = json.loads(zipped.read(MANIFEST))["messages"]
        return frozenset(str(capture) for message in listed for capture in message["captures"])
    except (zipfile.BadZipFile, ValueError, KeyError, TypeError, NotImplementedError, RuntimeError):
        return None  # damaged, or none of ours: what cannot be read is taken to hold it


def exports_place(core: Core) -> str:
    """The name under which a job says where its file lies: one for all who share the exports folder, kept in it, so
    that it outlives a pod. Raises StoreDenied."""
    return machine_name(core.work / "exports")


def _may_hold(job: Job, wanted: frozenset[str], core: Core) -> bool:
    held = _listed(job)
    if job.state != "done" or held is not None:
        return job.state != "done" or not wanted.isdisjoint(held or ())
    # Of an older release, which noted neither captures nor place: here its file was looked into.
    return core.distant and "messages" in (job.result or {})


def _done(jobs: SqlJobs) -> Iterator[Job]:
    return (job for job in jobs.standing(EXPORT) if job.state == "done")


def _is_here(job: Job, place: str) -> bool:
    return (job.result or {}).get("place") == place


def _holds_begun(job: Job, erasures: Erasures) -> bool:
    return any(map(erasures.begun, _listed(job) or ()))


def _listed(job: Job) -> list[str] | None:
    held = (job.result or {}).get("capture_ids")
    return held if isinstance(held, list) else None


def _file(folder: Path, job: Job) -> Path:
    return folder / f"{job.id}.zip"


def _removed(file: Path) -> bool:
    with _telling():
        file.unlink(missing_ok=True)
    return True


def _sync(folder: Path) -> None:
    with _telling():
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


@contextmanager
def _telling() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError("a finished export cannot be looked after", code="export.remove") from error
