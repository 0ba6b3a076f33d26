"""The one place that builds back ends, and the archive's first entries."""

import base64
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from archive_service.ledger.acts import Acts
from archive_service.ledger.appender import Appender, LedgerPolicy
from archive_service.ledger.capture_writer import WriterLimits
from archive_service.ledger.census import Census
from archive_service.ledger.note import Signer
from archive_service.ledger.payloads import PayloadVault
from archive_service.ledger.slots import Slots
from archive_service.ledger.trusted_notes import OwnerVerifiers, TrustedNotes
from archive_service.model.clock import Clock, utc_now
from archive_service.model.errors import Invalid, NotFound, Refused
from archive_service.model.mail import UNDELIVERABLE, IntakeLock, Source, SourceKind
from archive_service.places.leases import Leases
from archive_service.places.opening import Stores, open_embedded
from archive_service.places.placement import Embedded, placement
from archive_service.settings import Settings
from archive_service.vault import key_layout
from archive_service.vault.key_layout import LogId
from archive_service.vault.key_places import KeyStore
from archive_service.vault.keyring import Keyring
from archive_service.vault.kms import Kms
from archive_service.vault.stores.base import ObjectStore

if TYPE_CHECKING:
    from archive_service.engines.projection_engines import ProjectionEngines

_log = logging.getLogger(__name__)
_REPORTING = (SourceKind.EXCHANGE, SourceKind.M365)  # wrap mail into reports that can come back undelivered
_LOOK_AGAIN = 5.0  # seconds between looks for new owners and logs in a store far away: each is a listing
_LOOK_FOR_STRANGERS = 1.0
_KINDS = ("tenant", "compartment")  # whoever has mail, and everything that goes with it
_DISTANT_SEALERS = (
    2  # measured on a server on loopback: 1 to 4 are within noise, 8 is slower; two hide distance
)


