"""Whether a bucket keeps what the archive promises of it: tried, not believed.

An archive bucket must refuse what an attacker, or a fault of ours, would ask of it. So the probe asks: to create over
a name, to shorten and weaken a lock, to delete under lock and hold, to take a body that is not what its checksum says.
A service that grants any of it is no WORM store, whatever its documentation says. What the probe leaves under
``probe/`` is locked for a minute and removed by a later probe; nothing else looks there.
"""

import base64
import hashlib
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from archive_service.model.clock import Clock, utc_now
from archive_service.model.errors import AlreadyExists, NotFound, Refused, StoreDenied, StoreError
from archive_service.vault.stores.s3.client import S3Client, S3Connection
from archive_service.vault.stores.s3.failures import Forbidden, Passing, Unsupported, headers_of
from archive_service.vault.stores.s3.key_place import S3KeyPlace
from archive_service.vault.stores.s3.store import MARKED_WITNESS
from archive_service.vault.stores.s3.versions import group_of, groups

_FOLDER = "probe/"
_TERM = timedelta(seconds=60)  # must outlast the probe itself
_LEFT_BEHIND = timedelta(hours=1)  # younger objects may belong to a probe at work
_CLOCK_BOUND = 300.0  # seconds; design: beyond five minutes nothing is disposed
_BODY = b"archive-service probe"

Report = list[tuple[str, str]]
"""What was checked, and what was seen."""


class StoreUnfit(Refused):
    """The bucket, or the service behind it, cannot keep what is promised; the message says in what."""

    code = "store.unfit"


class _Unfit(Exception):
    """One check failed."""


def probe_archive(connection: S3Connection, clock: Clock = utc_now) -> Report:
    """Try an archive bucket. Raises StoreUnfit with every reason; StoreError when it cannot be asked."""
    client = S3Client(connection, clock=clock)
    try:
        report = _run(
            {"versioning": lambda: _versioning(client), "object lock": lambda: _object_lock(client)}
        )
        return report + _run(_ArchiveProbe(client, clock).checks())
    finally:
        client.close()


def probe_keys(connection: S3Connection, clock: Clock = utc_now) -> Report:
    """Try the bucket of a key place. Raises StoreUnfit with every reason; StoreError when it cannot be asked."""
    client, place = S3Client(connection, clock=clock), S3KeyPlace(connection, clock=clock)
    try:
        return _run(
            {
                "no versions": lambda: _no_versions(client),
                "records": lambda: _records(place),
                "clock": lambda: _clock(client),
            }
        )
    finally:
        place.close()
        client.close()


def _run(checks: dict[str, Callable[[], str]]) -> Report:
    report: Report = []
    reasons: list[str] = []
    unanswered: StoreError | None = None
    for name, check in checks.items():
        try:
            report.append((name, check()))
        except _Unfit as error:
            reasons.append(f"{name}: {error}")
        except (Passing, StoreDenied) as error:  # says nothing of what the store keeps; others may have
            unanswered = unanswered or error
        except StoreError as error:  # a plain call that a fit store does not refuse
            reasons.append(f"{name}: {error}")
    if reasons:
        raise StoreUnfit("; ".join(reasons)) from unanswered
    if unanswered is not None:
        raise unanswered
    return report


# --- the bucket itself ---------------------------------------------------------------------------------


def _versioning(client: S3Client) -> str:
    try:
        status = client.call("get_bucket_versioning", "the bucket").get("Status")
    except Unsupported as error:
        raise _Unfit("the service has no versioning of buckets") from error
    if status != "Enabled":
        raise _Unfit("the bucket keeps no versions")
    return "enabled"


def _object_lock(client: S3Client) -> str:
    try:
        answer = client.call("get_object_lock_configuration", "the bucket")
    except Unsupported as error:
        raise _Unfit("the service has no Object Lock") from error
    except NotFound as error:
        raise _Unfit("the bucket was made without Object Lock") from error
    found = answer.get("ObjectLockConfiguration", {})
    if found.get("ObjectLockEnabled") != "Enabled":
        raise _Unfit("the bucket was made without Object Lock")
    if found.get("Rule", {}).get("DefaultRetention"):
        return "enabled, with a default term: objects may be locked longer than the archive asks"
    return "enabled"


