"""When to ask a distant service again, and for how long: jittered exponential backoff with a bound on tries and on
seconds. Each adapter says what passes, and its own bounds."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Backoff:
    """At most ``tries`` attempts; none begins later than ``total`` seconds after the first. Pauses double from
    ``first_pause`` up to ``longest_pause`` seconds, each between half and whole, so that those who failed together do
    not come back together."""

    tries: int = 6
    first_pause: float = 0.1
    longest_pause: float = 4.0
    total: float = 24.0
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = random.random
    monotonic: Callable[[], float] = time.monotonic

    def pause(self, failures: int) -> float:
        """How long to wait after so many failures in a row, for whoever never gives up. Seconds."""
        whole = min(self.first_pause * 2.0 ** min(failures - 1, 60), self.longest_pause)
        return whole * (1 + self.random()) / 2

    def repeat(self, attempt: Callable[[], _Answer], passing: type[Exception]) -> _Answer:
        """The first answer. Raises what the last attempt raised; anything but ``passing`` at once."""
        began = self.monotonic()
        pause = self.first_pause
        for left in reversed(range(self.tries)):
            try:
                return attempt()
            except passing:
                wait = pause * (1 + self.random()) / 2
                if left == 0 or self.monotonic() - began + wait > self.total:
                    raise
            self.sleep(wait)
            pause = min(2 * pause, self.longest_pause)
        raise AssertionError("a policy allows one try at least")