@dataclass
class Tenant:
    """One tenant's, or one compartment's, core: keys, payloads, acts. ``id`` is its owner id, opaque to users."""

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
    """The stores of one archive and what stands in them. ``stores`` is None where a test brings its own."""

    settings: Settings
    store: ObjectStore
    keys: KeyStore
    kms: Kms
    leases: Leases
    clock: Clock = utc_now
    stores: Stores | None = None
    _tenants: dict[str, Tenant] = field(default_factory=dict)
    _others: set[str] = field(default_factory=set)

    @property
    def raw(self) -> ObjectStore:
        """The store as it is, whoever has written to it: what ``verify`` looks at, and what is copied."""
        return self.store.inner if isinstance(self.store, TrustedNotes) else self.store

    @property
    def policy(self) -> LedgerPolicy:
        """How ledger objects are locked."""
        return LedgerPolicy(days=self.settings.ledger_lock_days)

    @property
    def work(self) -> Path:
        """The folder of this machine for projections, exports and what processes tell each other: disposable."""
        if self.stores is None:
            raise Invalid("no archive: it has no folder here", code="settings.invalid")
        return self.stores.work

    @property
    def here(self) -> Leases:
        """Leases among those who share ``work``; ``leases`` are among all who write to the archive."""
        return self.stores.here if self.stores is not None else self.leases

    @property
    def distant(self) -> bool:
        """Whether the store is a network away."""
        return self.stores is not None and self.stores.distant

    @cached_property
    def census(self) -> Census:
        """Which owners and logs there are. A store far away is not asked for that at every look."""
        return Census(self.store, _LOOK_AGAIN if self.distant else 0.0)

    @property
    def writer_limits(self) -> WriterLimits:
        """How captures are grouped: see WriterLimits."""
        return WriterLimits(sealers=_DISTANT_SEALERS) if self.distant else WriterLimits()

    def keyring(self, owner: str) -> Keyring:
        """An owner's keys."""
        return Keyring(owner, self.keys, self.kms)

    @cached_property
    def archive(self) -> Keyring:
        """The archive's own keys: those of the owner with a root log. Raises NotFound."""
        for owner in self.census.owners(0):
            if LogId(owner, "root") in self.census.logs(owner) and self._is_ours(owner):
                return self.keyring(owner)
        raise NotFound("there is no archive here: run init first", code="archive.missing")

    def tenants(self, age: float | None = None) -> list[Tenant]:
        """Every tenant and compartment, new ones included: a few seconds after they were made in a store far away, or
        when the last look is older than ``age`` seconds."""
        for owner in self.census.owners(age):
            if owner not in self._tenants and owner not in self._others:
                self._look(owner)
        found = list(self._tenants.values())
        for tenant in found:
            above = self._tenants.get(tenant.acts.parent) if tenant.acts.parent is not None else None
            if above is not None and tenant.acts.above is None:
                tenant.acts.stand_under(above.acts)
        return found

    def _is_ours(self, owner: str) -> bool:
        """Whether the owner has keys here: a log that somebody copied into the bucket has none."""
        return any(True for _ in self.keys.list(f"{owner}/secrets/"))

    def _look(self, owner: str) -> None:
        if not self._is_ours(owner):
            _log.warning("logs of an owner without keys here are left alone: %s", owner)
            self._others.add(owner)
            return
        found = self.census.logs(owner, 0)
        if LogId(owner, "acts") not in found:
            if LogId(owner, "root") in found:  # the archive's own: it never becomes a tenant
                self._others.add(owner)
            return
        tenant = self._tenant(owner)
        tenant.acts.refresh()
        if tenant.acts.kind in _KINDS:
            self._tenants[owner] = tenant
        else:
            self._others.add(owner)

    def _tenant(self, owner: str) -> Tenant:
        keyring = self.keyring(owner)
        vault = PayloadVault(self.store, keyring, self.clock, lock_days=self.settings.ledger_lock_days)
        return Tenant(owner, keyring, vault, Acts(vault, owner, self.policy))

    def tenant(self, name: str) -> Tenant:
        """The tenant of a name. Raises NotFound."""
        for age in (None, 0):
            for tenant in self.tenants(age):
                if tenant.name == name:
                    return tenant
        raise NotFound("no tenant of this name", code="tenant.unknown")

    def tenant_of(self, owner: str) -> Tenant | None:
        """The tenant with an owner id, or None. One that is not known is looked for, but not at every call: ids come
        from strangers' tokens."""
        for age in (None, _LOOK_FOR_STRANGERS):
            for tenant in self.tenants(age):
                if tenant.id == owner:
                    return tenant
        return None

    def slots(self, owner: str, kind: str, lease: Callable[[str], bool] | None = None) -> Slots:
        """Slots of a kind for this process."""
        return Slots(self.store, owner, kind, self.clock, lease or self.leases.take, self.policy)

    @cached_property
    def engines(self) -> "ProjectionEngines":
        """What lies under catalogs and indexes. Raises Invalid, StoreError."""
        folder = self.work / "projections"
        if self.settings.catalog_url is None and self.settings.index == "tantivy":
            # Loaded by no SMTP process at all.
            from archive_service.engines.projection_engines import FolderEngines

            return FolderEngines(folder)
        # Slow to load: only who needs it does.
        from archive_service.engines.shared_engines import SharedEngines

        return SharedEngines(self.settings, folder)

    @cached_property
    def order_leases(self) -> Leases:
        """Leases among followers: where the catalog is shared, by its own server, which sees at once who has died."""
        url = self.settings.catalog_url
        if url is None:
            return self.leases
        from archive_service.engines.order_leases import OrderLeases  # slow to load: only who needs it does

        return OrderLeases(url.get_secret_value(), self.settings.slot_takeover_seconds)

    def sweep(self) -> None:
        """Remove what writers that died a day ago or longer left half written; it was never named or acknowledged."""
        if self.stores is not None:
            self.stores.sweep()

    def exports(self, owner: str) -> Path:
        """Where an owner's finished exports lie; disposable."""
        return self.work / "exports" / owner

    def close(self) -> None:
        """Let leases, threads and connections go."""
        if "order_leases" in self.__dict__ and self.order_leases is not self.leases:
            self.order_leases.close()
        if self.stores is not None:
            self.stores.close()
        else:
            self.leases.close()
            self.keys.close()


