"""Builds the stores of an archive on S3: one set of connections a process, nothing shared with another one."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

from archive_service.model.clock import Clock
from archive_service.model.errors import NotFound
from archive_service.places.leases import FileLeases, KeyPlaceLeases
from archive_service.places.machine_leases import MachineLeases, machine_name
from archive_service.places.opening import Stores, folder_place, kms_of, make_work, plain
from archive_service.places.placement import Bucket, OnS3
from archive_service.settings import Settings
from archive_service.vault.key_places import KeyStore
from archive_service.vault.stores.base import KeyPlace
from archive_service.vault.stores.s3.client import S3Connection
from archive_service.vault.stores.s3.key_place import S3KeyPlace
from archive_service.vault.stores.s3.store import S3Store

_Made = TypeVar("_Made")


def connection_to(settings: Settings, bucket: Bucket) -> S3Connection:
    """How a bucket is reached."""
    return S3Connection(
        bucket=bucket.name,
        endpoint=bucket.endpoint,
        region=bucket.region,
        access_key=bucket.access_key,
        secret_key=plain(bucket.secret_key),
        path_style=settings.s3_path_style,
        ca_bundle=settings.s3_ca_bundle,
        connections=settings.s3_connections,
        timeout=settings.s3_timeout,
    )


class _Closing:
    """What has to be closed, the last opened first."""

    def __init__(self) -> None:
        self._calls: list[Callable[[], None]] = []

    def later(self, made: _Made, close: Callable[[], None]) -> _Made:
        """Close ``made`` in its turn."""
        self._calls.append(close)
        return made

    def __call__(self) -> None:
        while self._calls:
            self._calls.pop()()


def open_on_s3(settings: Settings, placed: OnS3, clock: Clock, *, create: bool) -> Stores:
    """The stores of an archive on S3. Buckets must exist; ``create`` makes the folders of an archive that has no ledger
    yet. Raises NotFound (``archive.missing``) when there is none, unless ``create``; KeyUnavailable, StoreError."""
    closing = _Closing()
    try:
        return _open(settings, placed, clock, closing, create=create)
    except BaseException:
        closing()
        raise


def _open(settings: Settings, placed: OnS3, clock: Clock, closing: _Closing, *, create: bool) -> Stores:
    make_work(placed.work)
    store = S3Store(connection_to(settings, placed.archive), clock=clock)
    closing.later(store, store.close)
    new = next(iter(store.list("ledger/")), None) is None
    if new and not create:
        raise NotFound("there is no archive in this bucket: run init first", code="archive.missing")
    place = partial(_place, settings, closing, create=new)
    keys = KeyStore(place(placed.keys[0], "a"), place(placed.keys[1], "b"))
    closing.later(keys, keys.close)
    kms = kms_of(settings, settings.kms_folder, create=new)
    run = placed.work / "run"
    here = FileLeases(run)
    takeover = timedelta(seconds=settings.slot_takeover_seconds)
    shared = KeyPlaceLeases(keys.places[0], takeover, clock, writer=machine_name(run))
    leases = MachineLeases(here, shared)
    closing.later(leases, leases.close)
    return Stores(
        objects=store,
        keys=keys,
        kms=kms,
        leases=leases,
        here=here,
        work=placed.work,
        distant=True,
        clock_offset=store.clock_offset,
        close=closing,
    )


def _place(
    settings: Settings, closing: _Closing, where: Bucket | Path, which: str, *, create: bool
) -> KeyPlace:
    if isinstance(where, Path):
        return folder_place(where, f"key place {which}", create=create)
    place = S3KeyPlace(connection_to(settings, where))
    return closing.later(place, place.close)
