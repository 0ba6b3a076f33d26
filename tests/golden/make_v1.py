"""Makes the golden archive of format v1: ``python -m tests.golden.make_v1``. Run once, at the release of a format.

What it makes is checked in and read for ever by ``tests/unit/test_format_golden.py``; it is never made again under the
same number. Owners, keys and salts are random, so two runs differ in every byte but say the same.
"""

import hashlib
import json
import shutil
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from archive_service.access.events import AccessEvent
from archive_service.bootstrap import Core, Tenant, add_source, make_tenant, open_core
from archive_service.catching_up import catch_up
from archive_service.following import parser_pool
from archive_service.ledger.capture_writer import CaptureDraft, CaptureWriter
from archive_service.ledger.merkle import leaf_hash, root_of
from archive_service.ledger.note import Signer
from archive_service.ledger.payloads import open_capture
from archive_service.ledger.reader import LogReader, logs, owners
from archive_service.model.clock import rfc3339
from archive_service.model.mail import CaptureRecord, Source, SourceKind
from archive_service.settings import load
from archive_service.tenant_services import open_tenant
from archive_service.vault.stores.base import Lock, LockMode

HERE = Path(__file__).parent / "v1"
SAMPLES = Path(__file__).parent.parent / "samples"
KEPT = ("objects", "ledger", "keys", "kms")  # projections are made again from these
AWKWARD = {
    "awkward-bytes": b"Subject: bytes\r\n\r\nNUL \x00, bare CR \r, bare LF \n, 8-bit \xff\xfe, no end",
    "empty": b"",
    "long-line": b"Subject: long\r\n\r\n" + b"x" * 5000 + b"\r\n",
}


class Clock:
    """Begins on a fixed day."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(milliseconds=250)
        return self.now


def main() -> int:
    """Write ``tests/golden/v1``, unless it is there."""
    if HERE.exists():
        print(f"{HERE} exists, and a golden archive is never made again", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        expected = make(Path(folder))
        for name in KEPT:
            ignored = shutil.ignore_patterns(".tmp")
            shutil.copytree(
                Path(folder) / name, HERE / "archive" / name, ignore=ignored, copy_function=shutil.copyfile
            )
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n", "utf-8")
    return 0


def make(folder: Path) -> dict[str, Any]:
    """An archive with two tenants, two days, three capture logs, looks and a reservation; what it must say."""
    clock = Clock()
    settings = load(data=folder)
    core = open_core(settings, create=True, clock=clock)
    first, second = make_tenant(core, "golden"), make_tenant(core, "second")
    samples = sorted(SAMPLES.glob("*.eml"))
    with parser_pool(settings) as pool:
        _write(core, first, SourceKind.M365, {path.name: path.read_bytes() for path in samples[:4]})
        catch_up(core, first, pool)
        clock.now += timedelta(days=1)
        _write(core, first, SourceKind.EXCHANGE, {path.name: path.read_bytes() for path in samples[4:]})
        _write(core, second, SourceKind.GENERIC, AWKWARD)
        for tenant in (first, second):
            catch_up(core, tenant, pool)
        _look(core, first)
        first.acts.reserve_bates("GOLD", 12, "export")
        for tenant in (first, second):
            catch_up(core, tenant, pool)
    expected = describe(core)
    core.close()
    return expected


def _write(core: Core, tenant: Tenant, kind: SourceKind, mails: dict[str, bytes]) -> None:
    """Every other mail as a stream; each call is a process of its own, with its own slot."""
    source, _ = add_source(tenant, f"{kind} {core.clock():%d}", kind, "archive.localhost")
    taken = {str(log) for log in logs(core.store, tenant.id)}
    slots = core.slots(tenant.id, "capture", lambda name: name not in taken)
    writer = CaptureWriter(core.store, tenant.keyring, slots, core.clock)
    for place, (name, raw) in enumerate(mails.items()):
        draft = _draft(core, tenant, source, name)
        if place % 2:
            writer.write_stream(draft, [raw[:100], raw[100:]])
        else:
            writer.submit(draft, raw).result()
    writer.close()


def _draft(core: Core, tenant: Tenant, source: Source, name: str) -> CaptureDraft:
    now = core.clock()
    record = CaptureRecord(
        capture="",
        source=source.id,
        received_at=rfc3339(now),
        mail_from="journal@example.org",
        rcpt_to=(source.address,),
        channel="import",
        origin=name,
    )
    return CaptureDraft(record, Lock(LockMode.COMPLIANCE, now + timedelta(days=30)), tenant.acts.seen)


def _look(core: Core, tenant: Tenant) -> None:
    opened = open_tenant(core, tenant)
    for count in (1, 1200):  # the second is too large for its entry, and stands in an object
        ids = tuple(f"m{hashlib.sha256(b'%d' % n).hexdigest()[:32]}" for n in range(count))
        event = AccessEvent(actor="auditor", role="auditor", action="search", purpose="golden", ids=ids)
        opened.services.access_log.record(event)
    opened.close()


def describe(core: Core) -> dict[str, Any]:
    """What the archive says, read from its stores alone."""
    vkeys: dict[str, str] = {}
    heads: dict[str, Any] = {}
    for owner in owners(core.store):
        vkeys[owner] = Signer(owner, core.keyring(owner).secret("signing")).vkey
        for log in logs(core.store, owner):
            lines = [entry.line for entry in LogReader(core.store, log).entries()]
            heads[str(log)] = {"size": len(lines), "root": root_of([leaf_hash(line) for line in lines]).hex()}
    return {
        "format": 1,
        "archive": core.archive.owner,
        "vkeys": vkeys,
        "heads": heads,
        "tenants": {tenant.name: _tenant(core, tenant) for tenant in core.tenants()},
    }


def _tenant(core: Core, tenant: Tenant) -> dict[str, Any]:
    captures: dict[str, Any] = {}
    messages: dict[str, str] = {}
    looks = 0
    for log in logs(core.store, tenant.id):
        for entry in LogReader(core.store, log).entries():
            if entry.type == "capture":
                opened = open_capture(core.store, tenant.keyring, log, entry.fields)
                captures[entry.fields["capture"]] = {
                    "log": str(log),
                    "seq": entry.seq,
                    "origin": json.loads(opened.record)["origin"],
                    "size": len(opened.raw),
                    "sha256": hashlib.sha256(opened.raw).hexdigest(),
                }
            elif entry.type == "finding":
                of, name = entry.fields["of"]["log"], entry.fields["capture"]
                log_of = next(each for each in logs(core.store, tenant.id) if str(each) == of)
                key = tenant.keyring.object_key(log_of, name)
                finding = tenant.vault.open_finding(log, entry.fields["payload"], name, key)["finding"]
                messages[name] = finding["message"]
            looks += entry.type == "access"
    tenant.acts.refresh()
    sources = [source.plain() for source in tenant.acts.sources()]
    return {
        "id": tenant.id,
        "captures": captures,
        "messages": messages,
        "sources": sources,
        "looks": looks,
        "acts": tenant.acts.seen,
    }


if __name__ == "__main__":
    sys.exit(main())
