"""Random histories of moves into compartments: tries that end at any write, decisions between them, time that passes.

After each step the original stands, or a copy of it does; after the followers have been there, one alone, under all
that it stood under. A seed gives the history; a failure names its steps.
"""

import os
import random
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from archive_service.compartments import adopting, sealed_actions
from archive_service.ledger.recovery import Recovery
from archive_service.ledger.recovery_marks import MemoryMarks
from archive_service.model.clock import rfc3339
from archive_service.model.errors import ArchiveError, NotFound, Refused
from archive_service.model.grounds import KeepGround
from archive_service.vault.stores.faults import Effect
from tests.flow.archive_fixtures import no_settings_around
from tests.flow.stray_world import YEARS, StrayWorld

__all__ = ["no_settings_around"]

SEEDS = range(40) if os.environ.get("ARCHIVE_TEST_FULL") else (1,)
_ANY_AGE = timedelta(days=-3650)  # the store's clock is not the world's
_STEPS = 25


@dataclass
class Original:
    """What is known of a capture of the tenant by what was done to it."""

    id: str
    kind: str
    until: str = ""
    holds: set[str] = field(default_factory=set)
    requested: bool = False


class Moves:
    """One history. ``undecided``: while it is set no hold is known to have been held against anything."""

    def __init__(self, strays: StrayWorld, seed: int) -> None:
        self.strays = strays
        self.random = random.Random(seed)
        self.homes = [strays.first, strays.made("syndicat")]
        self.known: list[Original] = []
        self.asked: list[tuple[str, Original]] = []
        self.tried: list[tuple[datetime, Original]] = []
        self.undecided = False
        self.steps: list[str] = []

    def run(self) -> None:
        for _ in range(4):
            self.take()
        self.strays.follow()
        steps = ((2, self.take), (4, self.ask), (8, self.attempt), (2, self.extend), (2, self.relabel), (2, self.hold),
                 (2, self.release), (1, self.request), (2, self.wait), (2, self.recover), (2, self.follow))  # fmt: skip
        for _ in range(_STEPS):
            step = self.random.choices([each for _, each in steps], [each for each, _ in steps])[0]
            self.steps.append(step.__name__)
            step()
            self.none_is_lost()
        self.steps.append("end")
        self.strays.later(9)
        for _ in range(2):
            self.recover()
            self.follow()

    # --- what must be so

    def moved(self, each: Original) -> bool:
        self.strays.tenant.acts.refresh()
        return self.strays.tenant.acts.erasures.withdrew(each.id)

    def copies(self, each: Original) -> list[tuple[str, str]]:
        return [(home, copy) for home in self.homes for copy in self.strays.copies(each.id, home)]

    def none_is_lost(self) -> None:
        for each in self.known:
            barred = self.strays.tenant.acts.erasures.barred(each.id)
            assert barred == (self.moved(each) or each.requested), self.told(each)
            assert not self.moved(each) or self.copies(each), self.told(each)

    def one_is_left(self) -> None:
        for each in self.known:
            left = self.copies(each)
            if not self.moved(each):
                over = self.strays.world.now >= self.over(each)
                assert not (left and (over or each.requested)), self.told(each)
                continue
            assert len(left) == 1, self.told(each)
            self.stands_as_it_stood(each, *left[0])

    def over(self, each: Original) -> datetime:
        """When nobody may withdraw the original for a copy that was written any more, and an hour."""
        stays = timedelta(days=7, hours=1)
        return max((at for at, of in self.tried if of is each), default=self.strays.world.now) + stays

    def stands_as_it_stood(self, each: Original, home: str, copy: str) -> None:
        acts = self.strays.compartment(home).acts
        keeps = acts.erasures.keeps_of(copy, self.strays.now)
        assert (KeepGround.MINIMUM in keeps) == bool(YEARS[each.kind][0]), self.told(each)
        assert (KeepGround.HOLD in keeps) == bool(each.holds), self.told(each)
        assert acts.reviews.until.get(copy, "") == each.until, self.told(each)

    def told(self, each: Original) -> str:
        return f"{each} {self.copies(each)} {self.steps}"

    # --- what is done

    def one(self) -> Original | None:
        """One that is there still, and that nobody has asked to go."""
        there = [each for each in self.known if not self.moved(each) and not each.requested]
        return self.random.choice(there) if there else None

    def take(self) -> None:
        kind = self.random.choice(["law", "plain"])
        self.known.append(Original(self.strays.take(kind), kind))
        self.strays.follow()

    def ask(self) -> None:
        each = self.one()
        if each is not None:
            approval = self.strays.asked(each.id, into=self.random.choice(self.homes))
            self.asked.append((approval, each))

    def attempt(self) -> None:
        """Whole, undecided at its end, or cut off at any write, with or without its effect."""
        if not self.asked:
            return
        approval, each = self.random.choice(self.asked)
        self.tried.append((self.strays.world.now, each))
        way = self.random.choice(["whole", "undecided", "lost", "kept", "lost"])
        self.steps[-1] += f" {way}"
        self.undecided = way == "undecided"
        if way in ("whole", "undecided"):
            with suppress(ArchiveError):
                self.strays.carry_out(approval)
            self.undecided = False
            return
        with self.strays.faults() as plan, suppress(ArchiveError):
            lost = way == "lost"
            effect, times = (Effect.LOST, None) if lost else (Effect.KEPT, 1)
            plan.fail("create", self.random.randint(1, 13), effect, times=times)
            self.strays.carry_out(approval)

    def extend(self) -> None:
        each = self.one()
        if each is not None:
            until = rfc3339(self.strays.world.now + timedelta(days=self.random.choice([100, 900])))
            reviews = self.strays.world.services.reviews
            with suppress(Refused):  # kept for longer already
                reviews.extend(
                    self.strays.world.actor(), {"captures": [each.id], "until": until}, "claim announced"
                )
                each.until = until

    def relabel(self) -> None:
        each, kind = self.one(), self.random.choice(list(YEARS))
        if each is not None:
            self.strays.decided("retention.relabel", {"captures": [each.id], "class": kind})
            each.kind = kind

    def hold(self) -> None:
        each = self.one()
        if each is None:
            return
        (matter,) = self.strays.tenant.acts.matters.known
        review = rfc3339(self.strays.world.now + timedelta(days=300))
        words = {"name": f"H{len(self.steps)}", "ground": "litige", "claim": "RG", "owner": "zoe"}
        given = {**words, "review": review, "captures": [each.id]}
        made, _ = self.strays.world.services.holds.place(self.strays.world.actor(), matter, given)
        each.holds.add(made.id)

    def release(self) -> None:
        held = [(hold, each) for each in self.known for hold in sorted(each.holds)]
        if held:
            hold, each = self.random.choice(held)
            self.strays.decided("hold.release", {"hold": hold})
            each.holds.discard(hold)

    def request(self) -> None:
        each = self.one()
        if each is not None:
            asked = {"captures": [each.id], "ground": "request", "basis": "GDPR article 17"}
            with suppress(NotFound):
                self.strays.decided("erasure.ask", asked)
                each.requested = True

    def wait(self) -> None:
        self.strays.later(self.random.choice([1, 3, 8]))

    def recover(self) -> None:
        """What was sealed and not chained comes to life."""
        for home in self.homes:
            there, policy = self.strays.compartment(home), self.strays.world.core.policy
            Recovery(there.vault, there.acts.refresh, policy, MemoryMarks(), age=_ANY_AGE).run()

    def follow(self) -> None:
        self.strays.follow()
        self.one_is_left()


@pytest.mark.parametrize("seed", SEEDS)
def test_no_history_of_moves_loses_a_stray_or_a_hold_or_leaves_two(
    tmp_path, pool, monkeypatch, no_settings_around, seed
):
    strays = StrayWorld(tmp_path / "archive", pool)
    moves = Moves(strays, seed)
    known = sealed_actions._require_holds_known

    def held_against(tenant):
        if moves.undecided:
            raise Refused("not yet", code="reseal.hold_undecided")
        known(tenant)

    monkeypatch.setattr(adopting, "_ANY_AGE", _ANY_AGE)
    monkeypatch.setattr(sealed_actions, "_require_holds_known", held_against)
    try:
        moves.run()
    finally:
        strays.close()
