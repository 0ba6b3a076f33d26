"""One place of the key store in a bucket: small records that are replaced and truly deleted.

The bucket keeps no versions: an erased key's record would live on as an older one. ``probe_keys`` refuses such.
"""

import base64
import hashlib
from collections.abc import Iterator

from archive_service.model.clock import Clock, utc_now
from archive_service.model.errors import AlreadyExists, NotFound
from archive_service.vault.stores.rules import check_key, check_prefix, is_name
from archive_service.vault.stores.s3.client import S3Client, S3Connection
from archive_service.vault.stores.s3.failures import Passing
from archive_service.vault.stores.s3.retry import RetryPolicy


class S3KeyPlace:
    """A KeyPlace in a bucket without versions. Needs s3:PutObject, GetObject, DeleteObject, ListBucket."""

    def __init__(
        self, connection: S3Connection, *, clock: Clock = utc_now, retry: RetryPolicy | None = None
    ) -> None:
        """Asks the service nothing yet. Raises StoreDenied for a connection that cannot be."""
        self._client = S3Client(connection, clock=clock, retry=retry)
        self._looking = self._client.impatient()

    def create(self, name: str, data: bytes) -> None:
        """As in KeyPlace. An attempt whose answer was lost is settled by reading: the same bytes are ours."""
        check_key(name)
        unknown = False

        def attempt() -> None:
            nonlocal unknown
            try:
                self._put(name, data, IfNoneMatch="*")
            except Passing as error:
                unknown = unknown or error.unknown
                raise
            except AlreadyExists:
                if not (unknown and self._stands(name) == data):
                    raise

        try:
            self._client.retry.run(attempt)
        except Passing:
            if not unknown:
                raise
            self._settle(name, data)

    def _settle(self, name: str, data: bytes) -> None:
        """After the last try. Raises Passing when nothing stands there, AlreadyExists when another's record does."""
        found = self._stands(name)
        if found is None:
            raise Passing(f"record {name}: not written")
        if found != data:
            raise AlreadyExists(f"record {name}: the name is taken")

    def _stands(self, name: str) -> bytes | None:
        try:
            return self._looking.get(f"record {name}", name)[0]
        except NotFound:
            return None

    def put(self, name: str, data: bytes) -> None:
        """As in KeyPlace."""
        check_key(name)
        self._client.retry.run(lambda: self._put(name, data))

    def _put(self, name: str, data: bytes, **more: str) -> None:
        checksum = base64.b64encode(hashlib.sha256(data).digest()).decode("ascii")
        self._client.put(f"record {name}", name, bytes(data), ChecksumSHA256=checksum, **more)

    def get(self, name: str) -> bytes:
        """As in KeyPlace."""
        check_key(name)
        return self._client.get(f"record {name}", name)[0]

    def list(self, prefix: str) -> Iterator[str]:
        """As in KeyPlace."""
        check_prefix(prefix)
        return self._list(prefix)

    def _list(self, prefix: str) -> Iterator[str]:
        place: dict[str, str] = {}
        while True:
            answer = self._client.call("list_objects_v2", f"folder {prefix}", Prefix=prefix, **place)
            for item in answer.get("Contents", []):
                if is_name(item["Key"]):
                    yield str(item["Key"])
            if not answer.get("IsTruncated"):
                return
            place = {"ContinuationToken": str(answer["NextContinuationToken"])}

    def delete(self, name: str) -> None:
        """As in KeyPlace: removed from the bucket. What the service's own media still hold of it is the service's;
        erasure rests on the destroyed key version, not on this."""
        check_key(name)
        try:
            self._client.call("delete_object", f"record {name}", Key=name)
        except NotFound:
            return

    def close(self) -> None:
        """Let the connections go."""
        self._client.close()
