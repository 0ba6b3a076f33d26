"""Making buckets that are fit. Whether a bucket is, the probes say; nothing here changes one that exists."""

from typing import Any

from archive_service.model.errors import NotFound
from archive_service.vault.stores.s3.client import S3Client, S3Connection

_NO_CONSTRAINT = "us-east-1"  # the one region that S3 wants left out of LocationConstraint


def make_archive_bucket(connection: S3Connection) -> bool:
    """A bucket with Object Lock, and with it versioning, from its first day: it cannot be had later everywhere. False
    when the bucket exists. No default term is set: each object brings its own. Raises StoreError."""
    return _make(connection, ObjectLockEnabledForBucket=True)


def make_key_bucket(connection: S3Connection) -> bool:
    """A bucket without versions, so that what is erased is gone. False when it exists. Raises StoreError."""
    return _make(connection)


def _make(connection: S3Connection, **parameters: Any) -> bool:
    client = S3Client(connection)
    try:
        client.call("head_bucket", "the bucket")
    except NotFound:
        if connection.region != _NO_CONSTRAINT:
            parameters["CreateBucketConfiguration"] = {"LocationConstraint": connection.region}
        client.once("create_bucket", "the bucket", **parameters)
        return True
    finally:
        client.close()
    return False