def open_core(settings: Settings, *, create: bool = False, clock: Clock = utc_now) -> Core:
    """The archive of ``settings``. Raises NotFound unless it exists or ``create``; Invalid when settings contradict
    each other, StoreError when a store cannot be used."""
    placed = placement(settings)
    if isinstance(placed, Embedded):
        stores = open_embedded(settings, placed.data, clock, create=create)
    else:
        # boto3 is slow to load: only who needs it does.
        from archive_service.places.opening_s3 import open_on_s3

        stores = open_on_s3(settings, placed, clock, create=create)
    verifiers = OwnerVerifiers(lambda owner: Keyring(owner, stores.keys, stores.kms))
    store = TrustedNotes(stores.objects, verifiers)
    return Core(settings, store, stores.keys, stores.kms, stores.leases, clock, stores)


def make_archive(core: Core) -> Keyring:
    """The archive's owner and its root log, unless they exist; durable on return."""
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
    return make_owner(core, name)


def make_owner(
    core: Core, name: str, *, kind: str = "tenant", parent: str | None = None, asked: str | None = None
) -> Tenant:
    """A tenant, or a compartment of the owner ``parent``, made under the approval ``asked``; as ``make_tenant``."""
    if not name.strip() or len(name) > 200 or any(ord(letter) < 32 for letter in name):
        raise Invalid("a tenant's name has 1 to 200 printable characters", code="tenant.name")
    if not core.leases.take("init"):
        raise Refused("another init is under way", code="init.busy")
    try:
        archive = make_archive(core)
        if any(tenant.name == name for tenant in core.tenants(0)):
            raise Refused("a tenant of this name exists", code="tenant.exists")
        tenant = _with_keys(core)
        act = {"version": 1, "act": "owner.create", "kind": kind, "name": name, "archive": archive.owner}
        bonds = {"parent": parent, "asked": asked}
        act |= {"vkey": tenant.signer.vkey} | {key: value for key, value in bonds.items() if value}
        tenant.acts.append(lambda place: act)
    finally:
        core.leases.release("init")
    return next(made for made in core.tenants(0) if made.id == tenant.id)


def _with_keys(core: Core) -> Tenant:
    """A new owner that has its secrets and its first key generation, and nothing else yet."""
    keyring = core.keyring(key_layout.new_owner())
    for secret in ("identity", "signing", "root-salt"):
        keyring.make_secret(secret, secrets.token_bytes(32))
    token = ec.generate_private_key(ec.SECP256R1())
    keyring.make_secret("token", token.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))
    keyring.prepare(core.clock().date())
    return core._tenant(keyring.owner)


def secret_local_part() -> str:
    """Of a new secret address: 160 random bits."""
    return base64.b32encode(secrets.token_bytes(20)).decode("ascii").lower()


def add_source(
    tenant: Tenant, name: str, kind: SourceKind, domain: str, intake: IntakeLock | None = None
) -> tuple[Source, int]:
    """A source with a new secret address, a second one for undeliverable reports where its kind has such, and the
    acts-log position that has passed it. ``intake``: decided here, once and for all. Durable on return. Raises Refused
    when the name is taken."""
    if not name.strip() or len(name) > 200 or any(ord(letter) < 32 for letter in name):
        raise Invalid("a source's name has 1 to 200 printable characters", code="source.name")
    source = Source(
        id="s" + secrets.token_hex(8),
        name=name,
        kind=kind,
        address=f"{secret_local_part()}@{domain}".lower(),
        undeliverable=f"{UNDELIVERABLE}{secret_local_part()}@{domain}".lower()
        if kind in _REPORTING
        else None,
        **({} if intake is None else intake.plain()),
    )

    def act(_: object) -> dict[str, object]:
        if any(known.name == name for known in tenant.acts.sources()):
            raise Refused("a source of this name exists", code="source.exists")
        return {"version": 1, "act": "source.add", "source": source.plain()}

    return source, tenant.acts.append(act) + 1
