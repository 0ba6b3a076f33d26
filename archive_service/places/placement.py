"""Where an archive lies, as its settings say: embedded in one folder, or on S3 with its keys apart. What is missing or
contradicts itself is named here, before anything is opened; values that may be secret are never shown."""

import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from archive_service.model.errors import Invalid
from archive_service.settings import Settings

_BUCKET = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/?")
_ONLY_APART = ("work", "s3_bucket", "keys_a", "keys_b")  # an embedded archive has all of these in its folder
_KMS_NEEDS = {
    "local-file": ("kms_folder",),
    "pkcs11": ("pkcs11_module", "pkcs11_token", "pkcs11_pin"),
    "vault": ("vault_address", "vault_token"),
}


@dataclass(frozen=True)
class Bucket:
    """One bucket and who may use it. Without an access key the environment's own credentials are used."""

    name: str
    endpoint: str | None
    region: str
    access_key: str | None
    secret_key: SecretStr | None

    def same_as(self, other: "Bucket | Path") -> bool:
        """Whether both are one bucket, whoever uses it."""
        return isinstance(other, Bucket) and (self.name, _host(self)) == (other.name, _host(other))


@dataclass(frozen=True)
class Embedded:
    """All in one folder."""

    data: Path


@dataclass(frozen=True)
class OnS3:
    """The archive in a bucket, its keys in two places apart, ``work`` on this machine alone: disposable."""

    archive: Bucket
    keys: tuple[Bucket | Path, Bucket | Path]
    work: Path


def placement(settings: Settings) -> Embedded | OnS3:
    """Raises Invalid (``settings.invalid``) naming what is missing, or what contradicts what."""
    if settings.data is not None:
        return _embedded(settings, settings.data)
    if settings.store != "s3":
        raise _invalid(
            "no archive: give --data DIR or set ARCHIVE_DATA, or set ARCHIVE_STORE=s3 and what it needs"
        )
    return _on_s3(settings)


def _invalid(reason: str) -> Invalid:
    return Invalid(reason, code="settings.invalid")


def _variables(names: list[str]) -> str:
    return ", ".join(f"ARCHIVE_{name.upper()}" for name in names)


def _embedded(settings: Settings, data: Path) -> Embedded:
    if settings.store == "s3":
        raise _invalid(
            "--data (or ARCHIVE_DATA) and ARCHIVE_STORE=s3 contradict each other: an embedded archive lies in its "
            "folder whole; leave one of them out"
        )
    apart = [name for name in _ONLY_APART if getattr(settings, name) is not None]
    if apart:
        raise _invalid(
            f"--data (or ARCHIVE_DATA) and {_variables(apart)} contradict each other: an embedded archive has its "
            "objects, keys and projections in its folder"
        )
    _require(settings, [name for name in _KMS_NEEDS[settings.kms] if name != "kms_folder"], settings.kms)
    return Embedded(data)


def _require(settings: Settings, names: list[str], what: str) -> None:
    missing = [name for name in names if getattr(settings, name) is None]
    if missing:
        raise _invalid(f"{what} needs {_variables(missing)}")


def _on_s3(settings: Settings) -> OnS3:
    needed = ["s3_bucket", "keys_a", "keys_b", "work", *_KMS_NEEDS[settings.kms]]
    _require(settings, needed, "an archive on S3")
    assert settings.work is not None
    archive = _bucket(settings, str(settings.s3_bucket), "s3")
    keys = (_key_place(settings, "keys_a"), _key_place(settings, "keys_b"))
    _refuse_same(archive, keys)
    if settings.kms == "local-file" and settings.kms_folder is not None:
        beside = [
            place for place in keys if isinstance(place, Path) and _same_folder(place, settings.kms_folder)
        ]
        if beside:
            raise _invalid("ARCHIVE_KMS_FOLDER is also a key place: who reads it would read the archive")
    return OnS3(archive, keys, settings.work)


def _key_place(settings: Settings, which: str) -> Bucket | Path:
    text = str(getattr(settings, which))
    if not text.startswith("s3:"):
        return Path(text)
    named = _BUCKET.fullmatch(text)
    if named is None:
        raise _invalid(f"{_variables([which])} must be s3://BUCKET, without a path, or a folder")
    return _bucket(settings, named[1], which)


def _bucket(settings: Settings, name: str, which: str) -> Bucket:
    """A bucket with the settings called ``which_...``, and those of the archive bucket where they are not set. A key
    place with another endpoint does not inherit credentials: they would be shown to another service."""
    own = {
        part: getattr(settings, f"{which}_{part}")
        for part in ("endpoint", "region", "access_key", "secret_key")
    }
    if (own["access_key"] is None) != (own["secret_key"] is None):
        part = "access_key" if own["access_key"] is None else "secret_key"
        raise _invalid(
            f"{_variables([f'{which}_{part}'])} is missing: an access key and its secret go together"
        )
    endpoint, region = own["endpoint"] or settings.s3_endpoint, own["region"] or settings.s3_region
    elsewhere = endpoint != settings.s3_endpoint
    if own["access_key"] is None and not elsewhere:
        return Bucket(name, endpoint, region, settings.s3_access_key, settings.s3_secret_key)
    return Bucket(name, endpoint, region, own["access_key"], own["secret_key"])


def _refuse_same(archive: Bucket, keys: tuple[Bucket | Path, Bucket | Path]) -> None:
    first, second = keys
    same = first.same_as(second) if isinstance(first, Bucket) else _same_folder(first, second)
    if same:
        raise _invalid("ARCHIVE_KEYS_A and ARCHIVE_KEYS_B are one place: two independent ones are needed")
    for name, place in zip(("ARCHIVE_KEYS_A", "ARCHIVE_KEYS_B"), keys, strict=True):
        if archive.same_as(place):
            raise _invalid(f"{name} is the archive bucket itself: its records could never be erased")


def _same_folder(one: Path, other: "Bucket | Path") -> bool:
    return isinstance(other, Path) and one.resolve() == other.resolve()


def _host(bucket: Bucket) -> str:
    return (bucket.endpoint or "").rstrip("/").lower()
