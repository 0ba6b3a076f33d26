"""An archive for one schedule, copied from one that is made once; and what its actors have been told."""

from copy import copy
from dataclasses import dataclass, field
from functools import cache

from archive_service.ledger.acts import Acts
from archive_service.ledger.appender import LedgerPolicy
from archive_service.ledger.payloads import PayloadVault
from archive_service.ledger.slots import Slots
from archive_service.ledger.write_steps import Captured, WriteSteps
from archive_service.vault.key_places import KeyStore, in_turn
from archive_service.vault.keyring import Keyring
from archive_service.vault.stores.memory import MemoryKeyPlace, MemoryStore
from tests.simulation.hub import Actor, Hub
from tests.simulation.stores import SeededSecrets, SimKms, SimPlace, SimStore

OWNER = "a1" * 10
POLICY = LedgerPolicy(settle_tries=2, pause=0.0, sleep=lambda _: None)


@dataclass
class Told:
    """What actors were promised. ``captures``: every 250, with the mail; ``bates``: every first number reserved;
    ``asked``: captures whose erasure was asked for, also where the answer was lost; ``erased``: what a finished batch
    says."""

    captures: list[tuple[Captured, bytes]] = field(default_factory=list)
    bates: list[int] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)
    refused: int = 0
    chained: int = 0
    batches: int = 0


@dataclass
class World:
    """Stores without faults (``objects``, ``places``) and what processes see of them."""

    hub: Hub
    objects: MemoryStore
    places: tuple[MemoryKeyPlace, MemoryKeyPlace]
    kms: SimKms
    told: Told = field(default_factory=Told)
    _leases: dict[str, Actor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.hub.on_wipe = self._wipe
        self.store = SimStore(self.objects, self.hub)
        one, two = self.places
        self._sim_places = SimPlace(one, self.hub, "a"), SimPlace(two, self.hub, "b")

    def _wipe(self) -> None:
        """An operator's mistake: everything of one place is gone, once."""
        self.hub.random.choice(self.places)._records.clear()

    def _together(self, calls: list[object]) -> None:
        """Side by side: which comes first is the schedule's choice."""
        if self.hub.random.random() < 0.5:
            calls = calls[::-1]
        in_turn(calls)  # type: ignore[arg-type]

    def keyring(self) -> Keyring:
        """As a new process opens it."""
        first, second = self._sim_places
        return Keyring(OWNER, KeyStore(first, second, self._together), self.kms)  # type: ignore[arg-type]

    def vault(self) -> PayloadVault:
        """With a keyring of its own."""
        return PayloadVault(self.store, self.keyring(), self.hub.clock)

    def acts(self) -> Acts:
        """As a new process replays them."""
        return Acts(self.vault(), OWNER, POLICY)

    def steps(self, actor: Actor) -> WriteSteps:
        """The write path of a new process."""
        slots = Slots(
            self.store, OWNER, "capture", self.hub.clock, lambda name: self._lease(actor, name), POLICY
        )
        return WriteSteps(self.store, self.keyring(), slots, self.hub.clock, self._together)  # type: ignore[arg-type]

    def _lease(self, actor: Actor, name: str) -> bool:
        """Polite as a rule; a lease that is stolen must do no harm."""
        holder = self._leases.get(name)
        if holder is None or holder is actor or holder.dead or self.hub.random.random() < 0.2:
            self._leases[name] = actor
            return True
        return False


@cache
def _base() -> World:
    """An archive with a tenant, made once: its keys of the first days, its first act."""
    hub = Hub(0)
    world = World(hub, MemoryStore(clock=hub.store_clock), (MemoryKeyPlace(), MemoryKeyPlace()), SimKms())
    with SeededSecrets(hub):
        keyring = world.keyring()
        for name in ("identity", "signing", "root-salt", "token"):
            keyring.make_secret(name, hub.random.randbytes(32))
        keyring.prepare(hub.clock().date())
        act = {"version": 1, "act": "owner.create", "kind": "tenant", "name": "acme", "archive": "b2" * 10}
        world.acts().append(lambda _: {**act, "vkey": "-"})
    return world


def new_world(hub: Hub) -> World:
    """A copy of the base for one schedule."""
    base = _base()
    objects = MemoryStore(clock=hub.store_clock)
    objects._objects = {
        key: [copy(version) for version in versions] for key, versions in base.objects._objects.items()
    }
    places = MemoryKeyPlace(), MemoryKeyPlace()
    for place, made in zip(places, base.places, strict=True):
        place._records = dict(made._records)
    return World(hub, objects, places, SimKms())
