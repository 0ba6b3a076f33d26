"""One embedded archive on disk, built once, copied for every case; the command line in this process."""

import base64
import io
import json
import os
import random
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from archive_service.bootstrap import Core, Tenant, add_source, open_core
from archive_service.catalog.sql import SqlCatalog
from archive_service.cli import main
from archive_service.following import make_checkpointer
from archive_service.ledger.capture_writer import Captured, CaptureDraft, CaptureWriter
from archive_service.ledger.slots import Slots
from archive_service.model.clock import rfc3339, utc_now
from archive_service.model.mail import CaptureRecord, Parsed, Source, SourceKind, Text
from archive_service.settings import Settings
from archive_service.vault import key_layout
from archive_service.vault.key_layout import LogId
from archive_service.vault.stores.base import Lock
from ingest.extraction import extract_text
from ingest.identity import message_id
from ingest.interpret import interpret
from search.follower import Follower, FollowerParts
from search.indexes.base import KeptIndex

SAMPLES = Path(__file__).resolve().parent.parent / "samples"
PATIENCE = 60.0  # seconds until a future that never ends fails the test; nothing is measured by it


def in_days(days: int) -> str:
    """A time to come, by the clock that the archive of a test goes by."""
    return rfc3339(utc_now() + timedelta(days=days))


@dataclass(frozen=True)
class Said:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def answer(self) -> dict[str, Any]:
        """The one JSON object on standard output."""
        lines = self.out.splitlines()
        assert len(lines) == 1, self.out + self.err
        value = json.loads(lines[0])
        assert isinstance(value, dict)
        return value

    @property
    def problems(self) -> list[dict[str, Any]]:
        """Of a ``verify --json``."""
        found: list[dict[str, Any]] = self.answer["problems"]
        return found

    @property
    def damage(self) -> list[dict[str, Any]]:
        """Problems that are not notes."""
        return [problem for problem in self.problems if problem["severity"] == "damage"]


def run(*arguments: object) -> Said:
    """One command in this process. Whatever escapes it but an exit is a failure of the test."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = main([str(each) for each in arguments])
        except SystemExit as exit_:  # argparse
            code = int(exit_.code or 0)
    assert "Traceback" not in out.getvalue() + err.getvalue()
    return Said(code, out.getvalue(), err.getvalue())


def done(*arguments: object) -> Said:
    """A command that must succeed."""
    said = run(*arguments)
    assert said.code == 0, said.out + said.err
    return said


def token(data: object, role: str, subject: str, tenant: str = "acme") -> str:
    """A token of the built-in issuer."""
    asked = ("--tenant", tenant, "--role", role, "--subject", subject, "--data", data, "--json")
    return str(done("token", *asked).answer["token"])


def approve(
    data: object, approval: str, *, role: str = "legal", subject: str = "zoe", tenant: str = "acme"
) -> Said:
    """Another person's word."""
    by = ("--tenant", tenant, "--token", token(data, role, subject, tenant), "--reason", "so", "--data", data)
    return run("approvals", "approve", approval, *by, "--json")


def have_erased(data: object, *captures: str) -> None:
    """Captures asked to be forgotten by one person, approved by another: barred from then on."""
    named = [word for capture in captures for word in ("--capture", capture)]
    ground = ("--ground", "request", "--basis", "GDPR article 17", "--token", token(data, "dpo", "paul"))
    asked = done("erasures", "ask", "--tenant", "acme", *named, *ground, "--data", data, "--json").answer
    assert approve(data, asked["approval"]).answer["result"]["captures"] == len(captures)


