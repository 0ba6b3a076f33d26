"""How many mails a source may hand in: a token bucket a source, in this process alone."""

from archive_service.model.mail import Source

_PERIOD = 60.0  # seconds that a rate is for


class Rates:
    """Each SMTP process counts for itself: where N share a port, a source may reach N times its rate.

    A bucket holds what a minute allows, so a sender that was quiet may send a minute's mail at once.
    """

    def __init__(self) -> None:
        self._buckets: dict[str, tuple[float, float]] = {}  # tokens, and when there were so many

    def take(self, source: Source, now: float) -> bool:
        """Whether one more mail is within the source's rate; then it is counted. ``now``: seconds of a clock that
        never goes back."""
        rate = source.guard.rate
        if rate is None:
            self._buckets.pop(source.id, None)
            return True
        tokens, since = self._buckets.get(source.id, (float(rate), now))
        tokens = min(float(rate), tokens + (now - since) * rate / _PERIOD)
        allowed = tokens >= 1
        self._buckets[source.id] = (tokens - 1 if allowed else tokens, now)
        return allowed
