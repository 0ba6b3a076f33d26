"""Who acts in a schedule: writers with their clones and successors, recovery, authors of acts, the erasure batch.
Another actor joins by a function here and a line in ``cast``."""

from copy import copy
from datetime import timedelta

from archive_service.ledger.recovery import Recovery
from archive_service.ledger.recovery_marks import MemoryMarks
from archive_service.ledger.slots import HeldSlot, Tenure
from archive_service.ledger.write_steps import Captured, CaptureDraft, SealedGroup, WriteSteps
from archive_service.model.clock import rfc3339
from archive_service.model.errors import ArchiveError
from archive_service.model.grounds import EraseGround
from archive_service.model.mail import CaptureRecord
from archive_service.vault.stores.base import Lock
from retention.erasure import Capture, ErasureBatch, ErasureParts, ask
from tests.simulation.hub import Actor
from tests.simulation.world import POLICY, World

Group = tuple[SealedGroup, list[bytes]]


def cast(world: World, erasers: int) -> None:
    """Start the actors that the seed chooses. ``erasers``: how many erasure batches run at a time where any does."""
    random = world.hub.random
    for number in range(random.choice((1, 2, 2, 3))):
        start_writer(world, f"writer{number}", random.randint(2, 4))
    for number in range(random.choice((1, 1, 2))):
        world.hub.start(f"recovery{number}", lambda: recover(world, random.randint(2, 4)))
    if random.random() < 0.3:
        for number in range(2):
            world.hub.start(f"acts{number}", lambda: reserve(world))
    if random.random() < 0.6:
        for number in range(erasers):
            world.hub.start(f"eraser{number}", lambda: erase(world, random.randint(2, 5)))


# --- writers -------------------------------------------------------------------------------------------


def start_writer(world: World, name: str, rounds: int) -> None:
    """A process with its own slot; should it be killed, its successor may start."""
    work = Writer(world, name, rounds)
    work.actor = world.hub.start(name, work.run)


class Writer:
    """Seals groups, several under way at a time, and appends them in whatever order the schedule gives."""

    def __init__(self, world: World, name: str, rounds: int) -> None:
        self.world = world
        self.name = name
        self.rounds = rounds
        self.actor = Actor(name)
        self.steps: WriteSteps | None = None
        self.under_way: list[Group] = []

    def run(self) -> None:
        try:
            if self.steps is None:
                self.steps = self.world.steps(self.actor)
            for round_ in range(self.rounds):
                self._round(self.steps)
                if self.world.hub.random.random() < 0.05:
                    self._clone(self.rounds - round_)
            self._append(self.steps, self.under_way)
        finally:
            if self.actor.dead and self.world.hub.random.random() < 0.5:
                start_writer(self.world, f"{self.name}+", 1)

    def _round(self, steps: WriteSteps) -> None:
        random = self.world.hub.random
        for _ in range(random.choice((1, 1, 2))):
            mails = [random.randbytes(12) for _ in range(random.choice((1, 1, 2)))]
            try:
                sealed = steps.seal([(self._draft(), mail) for mail in mails])
            except ArchiveError:
                self.world.told.refused += len(mails)
            else:
                self.under_way.append((sealed, mails))
        if random.random() < 0.4:
            self.world.hub.wait(random.choice((1, 12, 25)))
        random.shuffle(self.under_way)
        count = random.randint(0, len(self.under_way))
        now, self.under_way = self.under_way[:count], self.under_way[count:]
        self._append(steps, now)

    def _append(self, steps: WriteSteps, groups: list[Group]) -> None:
        if groups and self.world.hub.random.random() < 0.1:
            self.actor.storm = 4  # the network goes bad at the worst moment: create, look, create, look
        outcomes = steps.append([sealed for sealed, _ in groups])
        for (_, mails), outcome in zip(groups, outcomes, strict=True):
            if isinstance(outcome, ArchiveError):
                self.world.told.refused += len(mails)
            else:
                self.world.told.captures.extend(zip(outcome, mails, strict=True))

    def _draft(self) -> CaptureDraft:
        now = self.world.hub.clock()
        record = CaptureRecord(
            capture="", source="s1", received_at=rfc3339(now), mail_from="a@example.org", rcpt_to=("j@a",)
        )
        return CaptureDraft(record, Lock(until=now + timedelta(days=30)), acts_seen=1)

    def _clone(self, rounds: int) -> None:
        """A copy of the whole process: it believes itself the owner of the slot, with all that is under way."""
        twin = Writer(self.world, f"{self.name}'", rounds)
        assert self.steps is not None
        twin.steps = self.world.steps(self.actor)
        tenure = _copied(self.steps._held, twin.steps._held)
        for sealed, mails in self.under_way:
            claim = (
                tenure if tenure is not None and self.steps._held.is_current(sealed.tenure) else sealed.tenure
            )
            twin.under_way.append((SealedGroup(claim, sealed.generation, sealed.drafts), mails))
        twin.actor = self.world.hub.start(twin.name, twin.run)


def _copied(held: HeldSlot, into: HeldSlot) -> Tenure | None:
    if held._slot is not None:
        into._slot = copy(held._slot)
        into._slot._generation_for = into._keys.number  # its own memory of the keys, as after a fork
        if held._tenure is not None:
            into._tenure = Tenure(into._slot)
    return into._tenure


# --- the others ----------------------------------------------------------------------------------------


def recover(world: World, runs: int) -> None:
    """Looks again and again; its mark is lost now and then."""
    acts, vault, marks = world.acts(), world.vault(), MemoryMarks()
    for _ in range(runs):
        world.hub.wait(world.hub.random.choice((1, 6, 12)))
        if world.hub.random.random() < 0.3:
            marks = MemoryMarks()
        try:
            world.told.chained += Recovery(vault, acts.refresh, POLICY, marks).run().chained
        except ArchiveError:
            continue


def reserve(world: World) -> None:
    """Acts with a number that must not be given twice."""
    acts = world.acts()
    for _ in range(3):
        try:
            world.told.bates.append(acts.reserve_bates("X", 1, "e1"))
        except ArchiveError:
            continue


def erase(world: World, runs: int) -> None:
    """Has an acknowledged mail forgotten, and runs the batch until it says that it is done, or gives up."""
    random = world.hub.random
    acts = world.acts()
    for _ in range(runs):
        world.hub.wait(random.choice((1, 5, 1440)))
        known: list[Captured] = [captured for captured, _ in world.told.captures]
        if not known:
            world.hub.wait(10)
            continue
        try:
            chosen = random.choice(known)
            world.told.asked.add(chosen.capture)
            ask(acts, [Capture(chosen.log, chosen.seq, chosen.capture)], EraseGround.REQUEST, "17", "dpo")
            world.told.batches += bool(erasure_batch(world).run(today_too=random.random() < 0.7).erased)
        except ArchiveError:
            continue
        acts = world.acts()


def erasure_batch(world: World) -> ErasureBatch:
    """As a new process makes it."""
    return ErasureBatch(
        ErasureParts(
            vault=world.vault(),
            acts=world.acts(),
            kms=world.kms,
            policy=POLICY,
            passed=lambda _: True,
            rewrap=lambda: None,
            in_use=world.kms.versions,
            grace=timedelta(days=3650),
        )
    )
