"""How long each system keeps what it cannot deliver, and when its silence is worth an alarm: well inside that."""

from collections.abc import Mapping
from dataclasses import dataclass

from archive_service.model.mail import Source, SourceKind


@dataclass(frozen=True)
class Window:
    """Hours. ``loss``: after these what could not be delivered is gone. A source is silent after ``silence``, or after
    what its own past shows to be usual, but never later than after ``longest``. ``slow``: so many hours with less than
    its past has. ``lag``: half of what comes was sent so long before."""

    loss: int
    silence: int
    longest: int
    slow: int = 6
    lag: int = 1


_TWO_DAYS = Window(loss=48, silence=12, longest=36)  # Exchange's MessageExpirationTimeout
_FIVE_DAYS = Window(
    loss=120, silence=24, longest=72
)  # Postfix' maximal_queue_lifetime, RFC 5321 section 4.5.4.1
WINDOWS: Mapping[SourceKind, Window] = {
    SourceKind.EXCHANGE: _TWO_DAYS,
    SourceKind.M365: _TWO_DAYS,
    SourceKind.GOOGLE: Window(loss=192, silence=24, longest=96),
    SourceKind.DOMINO: Window(loss=24, silence=8, longest=18),  # a setting there; a day is assumed
    SourceKind.ZIMBRA: _FIVE_DAYS,
    SourceKind.BLUEMIND: _FIVE_DAYS,
    SourceKind.POSTFIX: _FIVE_DAYS,
    SourceKind.GENERIC: _FIVE_DAYS,
}


def window_of(source: Source) -> Window:
    """Of the source's kind."""
    return WINDOWS[source.kind]
