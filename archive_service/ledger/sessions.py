"""What the acts say of browsers' sessions: those that were signed out before their end.

session.end  {session: SHA-256 of its id, hex, by, ends, at}      no machine opens its cookie any more
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any

_MOST = 10_000  # of those that are over anyway, before they are forgotten


def digest_of(session: str) -> str:
    """How the acts name a session: its id alone would not open it, and is not written down all the same."""
    return hashlib.sha256(f"archive-service/session/v1\0{session}".encode()).hexdigest()


@dataclass
class Sessions:
    """One owner's sessions as state; see ``Erasures`` for who writes and reads it."""

    ended: dict[str, str] = field(default_factory=dict)
    """By digest, when each would have ended by itself (RFC 3339)."""

    def over(self, session: str) -> bool:
        """Whether it was signed out."""
        return digest_of(session) in self.ended

    def take(self, act: dict[str, Any], position: int) -> bool:
        """Apply an act, if it is one of these. Raises KeyError, TypeError or ValueError for a malformed one."""
        if act["act"] != "session.end":
            return False
        self.ended[str(act["session"])] = str(act["ends"])
        if len(self.ended) > _MOST:
            now = str(act["at"])
            self.ended = {name: ends for name, ends in self.ended.items() if ends > now}
        return True
