"""Every released format stays readable: the golden archives, opened, verified and read byte for byte."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from archive_service.access.log import LedgerAccessLog
from archive_service.bootstrap import Core, Tenant, open_core
from archive_service.ledger.anchors import anchor_of
from archive_service.ledger.group_log import GroupLog
from archive_service.ledger.merkle import leaf_hash, root_of, verify_inclusion
from archive_service.ledger.note import Signer, Verifier
from archive_service.ledger.payloads import open_capture
from archive_service.ledger.proofs import Inclusion, prove
from archive_service.ledger.reader import LogReader, logs, owners, read_entry
from archive_service.ledger.verify.archive import ArchiveVerifier, Stores
from archive_service.ledger.verify.report import Report
from archive_service.model.canonical import parse_canonical
from archive_service.model.clock import rfc3339
from archive_service.model.mail import CaptureRecord, Finding, Source
from archive_service.settings import load
from archive_service.vault.key_layout import LogId
from ingest.identity import message_id

GOLDEN = Path(__file__).parent.parent / "golden"
SAMPLES = Path(__file__).parent.parent / "samples"
FORMATS = sorted(path.name for path in GOLDEN.glob("v*") if path.is_dir())


def tree(folder: Path) -> dict[str, str]:
    """Every file's digest, but for what a store makes for itself."""
    files = (path for path in folder.rglob("*") if path.is_file() and ".tmp" not in path.parts)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


class Golden:
    """A copy of a golden archive, and what it must say."""

    def __init__(self, name: str, folder: Path) -> None:
        self.expected: dict[str, Any] = json.loads((GOLDEN / name / "expected.json").read_text("utf-8"))
        self.original = GOLDEN / name / "archive"
        self.copy = Path(shutil.copytree(self.original, folder / name))
        self.core: Core = open_core(load(data=self.copy))

    def captures(self) -> Iterator[tuple[Tenant, str, dict[str, Any]]]:
        for tenant in self.core.tenants():
            for capture, facts in self.expected["tenants"][tenant.name]["captures"].items():
                yield tenant, capture, facts


@pytest.fixture(scope="module", params=FORMATS)
def golden(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Golden]:
    opened = Golden(request.param, tmp_path_factory.mktemp("golden"))
    yield opened
    opened.core.close()
    assert tree(opened.copy) == tree(opened.original), "reading changed the archive"


def test_there_is_a_golden_archive_of_every_format() -> None:
    assert FORMATS == ["v1"]


def test_it_is_small() -> None:
    for name in FORMATS:
        assert sum(path.stat().st_size for path in (GOLDEN / name).rglob("*")) < 1_000_000


def test_it_verifies_clean(golden: Golden) -> None:
    core = golden.core
    report = ArchiveVerifier(Stores(core.store, core.keys, core.kms, core.clock), Report()).run()
    assert [problem.line() for problem in report.problems] == []
    captures = sum(len(tenant["captures"]) for tenant in golden.expected["tenants"].values())
    assert report.tally.objects >= captures
    assert report.tally.entries == sum(head["size"] for head in golden.expected["heads"].values())


def test_every_log_has_the_size_and_root_that_it_had(golden: Golden) -> None:
    core = golden.core
    heads = {}
    for owner in owners(core.store):
        for log in logs(core.store, owner):
            lines = [entry.line for entry in LogReader(core.store, log).entries()]
            heads[str(log)] = {"size": len(lines), "root": root_of([leaf_hash(line) for line in lines]).hex()}
    assert heads == golden.expected["heads"]
    assert core.archive.owner == golden.expected["archive"]


def test_every_capture_reads_byte_for_byte(golden: Golden) -> None:
    seen = 0
    for tenant, capture, facts in golden.captures():
        log = LogId.parse(facts["log"])
        entry = read_entry(golden.core.store, log, facts["seq"])
        assert entry.fields["capture"] == capture
        opened = open_capture(golden.core.store, tenant.keyring, log, entry.fields)
        assert (len(opened.raw), hashlib.sha256(opened.raw).hexdigest()) == (facts["size"], facts["sha256"])
        record = CaptureRecord.model_validate_json(opened.record)
        assert (record.capture, record.origin) == (capture, facts["origin"])
        sample = SAMPLES / str(record.origin)
        if sample.suffix == ".eml" and sample.exists():
            assert opened.raw == sample.read_bytes()
            seen += 1
    assert seen >= 10


