"""``relocate``: an archive to another store; ``handover`` and ``handover-load``: a tenant to another archive."""

import argparse
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from archive_service.bootstrap import Core, Tenant, open_core
from archive_service.commands.archive import prepare_buckets
from archive_service.commands.mail import operator
from archive_service.commands.output import Output
from archive_service.compartments.resealing import compartments_of
from archive_service.engines.rebuilding import rebuild
from archive_service.model.errors import Invalid, NotFound, Refused
from archive_service.relocation.handover import Handover, load_package, make_package
from archive_service.relocation.package import TransportKey
from archive_service.relocation.relocating import Plan, Relocation, abandon
from archive_service.settings import Settings


def register(commands: Any) -> None:
    """Add the commands."""
    command = commands.add_parser("relocate", help="move the whole archive to another, empty store")
    to = command.add_mutually_exclusive_group(required=True)
    to.add_argument("--to-data", type=Path, metavar="DIR", help="an embedded archive in this folder")
    to.add_argument(
        "--to-config", type=Path, metavar="FILE", help="the store that this settings file describes"
    )
    to.add_argument("--abandon", action="store_true", help="open the source again after giving up the target")
    command.add_argument(
        "--first-pass", action="store_true", help="copy beside the running service, and no more"
    )
    command.add_argument(
        "--despite-damage", action="store_true", help="leave behind what is not as its entry says"
    )
    command.add_argument("--jobs", type=int, default=4, metavar="N", help="objects copied at once")
    command.set_defaults(run=_relocate)
    give = commands.add_parser("handover", help="everything that a departing tenant is owed, as a folder")
    give.add_argument("--tenant", required=True, metavar="T")
    give.add_argument("--to", required=True, type=Path, metavar="DIR", help="the package; must not exist")
    give.add_argument(
        "--key-file", type=Path, metavar="FILE", help="its transport key, kept apart; default: DIR.key"
    )
    give.add_argument(
        "--without-compartments",
        action="store_true",
        help="its compartments stay here: each is handed over by its name",
    )
    give.add_argument("--jobs", type=int, default=4, metavar="N", help="objects copied at once")
    give.set_defaults(run=_handover)
    take = commands.add_parser("handover-load", help="take a tenant over from a package")
    take.add_argument("package", type=Path, metavar="DIR")
    take.add_argument("--key-file", required=True, type=Path, metavar="FILE")
    take.add_argument("--jobs", type=int, default=4, metavar="N", help="objects copied at once")
    take.set_defaults(run=_load)


