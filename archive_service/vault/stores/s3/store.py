"""The archive bucket: versioned, Object Lock on, every object created under its lock in one request.

The bucket may be written by others who hold credentials. So a name is read by the version that came first, never as
"the latest": a delete marker or a newer version laid over it changes nothing, and ``stat`` shows it.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for_all
from contextlib import ExitStack, suppress
from datetime import UTC
from typing import Any

from botocore.exceptions import ClientError

from archive_service.model.clock import Clock, utc_now
from archive_service.model.errors import AlreadyExists, Locked, NotFound
from archive_service.vault.stores.base import Lock, LockMode, NewObject, Stored
from archive_service.vault.stores.rules import (
    check_change,
    check_deletable,
    check_key,
    check_prefix,
    check_span,
    is_name,
)
from archive_service.vault.stores.s3.client import S3Client, S3Connection
from archive_service.vault.stores.s3.failures import BadRequest, Forbidden, code_of, is_marked, status_of
from archive_service.vault.stores.s3.oldest import OldestVersions
from archive_service.vault.stores.s3.retry import RetryPolicy
from archive_service.vault.stores.s3.uploads import Upload, Uploader, staged, whole_seconds
from archive_service.vault.stores.s3.versions import group_of, groups

MARKED_WITNESS = "probe/marked"
"""An object under a delete marker that the probe leaves: it shows whether a server says so where it finds nothing."""


class _Hidden(Exception):
    """The latest of a name is a delete marker, or may be one."""


class S3Store:
    """An ObjectStore in a bucket. Versions are the service's own ids; a deleted name is free again.

    Needs s3:PutObject, PutObjectRetention, PutObjectLegalHold, GetObject, GetObjectVersion, GetObjectRetention,
    GetObjectLegalHold, ListBucketVersions; who disposes also DeleteObjectVersion, who raises a GOVERNANCE lock to
    COMPLIANCE also BypassGovernanceRetention.
    """

    def __init__(
        self, connection: S3Connection, *, clock: Clock = utc_now, retry: RetryPolicy | None = None
    ) -> None:
        """Asks the service nothing yet. Raises StoreDenied for a connection that cannot be."""
        self._clock = clock
        self._client = S3Client(connection, clock=clock, retry=retry)
        self._uploader = Uploader(self._client)
        self._oldest = OldestVersions(self._client)
        self._pool = ThreadPoolExecutor(connection.connections, thread_name_prefix="s3")
        self._says_marked: bool | None = None

    # --- create ---------------------------------------------------------------------------------------

    def create(self, objects: Sequence[NewObject]) -> list[Stored]:
        """As in ObjectStore: one request an object, side by side. No request is made before all bodies are there;
        all have ended when this returns or raises."""
        for item in objects:
            check_key(item.key)
        locks = [whole_seconds(item.lock) for item in objects]
        with ExitStack() as stack:
            uploads: list[Upload] = []
            for item, lock in zip(objects, locks, strict=True):
                uploads.append(staged(item, lock))
                stack.callback(uploads[-1].close)
            return self._put_all(uploads)

    def _put_all(self, uploads: Sequence[Upload]) -> list[Stored]:
        if len(uploads) == 1:
            return [self._uploader.put(uploads[0])]
        futures = [self._pool.submit(self._uploader.put, upload) for upload in uploads]
        wait_for_all(futures)
        errors = [error for future in futures if (error := future.exception()) is not None]
        for error in errors:
            if isinstance(error, AlreadyExists):  # this alone tells the caller what stands where
                raise error
        if errors:
            raise errors[0]
        return [future.result() for future in futures]

    # --- read -----------------------------------------------------------------------------------------

    def read(self, key: str, version: str | None = None, offset: int = 0, length: int | None = None) -> bytes:
        """As in ObjectStore; beyond the end there are no bytes."""
        check_key(key)
        check_span(offset, length)
        if version is not None:
            return self._read_version(key, version, offset, length)
        version = self._oldest.known(key)
        if version is not None:
            try:
                return self._read_version(key, version, offset, length)
            except NotFound:
                self._oldest.forget(key)
        if offset or length is not None:
            return self._read_version(key, self._look(key), offset, length)
        return self._read_unknown(key)

    def _read_unknown(self, key: str) -> bytes:
        """One request where nothing stands: tails of logs ask all the time. Where something does, a listing tells
        the oldest version, mostly the one that came."""
        try:
            data, answer = self._client.get(f"object {key}", key, on_refusal=self._hidden)
        except _Hidden:
            data, answer = b"", {}
        oldest = self._look(key)
        return data if answer.get("VersionId") == oldest else self._read_version(key, oldest, 0, None)

    def _look(self, key: str) -> str:
        oldest = self._oldest.look(key)
        if oldest is None:
            raise NotFound(f"object {key}: not found")
        return oldest

    def _hidden(self, error: ClientError) -> None:
        absent = status_of(error) == 404 and code_of(error) != "NoSuchBucket"
        if absent and (is_marked(error) or not self._server_says_marked()):
            raise _Hidden

    def _server_says_marked(self) -> bool:
        """Whether "not found" without a word of a delete marker means that there is none. Services differ; the
        probe's witness tells, once a process. Without witness every name that is not found is listed too."""
        if self._says_marked is None:
            try:
                self._client.get(MARKED_WITNESS, MARKED_WITNESS, on_refusal=_raise_if_marked)
            except _Hidden:
                self._says_marked = True
            except NotFound:
                self._says_marked = False
            else:
                self._says_marked = False
        return self._says_marked

    def _read_version(self, key: str, version: str, offset: int, length: int | None) -> bytes:
        span = _range(offset, length)
        try:
            data, _ = self._client.get(f"object {key}", key, version, span, _version_refusal)
        except _BeyondEnd:
            return b""
        except BadRequest as error:
            raise NotFound(f"object {key}: no such version") from error
        return b"" if length == 0 else data

    # --- stat and list --------------------------------------------------------------------------------

    def stat(self, key: str) -> list[tuple[Stored, Lock]]:
        """As in ObjectStore: a listing, and one request a version for its lock."""
        check_key(key)
        group = group_of(self._client, key)
        found: list[tuple[Stored, Lock]] = []
        for stored in group.versions:
            try:
                found.append((stored, self._lock_of(key, stored.version)))
            except NotFound:
                continue  # deleted since the listing
        if not found:
            raise NotFound(f"object {key}: not found")
        return found + [(marker, Lock()) for marker in group.markers]

    def _lock_of(self, key: str, version: str) -> Lock:
        try:
            answer = self._client.call("head_object", f"object {key}", Key=key, VersionId=version)
        except BadRequest:
            # A HEAD has no body: a version id of another form and credentials that ran out look alike. A GET tells.
            self._read_version(key, version, 0, 1)
            raise
        if "ObjectLockMode" not in answer:  # versitygw leaves it out for a version that is not the newest
            answer = self._lock_by_itself(key, version)
        return _lock(answer)

    def _lock_by_itself(self, key: str, version: str) -> dict[str, Any]:
        """The retention state as its own two requests tell it, in the words of HEAD; what a version has none of is an
        error there."""
        answer: dict[str, Any] = {}
        with suppress(NotFound, BadRequest):
            term = self._client.call("get_object_retention", f"object {key}", Key=key, VersionId=version)
            answer["ObjectLockMode"] = term["Retention"]["Mode"]
            answer["ObjectLockRetainUntilDate"] = term["Retention"]["RetainUntilDate"]
        with suppress(NotFound, BadRequest):
            hold = self._client.call("get_object_legal_hold", f"object {key}", Key=key, VersionId=version)
            answer["ObjectLockLegalHoldStatus"] = hold["LegalHold"]["Status"]
        return answer

    def list(self, prefix: str, after: str = "") -> Iterator[Stored]:
        """As in ObjectStore. What has no archive name is not listed."""
        check_prefix(prefix)
        return self._list(prefix, after)

    def _list(self, prefix: str, after: str) -> Iterator[Stored]:
        for group in groups(self._client, prefix, after):
            if is_name(group.key):
                yield from group.versions

    # --- protect and delete ---------------------------------------------------------------------------

    def protect(self, key: str, version: str, lock: Lock) -> None:
        """As in ObjectStore. A term and a hold are two requests: after an error either may have taken effect."""
        check_key(key)
        wanted = whole_seconds(lock)
        old = self._lock_of(key, version)
        check_change(key, old, wanted)
        try:
            if wanted.until is not None and (wanted.until, wanted.mode) != (old.until, old.mode):
                self._set_term(key, version, old, wanted)
            if wanted.hold != old.hold:
                status = {"Status": "ON" if wanted.hold else "OFF"}
                self._client.call(
                    "put_object_legal_hold", f"object {key}", Key=key, VersionId=version, LegalHold=status
                )
        except Forbidden as error:
            raise Locked(f"object {key}: the store refuses to change the lock") from error

    def _set_term(self, key: str, version: str, old: Lock, wanted: Lock) -> None:
        # Services want the bypass to change a GOVERNANCE term's mode at all, though COMPLIANCE is the stricter one.
        raised = old.until is not None and (old.mode, wanted.mode) == (
            LockMode.GOVERNANCE,
            LockMode.COMPLIANCE,
        )
        bypass = {"BypassGovernanceRetention": True} if raised else {}
        term = {"Mode": str(wanted.mode), "RetainUntilDate": wanted.until}
        self._client.call(
            "put_object_retention", f"object {key}", Key=key, VersionId=version, Retention=term, **bypass
        )

    def delete(self, key: str, version: str) -> None:
        """As in ObjectStore: by version id, so that no marker is laid. AccessDenied counts as Locked."""
        check_key(key)
        lock = self._lock_of(key, version)
        check_deletable(key, lock, self._clock())
        self._oldest.forget(key)
        try:
            self._client.call("delete_object", f"object {key}", Key=key, VersionId=version)
        except Forbidden as error:
            raise Locked(f"object {key}: the store refuses to delete") from error

    # --- the connection -------------------------------------------------------------------------------

    def clock_offset(self) -> float:
        """The store's clock minus ours, in seconds, good to about one; as the last answer said. Raises StoreError."""
        return self._client.clock_offset()

    def close(self) -> None:
        """Let threads and connections go."""
        self._pool.shutdown()
        self._client.close()


class _BeyondEnd(Exception):
    """A span that begins at or after the end."""


def _version_refusal(error: ClientError) -> None:
    if code_of(error) in {"InvalidRange", "416"}:
        raise _BeyondEnd


def _raise_if_marked(error: ClientError) -> None:
    if is_marked(error):
        raise _Hidden


def _range(offset: int, length: int | None) -> str | None:
    """The Range (RFC 9110 section 14.2) of a span; the first byte where none is wanted, to learn if it exists."""
    if length is None:
        return f"bytes={offset}-" if offset else None
    return f"bytes={offset}-{offset + max(length, 1) - 1}"


def _lock(answer: dict[str, Any]) -> Lock:
    hold = answer.get("ObjectLockLegalHoldStatus") == "ON"
    until = answer.get("ObjectLockRetainUntilDate")
    if until is None:
        return Lock(hold=hold)
    return Lock(LockMode(answer["ObjectLockMode"]), until.astimezone(UTC), hold)