@pytest.fixture(autouse=True)
def no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is set around the tests is none of their business; autouse where it is imported."""
    for name in list(os.environ):
        if name.startswith("ARCHIVE_") and not name.startswith(("ARCHIVE_TEST", "ARCHIVE_REQUIRE")):
            monkeypatch.delenv(name)


def verify(data: Path, *more: object) -> Said:
    """``verify --json``; whatever it says, it says it in one JSON object with a verdict that fits the exit code."""
    said = run("verify", "--data", data, "--json", *more)
    assert said.code == (0 if said.answer["clean"] else 1)
    assert said.answer["clean"] == (not said.damage)
    return said


class Here:
    """An interpreter in this process: the tests here are not about its limits."""

    workers = 1

    def interpret(self, raw: bytes, kind: SourceKind, record: CaptureRecord) -> tuple[Parsed, Text]:
        parsed = interpret(raw, kind, record)
        return parsed, self.extract(raw, parsed)

    def extract(self, raw: bytes, parsed: Parsed) -> Text:
        return extract_text(raw, parsed)


@dataclass
class Unfollowed:
    """A tenant of an archive, and what writes to it."""

    core: Core
    tenant: Tenant
    source: Source

    def draft(self) -> CaptureDraft:
        """An import's capture that is to be."""
        now = self.core.clock()
        record = CaptureRecord(
            capture="",
            source=self.source.id,
            received_at=rfc3339(now),
            mail_from="",
            rcpt_to=(),
            channel="import",
        )
        return CaptureDraft(record, Lock(until=now + timedelta(days=30)), self.tenant.acts.seen)

    def writer(self, slots: Slots | None = None) -> CaptureWriter:
        """A capture writer."""
        chosen = slots or self.core.slots(self.tenant.id, "capture")
        return CaptureWriter(self.core.store, self.tenant.keyring, chosen, self.core.clock)

    def write(self, mails: list[bytes]) -> list[Captured]:
        """Archive mails, durable on return."""
        writer = self.writer()
        try:
            waiting = [writer.submit(self.draft(), mail) for mail in mails]
            return [each.result(PATIENCE) for each in waiting]
        finally:
            writer.close()

    def access(self, count: int, *, ids: int = 0) -> None:
        """Access entries, in one batch."""
        log = LogId(self.tenant.id, "access-1")
        slots = self.core.slots(self.tenant.id, "access")
        appender = slots.take()
        assert appender.log == log
        values = [
            {
                "actor": "test",
                "role": "legal",
                "action": "search",
                "ids": [f"m{random.Random(n).getrandbits(160):040x}" for n in range(ids)],
            }
        ]
        payloads = self.tenant.vault.seal_many(log, values * count)
        appender.append([("access", {"payload": payload, "acts_seen": 1}) for payload in payloads])


@dataclass
class Open(Unfollowed):
    """The same with its projections, as a process has them. Close it."""

    catalog: SqlCatalog = field(init=False)
    index: KeptIndex = field(init=False)

    def __post_init__(self) -> None:
        live = self.core.engines.live(self.tenant.id)
        self.index, self.catalog = live.index, live.catalog
        self.index.write([])
        self.follower = self.make_follower()
        self.checkpointer = make_checkpointer(self.core)

    def make_follower(self) -> Follower:
        """As in the service, but parsing here."""
        key = self.tenant.keyring.secret("identity")
        parts = FollowerParts(
            vault=self.tenant.vault,
            acts=self.tenant.acts,
            slots=self.core.slots(self.tenant.id, "order"),
            catalog=self.catalog,
            index=self.index,
            interpreter=Here(),
            identify=lambda digest, version: message_id(key, digest, version),
        )
        return Follower(parts)

    def follow(self) -> None:
        """Bring order, catalog and index to the head."""
        while self.follower.step():
            continue

    def close(self) -> None:
        """As a process ends."""
        self.index.close()
        self.catalog.close()
        self.core.close()


def opened(data: Path, name: str = "acme") -> Open:
    """Open a tenant of an archive, with its first source."""
    core = open_core(Settings(data=data))
    tenant = core.tenant(name)
    return Open(core, tenant, tenant.acts.sources()[0])


def mail(number: int, body: str = "bonjour", recipients: int = 1) -> bytes:
    """A plain mail."""
    to = ", ".join(f"{random.Random(n).getrandbits(128):032x}@exemple.fr" for n in range(recipients))
    return (
        f"From: anne@exemple.fr\r\nTo: {to}\r\nSubject: essai {number}\r\n"
        f"Date: Wed, 4 Mar 2026 08:{number % 60:02}:00 +0000\r\nMessage-ID: <essai-{number}@exemple.fr>\r\n\r\n"
        f"{body} {number}\r\n"
    ).encode()


def large_mail(number: int, size: int) -> bytes:
    """A mail that stays over ``size`` bytes when it is compressed: its body is noise."""
    noise = base64.encodebytes(random.Random(number).randbytes(size)).replace(b"\n", b"\r\n")
    head = b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
    return head + mail(number).replace(b"bonjour", noise)


@dataclass(frozen=True)
class Built:
    """An archive on disk. ``large``: the capture over 1 MiB; ``earlier``: a whole copy of it from before the last
    mails came."""

    data: Path
    tenant: str
    other: str
    archive: str
    large: Captured
    earlier: Path

    @property
    def captures(self) -> LogId:
        return LogId(self.tenant, "capture-1")

    @property
    def order(self) -> LogId:
        return LogId(self.tenant, "order-1")

    @property
    def access(self) -> LogId:
        return LogId(self.tenant, "access-1")

    @property
    def acts(self) -> LogId:
        return LogId(self.tenant, "acts")

    @property
    def root(self) -> LogId:
        return LogId(self.archive, "root")


