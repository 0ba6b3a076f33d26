"""What an archive is made of, and building it in one folder. ``opening_s3`` builds it on S3, with the keys apart."""

import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from pydantic import SecretStr

from archive_service.model.clock import Clock
from archive_service.model.errors import AlreadyExists, Invalid, KeyUnavailable, NotFound
from archive_service.places.leases import FileLeases, Leases
from archive_service.settings import Settings
from archive_service.vault.key_places import KeyStore
from archive_service.vault.kms import Kms
from archive_service.vault.kms.opening import KmsChoice, open_kms
from archive_service.vault.stores.base import KeyPlace, ObjectStore
from archive_service.vault.stores.filesystem import FileSystemKeyPlace, FileSystemStore
from archive_service.vault.stores.missing import MissingKeyPlace

_STATE_KEY = "lock-state.key"
_IN_WORK = ("projections", "run", "exports")
_LEFTOVERS = timedelta(days=1)


@dataclass(frozen=True)
class Stores:
    """What an archive is made of, opened in this process and shared with no other: connections do not survive a fork.

    ``leases`` are those of all who write to the archive, ``here`` those of all who share the folder ``work``; embedded
    they are the same. ``distant``: the store is a network away. ``clock_offset``: seconds that the store's clock is
    ahead of ours. ``sweep`` removes what dead writers left half written on a file system. ``close`` ends it all.
    """

    objects: ObjectStore
    keys: KeyStore
    kms: Kms
    leases: Leases
    here: Leases
    work: Path
    distant: bool = False
    clock_offset: Callable[[], float] = lambda: 0.0
    sweep: Callable[[], object] = lambda: None
    close: Callable[[], None] = lambda: None


def make_folder(path: Path) -> None:
    """A folder for this user alone, unless it exists. Raises Invalid."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise Invalid(f"the folder cannot be made: {error.strerror}", code="store.denied") from error


def make_work(work: Path) -> None:
    """What is disposable: it is made anew whenever it is missing. Raises Invalid."""
    for name in ("", *_IN_WORK):
        make_folder(work / name)


def folder_place(path: Path, name: str, *, create: bool = False) -> KeyPlace:
    """A key place in a folder, or one that takes nothing when the folder is missing. ``name`` is shown instead of
    the path."""
    if create:
        make_folder(path)
    return FileSystemKeyPlace(path) if path.is_dir() else MissingKeyPlace(name)


def kms_of(settings: Settings, folder: Path | None, *, create: bool) -> Kms:
    """The key service of the settings; ``folder`` is that of local-file. Raises KeyUnavailable when it is missing."""
    place: KeyPlace | None = None
    if settings.kms == "local-file" and folder is not None:
        place = kms_place(folder, create=create)
    return open_kms(
        KmsChoice(
            provider=settings.kms,
            place=place,
            pkcs11_module=_text(settings.pkcs11_module),
            pkcs11_token=settings.pkcs11_token,
            pkcs11_pin=plain(settings.pkcs11_pin),
            pkcs11_label=settings.pkcs11_label,
            vault_address=settings.vault_address,
            vault_token=plain(settings.vault_token),
            vault_mount=settings.vault_mount,
            vault_key=settings.vault_key,
            vault_namespace=settings.vault_namespace,
            vault_ca_bundle=_text(settings.vault_ca_bundle),
        ),
        create=create,
    )


def kms_place(folder: Path, *, create: bool) -> FileSystemKeyPlace:
    """The folder of key versions. Raises KeyUnavailable when it is not there: another one would open nothing."""
    if create:
        make_folder(folder)
    if not folder.is_dir():
        raise KeyUnavailable(
            "the key service's folder is missing: is its disk mounted?", code="key.place_missing"
        )
    return FileSystemKeyPlace(folder)


def plain(secret: SecretStr | None) -> str | None:
    """A secret's value, to be handed to a client and never shown."""
    return secret.get_secret_value() if secret is not None else None


def _text(path: Path | None) -> str | None:
    return str(path) if path is not None else None


def open_package(folder: Path, state_key: bytes, clock: Clock) -> tuple[ObjectStore, KeyStore]:
    """The stores of a handover package in a folder, which is made: what a departing tenant takes along. Its one key
    place stands for both. Raises StoreError."""
    place = FileSystemKeyPlace(folder / "keys")
    return FileSystemStore(folder / "store", state_key=state_key, clock=clock), KeyStore(place, place)


def open_embedded(settings: Settings, data: Path, clock: Clock, *, create: bool) -> Stores:
    """The stores of an archive in a folder; ``create`` makes it. Raises NotFound (``archive.missing``), KeyUnavailable
    when the key service's folder is not there, Invalid when a folder cannot be made."""
    if not create and not (data / "ledger").is_dir():
        raise NotFound("there is no archive in this folder: run init first", code="archive.missing")
    if create:
        for name in ("", "objects", "ledger"):
            make_folder(data / name)
        make_work(data)
    new = not any(
        (data / "ledger").iterdir()
    )  # only then are keys made: another disk may just not be mounted
    kms_folder = settings.kms_folder or data / "kms"
    state = kms_place(kms_folder, create=new)
    store = FileSystemStore(data, state_key=_state_key(state, new=new), clock=clock)
    first, second = (folder_place(data / name, name, create=new) for name in ("keys/a", "keys/b"))
    keys = KeyStore(first, second)
    leases = FileLeases(data / "run")

    def close() -> None:
        leases.close()
        keys.close()

    return Stores(
        objects=store,
        keys=keys,
        kms=kms_of(settings, kms_folder, create=new),
        leases=leases,
        here=leases,
        work=data,
        sweep=lambda: store.sweep_temporary(_LEFTOVERS),
        close=close,
    )


def _state_key(place: FileSystemKeyPlace, *, new: bool) -> bytes:
    """The key that authenticates retention state beside objects; it lies with the key service. Made for a ``new``
    archive only: another one would make every lock look edited. Raises KeyUnavailable."""
    if new:
        with suppress(AlreadyExists):
            place.create(_STATE_KEY, secrets.token_hex(32).encode("ascii"))
    try:
        return bytes.fromhex(place.get(_STATE_KEY).decode("ascii"))
    except NotFound as error:
        raise KeyUnavailable(f"{_STATE_KEY} is not in the key service") from error
    except ValueError as error:
        raise KeyUnavailable(f"{_STATE_KEY} is damaged in the key service") from error
