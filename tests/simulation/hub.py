"""One schedule: actors as greenlets, a seed that says who goes on at every store call and what becomes of the call, and
a clock that only the schedule moves. No threads, no sleeps: the same seed gives the same schedule.

Whatever an actor does between two store calls is its own affair, so a switch before every call is every interleaving
there is.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, TypeVar

from greenlet import getcurrent, greenlet

from archive_service.model.errors import ArchiveError, StoreError

_Answer = TypeVar("_Answer")
_START = datetime(2026, 3, 1, 12, tzinfo=UTC)
_MOST_STEPS = 20_000  # far above what any schedule needs: an actor that never ends is a failure too


class Killed(BaseException):
    """``kill -9``: nothing of the actor's own runs any more."""


class Endless(AssertionError):
    """A schedule that does not end."""


@dataclass(frozen=True)
class Rates:
    """How often a call meets a fault, and how often the world moves."""

    lost: float = 0.0
    kept: float = 0.0
    late: float = 0.0
    kill: float = 0.0
    freeze: float = 0.0
    jump: float = 0.0
    skew: float = 0.0
    storm: float = 0.0
    wipe: bool = False

    @staticmethod
    def drawn(random: Random) -> "Rates":
        """Some schedules are calm, some rough, some rough in one way."""
        level = random.choice((0.0, 0.004, 0.012, 0.03))

        def some(most: float) -> float:
            return most * random.choice((0.0, 0.5, 1.0))

        return Rates(
            lost=some(level),
            kept=some(level),
            late=some(level * 2),
            kill=some(level / 3),
            freeze=some(0.02),
            jump=some(0.03),
            skew=some(0.005),
            storm=some(0.01),
            wipe=random.random() < 0.3,
        )


@dataclass
class Actor:
    """A process. ``skew``: how far its clock is off; ``until``: frozen to then; ``storm``: calls for which its
    network is bad."""

    name: str
    thread: "greenlet | None" = None
    skew: timedelta = timedelta(0)
    until: datetime | None = None
    storm: int = 0
    dead: bool = False


@dataclass
class Hub:
    """The world's order of events. ``on_wipe`` is called once, at a moment of the schedule's choice."""

    seed: int
    random: Random = field(init=False)
    rates: Rates = field(init=False)
    now: datetime = _START
    actors: list[Actor] = field(default_factory=list)
    trace: list[str] | None = None
    on_wipe: Callable[[], None] | None = None
    _late: list[tuple[str, Callable[[], Any]]] = field(default_factory=list)
    _running: Actor | None = None

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.rates = Rates.drawn(self.random)

    # --- for the world --------------------------------------------------------------------------------

    def clock(self) -> datetime:
        """The time as the running actor has it; the store's own where nobody runs."""
        return self.now + self._running.skew if self._running is not None else self.now

    def store_clock(self) -> datetime:
        """The time as the stores have it."""
        return self.now

    def start(self, name: str, work: Callable[[], None]) -> Actor:
        """A new actor, which may be started by another one."""
        actor = Actor(name)
        actor.thread = greenlet(
            self._guarded(actor, work), getcurrent() if self._running is None else self._main
        )
        self.actors.append(actor)
        return actor

    def _guarded(self, actor: Actor, work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                work()
            except Killed:
                self._say(f"{actor.name} is dead")
            finally:
                actor.dead = True

        return run

    def _say(self, what: str) -> None:
        if self.trace is not None:
            self.trace.append(f"{self.now:%d %H:%M:%S} {what}")

    # --- for the stores -------------------------------------------------------------------------------

    def call(
        self,
        what: str,
        work: Callable[[], _Answer],
        *,
        changes: bool,
        half: "Callable[[], object] | None" = None,
    ) -> _Answer:
        """A store call: others go on first, then it happens, or what the schedule wants instead. ``half``: what is done
        of it when it breaks off in the middle."""
        actor = self._running
        if actor is None:
            return work()
        self._main.switch()
        if actor.dead:
            raise Killed
        fate = self._fate(actor, changes=changes)
        self._say(f"{actor.name}: {what}{' ' + fate if fate else ''}")
        if fate == "":
            return work()
        if fate in {"kept", "killed after"}:
            self._done(work)
        elif fate == "half" and half is not None:
            self._done(half)
        elif fate == "late":
            self._late.append((what, work))
        if fate.startswith("killed"):
            actor.dead = True
            raise Killed
        raise StoreError(f"a planned fault: {fate}")

    def _fate(self, actor: Actor, *, changes: bool) -> str:
        if actor.storm:
            actor.storm -= 1
            if self.random.random() < 0.7:
                return self.random.choice(("lost", "kept", "late", "half")) if changes else "lost"
        elif self.random.random() < self.rates.storm:
            actor.storm = self.random.choice((3, 6, 12))
        draw, rates = self.random.random(), self.rates
        names = ("lost", "kept", "late", "kill")
        for name in names:
            draw -= getattr(rates, name)
            if draw < 0:
                break
        else:
            return ""
        if not changes:
            return "lost" if name != "kill" else "killed before"
        if name == "kill":
            return self.random.choice(("killed before", "killed after"))
        if name == "lost" and self.random.random() < 0.3:
            return "half"
        return name

    @staticmethod
    def _done(work: Callable[[], object]) -> None:
        try:
            work()
        except ArchiveError:
            return  # whoever asked hears a failure either way

    def wait(self, minutes: int) -> None:
        """The running actor has nothing to do for a while."""
        actor = self._running
        assert actor is not None
        actor.until = self.now + timedelta(minutes=minutes)
        self._main.switch()
        if actor.dead:
            raise Killed

    # --- the schedule ---------------------------------------------------------------------------------

    def run(self) -> None:
        """To the end of every actor; then what is still under way arrives."""
        self._main = getcurrent()
        wipe_at = self.random.randrange(20, 600) if self.rates.wipe else -1
        for step in range(_MOST_STEPS):
            if step == wipe_at and self.on_wipe is not None:
                self._say("a key place is wiped")
                self.on_wipe()
            self._move()
            living = [actor for actor in self.actors if not actor.dead]
            if not living:
                break
            self._one(living)
        else:
            raise Endless("a schedule that does not end")
        while self._late:
            self._arrive()

    def _one(self, living: list[Actor]) -> None:
        if self._late and self.random.random() < 0.05:
            self._arrive()
            return
        awake = [actor for actor in living if actor.until is None or actor.until <= self.now]
        if not awake:
            self.now = min(actor.until for actor in living if actor.until is not None)
            return
        actor = awake[int(self.random.random() * len(awake))]
        actor.until = None
        if self.random.random() < self.rates.freeze:
            actor.until = self.now + timedelta(minutes=self.random.choice((1, 11, 30, 1500)))
            self._say(f"{actor.name} freezes")
            return
        self._running = actor
        thread = actor.thread
        assert thread is not None
        try:
            thread.switch()
        finally:
            self._running = None

    def _arrive(self) -> None:
        what, work = self._late.pop(int(self.random.random() * len(self._late)))
        self._say(f"late: {what}")
        self._done(work)

    def _move(self) -> None:
        random, rates = self.random, self.rates
        self.now += timedelta(milliseconds=int(random.random() * 400))
        if random.random() < rates.jump:
            self.now += timedelta(minutes=random.choice((2, 11, 11, 45, 1440)))
        if random.random() < rates.skew and self.actors:
            actor = random.choice(self.actors)
            actor.skew = timedelta(minutes=random.choice((-2880, -45, -1, 0, 1, 45, 1440)))
            self._say(f"{actor.name}'s clock is off by {actor.skew}")
