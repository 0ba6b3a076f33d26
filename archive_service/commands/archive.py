"""``init`` and ``source``."""

import argparse
from typing import Any

from pydantic import ValidationError

from archive_service.bootstrap import add_source, make_tenant, open_core
from archive_service.commands.output import Output
from archive_service.commands.source_watching import register_watching
from archive_service.commands.sources import register_changes
from archive_service.model.errors import Invalid
from archive_service.model.mail import IntakeLock, SourceKind
from archive_service.places.placement import OnS3, placement
from archive_service.settings import Settings

Commands = Any


def register(commands: Commands) -> None:
    """Add the commands."""
    init = commands.add_parser("init", help="make an archive and a tenant in it, keys included")
    init.add_argument("--tenant", required=True, metavar="NAME")
    init.add_argument(
        "--create-buckets", action="store_true", help="on S3: make the buckets that do not exist"
    )
    init.set_defaults(run=_init)
    source = commands.add_parser("source", help="feeds: each has its own secret recipient address")
    actions = source.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = actions.add_parser("add", help="a new source; prints its secret recipient address")
    add.add_argument("--tenant", required=True, metavar="T")
    add.add_argument("--kind", required=True, choices=[str(kind) for kind in SourceKind])
    add.add_argument("--name", required=True, metavar="N")
    add.add_argument(
        "--intake-days",
        type=int,
        default=30,
        metavar="N",
        help="how long its mail is locked until it is classified (30)",
    )
    add.add_argument("--lock-mode", choices=["COMPLIANCE", "GOVERNANCE"], default="COMPLIANCE")
    add.set_defaults(run=_add)
    listing = actions.add_parser("list", help="a tenant's sources")
    listing.add_argument("--tenant", required=True, metavar="T")
    listing.set_defaults(run=_list)
    register_changes(actions)
    register_watching(actions)


def _init(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    made = prepare_buckets(settings, create=given.create_buckets)
    core = open_core(settings, create=True)
    try:
        tenant = make_tenant(core, given.tenant)
        vkey, root = tenant.signer.vkey, core.archive.owner
    finally:
        core.close()
    output.answer(
        {
            "tenant": given.tenant,
            "id": tenant.id,
            "archive": root,
            "verifier_key": vkey,
            **({"buckets_made": made} if made else {}),
        },
        f"archive {root}: tenant {given.tenant!r} made.\n"
        f"Verifier key, to be kept on paper: {vkey}\n"
        "Back up the key store and the key service apart from the archive: without them nothing can be read.",
    )
    return 0


def prepare_buckets(settings: Settings, *, create: bool = False) -> list[str]:
    """Before an archive on S3 is made or served: make its buckets if told, and probe them. Which were made. Raises
    Refused for one that does not keep what is promised, Invalid when there is no bucket to make."""
    placed = placement(settings)
    if not isinstance(placed, OnS3):
        if create:
            raise Invalid("--create-buckets is for an archive on S3", code="settings.invalid")
        return []
    from archive_service.places.probing import Probes  # boto3 is slow to load: only who needs it does

    probes = Probes(settings, placed)
    made = probes.make_buckets() if create else []
    probes.require_fit()
    return made


def _add(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    core = open_core(settings)
    try:
        kind, intake = SourceKind(given.kind), _intake(given)
        source, seq = add_source(core.tenant(given.tenant), given.name, kind, settings.smtp_domain, intake)
    finally:
        core.close()
    answer = {"id": source.id, "address": source.address, "undeliverable": source.undeliverable, "seq": seq}
    output.answer({name: value for name, value in answer.items() if value is not None}, source.address)
    return 0


def _intake(given: argparse.Namespace) -> IntakeLock | None:
    """Raises Invalid."""
    try:
        return IntakeLock(intake_days=given.intake_days, lock_mode=given.lock_mode).unless_usual()
    except ValidationError as error:
        raise Invalid("an intake lock is of 1 to 365 days", code="source.intake") from error


def _list(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    core = open_core(settings)
    try:
        tenant = core.tenant(given.tenant)
        tenant.acts.refresh()
        sources = [source.plain() for source in tenant.acts.sources()]
    finally:
        core.close()
    rows = [
        f"{source['id']}  {source['kind']:8}  {source['name']}  {source['address']}" for source in sources
    ]
    output.answer({"sources": sources}, "\n".join(rows) or "no sources")
    return 0
