"""What a measured server is to the bench."""

from collections.abc import Callable
from dataclasses import dataclass


def _nothing() -> None:
    return


@dataclass(frozen=True)
class Target:
    """A running SMTP server. ``settle`` returns when it has no work left from the run before."""

    name: str
    port: int
    recipient: str
    durable: str  # what is on the disk when its 250 goes out
    settle: Callable[[], None] = _nothing
