"""``verify``."""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from archive_service.alarms.verify_record import record_verify
from archive_service.bootstrap import Core, Tenant, open_core
from archive_service.catalog.compare import compare_catalogs
from archive_service.catalog.sql import SqlCatalog
from archive_service.commands.output import Output
from archive_service.commands.verify_state import VerifyState
from archive_service.ledger.acts import Acts
from archive_service.ledger.payloads import PayloadVault
from archive_service.ledger.verify.archive import ArchiveVerifier, Stores
from archive_service.ledger.verify.looking import find_logs, find_owners
from archive_service.ledger.verify.report import Report, Severity, What
from archive_service.model.errors import ArchiveError, Invalid
from archive_service.settings import Settings
from archive_service.vault.key_layout import LogId
from search.projector import RowsOnly


def register(commands: Any) -> None:
    """Add the commands."""
    verify = commands.add_parser("verify", help="read everything again and name what does not fit")
    verify.add_argument(
        "--sample", type=float, default=1.0, metavar="SHARE", help="share of objects read, 0 to 1"
    )
    verify.add_argument("--seed", type=int, default=0, help="which sample")
    verify.add_argument("--resume", action="store_true", help="go on where an interrupted run stopped")
    verify.set_defaults(run=_verify)


def _verify(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    if not 0 <= given.sample <= 1:
        raise Invalid("--sample is a share from 0 to 1", code="input.sample")
    core = open_core(settings)
    move, end = output.progress(None, "entry")
    try:
        path = core.work / "run" / "verify.json"
        state = VerifyState(path, resume=given.resume, sample=given.sample, seed=given.seed)
        report = Report(lambda tally: move(tally.entries), problems=list(state.problems))
        _run(core, given, state, report)
    finally:
        end()
        core.close()
    _print(report, output)
    return 0 if report.clean else 1


def _run(core: Core, given: argparse.Namespace, state: VerifyState, report: Report) -> None:
    verifier = ArchiveVerifier(
        Stores(core.raw, core.keys, core.kms, core.clock),
        report,
        sample=given.sample,
        seed=given.seed,
        resume=dict(state.marks),
        done=lambda log, seq: state.done(report, log, seq),
    )
    try:
        verifier.run()
        _verify_projections(core, report)
    except BaseException:
        state.save(report)  # an interrupt too: --resume goes on from here
        raise
    state.clear()
    damages = sum(problem.severity is Severity.DAMAGE for problem in report.problems)
    record_verify(core.work, damages, whole=given.sample == 1)


def _print(report: Report, output: Output) -> None:
    tally = report.tally
    for problem in report.problems:
        output.line(problem.line())
    damages = sum(problem.severity is Severity.DAMAGE for problem in report.problems)
    verdict = "clean" if report.clean else f"DAMAGED: {damages} problems"
    output.answer(
        {
            "clean": report.clean,
            "checked": vars(tally),
            "problems": [problem.plain() for problem in report.problems],
        },
        f"{verdict}. Checked {tally.logs} logs, {tally.entries} entries, {tally.checkpoints} checkpoints, "
        f"{tally.tiles} tiles, {tally.objects} objects ({tally.not_sampled} not sampled, {tally.erased} erased), "
        f"{tally.payloads} payloads, "
        f"{tally.keys} key records, {tally.locks} locks, {tally.rows} rows; "
        f"{tally.unsigned} entries are not signed yet.",
    )


def _verify_projections(core: Core, report: Report) -> None:
    """Each tenant by itself: one whose acts cannot be read does not hide another's."""
    for owner in find_owners(core.raw, Report()):
        acts = LogId(owner, "acts")
        if acts not in find_logs(core.raw, owner, Report()):
            continue
        keyring = core.keyring(owner)
        vault = PayloadVault(core.store, keyring, core.clock)
        tenant = Tenant(owner, keyring, vault, Acts(vault, owner))
        try:
            if not core.engines.stands(owner):
                report.note(What.ROW, "no catalog: run rebuild, or start the service", log=str(acts))
                continue
            _compare(core, tenant, report)
        except ArchiveError as error:
            outdated = error.code == "catalog.outdated"
            tell = report.note if outdated else report.damage
            tell(What.ROW, f"the catalog cannot be compared: {error}", log=str(acts))


def _compare(core: Core, tenant: Tenant, report: Report) -> None:
    """Build the rows again beside the live catalog, from the logs alone, and compare row for row."""
    live = core.engines.live(tenant.id)
    with tempfile.TemporaryDirectory(prefix="verify-", dir=core.work / "run") as scratch:
        again = SqlCatalog.sqlite(Path(scratch) / "catalog.sqlite")
        try:
            rows = RowsOnly(tenant.vault, tenant.acts, LogId(tenant.id, "order-1"), again)
            compare_catalogs(live.catalog, again, rows.run_to, live.index.ids, report)
        finally:
            again.close()
            live.close()
