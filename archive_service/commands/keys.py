"""``keys``: what keys there are, new key versions of the KMS, and the end of old ones."""

import argparse
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from archive_service.bootstrap import Core, open_core
from archive_service.commands.output import Output
from archive_service.disposal.erasing import alone, sweep
from archive_service.ledger.acts import Acts
from archive_service.ledger.erasures import Erasures
from archive_service.ledger.payloads import PayloadVault
from archive_service.ledger.reader import owners
from archive_service.model.errors import ArchiveError, Invalid, Refused, StoreError
from archive_service.places.opening import kms_of
from archive_service.settings import Settings, load
from archive_service.vault.healing import Healed, heal
from archive_service.vault.key_layout import LogId
from archive_service.vault.keyring import Keyring
from archive_service.vault.kms import Kms
from archive_service.vault.rewrap import (
    RewrapReport,
    in_use,
    places_differ,
    rewrap,
    under,
    wrapped_names,
)


def register(commands: Any) -> None:
    """Add the commands."""
    keys = commands.add_parser("keys", help="the archive's keys")
    actions = keys.add_subparsers(dest="action", required=True, metavar="ACTION")
    status = actions.add_parser(
        "status", help="key versions, generations and secrets of every owner, and whether they open"
    )
    status.set_defaults(run=_status)
    rotate = actions.add_parser("rotate", help="make a new key version of the key service")
    rotate.set_defaults(run=_rotate)
    again = actions.add_parser("rewrap", help="wrap secrets and table keys under the newest key version")
    again.add_argument(
        "--old-config",
        type=Path,
        metavar="FILE",
        help="settings of the key service to move away from (the archive must not be running)",
    )
    again.set_defaults(run=_rewrap)
    healing = actions.add_parser(
        "heal",
        help="put a key place right again that was wiped or put back from a backup, from the other one",
    )
    healing.set_defaults(run=_heal)
    destroy = actions.add_parser("destroy-version", help="destroy a key version that no record names")
    destroy.add_argument("version", metavar="VERSION")
    destroy.set_defaults(run=_destroy)


# --- status -----------------------------------------------------------------------------------------


def _status(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    del given
    core = open_core(settings)
    try:
        found = [_owner(core, owner) for owner in owners(core.store)]
        service = _service(core)
        differ = sorted({*_differing(core), *(name for each in found for name in each.pop("differ"))})
    finally:
        core.close()
    broken = [reason for each in found for reason in each["broken"]] + service.pop("broken")
    answer = {"owners": found, "provider": core.kms.provider, **service, "places_differ": differ}
    output.answer(answer, "\n".join([*_rows(answer), *broken]))
    return 1 if broken or differ else 0


def _rows(answer: dict[str, Any]) -> list[str]:
    rows = [f"key service: {answer['provider']}"]
    rows += [f"{each['version']}: wraps {each['records']} records" for each in answer["versions"]]
    rows += [f"other: {name} wraps {count} records" for name, count in answer["elsewhere"].items()]
    for each in answer["owners"]:
        gone = f", {len(each['destroyed'])} destroyed" if each["destroyed"] else ""
        rows.append(f"{each['owner']}: {len(each['generations'])} generations{gone}")
    rows += [f"{name}: the two places differ" for name in answer["places_differ"]]
    return rows if answer["places_differ"] else [*rows, "both places hold the same"]


def _service(core: Core) -> dict[str, Any]:
    """The key service's versions and how many records stand under each; ``elsewhere``: records under versions that
    the service does not have, or of another provider."""
    broken: list[str] = []
    standing: list[str] = []
    try:
        standing = core.kms.versions()
    except StoreError as error:
        broken.append(f"key service: {error}")
    counted: Counter[tuple[str, str]] = Counter()
    try:
        for wrapped in wrapped_names(core.keys):
            copies = [copy for copy in core.keys.copies(wrapped.name) if copy is not None]
            counted.update({under(copy, wrapped.name) for copy in copies if _names_version(copy)})
    except ArchiveError as error:
        broken.append(str(error))
    ours = core.kms.provider
    versions = [{"version": each, "records": counted.pop((ours, each), 0)} for each in standing]
    elsewhere = {f"{provider} {version}": count for (provider, version), count in sorted(counted.items())}
    return {"versions": versions, "elsewhere": elsewhere, "broken": broken}


def _names_version(copy: bytes) -> bool:
    """Whether a copy can be read so far; what cannot is named by its owner's ``broken``, or differs."""
    try:
        under(copy, "a record")
    except ArchiveError:
        return False
    return True


def _differing(core: Core) -> list[str]:
    try:
        return places_differ(core.keys)
    except ArchiveError:
        return []  # ``_service`` names it


def _owner(core: Core, owner: str) -> dict[str, Any]:
    """An owner's generations with their first days, its secrets, what does not open, what differs in the places.
    ``destroyed``: numbers below the newest that are no more."""
    keyring = core.keyring(owner)
    found: dict[str, Any] = {
        "owner": owner,
        "generations": {},
        "destroyed": [],
        "secrets": [],
        "broken": [],
        "differ": [],
    }
    for name in core.keys.list(f"{owner}/generations/"):
        last = name.rpartition("/")[2]
        first, second = core.keys.copies(name)
        if first != second:
            found["differ"].append(name)
        try:
            found["generations"][str(int(last))] = keyring.generation(int(last)).begins.isoformat()
        except (ArchiveError, ValueError) as error:
            found["broken"].append(f"{name}: {_reason(error)}")
    standing = set(keyring.numbers())
    found["destroyed"] = [number for number in range(1, max(standing, default=0)) if number not in standing]
    for name in core.keys.list(f"{owner}/secrets/"):
        last = name.rpartition("/")[2]
        try:
            keyring.secret(last)
            found["secrets"].append(last)
        except ArchiveError as error:
            found["broken"].append(f"{name}: {_reason(error)}")
    return found


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, ArchiveError) else "no name of a generation"


