"""A departing tenant's package made, and loaded into another archive."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from archive_service.access.events import AccessEvent
from archive_service.bootstrap import Core, Tenant, make_archive
from archive_service.catching_up import catch_up
from archive_service.following import make_checkpointer, parser_pool
from archive_service.ledger.moves import KIND, move_log
from archive_service.ledger.reader import LogReader, owners
from archive_service.model.clock import rfc3339
from archive_service.model.errors import Invalid, Refused, Tampered
from archive_service.places.opening import open_package
from archive_service.relocation import package
from archive_service.relocation.copying import Copier
from archive_service.relocation.keys import KeyCarrier
from archive_service.relocation.owners import Outcome, OwnerCopy
from archive_service.relocation.package import TransportKey, TransportKms
from archive_service.relocation.plain import README, Counts, write_plain
from archive_service.relocation.relocating import hold, let_go
from archive_service.tenant_services import open_tenant
from archive_service.vault.key_layout import LogId, log_prefix

_LET_GO = "deleted by a disposition"

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Handover:
    """Who hands what over. ``folder`` must not exist, ``key_file`` neither, nor lie in it."""

    tenant: Tenant
    folder: Path
    key_file: Path
    actor: str
    jobs: int = 4


def make_package(
    core: Core, asked: Handover, progress: Progress = lambda done: None
) -> tuple[Outcome, Counts]:
    """Write the package, and its transport key apart. It appears under its name when it is whole and its making stands
    in the tenant's access log. Raises Refused (``handover.busy``, ``incident.open``), Invalid, ArchiveError: then there
    is no package."""
    _require_free(asked)
    asked.tenant.acts.refresh()
    if asked.tenant.acts.incidents.open:
        raise Refused("an incident is open: nothing is handed over", code="incident.open")
    with parser_pool(core.settings) as pool:
        catch_up(core, asked.tenant, pool)
    if not hold(core, [asked.tenant.id]):
        raise Refused("the service is running: stop it first", code="handover.busy")
    key = TransportKey.new()
    unfinished = asked.folder.with_name(f".{asked.folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True, mode=0o700)
    try:
        made = _fill(core, asked, key, unfinished, progress)
        key.write(asked.key_file)
        unfinished.rename(asked.folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)  # it holds mail in clear
        raise
    return made


def _require_free(asked: Handover) -> None:
    if asked.folder.exists() or asked.key_file.exists():
        raise Invalid("the package's folder and its key file must not exist", code="handover.exists")
    if asked.key_file.absolute().is_relative_to(asked.folder.absolute()):
        raise Invalid("the key file must lie outside the package", code="handover.key")


def _fill(
    core: Core, asked: Handover, key: TransportKey, folder: Path, progress: Progress
) -> tuple[Outcome, Counts]:
    tenant, root = asked.tenant, LogId(core.archive.owner, "root")
    opened = open_tenant(core, tenant)
    try:
        event = AccessEvent(
            actor=asked.actor, role="cli", action="handover.make", detail={"package": key.package}
        )
        opened.services.access_log.record(event)
        make_checkpointer(core, 0).run_once()
        outcome = _copy_sealed(core, tenant, root, key, folder, asked.jobs, progress)
        counts = write_plain(opened, root, folder)
    finally:
        opened.close()
    made = rfc3339(core.clock())
    (folder / "README.txt").write_text(
        README.format(name=tenant.name, package=key.package, made=made), "utf-8"
    )
    about = {
        "tenant": tenant.name,
        "owner": tenant.id,
        "archive": core.archive.owner,
        "made_at": made,
        "counts": {**vars(counts), "objects": outcome.copied, "records": outcome.records},
        "damaged": [{"name": name, "detail": why} for name, why in outcome.problems]
        + [{"name": name, "detail": _LET_GO} for name in outcome.let_go],
    }
    package.seal(folder, key, about)
    return outcome, counts


def _copy_sealed(
    core: Core, tenant: Tenant, root: LogId, key: TransportKey, folder: Path, jobs: int, progress: Progress
) -> Outcome:
    store, keys = open_package(folder, key.derived("locks"), core.clock)
    try:
        outcome = Outcome()
        copier = Copier(core.raw, store, core.clock)
        gone = partial(let_go, tenant)
        OwnerCopy(core.raw, store, copier, outcome, jobs=jobs, progress=progress, let_go=gone).run(tenant.id)
        for stored in core.raw.list(log_prefix(root)):
            copier.copy(stored.key)
        outcome.records = KeyCarrier(core.keys, core.kms, keys, TransportKms(key)).carry(tenant.id)
        return outcome
    finally:
        keys.close()


def load_package(
    core: Core, folder: Path, key: TransportKey, *, jobs: int, progress: Progress = lambda done: None
) -> tuple[Outcome, dict[str, Any]]:
    """Take a tenant over under its ids: its objects, ledger and keys stand here, its moves are recorded, all is
    anchored in this archive's root log; durable on return. Repeating it is no error. Gives the manifest too.

    Raises Tampered (``handover.tampered``) before anything is written when a byte of the package is not as packed,
    Refused (``handover.key``, ``handover.clash``), ArchiveError.
    """
    manifest = package.check(folder, key)
    if not core.leases.take("init") or not core.here.take("follower"):
        raise Refused("the service is running: stop it first", code="handover.busy")
    owner = str(manifest["owner"])
    gone = {each["name"].rpartition("/")[2] for each in manifest["damaged"] if each["detail"] == _LET_GO}
    _require_no_clash(core, owner, manifest)
    make_archive(core)
    store, keys = open_package(folder, key.derived("locks"), core.clock)
    try:
        begun = _length(core.raw, owner) > _length(store, owner)
        outcome = Outcome()
        if not begun:
            outcome.records = KeyCarrier(keys, TransportKms(key), core.keys, core.kms).carry(owner)
        copier = Copier(store, core.raw, core.clock)
        copy = OwnerCopy(
            store, core.raw, copier, outcome, jobs=jobs, progress=progress, let_go=gone.__contains__
        )
        copy.run(owner)
    finally:
        keys.close()
    packed = {problem["name"] for problem in manifest["damaged"]}
    if {name for name, _ in outcome.problems} - packed:
        raise Tampered("the package does not give what its entries say", code="handover.tampered")
    copy.record_moves(owner, core.slots(owner, KIND), begun=begun)
    make_checkpointer(core, 0).run_once()
    return outcome, manifest


def _require_no_clash(core: Core, owner: str, manifest: dict[str, Any]) -> None:
    known = owners(core.raw)
    if manifest["archive"] in known:
        raise Refused("this is the archive that the package comes from", code="handover.clash")
    for tenant in core.tenants(0) if known else []:
        if tenant.name == manifest["tenant"] and tenant.id != owner:
            raise Refused("a tenant of this name exists here", code="handover.clash")


def _length(store: Any, owner: str) -> int:
    return sum(1 for _ in LogReader(store, move_log(owner)).entries())
