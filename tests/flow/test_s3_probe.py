"""What the probes say of real services: versitygw is fit, others are refused with the reason."""

from collections.abc import Iterator
from datetime import timedelta

import boto3
import pytest
from moto.server import ThreadedMotoServer

from archive_service.model.clock import utc_now
from archive_service.vault.stores.s3.client import S3Connection
from archive_service.vault.stores.s3.probe import StoreUnfit, probe_archive, probe_keys
from tests.services.s3 import S3Service, new_bucket, s3_service

__all__ = ["s3_service"]  # a fixture


def test_s3_fit_bucket_is_reported_and_may_be_probed_again(s3_service: S3Service) -> None:
    bucket = new_bucket(s3_service)
    for _ in range(2):
        seen = dict(probe_archive(bucket))
        assert {"shortening", "deletion", "hold", "checksum", "create after a delete marker"} <= set(seen)
        assert seen["conditional create"] == "a taken name is refused"


def test_s3_bucket_without_versions_or_lock_is_refused(s3_service: S3Service) -> None:
    with pytest.raises(StoreUnfit, match=r"keeps no versions.*without Object Lock") as caught:
        probe_archive(new_bucket(s3_service, locked=False))
    assert caught.value.code == "store.unfit"


def test_s3_clock_far_from_ours_is_refused(s3_service: S3Service) -> None:
    with pytest.raises(StoreUnfit, match=r"clock"):
        probe_archive(new_bucket(s3_service), lambda: utc_now() - timedelta(minutes=6))


def test_s3_key_bucket_with_versions_is_refused(s3_service: S3Service) -> None:
    assert dict(probe_keys(new_bucket(s3_service, locked=False)))["no versions"] == "none are kept"
    with pytest.raises(StoreUnfit, match="live on"):
        probe_keys(new_bucket(s3_service))


@pytest.fixture
def moto_bucket() -> Iterator[S3Connection]:
    """A bucket with Object Lock in a real moto server."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    found = S3Connection("archive", f"http://{host}:{port}", access_key="ak", secret_key="sk")
    client = boto3.session.Session().client(
        "s3",
        endpoint_url=found.endpoint,
        region_name=found.region,
        aws_access_key_id="ak",
        aws_secret_access_key="sk",
    )
    client.create_bucket(Bucket=found.bucket, ObjectLockEnabledForBucket=True)
    client.close()
    yield found
    server.stop()


def test_moto_is_refused_because_it_shortens_a_compliance_lock(moto_bucket: S3Connection) -> None:
    with pytest.raises(StoreUnfit, match="a COMPLIANCE term was shortened"):
        probe_archive(moto_bucket)
