"""``doctor``: is the archive usable from here?"""

import argparse
import os
import secrets
from collections.abc import Callable
from typing import Any

from archive_service.alarms.index_looks import index_difference
from archive_service.bootstrap import Core, open_core
from archive_service.commands.output import Output
from archive_service.ledger.reader import find_head, logs, read_entry
from archive_service.misspelt import misspelt, said
from archive_service.model.clock import from_rfc3339
from archive_service.model.errors import ArchiveError, Refused, StoreError
from archive_service.places.placement import OnS3, placement
from archive_service.settings import Settings
from archive_service.vault.key_layout import LogId

_MOST_SKEW = 300.0  # seconds: design point 8
_CONTEXT = b"archive-service/doctor/v1\0"


def register(commands: Any) -> None:
    """Add the command."""
    doctor = commands.add_parser("doctor", help="is the archive usable from here?")
    doctor.set_defaults(run=_doctor)


def _doctor(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    del given
    checks = {f"variable {name}": said(name, nearest) for name, nearest in misspelt(os.environ).items()}
    placed = placement(settings)
    if isinstance(placed, OnS3):
        _check_buckets(checks, settings, placed)
    core: Core | None = None
    try:
        core = open_core(settings)
    except ArchiveError as error:
        if not checks:
            raise
        checks["archive"] = _failed(error)  # what the buckets said is what helps
    if core is not None:
        try:
            _check_archive(checks, core)
        finally:
            core.close()
    bad = [name for name, said in checks.items() if said.startswith("FAILED")]
    output.answer(
        {"healthy": not bad, "checks": checks}, "\n".join(f"{name}: {said}" for name, said in checks.items())
    )
    return 1 if bad else 0


def _check_buckets(checks: dict[str, str], settings: Settings, placed: OnS3) -> None:
    from archive_service.places.probing import Probes  # boto3 is slow to load: only who needs it does

    for name, seen in Probes(settings, placed).run().items():
        if isinstance(seen, ArchiveError):
            checks[name] = _failed(seen)
        else:
            checks.update({f"{name}: {what}": said for what, said in seen})


def _check_archive(checks: dict[str, str], core: Core) -> None:
    _check(checks, "store", lambda: f"{len(logs(core.store, core.archive.owner))} logs of the archive")
    if core.distant:
        _check(checks, "clock", lambda: _clock(core))
    _check(checks, "key service", lambda: _key_service(core))
    _check(checks, "tenants", lambda: ", ".join(tenant.name for tenant in core.tenants()) or "none")
    _check(checks, "here", lambda: _here(core))
    _check(checks, "writing", lambda: _writing(core))
    if core.settings.catalog_url is not None or core.settings.index != "tantivy":
        for tenant in _tenants(core):
            _check(checks, f"catalog {tenant}", lambda tenant=tenant: _catalog(core, tenant))  # type: ignore[misc]
            _check(checks, f"index {tenant}", lambda tenant=tenant: _index(core, tenant))  # type: ignore[misc]
    if core.distant:
        for tenant in _tenants(core):
            for log in core.census.logs(tenant):
                _check(checks, f"log {log}", lambda log=log: _head(core, log))  # type: ignore[misc]


def _here(core: Core) -> str:
    """Raises Refused when a relocation has closed the archive in this store."""
    for tenant in core.tenants():
        tenant.acts.refresh()
        tenant.acts.require_here()
    return "this store is the archive's"


def _tenants(core: Core) -> list[str]:
    try:
        return [tenant.id for tenant in core.tenants()]
    except ArchiveError:  # said under "tenants"
        return []


def _check(checks: dict[str, str], name: str, look: Callable[[], str]) -> None:
    try:
        checks[name] = look()
    except ArchiveError as error:
        checks[name] = _failed(error)


def _failed(error: ArchiveError) -> str:
    return f"FAILED ({error.code}): {error}"


def _clock(core: Core) -> str:
    """How far the store's clock is from ours: beyond five minutes terms cannot be trusted."""
    assert core.stores is not None
    offset = core.stores.clock_offset()
    if abs(offset) > _MOST_SKEW:
        raise Refused(f"the store's clock and ours are {abs(offset):.0f} s apart", code="doctor.clock")
    return f"the store's is {offset:+.1f} s from ours"


def _key_service(core: Core) -> str:
    """The archive's signing key opens, and what is wrapped now opens again."""
    size = len(core.archive.secret("signing"))
    probe = secrets.token_bytes(32)
    version, wrapped = core.kms.wrap(_CONTEXT, probe)
    if core.kms.unwrap(version, _CONTEXT, wrapped) != probe:
        raise Refused("the key service opens something else than it wrapped", code="doctor.kms")
    return f"{core.kms.provider}: {size} byte signing key opens; wraps and opens with {version}"


def _writing(core: Core) -> str:
    """A key record is written, read back from both places, and removed."""
    name = f"probe/{secrets.token_hex(8)}"
    core.keys.put(name, b"probe")
    copies = core.keys.copies(name)
    for place in core.keys.places:
        place.delete(name)
    if copies != [b"probe", b"probe"]:
        raise ArchiveError("a key record does not read back from both places", code="doctor.keys")
    return "both key places keep what they are given" + (
        "" if core.distant else "; a file system is not WORM"
    )


def _catalog(core: Core, owner: str) -> str:
    live = core.engines.live(owner)
    try:
        position = live.catalog.position()
    finally:
        live.close()
    return f"{position.rows} order entries projected, {position.indexed} of them indexed"


def _index(core: Core, owner: str) -> str:
    """Raises Refused when a search would find less, or more, than the catalog has, and no follower is about to mend
    it."""
    live = core.engines.live(owner)
    try:
        if any(sample.value for sample in index_difference(owner, live)):
            raise Refused(
                "the index does not hold the messages that the catalog does: restart the followers, or rebuild",
                code="doctor.index",
            )
        return f"{live.held()} messages"
    except StoreError as error:
        if error.code == "index.unreadable":
            return "none yet: the follower or rebuild makes it"
        raise
    finally:
        live.close()


def _head(core: Core, log: LogId) -> str:
    """A slot's head and its age: a writer that is long silent, or a log that nobody follows, shows here."""
    head = find_head(core.store, log)
    if head.seq == 0:
        return "empty"
    last = read_entry(core.store, log, head.seq - 1)
    age = (core.clock() - from_rfc3339(last.time)).total_seconds()
    return f"{head.seq} entries, the last one {age:.0f} s old"
