"""Whoever holds the bucket's root credentials can lay versions and markers over what is locked, and add strays.
``verify`` names it, and reading still gives the original. One case a row."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from archive_service.ledger.reader import checkpoint_note
from archive_service.ledger.verify.report import Problem
from archive_service.vault import key_layout
from archive_service.vault.key_layout import batch_key, checkpoint_key
from archive_service.vault.stores.s3.apart import probe_apart
from archive_service.vault.stores.s3.probe import StoreUnfit
from tests.flow.s3_world import S3World, s3_archive
from tests.services.s3 import s3_service
from tests.unit.core_world import Archive, outcome

__all__ = ["s3_archive", "s3_service"]  # fixtures

MAILS = [b"first", b"second", b"third"]
NEWER = "newer versions stand over an object"
MARKER = "a delete marker stands over an object"


class Bucket:
    """The archive's bucket as its root sees it."""

    def __init__(self, archive: Archive) -> None:
        assert isinstance(archive.world, S3World)
        self.world = archive.world
        self.s3 = archive.world.attacker
        self.name = archive.world.archive_bucket.bucket

    def oldest(self, key: str) -> str:
        return self.world.objects.stat(key)[0][0].version

    def lay_version(self, key: str) -> None:
        self.s3.put_object(Bucket=self.name, Key=key, Body=b"forged")

    def lay_marker(self, key: str) -> None:
        assert self.s3.delete_object(Bucket=self.name, Key=key)["DeleteMarker"]


@pytest.fixture
def archive(s3_archive: Archive) -> Archive:
    """Three mails, signed and anchored."""
    writer = s3_archive.writer()
    try:
        for mail in MAILS:
            future = writer.submit(s3_archive.draft(), mail)
            assert not isinstance(outcome(future), Exception)
    finally:
        writer.close()
    s3_archive.checkpointer().run_once()
    return s3_archive


def an_object(archive: Archive) -> str:
    entries = [e for e in archive.entries(archive.capture_log) if e.type == "capture"]
    return str(entries[1].fields["object"]["key"])


def a_batch(archive: Archive) -> str:
    return batch_key(archive.capture_log, 2)


def a_checkpoint(archive: Archive) -> str:
    return checkpoint_key(archive.capture_log, 0)


def named(problems: list[Problem], key: str, detail: str) -> bool:
    return any(problem.name == key and problem.detail == detail for problem in problems)


def assert_original_served(archive: Archive, note: str | None) -> None:
    """By a process that has seen nothing before."""
    fresh = archive.world.objects.__class__(archive.world.archive_bucket)  # type: ignore[attr-defined]
    try:
        assert checkpoint_note(fresh, archive.capture_log, 0) == note
        archive.world.objects, kept = fresh, archive.world.objects
        assert [opened.raw for _, opened in archive.captures()] == MAILS
        archive.world.objects = kept
    finally:
        fresh.close()


def note_of(archive: Archive) -> str | None:
    return checkpoint_note(archive.world.objects, archive.capture_log, 0)


targets = pytest.mark.parametrize(
    "target", [an_object, a_batch, a_checkpoint], ids=["object", "batch", "checkpoint"]
)
Target = Callable[[Archive], str]


@targets
def test_tamper_s3_newer_version_is_named_and_the_original_served(archive: Archive, target: Target) -> None:
    key, note = target(archive), note_of(archive)
    Bucket(archive).lay_version(key)
    assert named(archive.damage(), key, NEWER)
    assert_original_served(archive, note)


@targets
def test_tamper_s3_delete_marker_is_named_and_the_original_served(archive: Archive, target: Target) -> None:
    key, note = target(archive), note_of(archive)
    Bucket(archive).lay_marker(key)
    problems = archive.damage()
    assert named(problems, key, MARKER)
    assert not named(problems, key, NEWER)
    assert_original_served(archive, note)


@targets
def test_tamper_s3_version_over_marker_is_named_as_both(archive: Archive, target: Target) -> None:
    key, note = target(archive), note_of(archive)
    bucket = Bucket(archive)
    bucket.lay_marker(key)
    bucket.lay_version(key)
    problems = archive.damage()
    assert named(problems, key, MARKER)
    assert named(problems, key, NEWER)
    assert_original_served(archive, note)


def refused(call: Callable[[], Any]) -> None:
    with pytest.raises(ClientError) as caught:
        call()
    assert caught.value.response["Error"]["Code"] == "AccessDenied"


@targets
def test_tamper_s3_deletion_of_a_version_is_refused_by_the_service(archive: Archive, target: Target) -> None:
    key, note = target(archive), note_of(archive)
    bucket = Bucket(archive)
    version = bucket.oldest(key)
    refused(lambda: bucket.s3.delete_object(Bucket=bucket.name, Key=key, VersionId=version))
    assert archive.damage() == []
    assert_original_served(archive, note)


@targets
@pytest.mark.parametrize("mode", ["COMPLIANCE", "GOVERNANCE"])
def test_tamper_s3_shortened_lock_is_refused_by_the_service(
    archive: Archive, target: Target, mode: str
) -> None:
    key, bucket = target(archive), Bucket(archive)
    ((stored, before),) = archive.world.objects.stat(key)
    assert before.until is not None
    term = {"Mode": mode, "RetainUntilDate": before.until - timedelta(days=1)}
    refused(
        lambda: bucket.s3.put_object_retention(
            Bucket=bucket.name,
            Key=key,
            VersionId=stored.version,
            Retention=term,
            BypassGovernanceRetention=True,
        )
    )
    assert archive.world.objects.stat(key) == [(stored, before)]
    assert archive.damage() == []


@pytest.mark.parametrize("folder", ["batch/00000000000/", "checkpoint/00000000/", "tile/"])
def test_tamper_s3_unlocked_stray_in_the_ledger_is_named(archive: Archive, folder: str) -> None:
    key = f"{key_layout.log_prefix(archive.capture_log)}{folder}stray"
    note = note_of(archive)
    Bucket(archive).lay_version(key)
    assert any(problem.name == key for problem in archive.damage())
    assert_original_served(archive, note)


@pytest.mark.parametrize("lay", [Bucket.lay_version, Bucket.lay_marker])
def test_tamper_s3_the_lock_under_an_overlay_is_still_seen(
    archive: Archive, lay: Callable[[Bucket, str], None]
) -> None:
    """versitygw leaves the lock out of HEAD for a version that is not the newest."""
    bucket, key = Bucket(archive), an_object(archive)
    before = bucket.world.objects.stat(key)[0]
    lay(bucket, key)
    assert bucket.world.objects.stat(key)[0] == before
    assert before[1].until is not None
    assert not any("shorter or weaker" in problem.detail for problem in archive.damage())


def test_one_key_bucket_under_two_names_is_refused(archive: Archive) -> None:
    assert isinstance(archive.world, S3World)
    connection = archive.world.key_buckets[0]
    assert connection.endpoint is not None
    alias = replace(connection, endpoint=connection.endpoint.replace("127.0.0.1", "localhost"))
    with pytest.raises(StoreUnfit, match="same bucket"):
        probe_apart(connection, alias)
    assert probe_apart(*archive.world.key_buckets)
