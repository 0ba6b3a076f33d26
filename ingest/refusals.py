"""Who was turned away, for the record: each refusal of a sender that had proven who it is, strangers as sums.

Kept in bounded memory until somebody takes it to a log; a refusal never waits for that.
"""

from collections import Counter
from dataclasses import dataclass

_SINGLES = 1000  # that wait to be taken; what comes on top is summed


@dataclass(frozen=True)
class Refusal:
    """``count`` refusals for one reason. ``tenant`` and ``source`` are None where an address or user was nobody's.
    ``peer`` is named for a sender that had logged in or shown a certificate, and then ``count`` is 1."""

    tenant: str | None
    source: str | None
    reason: str
    peer: str | None = None
    count: int = 1


class Refusals:
    """What one process has to tell. Used from one thread, its event loop's."""

    def __init__(self) -> None:
        self._singles: list[Refusal] = []
        self._sums: Counter[tuple[str | None, str | None, str]] = Counter()

    def note(
        self, tenant: str | None, source: str | None, reason: str, proven_peer: str | None = None
    ) -> None:
        """One refusal; ``proven_peer``: the address of a sender that is no stranger."""
        if proven_peer is not None and len(self._singles) < _SINGLES:
            self._singles.append(Refusal(tenant, source, reason, proven_peer))
        else:
            self._sums[tenant, source, reason] += 1

    def take_singles(self) -> list[Refusal]:
        """Those of known senders, since they were last taken."""
        taken, self._singles = self._singles, []
        return taken

    def take_sums(self) -> list[Refusal]:
        """Strangers, since they were last taken."""
        taken, self._sums = self._sums, Counter()
        return [Refusal(*key, count=count) for key, count in taken.items()]

    def put_back(self, refused: Refusal) -> None:
        """It could not be recorded: it is told with the next sums."""
        self._sums[refused.tenant, refused.source, refused.reason] += refused.count