def _clock(client: S3Client) -> str:
    offset = client.clock_offset()
    if abs(offset) > _CLOCK_BOUND:
        raise _Unfit(f"the store's clock is {offset:+.0f} s from ours: five minutes are the bound")
    return f"{offset:+.1f} s from ours"


def _no_versions(client: S3Client) -> str:
    try:
        status = client.call("get_bucket_versioning", "the bucket").get("Status")
    except Unsupported:
        return "the service has no versioning"
    if status:  # suspended too: what was kept before still is
        raise _Unfit("the bucket keeps versions: an erased key would live on in one")
    return "none are kept"


def _records(place: S3KeyPlace) -> str:
    name = f"{_FOLDER}{secrets.token_hex(16)}"
    place.create(name, _BODY)
    try:
        place.create(name, b"another")
    except AlreadyExists:
        pass
    else:
        raise _Unfit("a create over an existing record is not refused")
    place.put(name, b"another")
    if place.get(name) != b"another":
        raise _Unfit("a record that was replaced is not read back")
    place.delete(name)
    try:
        place.get(name)
    except NotFound:
        return "created once, replaced, deleted"
    raise _Unfit("a deleted record is still read")


# --- locks, one after the other ------------------------------------------------------------------------


class _ArchiveProbe:
    """The checks that need objects, in order: later ones look at what earlier ones made."""

    def __init__(self, client: S3Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._folder = f"{_FOLDER}{secrets.token_hex(16)}/"
        self._locked = ""
        self._until = datetime.now(UTC)

    def checks(self) -> dict[str, Callable[[], str]]:
        """By name, in order."""
        return {
            "clock": lambda: _clock(self._client),
            "conditional create": self._conditional_create,
            "locking": self._locking,
            "shortening": self._shortening,
            "downgrade": self._downgrade,
            "deletion": self._deletion,
            "hold": self._hold,
            "checksum": self._checksum,
            "delete marker": self._marker,
            "create after a delete marker": self._create_after_marker,
            "marked names": self._witness,
            "earlier probes": self._clean,
        }

    def _put(self, name: str, body: bytes = _BODY, sha256: bytes | None = None, **lock: Any) -> str:
        """Create, as the store does; the version id."""
        checksum = base64.b64encode(sha256 or hashlib.sha256(body).digest()).decode("ascii")
        answer = self._client.once(
            "put_object",
            f"object {name}",
            Key=name,
            Body=body,
            IfNoneMatch="*",
            ChecksumAlgorithm="SHA256",  # AWS wants a lock to come with an algorithm named
            ChecksumSHA256=checksum,
            **lock,
        )
        return str(answer.get("VersionId"))

    def _refusal(self, operation: str, name: str, **parameters: Any) -> str | None:
        """How the store refuses a call; None when it did what it was asked. Raises Passing when it cannot say."""
        try:
            self._client.call(operation, f"object {name}", Key=name, **parameters)
        except Passing:
            raise
        except Forbidden:
            return "refused as forbidden: by the lock or for want of rights, the service does not say which"
        except StoreError as error:
            return f"refused ({error.code})"
        return None

    def _head(self, name: str, version: str) -> dict[str, Any]:
        return self._client.call("head_object", f"object {name}", Key=name, VersionId=version)

    @property
    def _name(self) -> str:
        return f"{self._folder}locked"

    def _conditional_create(self) -> str:
        now = self._clock() + timedelta(seconds=self._client.clock_offset())
        self._until = (now + _TERM).replace(microsecond=0)
        self._locked = self._put(
            self._name, ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=self._until
        )
        try:
            self._put(self._name, b"another")
        except AlreadyExists:
            return "a taken name is refused"
        raise _Unfit("a create over an existing name is not refused (If-None-Match is ignored)")

    def _locking(self) -> str:
        seen = self._head(self._name, self._locked)
        if seen.get("ObjectLockMode") != "COMPLIANCE" or _until(seen) < self._until:
            raise _Unfit("the lock that was asked for with the object is not on it")
        return "COMPLIANCE, with the object itself"

    def _shortening(self) -> str:
        shorter = {"Mode": "COMPLIANCE", "RetainUntilDate": self._until - _TERM / 3}
        seen = self._refusal("put_object_retention", self._name, VersionId=self._locked, Retention=shorter)
        if seen is None or _until(self._head(self._name, self._locked)) < self._until:
            raise _Unfit("a COMPLIANCE term was shortened")
        return seen

    def _downgrade(self) -> str:
        weaker = {"Mode": "GOVERNANCE", "RetainUntilDate": self._until + _TERM}
        seen = self._refusal("put_object_retention", self._name, VersionId=self._locked, Retention=weaker)
        if seen is None or self._head(self._name, self._locked).get("ObjectLockMode") != "COMPLIANCE":
            raise _Unfit("a COMPLIANCE lock was turned into GOVERNANCE")
        return seen

    def _deletion(self) -> str:
        seen = self._refusal("delete_object", self._name, VersionId=self._locked)
        self._require_there(self._name, self._locked, seen, "a locked version was deleted")
        return str(seen)

    def _hold(self) -> str:
        name = f"{self._folder}held"
        version = self._put(name, ObjectLockLegalHoldStatus="ON")
        if self._head(name, version).get("ObjectLockLegalHoldStatus") != "ON":
            raise _Unfit("the legal hold that was asked for with the object is not on it")
        seen = self._refusal("delete_object", name, VersionId=version)
        self._require_there(name, version, seen, "a version under legal hold was deleted")
        lifted = self._refusal("put_object_legal_hold", name, VersionId=version, LegalHold={"Status": "OFF"})
        if lifted is not None:
            raise _Unfit(f"a legal hold cannot be lifted: {lifted}")
        return str(seen)

    def _require_there(self, name: str, version: str, seen: str | None, reason: str) -> None:
        try:
            self._head(name, version)
        except NotFound as error:
            raise _Unfit(reason) from error
        if seen is None:
            raise _Unfit(reason)

    def _checksum(self) -> str:
        name = f"{self._folder}damaged"
        try:
            self._put(name, sha256=hashlib.sha256(b"something else").digest())
        except StoreError:
            if group_of(self._client, name).versions:
                raise _Unfit("a body that does not fit its checksum was refused and kept") from None
            return "a body that does not fit is refused"
        raise _Unfit("a body that does not fit its checksum was accepted")

    def _marker(self) -> str:
        if self._refusal("delete_object", self._name) is not None:
            return "none can be laid with these credentials"
        if not group_of(self._client, self._name).markers:
            raise _Unfit("a delete marker is not listed: what hides an object could not be found")
        self._require_there(self._name, self._locked, "", "a delete without version removed a locked object")
        return "visible in listings; the version under it is still read"

    def _create_after_marker(self) -> str:
        try:
            self._put(self._name, b"another")
        except AlreadyExists:
            return "refused"
        oldest = group_of(self._client, self._name).versions[0]
        if oldest.version != self._locked:
            raise _Unfit("the listing does not give the oldest version last")
        return "allowed: the oldest version counts"

    def _witness(self) -> str:
        """Leave a name under a marker: from it every process learns whether "not found" names markers."""
        group = group_of(self._client, MARKED_WITNESS)
        if not group.versions:
            self._put(MARKED_WITNESS)
        if not group.markers and self._refusal("delete_object", MARKED_WITNESS) is not None:
            return "not known: no marker can be laid; names that are not found are listed each time"
        if _says_marked(self._client):
            return "the service says when a marker hides a name"
        return "the service does not say when a marker hides a name: each name not found is listed"

    def _clean(self) -> str:
        """Remove what earlier probes left, as far as locks and rights allow."""
        now = self._clock() + timedelta(seconds=self._client.clock_offset())
        removed = 0
        for group in groups(self._client, _FOLDER):
            if group.key == MARKED_WITNESS:
                continue
            for left in group.versions + group.markers:
                if now - left.modified > _LEFT_BEHIND:
                    removed += self._refusal("delete_object", left.key, VersionId=left.version) is None
        return f"{removed} versions removed"


def _until(head: dict[str, Any]) -> datetime:
    found: datetime = head.get("ObjectLockRetainUntilDate", datetime.min.replace(tzinfo=UTC))
    return found


def _says_marked(client: S3Client) -> bool:
    """Whether the service says so where a delete marker hides a name."""
    seen: list[bool] = []
    try:
        client.get(
            f"object {MARKED_WITNESS}",
            MARKED_WITNESS,
            on_refusal=lambda error: seen.append("x-amz-delete-marker" in headers_of(error.response)),
        )
    except NotFound:
        return seen[-1]
    return False
