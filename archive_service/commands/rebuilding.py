"""``rebuild``."""

import argparse
from typing import Any

from archive_service.bootstrap import Core, Tenant, open_core
from archive_service.commands.output import Output
from archive_service.engines.rebuilding import Rebuilt, cores, drill, plain, rebuild
from archive_service.ledger.reader import find_head
from archive_service.ledger.verify.report import Report
from archive_service.model.errors import ArchiveError, Invalid
from archive_service.settings import Settings
from archive_service.vault.key_layout import LogId


def register(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser("rebuild", help="make catalog and index again from the logs")
    command.add_argument("--tenant", metavar="T", help="all tenants when not given")
    command.add_argument(
        "--jobs", type=int, metavar="N", help="so many captures are read at once; default: cores"
    )
    how = command.add_mutually_exclusive_group()
    how.add_argument(
        "--resume", action="store_true", help="go on where a rebuild was interrupted (the default)"
    )
    how.add_argument("--afresh", action="store_true", help="forget what an interrupted rebuild has done")
    how.add_argument(
        "--drill", action="store_true", help="beside a running service: build, compare, delete what was built"
    )
    command.set_defaults(run=_rebuild)


def _rebuild(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    jobs = cores() if given.jobs is None else given.jobs
    if not 1 <= jobs <= 256:
        raise Invalid("--jobs is 1 to 256", code="input.jobs")
    core = open_core(settings)
    try:
        chosen = [core.tenant(given.tenant)] if given.tenant else core.tenants()
        if given.drill:
            return _drill(core, chosen, jobs, output)
        _require_quiet(core, chosen)
        done = {tenant.name: _one(core, tenant, jobs, given.afresh, output) for tenant in chosen}
    finally:
        core.close()
    rows = [_line(name, one) for name, one in done.items()]
    output.answer(plain(done), "\n".join(rows))
    return 1 if any(one.unreadable for one in done.values()) else 0


def _require_quiet(core: Core, chosen: list[Tenant]) -> None:
    """Raises ArchiveError while a follower here, or anywhere where the projections are shared, may write them."""
    quiet = core.here.take("follower")
    if core.engines.shared:
        quiet = quiet and all(core.order_leases.take(str(LogId(tenant.id, "order-1"))) for tenant in chosen)
    if not quiet:
        raise ArchiveError("the service is running: stop it first", code="rebuild.busy")


def _line(name: str, one: Rebuilt) -> str:
    since = f", the first {one.resumed} of them by the run before" if one.resumed else ""
    bad = f"; {one.unreadable} findings cannot be read; verify names them" if one.unreadable else ""
    return f"{name}: {one.entries} order entries projected{since}{bad}"


def _one(core: Core, tenant: Tenant, jobs: int, afresh: bool, output: Output) -> Rebuilt:
    move, end = output.progress(_size(core, tenant), "entry")
    try:
        return rebuild(core, tenant, jobs=jobs, afresh=afresh, progress=move)
    finally:
        end()


def _size(core: Core, tenant: Tenant) -> int:
    return find_head(core.store, LogId(tenant.id, "order-1")).seq


def _drill(core: Core, chosen: list[Tenant], jobs: int, output: Output) -> int:
    report = Report()
    done: dict[str, Rebuilt] = {}
    for tenant in chosen:
        move, end = output.progress(_size(core, tenant), "entry")
        try:
            done[tenant.name] = drill(core, tenant, report, jobs=jobs, progress=move)
        finally:
            end()
    for problem in report.problems:
        output.line(problem.line())
    same = report.clean and not any(one.unreadable for one in done.values())
    answer = {**plain(done), "same": same, "rows": report.tally.rows}
    output.answer(
        {**answer, "problems": [problem.plain() for problem in report.problems]},
        f"{'the same' if same else 'DIFFERENT'}: {report.tally.rows} rows, and their documents, were compared",
    )
    return 0 if same else 1
