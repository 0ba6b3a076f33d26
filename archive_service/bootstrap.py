"""The one place that builds back ends, and the archive's first entries."""

import base64
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from archive_service.leases import FileLeases
from archive_service.ledger.acts import Acts
from archive_service.ledger.appender import Appender, LedgerPolicy
from archive_service.ledger.note import Signer
from archive_service.ledger.payloads import PayloadVault
from archive_service.ledger.reader import logs, owners
from archive_service.ledger.slots import Slots
from archive_service.model.clock import Clock, utc_now
from archive_service.model.errors import AlreadyExists, Invalid, KeyUnavailable, NotFound, Refused
from archive_service.model.mail import Source, SourceKind
from archive_service.settings import Settings
from archive_service.vault import key_layout
from archive_service.vault.key_layout import LogId
from archive_service.vault.key_places import KeyStore
from archive_service.vault.keyring import Keyring
from archive_service.vault.kms import Kms, LocalKms
from archive_service.vault.stores.base import KeyPlace, ObjectStore
from archive_service.vault.stores.filesystem import FileSystemKeyPlace, FileSystemStore
from archive_service.vault.stores.missing import MissingKeyPlace

_STATE_KEY = "lock-state.key"


@dataclass
class Tenant:
    """One tenant's core: keys, payloads, acts. ``id`` is its owner id, opaque to users."""

    id: str
    keyring: Keyring
    vault: PayloadVault
    acts: Acts

    @property
    def name(self) -> str:
        """What ``init --tenant`` called it."""
        return self.acts.name

    @cached_property
    def signer(self) -> Signer:
        """Signs the tenant's checkpoints."""
        return Signer(self.id, self.keyring.secret("signing"))

    def token_key(self) -> bytes:
        """The token key as PEM: it signs."""
        key = load_der_private_key(self.keyring.secret("token"), None)
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def token_public_key(self) -> bytes:
        """Its public half as PEM: it checks."""
        key = load_der_private_key(self.keyring.secret("token"), None)
        return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@dataclass
class Core:
    """The stores of one archive and what stands in them."""

    settings: Settings
    store: ObjectStore
    keys: KeyStore
    kms: Kms
    leases: FileLeases
    clock: Clock = utc_now
    _tenants: dict[str, Tenant] = field(default_factory=dict)
    _others: set[str] = field(default_factory=set)

    @property
    def policy(self) -> LedgerPolicy:
        """How ledger objects are locked."""
        return LedgerPolicy(days=self.settings.ledger_lock_days)

    @property
    def data(self) -> Path:
        """The embedded archive's folder."""
        if self.settings.data is None:
            raise Invalid("no archive: give --data DIR or set ARCHIVE_DATA", code="settings.invalid")
        return self.settings.data

    def keyring(self, owner: str) -> Keyring:
        """An owner's keys."""
        return Keyring(owner, self.keys, self.kms)

    @cached_property
    def archive(self) -> Keyring:
        """The archive's own keys: those of the owner with a root log. Raises NotFound."""
        for owner in owners(self.store):
            if LogId(owner, "root") in logs(self.store, owner):
                return self.keyring(owner)
        raise NotFound("there is no archive here: run init first", code="archive.missing")

    def tenants(self) -> list[Tenant]:
        """Every tenant, new ones included."""
        for owner in owners(self.store):
            if owner not in self._tenants and owner not in self._others:
                self._look(owner)
        return list(self._tenants.values())

    def _look(self, owner: str) -> None:
        if LogId(owner, "acts") not in logs(self.store, owner):
            return
        tenant = self._tenant(owner)
        tenant.acts.refresh()
        if tenant.acts.kind == "tenant":
            self._tenants[owner] = tenant
        else:
            self._others.add(owner)

    def _tenant(self, owner: str) -> Tenant:
        keyring = self.keyring(owner)
        vault = PayloadVault(self.store, keyring, self.clock, lock_days=self.settings.ledger_lock_days)
        return Tenant(owner, keyring, vault, Acts(vault, owner, self.policy))

    def tenant(self, name: str) -> Tenant:
        """The tenant of a name. Raises NotFound."""
        for tenant in self.tenants():
            if tenant.name == name:
                return tenant
        raise NotFound("no tenant of this name", code="tenant.unknown")

    def slots(self, owner: str, kind: str, lease: Callable[[str], bool] | None = None) -> Slots:
        """Slots of a kind for this process."""
        return Slots(self.store, owner, kind, self.clock, lease or self.leases.take, self.policy)

    def projections(self, owner: str) -> Path:
        """Where an owner's catalog and index lie."""
        folder = self.data / "projections" / owner
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder

    def sweep(self) -> None:
        """Remove what writers that died a day ago or longer left half written; it was never named or acknowledged."""
        if isinstance(self.store, FileSystemStore):
            self.store.sweep_temporary(timedelta(days=1))

    def exports(self, owner: str) -> Path:
        """Where an owner's finished exports lie; disposable."""
        return self.data / "exports" / owner

    def close(self) -> None:
        """Let leases and threads go."""
        self.leases.close()
        self.keys.close()


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