def test_every_message_keeps_its_id(golden: Golden) -> None:
    """From the sealed findings, and computed again from the identity key and the digest in them."""
    for tenant in golden.core.tenants():
        identity = tenant.keyring.secret("identity")
        found = {}
        for log in logs(golden.core.store, tenant.id):
            for entry in LogReader(golden.core.store, log).entries() if log.kind == "order" else ():
                if entry.type != "finding":
                    continue
                of, capture = entry.fields["of"], entry.fields["capture"]
                key = tenant.keyring.object_key(LogId.parse(of["log"]), capture)
                opened = tenant.vault.open_finding(log, entry.fields["payload"], capture, key)
                finding = Finding.model_validate(opened["finding"])
                found[capture] = finding.message
                parsed = finding.parsed
                assert message_id(identity, parsed.inner_digest, parsed.identity_version) == finding.message
                _check_inner(
                    golden, tenant, entry.fields, opened["salt"], parsed.inner_start, parsed.inner_end
                )
        assert found == golden.expected["tenants"][tenant.name]["messages"]


def _check_inner(
    golden: Golden, tenant: Tenant, fields: dict[str, Any], salt: str, start: int, end: int
) -> None:
    """The salted commitment to the inner bytes, by the formula of FORMAT.md section 5."""
    log = LogId.parse(fields["of"]["log"])
    entry = read_entry(golden.core.store, log, fields["of"]["seq"])
    inner = open_capture(golden.core.store, tenant.keyring, log, entry.fields).raw[start:end]
    hashed = b"archive-service/inner/v1\0" + bytes.fromhex(salt) + inner + len(inner).to_bytes(8, "big")
    assert hashlib.sha256(hashed).hexdigest() == fields["inner"]


def test_acts_and_looks_open(golden: Golden) -> None:
    for tenant in golden.core.tenants():
        expected = golden.expected["tenants"][tenant.name]
        assert (tenant.id, tenant.acts.refresh()) == (expected["id"], expected["acts"])
        assert [source.plain() for source in tenant.acts.sources()] == [
            Source.model_validate(source).plain() for source in expected["sources"]
        ]
        slots = golden.core.slots(tenant.id, "access", lambda _: False)
        group = GroupLog(tenant.vault, slots, "access", lambda: 0)
        records, _ = LedgerAccessLog(tenant.vault, tenant.id, group).newest(100)
        group.close()
        assert len(records) == expected["looks"]
        assert all(record.event.actor == "auditor" for record in records)


def test_every_capture_is_proven_by_the_published_verifier_keys_alone(golden: Golden) -> None:
    root = LogId(golden.expected["archive"], "root")
    for tenant, _, facts in golden.captures():
        salt = tenant.keyring.secret("root-salt")
        proof = prove(golden.core.store, root, salt, LogId.parse(facts["log"]), facts["seq"])
        for part in (proof.entry, proof.root):
            _check_inclusion(part, golden.expected["vkeys"])
        assert anchor_of(proof.salt, proof.entry.note) == proof.anchor
        assert proof.anchor in parse_canonical(proof.root.line)["anchors"]


def _check_inclusion(part: Inclusion, vkeys: dict[str, str]) -> None:
    point = Verifier([vkeys[part.log.owner]]).check(part.note, str(part.log))
    assert verify_inclusion(leaf_hash(part.line), part.index, part.size, part.path, point.root)


def test_its_signing_keys_are_those_that_were_published(golden: Golden) -> None:
    for owner, vkey in golden.expected["vkeys"].items():
        assert Signer(owner, golden.core.keyring(owner).secret("signing")).vkey == vkey


def test_locks_stand_as_the_entries_say(golden: Golden) -> None:
    for _, _, facts in golden.captures():
        entry = read_entry(golden.core.store, LogId.parse(facts["log"]), facts["seq"])
        ((_, lock),) = golden.core.store.stat(entry.fields["object"]["key"])
        assert lock.until is not None
        assert (rfc3339(lock.until), str(lock.mode)) == (
            entry.fields["lock_until"],
            entry.fields["lock_mode"],
        )
