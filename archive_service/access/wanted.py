"""Which entries of the access log somebody wants to see: who saw this message, what did this person see, when."""

from dataclasses import dataclass

from archive_service.access.events import AccessEvent
from archive_service.model.clock import from_rfc3339, rfc3339
from archive_service.model.errors import Invalid


@dataclass(frozen=True)
class Wanted:
    """None filters nothing. ``since`` and ``until`` (not included): as ``rfc3339`` writes times; see ``moment``.
    Raises Invalid (``input.time``) for a span that ends before it begins: "nobody looked" would be a false answer."""

    message: str | None = None
    actor: str | None = None
    action: str | None = None
    since: str | None = None
    until: str | None = None

    def __post_init__(self) -> None:
        if self.since is not None and self.until is not None and self.until < self.since:
            raise Invalid("the span ends before it begins", code="input.time")

    def __contains__(self, event: AccessEvent) -> bool:
        return (
            self.message in (None, *event.ids)
            and self.actor in (None, event.actor)
            and self.action in (None, event.action)
        )

    def within(self, time: str) -> bool:
        """Whether an entry of this time lies in the span."""
        return (self.since is None or self.since <= time) and (self.until is None or time < self.until)

    @property
    def everything(self) -> bool:
        """No filter is set."""
        return self == Wanted()

    def plain(self) -> dict[str, str]:
        """The filters that are set; JSON-ready."""
        said = {name: getattr(self, name) for name in ("message", "actor", "action", "since", "until")}
        return {name: value for name, value in said.items() if value is not None}


def moment(text: str | None) -> str | None:
    """A time that somebody gave, in RFC 3339, as it stands in entries. Raises Invalid (``input.time``)."""
    if text is None:
        return None
    try:
        return rfc3339(from_rfc3339(text))
    except ValueError as error:
        raise Invalid("a time in RFC 3339, with its offset", code="input.time") from error