def _handover(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    key_file = given.key_file or given.to.with_name(f"{given.to.name}.key")
    core = open_core(settings)
    move, end = output.progress(None, "object")
    try:
        tenant = core.tenant(given.tenant)
        _require_no_incident([tenant])  # before anything is said of its compartments
        left = _left_behind(core, tenant, told=given.without_compartments)
        asked = Handover(tenant, given.to, key_file, operator(), jobs_of(given))
        outcome, counts = make_package(core, asked, move)
    finally:
        end()
        core.close()
    for name, why in outcome.problems:
        output.line(f"{name}: {why}")
    for compartment in left:
        output.line(f"{compartment} stays here: hand it over by its name")
    bad = len(outcome.problems) + counts.damaged
    output.answer(
        {"package": str(given.to), "key_file": str(key_file), **outcome.plain(), "counts": vars(counts)}
        | {"compartments_left": left},
        f"{counts.mails} mails, {outcome.copied} objects, {outcome.records} key records, {counts.access} access "
        f"entries packed; the key lies apart, send it apart. {bad or 'No'} problems.",
    )
    return 1 if bad else 0


def _left_behind(core: Core, tenant: Tenant, *, told: bool) -> list[str]:
    """The compartments that are not in a tenant's package. Raises Refused (``handover.compartments``) unless the caller
    was told so."""
    left = sorted(each.name for each in compartments_of(core, tenant.id))
    if left and not told:
        message = f"its compartments are not in the package; hand each over by its name: {', '.join(left)}"
        raise Refused(f"{message} (and say --without-compartments here)", code="handover.compartments")
    return left


def _load(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    key = TransportKey.read(given.key_file)
    jobs = jobs_of(given)
    prepare_buckets(settings)
    core = open_core(settings, create=True)
    move, end = output.progress(None, "object")
    try:
        outcome, manifest = load_package(core, given.package, key, jobs=jobs, progress=move)
        tenant = core.tenant(str(manifest["tenant"]))
        rebuilt = rebuild(core, tenant, jobs=jobs)
    finally:
        end()
        core.close()
    bad = len(outcome.problems) + rebuilt.unreadable
    output.answer(
        {"tenant": tenant.name, "id": tenant.id, **outcome.plain(), "projected": rebuilt.entries},
        f"{tenant.name}: {outcome.copied} objects and {outcome.records} key records taken over, {rebuilt.entries} "
        f"order entries projected; {bad or 'no'} problems. Now run verify.",
    )
    return 1 if bad else 0


class _FileOnly(Settings):
    """The target's settings: from its file alone, for the environment describes the source."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is given by argument, and nothing else."""
        return (init_settings,)


def target_settings(data: Path | None, config: Path | None) -> Settings:
    """The settings of the archive to be. Raises Invalid."""
    try:
        given = tomllib.loads(config.read_text("utf-8")) if config is not None else {"data": data}
        return _FileOnly(**given)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Invalid(
            f"the target's settings cannot be read: {type(error).__name__}", code="settings.invalid"
        ) from error
    except ValidationError as error:
        names = ", ".join(".".join(map(str, problem["loc"])) for problem in error.errors())
        raise Invalid(
            f"the target's settings are not understood: {names}", code="settings.invalid"
        ) from error


def jobs_of(given: argparse.Namespace) -> int:
    """Raises Invalid."""
    if not 1 <= given.jobs <= 256:
        raise Invalid("--jobs is 1 to 256", code="input.jobs")
    return int(given.jobs)


def _require_no_incident(tenants: Sequence[Tenant]) -> None:
    """Raises Refused (``incident.open``): while one is open no copy of the archive is made."""
    for tenant in tenants:
        tenant.acts.refresh()
        if tenant.acts.incidents.open:
            raise Refused(f"an incident of {tenant.name} is open: nothing leaves", code="incident.open")


def _require_elsewhere(source: Settings, target: Settings) -> None:
    """Raises Invalid when the target is the source, or lies in it."""
    if source.data is not None and target.data is not None:
        here, there = source.data.resolve(), target.data.resolve()
        same = here == there or here in there.parents or there in here.parents
    else:
        same = (source.s3_endpoint, source.s3_bucket) == (target.s3_endpoint, target.s3_bucket)
        same = same and source.s3_bucket is not None
    if same:
        raise Invalid("an archive moves to another place than its own", code="relocate.same")


def _relocate(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    source = open_core(settings)
    try:
        if given.abandon:
            opened = abandon(source)
            if not opened:
                raise NotFound("no relocation has closed this archive", code="archive.open")
            output.answer({"opened": opened}, f"open again: {', '.join(opened)}")
            return 0
        _require_no_incident(source.tenants(0))
        plan = Plan(not given.first_pass, given.despite_damage, jobs_of(given))
        chosen = target_settings(given.to_data, given.to_config)
        _require_elsewhere(settings, chosen)
        prepare_buckets(chosen)  # a store that does not keep locks is refused before anything is copied
        target = open_core(chosen, create=True)
        move, end = output.progress(None, "object")
        try:
            relocation = Relocation(source, target, plan, move)
            moved = relocation.run()
        finally:
            end()
            target.close()
    finally:
        source.close()
    return _say(relocation, moved, given.first_pass, output)


def _say(relocation: Relocation, moved: bool, first_pass: bool, output: Output) -> int:
    outcome = relocation.outcome
    for name, why in outcome.problems:
        output.line(f"{name}: {why}")
    if moved:
        verdict = "moved; the source is closed. Now run verify and rebuild on the target"
    elif outcome.problems:
        verdict = f"NOT moved: {len(outcome.problems)} problems; the source stays open (see --despite-damage)"
    else:
        verdict = "copied; stop the service and run again without --first-pass to move"
    output.answer(
        {"moved": moved, **outcome.plain()},
        f"{verdict}. {outcome.copied} objects copied ({outcome.bytes} bytes), {outcome.standing} stood there, "
        f"{outcome.records} key records, {outcome.moves} moves recorded.",
    )
    return 0 if (moved or first_pass) and not outcome.problems else 1
