"""One connection to a bucket: the boto3 client, its calls in the archive's errors, and the store's clock.

boto3 retries nothing itself: only the caller knows whether an attempt whose answer was lost may be made again, so
retries are in ``retry.py`` and their settlement in ``uploads.py``.
"""

import copy
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from archive_service.model.clock import Clock, utc_now
from archive_service.model.errors import StoreDenied
from archive_service.vault.stores.s3.direct import Direct
from archive_service.vault.stores.s3.failures import headers_of, meaning
from archive_service.vault.stores.s3.retry import RetryPolicy

_Answer = TypeVar("_Answer")
_LONGEST_CONNECT = 5.0  # seconds; an answer may take longer, a handshake not


@dataclass(frozen=True)
class S3Connection:
    """Where a bucket is and how to reach it. ``endpoint`` None: AWS. Without ``access_key`` the environment's own
    credentials are taken (instance role, profile). ``connections``: kept open at once, and as many requests at a
    time for one call; ``timeout``: seconds to wait for the store's next byte."""

    bucket: str
    endpoint: str | None = None
    region: str = "us-east-1"
    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    path_style: bool = True
    ca_bundle: Path | str | None = None
    connections: int = 32
    timeout: float = 20.0


def _session(connection: S3Connection) -> Any:
    return boto3.session.Session(
        aws_access_key_id=connection.access_key, aws_secret_access_key=connection.secret_key
    )


def _client(session: Any, connection: S3Connection) -> Any:
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": "path" if connection.path_style else "virtual"},
        # We give the SHA-256 of each body ourselves; a second checksum would cost a pass and not all stores know it.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=connection.connections,
        connect_timeout=min(_LONGEST_CONNECT, connection.timeout),
        read_timeout=connection.timeout,
        tcp_keepalive=True,
    )
    try:
        return session.client(
            "s3",
            endpoint_url=connection.endpoint,
            region_name=connection.region,
            verify=str(connection.ca_bundle) if connection.ca_bundle is not None else None,
            config=config,
        )
    except (BotoCoreError, ValueError) as error:  # an endpoint that is no URL, half a pair of credentials
        raise StoreDenied(
            f"the S3 connection cannot be made ({type(error).__name__})", code="settings.invalid"
        ) from error


class S3Client:
    """Calls to one bucket. Thread-safe. Every call raises StoreError and its subclasses, Passing where a repetition
    may help."""

    def __init__(
        self, connection: S3Connection, *, clock: Clock = utc_now, retry: RetryPolicy | None = None
    ) -> None:
        self.bucket = connection.bucket
        self.retry = retry or RetryPolicy()
        self._clock = clock
        session = _session(connection)
        self._client = _client(session, connection)
        self._direct = Direct(session, self._client, connection.bucket)
        self._offset: float | None = None

    def once(self, operation: str, subject: str, **parameters: Any) -> dict[str, Any]:
        """One attempt of a boto3 client method on the bucket. A ``Body`` of the answer is not read."""
        return self._translated(subject, lambda: self._raw(operation, parameters))

    def call(self, operation: str, subject: str, **parameters: Any) -> dict[str, Any]:
        """The same as often as the policy says: for what may be repeated without harm."""
        return self.retry.run(lambda: self.once(operation, subject, **parameters))

    def put(self, subject: str, key: str, body: bytes, **parameters: Any) -> dict[str, Any]:
        """One attempt of ``put_object`` with bytes in memory, and what locks, binds and conditions them."""
        return self._translated(subject, lambda: self._noted(lambda: self._direct.put(key, body, parameters)))

    def get(
        self,
        subject: str,
        key: str,
        version: str | None = None,
        span: str | None = None,
        on_refusal: Callable[[ClientError], None] | None = None,
    ) -> tuple[bytes, dict[str, Any]]:
        """``get_object`` with its whole body, as often as the policy says: an answer torn in the middle is asked for
        again. ``span``: a Range header; ``on_refusal`` sees the server's own error first and may raise another."""

        def attempt() -> tuple[bytes, dict[str, Any]]:
            try:
                answer = self._noted(lambda: self._direct.get(key, version, span))
            except ClientError as error:
                if on_refusal is not None:
                    on_refusal(error)
                raise
            return answer["Body"], answer

        return self.retry.run(lambda: self._translated(subject, attempt))

    def stream(
        self, subject: str, take: Callable[[Any], _Answer], **parameters: Any
    ) -> tuple[_Answer, dict[str, Any]]:
        """``get_object`` and what ``take`` makes of its body, which may be too large for memory."""

        def attempt() -> tuple[_Answer, dict[str, Any]]:
            answer = self._raw("get_object", parameters)
            with closing(answer["Body"]) as body:  # its own context manager hands out the raw stream
                return take(body), answer

        return self.retry.run(lambda: self._translated(subject, attempt))

    def impatient(self) -> "S3Client":
        """The same connection, each call tried once: for looks inside a loop of tries."""
        other = copy.copy(self)
        other.retry = replace(self.retry, tries=1)
        return other

    def _raw(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        return self._noted(lambda: dict(getattr(self._client, operation)(Bucket=self.bucket, **parameters)))

    def _noted(self, ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        try:
            answer = ask()
        except ClientError as error:
            self._note_time(error.response)
            raise
        self._note_time(answer)
        return answer

    def _translated(self, subject: str, attempt: Callable[[], _Answer]) -> _Answer:
        try:
            return attempt()
        except (BotoCoreError, ClientError) as error:
            raise meaning(error, subject) from error

    def _note_time(self, answer: dict[str, Any]) -> None:
        said = answered_at(answer)
        if said is not None:
            self._offset = said.timestamp() + 0.5 - self._clock().timestamp()  # a Date has whole seconds

    def clock_offset(self) -> float:
        """The store's clock minus ours, in seconds, good to about one: from the last answer of whatever call. Asks
        once if there was none yet. Raises StoreError."""
        if self._offset is None:
            self.call("head_bucket", "the bucket")
        return self._offset or 0.0

    def close(self) -> None:
        """Let the connections go."""
        self._client.close()


def answered_at(answer: dict[str, Any]) -> datetime | None:
    """The ``Date`` of an answer (RFC 9110 section 6.6.1), in UTC; None without one."""
    try:
        return parsedate_to_datetime(headers_of(answer).get("date", "")).astimezone(UTC)
    except ValueError:
        return None