# --- rotate, rewrap, destroy-version ----------------------------------------------------------------


def _rotate(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    del given
    core = open_core(settings)
    try:
        version = core.kms.rotate()
    finally:
        core.close()
    output.answer(
        {"provider": core.kms.provider, "version": version},
        f"{version} is the newest key version now; `keys rewrap` brings what stands under older ones to it",
    )
    return 0


def _rewrap(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    old = _old_service(given.old_config) if given.old_config is not None else None
    core = open_core(settings)
    try:
        _take_lease(core)
        erasures = _erasures(core, [old, core.kms] if old is not None else [core.kms])
        if old is not None:
            _require_finished(erasures)
        kms = _moved_to(core, settings) if old is not None else core.kms
        report = _with_progress(core, kms, old, erasures, output)
    finally:
        core.close()
    broken = [{"name": name, "reason": reason} for name, reason in report.broken]
    output.answer({**vars(report), "broken": broken}, _text(report))
    return 1 if broken else 0


def _erasures(core: Core, services: Sequence[Kms]) -> dict[str, Erasures]:
    """What every owner's acts say of forgetting, by whichever of these services opens them. In the middle of a move it
    may be neither: then nothing is known of that owner."""
    found: dict[str, Erasures] = {}
    for owner in owners(core.store):
        if LogId(owner, "acts") not in core.census.logs(owner):
            continue
        for kms in services:
            acts = Acts(PayloadVault(core.store, Keyring(owner, core.keys, kms), core.clock), owner)
            with suppress(ArchiveError):
                acts.refresh()
                found[owner] = acts.erasures
                break
    return found


def _require_finished(erasures: dict[str, Erasures]) -> None:
    """An unfinished batch still needs table keys that stay under the old service. Raises Refused."""
    if any(each.unfinished() for each in erasures.values()):
        raise Refused("an erasure batch is unfinished: run `erasures run` first", code="erasure.unfinished")


def _with_progress(
    core: Core, kms: Kms, old: Kms | None, erasures: dict[str, Erasures], output: Output
) -> RewrapReport:
    move, end = output.progress(len(wrapped_names(core.keys)), "keys")
    try:
        retired = {owner: each.tables() for owner, each in erasures.items()}
        return rewrap(core.keys, kms, lambda done, total: move(done), old_kms=old, retired=retired)
    finally:
        end()


def _heal(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    """What finished batches took goes first, so that it cannot be taken for what was lost."""
    del given
    core = open_core(settings)
    swept, healed = 0, Healed()
    try:
        with alone(core) as fence:
            for tenant in core.tenants(0):
                swept += sweep(core, tenant, fence)
            erasures = _erasures(core, [core.kms])
            gone = {owner: each.generations() for owner, each in erasures.items()}
            report = _with_progress(core, core.kms, None, erasures, output)
            for owner in owners(core.store):
                fence()
                one = heal(core.keyring(owner), gone.get(owner, set()))
                healed.filled += one.filled
                healed.replaced += one.replaced
                healed.left += one.left
    finally:
        core.close()
    left = [{"name": name, "reason": reason} for name, reason in [*report.broken, *healed.left]]
    output.answer(
        {
            "filled": healed.filled,
            "replaced": healed.replaced + report.healed + report.rewrapped,
            "swept": swept,
            "left": left,
        },
        f"{healed.filled} records filled in, {healed.replaced + report.healed + report.rewrapped} replaced, "
        f"{swept} destroyed ones taken out again, {len(left)} left: run verify",
    )
    for each in left:
        output.line(f"{each['name']}: {each['reason']}")
    return 1 if left else 0


def _text(report: RewrapReport) -> str:
    lines = [f"{report.records} records: {report.rewrapped} wrapped anew under {report.version}"]
    lines[0] += f", {report.healed} healed" if report.healed else ""
    lines += [f"{report.retired} left to the erasure batch that retired them"] if report.retired else []
    return "\n".join([*lines, *(f"{name}: {reason}" for name, reason in report.broken)])


def _old_service(config: Path) -> Kms:
    """The key service of another settings file. Raises Invalid when it does not say where its keys are."""
    old = load(config)
    folder = old.kms_folder or (old.data / "kms" if old.data is not None else None)
    if old.kms == "local-file" and folder is None:
        raise Invalid("the old settings name no kms_folder", code="settings.invalid")
    return kms_of(old, folder, create=False)


def _moved_to(core: Core, settings: Settings) -> Kms:
    """The service that the archive moves to: it may still be without a key version."""
    folder = settings.kms_folder or (settings.data / "kms" if settings.data is not None else None)
    kms = kms_of(settings, folder, create=True)
    try:
        kms.versions()
    except StoreError as error:
        if error.code != "kms.away":
            raise
        kms.rotate()  # of a service that is really away this is an error too
    return kms


def _destroy(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    core = open_core(settings)
    try:
        _take_lease(core)
        _require_no_incident(core)
        _require_unused(core, given.version)
        core.kms.destroy(given.version)
    finally:
        core.close()
    output.answer(
        {"provider": core.kms.provider, "destroyed": given.version},
        f"{given.version} is destroyed: what it wrapped opens from no backup of the key store",
    )
    return 0


def _require_no_incident(core: Core) -> None:
    """Raises Refused while one is open in any tenant: a key version is of all of them."""
    for tenant in core.tenants(0):
        tenant.acts.refresh()
        if tenant.acts.incidents.open:
            raise Refused("an incident is open: no key is destroyed", code="incident.open")


def _require_unused(core: Core, version: str) -> None:
    """Raises Refused unless both places are there, hold the same, and name other versions only."""
    if version not in core.kms.versions():
        raise Refused("the key service has no such key version", code="kms.no_such_version")
    used = in_use(core.keys, core.kms.provider).get(version, 0)
    if used:
        raise Refused(f"{used} records stand under {version}: run keys rewrap first", code="kms.in_use")
    if places_differ(core.keys):
        raise Refused("the two key places differ: run keys rewrap first", code="kms.places_differ")


def _take_lease(core: Core) -> None:
    if not core.leases.take("erasure"):
        raise Refused("an erasure batch is running", code="erasure.busy")
