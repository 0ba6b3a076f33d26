"""Runs a seed."""

import logging
from dataclasses import dataclass

from tests.simulation.actors import cast
from tests.simulation.checks import check
from tests.simulation.hub import Hub
from tests.simulation.stores import SeededSecrets
from tests.simulation.world import World, new_world


@dataclass(frozen=True)
class Failure:
    """A seed whose schedule broke a promise."""

    seed: int
    why: str
    erasers: int

    def line(self) -> str:
        """How to see it again."""
        erasers = f" --erasers {self.erasers}" if self.erasers != 1 else ""
        return f"python -m tests.simulation {self.seed}{erasers}    # {self.why}"


def play(seed: int, trace: list[str] | None = None, erasers: int = 1) -> World:
    """One schedule with its check at the end. Raises AssertionError."""
    logging.disable(logging.CRITICAL)
    try:
        hub = Hub(seed, trace=trace)
        world = new_world(hub)
        with SeededSecrets(hub):
            cast(world, erasers)
            hub.run()
            check(world)
        return world
    finally:
        logging.disable(logging.NOTSET)


def failure(seed: int, erasers: int = 1) -> Failure | None:
    """What is wrong with a seed: a broken promise, or an error that nobody foresaw."""
    try:
        play(seed, erasers=erasers)
    except Exception as error:
        return Failure(seed, f"{type(error).__name__}: {error}", erasers)
    return None