def open_core(settings: Settings, *, create: bool = False, clock: Clock = utc_now) -> Core:
    """The archive of ``settings``. Raises NotFound unless it exists or ``create``; StoreError when a store cannot
    be used."""
    if settings.data is None:
        raise Invalid("no archive: give --data DIR or set ARCHIVE_DATA", code="settings.invalid")
    data = settings.data
    if not create and not (data / "ledger").is_dir():
        raise NotFound("there is no archive in this folder: run init first", code="archive.missing")
    if create:
        _make_folders(data)
    if not (data / "kms").is_dir():
        raise KeyUnavailable("the folder kms is missing: is its disk mounted?", code="key.place_missing")
    kms_place = FileSystemKeyPlace(data / "kms")
    new = not any((data / "ledger").iterdir())
    store = FileSystemStore(data, state_key=_state_key(kms_place, new=new), clock=clock)
    keys = KeyStore(_key_place(data, "keys/a"), _key_place(data, "keys/b"))
    return Core(settings, store, keys, LocalKms(kms_place), FileLeases(data / "run"), clock)


def _key_place(data: Path, name: str) -> KeyPlace:
    return FileSystemKeyPlace(data / name) if (data / name).is_dir() else MissingKeyPlace(name)


def _make_folders(data: Path) -> None:
    for name in ("", "objects", "ledger", "keys", "keys/a", "keys/b", "kms", "projections", "run", "exports"):
        try:
            (data / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise Invalid(f"the folder cannot be made: {error.strerror}", code="store.denied") from error


def _make_archive(core: Core) -> Keyring:
    """The archive's owner and its root log, unless they exist."""
    try:
        return core.archive
    except NotFound:
        keyring = core.keyring(key_layout.new_owner())
    keyring.make_secret("signing", secrets.token_bytes(32))
    keyring.make_secret("root-salt", secrets.token_bytes(32))
    keyring.prepare(core.clock().date())
    Appender(core.store, LogId(keyring.owner, "root"), core.clock, core.policy).claim()
    return keyring


def make_tenant(core: Core, name: str) -> Tenant:
    """A tenant with its keys and its first act; the archive's own keys and root log too, if it is the first.
    Durable on return. Raises Refused when the name is taken, Invalid when it is senseless."""
    if not name.strip() or len(name) > 200 or any(ord(letter) < 32 for letter in name):
        raise Invalid("a tenant's name has 1 to 200 printable characters", code="tenant.name")
    if not core.leases.take("init"):
        raise Refused("another init is under way", code="init.busy")
    archive = _make_archive(core)
    if any(tenant.name == name for tenant in core.tenants()):
        raise Refused("a tenant of this name exists", code="tenant.exists")
    keyring = core.keyring(key_layout.new_owner())
    for secret in ("identity", "signing", "root-salt"):
        keyring.make_secret(secret, secrets.token_bytes(32))
    token = ec.generate_private_key(ec.SECP256R1())
    keyring.make_secret("token", token.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))
    keyring.prepare(core.clock().date())
    tenant = core._tenant(keyring.owner)
    act = {
        "version": 1,
        "act": "owner.create",
        "kind": "tenant",
        "name": name,
        "archive": archive.owner,
        "vkey": tenant.signer.vkey,
    }
    tenant.acts.append(lambda place: act)
    return next(made for made in core.tenants() if made.id == tenant.id)


def add_source(tenant: Tenant, name: str, kind: SourceKind, domain: str) -> tuple[Source, int]:
    """A source with a new secret address, and the acts-log position that has passed it. Durable on return. Raises
    Refused when the name is taken."""
    if not name.strip() or len(name) > 200 or any(ord(letter) < 32 for letter in name):
        raise Invalid("a source's name has 1 to 200 printable characters", code="source.name")
    local = base64.b32encode(secrets.token_bytes(20)).decode("ascii").lower()
    source = Source(id="s" + secrets.token_hex(8), name=name, kind=kind, address=f"{local}@{domain}".lower())

    def act(_: object) -> dict[str, object]:
        if any(known.name == name for known in tenant.acts.sources()):
            raise Refused("a source of this name exists", code="source.exists")
        return {"version": 1, "act": "source.add", "source": source.plain()}

    return source, tenant.acts.append(act) + 1
