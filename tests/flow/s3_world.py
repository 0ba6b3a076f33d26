"""The world of the core's tests over a real S3 service: each store behind a proxy of its own that can lose requests
and answers."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest

from archive_service.vault.key_places import KeyStore
from archive_service.vault.kms import LocalKms
from archive_service.vault.stores.s3.client import S3Connection
from archive_service.vault.stores.s3.key_place import S3KeyPlace
from archive_service.vault.stores.s3.store import MARKED_WITNESS, S3Store
from tests.services.fault_proxy import FaultProxy
from tests.services.s3 import AT_ONCE, S3Service, admin, connection, new_bucket
from tests.unit.core_world import Archive, TestClock, World


class S3World(World):
    """``objects`` goes to the service directly; ``store`` and ``keys`` through ``wires`` (store, a, b)."""

    def __init__(self, service: S3Service) -> None:
        self.service = service
        self.stack = ExitStack()
        super().__init__(clock=TestClock())
        self.clock.now = datetime.now(UTC)  # locks end by the service's own clock

    def __post_init__(self) -> None:
        self.archive_bucket = new_bucket(self.service)
        buckets = [self.archive_bucket, *(new_bucket(self.service, locked=False) for _ in "ab")]
        self.key_buckets = buckets[1:]
        lay_witness(self.attacker, self.archive_bucket.bucket)
        self.wires = {name: self._wire() for name in ("store", "a", "b")}
        archive, first, second = (
            connection(self.service, bucket.bucket, url=wire.url)
            for bucket, wire in zip(buckets, self.wires.values(), strict=True)
        )
        self.objects = self._store(self.archive_bucket)  # type: ignore[assignment]
        self.store = self._store(archive)  # type: ignore[assignment]
        self.keys = KeyStore(self._place(first), self._place(second))
        self.kms = LocalKms(self.kms_place)

    def _wire(self) -> FaultProxy:
        proxy = FaultProxy(self.service.url)
        self.stack.callback(proxy.close)
        return proxy

    def _store(self, where: S3Connection) -> S3Store:
        store = S3Store(where, clock=self.clock, retry=AT_ONCE)
        self.stack.callback(store.close)
        return store

    def _place(self, where: S3Connection) -> S3KeyPlace:
        place = S3KeyPlace(where, retry=AT_ONCE)
        self.stack.callback(place.close)
        return place

    @property
    def attacker(self) -> Any:
        """A client with the bucket's root credentials."""
        return admin(self.service)

    def heal(self) -> None:
        """No more faults."""
        for wire in self.wires.values():
            wire.heal()

    def close(self) -> None:
        """Let threads and servers end."""
        super().close()
        self.stack.close()


def lay_witness(s3: Any, bucket: str) -> None:
    """What the probe leaves in a bucket: with it a name that is not found costs one request."""
    s3.put_object(Bucket=bucket, Key=MARKED_WITNESS, Body=b"")
    s3.delete_object(Bucket=bucket, Key=MARKED_WITNESS)


@pytest.fixture
def s3_archive(s3_service: S3Service) -> Iterator[Archive]:
    """An archive with one tenant over the service."""
    made = Archive(S3World(s3_service))
    yield made
    made.world.close()