def _build(folder: Path) -> Built:
    data = folder / "archive"
    made = run("init", "--data", data, "--tenant", "acme", "--json").answer
    other = run("init", "--data", data, "--tenant", "beta", "--json").answer["id"]
    core = open_core(Settings(data=data))
    try:
        for name in ("acme", "beta"):
            add_source(core.tenant(name), "journal", SourceKind.M365, "archive.localhost")
    finally:
        core.close()
    archive = opened(data)
    try:
        archive.write([path.read_bytes() for path in sorted(SAMPLES.glob("*.eml"))])
        archive.access(199)
        _settle(archive)
        archive.access(100)
        archive.access(2, ids=2000)
        large = archive.write([large_mail(1, 1_200_000), mail(2, recipients=1500), *map(mail, range(3, 8))])[
            0
        ]
        _settle(archive)
    finally:
        archive.close()
    _write_other(data)
    earlier = folder / "earlier"
    shutil.copytree(data, earlier)
    archive = opened(data)
    try:
        archive.write([mail(8), mail(9)])
        _settle(archive)
        archive.write([mail(10), mail(11)])
        _settle(archive)
    finally:
        archive.close()
    return Built(data, made["id"], other, made["archive"], large, earlier)


def _settle(archive: Open) -> None:
    archive.follow()
    archive.checkpointer.run_once()


def _write_other(data: Path) -> None:
    """Another tenant, whose mail nobody has followed yet."""
    core = open_core(Settings(data=data))
    tenant = core.tenant("beta")
    other = Unfollowed(core, tenant, tenant.acts.sources()[0])
    try:
        other.write([mail(100), mail(101)])
        make_checkpointer(core).run_once()
    finally:
        core.close()


@cache
def _built(folder: Path) -> Built:
    return _build(folder)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Made once a process, however many test files ask for it. Never to be changed: copy it."""
    base = tmp_path_factory.getbasetemp() / "built-archive"
    base.mkdir(exist_ok=True)
    return _built(base)


@dataclass(frozen=True)
class Copy:
    """A copy of the built archive, to be tampered with as somebody would who owns the disk."""

    data: Path
    of: Built

    def path(self, key: str) -> Path:
        """The file of a store key."""
        return self.data / key

    def names(self, prefix: str) -> list[str]:
        """Store keys under a prefix, in order, without the stores' own files."""
        found = (self.data / prefix).rglob("*")
        return sorted(
            str(path.relative_to(self.data)) for path in found if path.is_file() and path.name[0] != "."
        )

    def read(self, key: str) -> bytes:
        return self.path(key).read_bytes()

    def write(self, key: str, data: bytes) -> None:
        """Replace or make a file, whatever its mode."""
        path = self.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(data)

    def edit(self, key: str, change: Callable[[bytes], bytes]) -> str:
        """Change a file; its key."""
        before = self.read(key)
        after = change(before)
        assert after != before
        self.write(key, after)
        return key

    def flip(self, key: str, place: int = -1, mask: int = 1) -> str:
        """Flip bits of one byte (the middle one unless told); its key."""
        data = bytearray(self.read(key))
        data[len(data) // 2 if place == -1 else place] ^= mask
        self.write(key, bytes(data))
        return key

    def delete(self, *keys: str) -> str:
        """Remove files; the first one's key."""
        for key in keys:
            self.path(key).unlink()
        return keys[0]

    # --- what lies where ------------------------------------------------------------------------------

    def batches(self, log: LogId) -> list[str]:
        return self.names(f"{key_layout.log_prefix(log)}batch")

    def checkpoints(self, log: LogId) -> list[str]:
        return self.names(f"{key_layout.log_prefix(log)}checkpoint")

    def objects(self, log: LogId) -> list[str]:
        return self.names(key_layout.objects_prefix(log))

    def entries(self, log: LogId) -> list[dict[str, Any]]:
        """Every entry of a log."""
        return [json.loads(line) for key in self.batches(log) for line in self.read(key).splitlines()]

    def seq_of(self, log: LogId, object_key: str) -> int:
        """The entry that names an object."""
        (seq,) = (e["seq"] for e in self.entries(log) if e.get("object", {}).get("key") == object_key)
        assert isinstance(seq, int)
        return seq

    def first_seq(self, batch: str) -> int:
        return int(batch.rpartition("/")[2])

    def size_of(self, checkpoint: str) -> int:
        """The size that a checkpoint claims."""
        return int(self.read(checkpoint).split(b"\n")[1])

    def record(self, log: LogId, sealed_name: str, place: str = "a") -> str:
        """The key record behind a sealed name, as a path in the archive's folder."""
        return f"keys/{place}/{key_layout.record_name(log, sealed_name.partition('-')[0])}"


@pytest.fixture
def copy(built: Built, tmp_path: Path) -> Copy:
    """A fresh copy."""
    data = tmp_path / "archive"
    shutil.copytree(built.data, data)
    return Copy(data, built)
