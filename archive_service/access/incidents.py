"""A suspected breach: stop what cannot be undone, at once, and say who saw what since when (GDPR articles 33, 34)."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from archive_service.access.events import AccessLog, AccessRecord, Actor
from archive_service.catalog.base import Catalog
from archive_service.ledger.acts import Acts
from archive_service.ledger.incidents import Incident
from archive_service.model.clock import Clock, from_rfc3339, rfc3339
from archive_service.model.errors import Invalid, NotFound, Refused
from archive_service.model.reasons import require_reason

_PAGE = 1000  # entries read at once
_MOST = 1_000_000  # entries looked through for one report
_LOOKUP = 500  # messages looked up at once
_WITH_CAPTURE = frozenset({"message.raw", "capture.raw"})  # their second id is the capture's
_SEEN = ("search", "message.", "capture.", "export.")  # actions that show mail, or that it is there


@dataclass
class _Looks:
    """What one person did since."""

    entries: int = 0
    refused: int = 0
    first: str = ""
    last: str = ""
    origins: set[str] = field(default_factory=set)
    messages: set[str] = field(default_factory=set)
    actions: dict[str, int] = field(default_factory=dict)

    def add(self, record: AccessRecord) -> None:
        """Entries come newest first."""
        event = record.event
        self.entries += 1
        self.first, self.last = record.time, self.last or record.time
        self.actions[event.action] = self.actions.get(event.action, 0) + 1
        if event.origin:
            self.origins.add(event.origin)
        if event.outcome == "refused":
            self.refused += 1
        elif event.action.startswith(_SEEN):
            self.messages.update(event.ids[:1] if event.action in _WITH_CAPTURE else event.ids)


class IncidentDesk:
    """One tenant's incidents. Thread-safe as the acts are."""

    def __init__(self, acts: Acts, log: AccessLog, catalog: Catalog, clock: Clock) -> None:
        self._acts = acts
        self._log = log
        self._catalog = catalog
        self._clock = clock

    def open(self, actor: Actor, reason: str, since: str | None) -> Incident:
        """From now on nothing is exported, no key is destroyed, and every token issued before is void; durable on
        return. One person is enough: it stops things. Raises Invalid, Refused (``incident.open``)."""
        now = rfc3339(self._clock())
        begins = _since(since, now)
        require_reason(reason)

        def act(_: object) -> dict[str, Any]:
            if self._acts.incidents.open:
                raise Refused("an incident is open", code="incident.open")
            fields = {"reason": reason, "by": actor.subject, "at": now, "since": begins}
            return {"version": 1, "act": "incident.open", "incident": "i" + secrets.token_hex(8), **fields}

        self._acts.append(act)
        return self.all()[-1]

    def all(self) -> list[Incident]:
        """Every incident, by the acts at their head."""
        self._acts.refresh()
        return list(self._acts.incidents.known.values())

    def get(self, incident: str) -> Incident:
        """Raises NotFound."""
        self._acts.refresh()
        found = self._acts.incidents.known.get(incident)
        if found is None:
            raise NotFound("no such incident", code="incident.unknown")
        return found

    def report(self, incident: str) -> dict[str, Any]:
        """Who looked at what since the incident began: by person, and in all how many records of how many people.
        ``gone``: how many of the records are no longer here; whose they were nobody can say any more. Raises NotFound,
        ArchiveError."""
        found = self.get(incident)
        looks: dict[tuple[str, str], _Looks] = {}
        for record in self._since(found.since):
            looks.setdefault((record.event.actor, record.event.role), _Looks()).add(record)
        people: dict[str, set[str]] = {}
        every = sorted({message for each in looks.values() for message in each.messages})
        for message, addresses in self._addresses(every):
            people[message] = addresses
        return {
            "incident": found.id,
            "since": found.since,
            "made_at": rfc3339(self._clock()),
            "records": len(every),
            "gone": len(every) - len(people),
            "people": len({address for addresses in people.values() for address in addresses}),
            "looks": [_shown(who, each, people) for who, each in sorted(looks.items())],
        }

    def _since(self, begins: str) -> Iterator[AccessRecord]:
        cursor: str | None = None
        for _ in range(_MOST // _PAGE):
            page, cursor = self._log.newest(_PAGE, cursor)
            for record in page:
                if record.time < begins:
                    return
                yield record
            if cursor is None:
                return
        raise Refused("more looks than one report holds; give a later since", code="incident.too_many")

    def _addresses(self, ids: Sequence[str]) -> Iterator[tuple[str, set[str]]]:
        """Messages by id, each with whose personal data it holds at least: sender and recipients."""
        for start in range(0, len(ids), _LOOKUP):
            for row in self._catalog.messages(ids[start : start + _LOOKUP]):
                named = {recipient.address.lower() for recipient in row.recipients}
                yield row.id, named | ({row.sender.lower()} if row.sender else set())


def void(actor: Actor, valid_from: str) -> bool:
    """Whether what the actor showed was issued before an incident: ``valid_from``, RFC 3339, "" if there was none."""
    if not valid_from:
        return False
    return actor.issued_at < from_rfc3339(valid_from).timestamp()


def closing(acts: Acts, incident: str, by: str, clock: Clock, spend: Callable[[], str]) -> int:
    """End an incident under an approval; the acts-log position that has passed it. Raises NotFound, Refused."""

    def act(_: object) -> dict[str, Any]:
        known = acts.incidents.known.get(incident)
        if known is None:
            raise NotFound("no such incident", code="incident.unknown")
        if known.closed is not None:
            raise Refused("this incident is closed", code="incident.closed")
        fields = {"incident": incident, "by": by, "at": rfc3339(clock()), "approval": spend()}
        return {"version": 1, "act": "incident.close", **fields}

    return acts.append(act) + 1


def _shown(who: tuple[str, str], looks: _Looks, people: dict[str, set[str]]) -> dict[str, Any]:
    seen = sorted(looks.messages)
    return {
        "actor": who[0],
        "role": who[1],
        "entries": looks.entries,
        "refused": looks.refused,
        "first": looks.first,
        "last": looks.last,
        "origins": sorted(looks.origins),
        "actions": dict(sorted(looks.actions.items())),
        "records": len(seen),
        "gone": len(looks.messages - people.keys()),
        "people": len({address for message in seen for address in people.get(message, ())}),
        "messages": seen,
    }


def _since(given: str | None, now: str) -> str:
    if given is None:
        return now
    try:
        begins = rfc3339(from_rfc3339(given))
    except ValueError as error:
        raise Invalid("a time is RFC 3339", code="incident.time") from error
    if begins > now:
        raise Invalid("an incident began before now", code="incident.time")
    return begins
