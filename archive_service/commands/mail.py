"""``import`` and ``search``."""

import argparse
import getpass
import os
from collections.abc import Iterator
from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path
from typing import Any

from archive_service.access.events import AccessEvent
from archive_service.bootstrap import Core, Tenant, add_source, open_core
from archive_service.catching_up import catch_up, seal_looks
from archive_service.commands.output import Output
from archive_service.following import parser_pool
from archive_service.ledger.capture_writer import Captured, CaptureDraft, CaptureWriter
from archive_service.model.clock import rfc3339
from archive_service.model.errors import Invalid, StoreError
from archive_service.model.mail import CaptureRecord, Source, SourceKind
from archive_service.settings import Settings
from archive_service.tenant_services import open_tenant
from archive_service.vault.stores.base import Lock, LockMode
from search.query_language import parse

_IN_FLIGHT = 64


def register(commands: Any) -> None:
    """Add the commands."""
    imported = commands.add_parser("import", help="archive mail from files")
    formats = imported.add_subparsers(dest="format", required=True, metavar="FORMAT")
    eml = formats.add_parser("eml", help="every .eml file under a folder, byte for byte")
    eml.add_argument("folder", type=Path, metavar="DIR")
    eml.add_argument("--tenant", required=True, metavar="T")
    eml.add_argument("--kind", default="generic", choices=[str(kind) for kind in SourceKind])
    eml.set_defaults(run=_import_eml)
    search = commands.add_parser("search", help="find messages; recorded in the access log")
    search.add_argument("query", metavar="QUERY")
    search.add_argument("--tenant", metavar="T", help="may be left out when there is one")
    search.add_argument("--limit", type=int, default=20, metavar="N")
    search.add_argument("--purpose", metavar="TEXT")
    search.set_defaults(run=_search)


def the_tenant(core: Core, name: str | None) -> Tenant:
    """The named tenant, or the only one. Raises Invalid, NotFound."""
    if name is not None:
        return core.tenant(name)
    tenants = core.tenants()
    if len(tenants) != 1:
        raise Invalid("there are several tenants: say which with --tenant", code="tenant.unclear")
    return tenants[0]


def operator() -> str:
    """Who uses the command line, for the access log."""
    try:
        return f"cli:{getpass.getuser()}"
    except (OSError, KeyError):  # a container's user id without a name
        return f"cli:uid-{os.getuid()}"


def _files(folder: Path) -> list[Path]:
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise Invalid("no such folder", code="import.folder")
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".eml" and path.is_file())


def _read(path: Path, number: int) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:  # which file is said by its place: a name may be a subject
        reason = f"file {number} of the folder, by name, cannot be read ({error.strerror})"
        raise StoreError(f"{reason}; those before it are archived", code="import.unreadable") from error


def _source(tenant: Tenant, kind: SourceKind, domain: str) -> Source:
    """The tenant's import source of a kind, made at the first import."""
    name = f"import {kind}"
    tenant.acts.refresh()
    tenant.acts.require_here()
    for source in tenant.acts.sources():
        if source.name == name:
            return source
    return add_source(tenant, name, kind, domain)[0]


def _import_eml(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    files = _files(given.folder)
    core = open_core(settings)
    try:
        tenant = core.tenant(given.tenant)
        source = _source(tenant, SourceKind(given.kind), settings.smtp_domain)
        move, end = output.progress(len(files), "mail")
        writer = CaptureWriter(
            core.store, tenant.keyring, core.slots(tenant.id, "capture"), core.clock, core.writer_limits
        )
        try:
            captured = list(_write_all(core, tenant, source, writer, files, given.folder, move))
        finally:
            writer.close()
            end()
        with parser_pool(settings) as pool:
            catch_up(core, tenant, pool)
    finally:
        core.close()
    output.answer(
        {"imported": len(captured), "source": source.id, "captures": [each.capture for each in captured]},
        f"{len(captured)} mails archived, chained and searchable",
    )
    return 0


def _write_all(
    core: Core,
    tenant: Tenant,
    source: Source,
    writer: CaptureWriter,
    files: list[Path],
    folder: Path,
    move: Any,
) -> Iterator[Captured]:
    """Submit the files, a bounded number in flight, and yield what became durable, in order."""
    waiting: list[Future[Captured]] = []
    done = 0
    for number, path in enumerate(files, 1):
        raw = _read(path, number)
        now = core.clock()
        name = str(path.relative_to(folder)) if path != folder else path.name
        record = CaptureRecord(
            capture="",
            source=source.id,
            received_at=rfc3339(now),
            mail_from="",
            rcpt_to=(),
            channel="import",
            origin=name.encode("utf-8", "backslashreplace").decode("utf-8"),
        )
        lock = Lock(LockMode(source.lock_mode), now + timedelta(days=source.intake_days))
        waiting.append(writer.submit(CaptureDraft(record, lock, tenant.acts.seen), raw))
        if len(waiting) >= _IN_FLIGHT:
            yield waiting.pop(0).result()
            done += 1
            move(done)
    for future in waiting:
        yield future.result()
        done += 1
        move(done)


def _search(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    if not 1 <= given.limit <= 1000:
        raise Invalid("--limit is 1 to 1000", code="input.limit")
    query = parse(given.query)
    core = open_core(settings)
    try:
        tenant = the_tenant(core, given.tenant)
        with parser_pool(settings) as pool:
            catch_up(core, tenant, pool)
        opened = open_tenant(core, tenant)
        try:
            services = opened.services
            found = services.index.search(query, limit=given.limit)
            listed = services.catalog.messages([hit.id for hit in found.hits])
            barred = services.barred(capture.id for message in listed for capture in message.captures)
            messages = [
                message for message in listed if not any(each.id in barred for each in message.captures)
            ]
            services.access_log.record(
                AccessEvent(
                    actor=operator(),
                    role="cli",
                    action="search",
                    ids=tuple(message.id for message in messages),
                    purpose=given.purpose,
                    detail={"query": given.query},
                )
            )
        finally:
            opened.close()
            seal_looks(core)
    finally:
        core.close()
    hits = [
        {
            "id": message.id,
            "sent_at": message.sent_at,
            "from": message.sender,
            "to": [each.address for each in message.recipients],
            "subject": message.subject,
        }
        for message in messages
    ]
    rows = [
        f"{hit['id']}  {hit['sent_at'] or '-':27}  {hit['from'] or '-'}  {hit['subject']}" for hit in hits
    ]
    output.answer(
        {"total": found.total, "hits": hits, "not_fully_indexed": found.not_fully_indexed},
        "\n".join([*rows, f"{found.total} found, {found.not_fully_indexed} of them not fully indexed"]),
    )
    return 0 if found.total else 1
