"""What a compartment's acts say of mail that is moved into it: said before it is written there, so that whoever is cut
off leaves nothing that nobody knows of.

stray.take   {of: {log, seq, capture}, capture, log, ends: TIME, held, kept: [{until, since?, article}], until?, class?,
             by, at}    the capture ``of`` the tenant is written here as ``capture`` of ``log``, or is there already;
                        what it stood under there goes along (see ``Erasures``, ``Reviews``)
stray.leave  {of: {log, seq, capture}, by, at}    no copy of it belongs here: it is moved elsewhere

Said again of the same capture, it takes the place of what was said before, and a reason to keep adds to the others.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Copy:
    """A capture of the compartment. ``at``: when it was said (RFC 3339), before it was written."""

    capture: str
    log: str
    at: str


@dataclass(frozen=True)
class Stray:
    """A capture of the tenant. ``copies``: what it was written here as, or was to be, at each try; the last one counts,
    if it is there. ``ends``: until when the original may be withdrawn for it (RFC 3339); ``left``: none counts."""

    of: str
    copies: tuple[Copy, ...]
    ends: str
    left: bool = False


@dataclass
class Strays:
    """One compartment's strays as state, by the tenant's capture; see ``Erasures`` for who writes and reads it."""

    known: dict[str, Stray] = field(default_factory=dict)

    def counts(self, of: str, capture: str) -> bool:
        """Whether a capture is what a stray was last to be here."""
        known = self.known.get(of)
        return known is not None and not known.left and known.copies[-1].capture == capture

    def take(self, act: dict[str, Any], position: int) -> bool:
        """Apply an act, if it is one of these. Raises KeyError, TypeError or ValueError for a malformed one."""
        word = act["act"]
        if word == "stray.take":
            of, made = str(act["of"]["capture"]), Copy(str(act["capture"]), str(act["log"]), str(act["at"]))
            known = self.known.get(of)
            before = () if known is None else known.copies
            others = tuple(each for each in before if each.capture != made.capture)
            self.known[of] = Stray(of, (*others, made), str(act["ends"]))
        elif word == "stray.leave":
            of = str(act["of"]["capture"])
            known = self.known[of]
            self.known[of] = Stray(of, known.copies, known.ends, left=True)
        else:
            return False
        return True


def held_name(capture: str) -> str:
    """The keep that a hold has become where the capture went."""
    return f"{capture}/hold"


def kept_name(capture: str, until: str, since: str) -> str:
    """The keep that a legal minimum has become."""
    return f"{capture}/{until}/{since}"
