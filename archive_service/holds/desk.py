"""Holds as people place, see and review them; how far each is. Ending one needs two people: ``release``."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from archive_service.access.directory import query_of_all, resolution_of, resolve
from archive_service.access.events import Actor
from archive_service.access.hold_scopes import HoldScopes, node_of
from archive_service.access.placed_people import placed
from archive_service.catalog.base import Catalog
from archive_service.holds.taken import standing, taken_from
from archive_service.ledger.acts import Acts
from archive_service.ledger.holds import Hold
from archive_service.model.clock import Clock, rfc3339
from archive_service.model.errors import Invalid, NotFound, QueryError, StoreError
from retention.holds import HoldAsked, Placed, place, review
from search.indexes.base import SearchIndex
from search.query_language import Sent, parse, render


class HoldDesk:
    """One tenant's holds. Thread-safe as the acts, catalog and index are."""

    def __init__(self, acts: Acts, catalog: Catalog, index: SearchIndex, clock: Clock) -> None:
        self._acts = acts
        self._catalog = catalog
        self._index = index
        self._clock = clock

    def place(self, actor: Actor, matter: str, given: Mapping[str, Any]) -> tuple[Hold, Placed]:
        """Place a hold; durable on return. ``given``: the fields of ``HoldAsked``, custodians by id, address or name,
        captures by id. Raises Invalid, NotFound, Refused, QueryError: what cannot be searched for is never placed."""
        asked = self.asked(matter, given)
        made = place(self._acts, asked, actor.subject, self._clock)
        return self._acts.holds.known[made.hold], made

    def asked(self, matter: str, given: Mapping[str, Any], *, withdrawn: bool = False) -> HoldAsked:
        """What ``place`` would place, by the acts at their head, searched for once; ``withdrawn``: it may name what was
        withdrawn, for it stands above that. Raises as that."""
        self._acts.refresh()
        fields = {name: value for name, value in given.items() if value is not None}
        fields["custodians"] = self._people(fields.get("custodians", ()), groups=bool(fields.get("groups")))
        messages = _unique(fields.get("messages", ()))
        places = self._captures(_unique(fields.get("captures", ())), withdrawn=withdrawn)
        places |= self._captures_of(messages) if fields.get("past", True) else {}
        fields |= {"messages": messages, "captures": [(log, capture) for capture, log in places.items()]}
        asked = HoldAsked(matter=matter, **fields)
        self._try(asked)
        people = placed(self._acts.custodians, asked.custodians, asked.query, groups=asked.groups)
        return replace(asked, people=people)

    def all(self, matter: str) -> list[Hold]:
        """A matter's holds, released ones too, by the acts at their head."""
        self._acts.refresh()
        return self._acts.holds.of_matter(matter)

    def get(self, matter: str, hold: str) -> Hold:
        """Raises NotFound (``hold.unknown``), also for a hold of another matter."""
        self._acts.refresh()
        found = self._acts.holds.known.get(hold)
        if found is None or found.matter != matter:
            raise NotFound("no such hold", code="hold.unknown")
        return found

    def find(self, hold: str) -> Hold:
        """By its id alone. Raises NotFound."""
        self._acts.refresh()
        found = self._acts.holds.known.get(hold)
        return self.get(found.matter if found else "", hold)

    def review(self, actor: Actor, matter: str, hold: str, until: str, note: str) -> Hold:
        """It was looked at, and is kept. Raises Invalid, NotFound, Refused."""
        found = self.get(matter, hold)
        review(self._acts, found.id, until, actor.subject, note, self._clock)
        return found

    def of_captures(self, captures: Iterable[str], *, silent: bool) -> list[dict[str, str]]:
        """The holds in force upon any of these captures, by the acts as read; ``silent`` ones only if wanted."""
        held: dict[str, Hold] = {}
        for capture in captures:
            held |= {hold.id: hold for hold in self._acts.holds.holds_of(capture)}
        shown = (hold for hold in held.values() if silent or not hold.silent)
        return [{"id": hold.id, "matter": hold.matter, "name": hold.name, "since": hold.at} for hold in shown]

    def view(self, hold: Hold) -> dict[str, Any]:
        """A hold as JSON: what it is about, whom it took for whom, and how far it is."""
        scope = HoldScopes(self._acts).of(hold)
        released, now = hold.released, rfc3339(self._clock())
        names = ("id", "matter", "name", "ground", "claim", "owner", "silent", "past", "future", "query")
        return {
            **{name: getattr(hold, name) for name in (*names, "groups", "first", "last", "review")},
            "custodians": list(hold.custodians),
            "messages": len(hold.messages),
            "placed_by": hold.by,
            "placed_at": hold.at,
            "review_overdue": released is None and hold.review < now,
            "state": state_of(hold),
            "released_by": released.by if released else None,
            "released_at": released.at if released else None,
            "approval": released.approval if released else None,
            "people": [person.plain() for person in scope.people],
            "broken": scope.broken,
            "taken": taken_from(self._acts, hold),
            "progress": self._progress(hold, scope.digest),
        }

    def _progress(self, hold: Hold, digest: str) -> dict[str, Any]:
        """``found``: whether all there was has been looked through, with the directory as it is now."""
        found = not hold.searched or (hold.head and hold.scope == digest)
        return {
            "covered": len(standing(self._acts, hold)),
            "locked": len(standing(self._acts, hold, hold.locked)),
            "unlocked": len(standing(self._acts, hold, hold.unlocked)),
            "rows": hold.rows,
            "of_rows": self._catalog.position().rows,
            "found": found,
            "complete": found and hold.locked == len(hold.covered),
        }

    def _people(self, wanted: Sequence[str], *, groups: bool) -> list[str]:
        """Ids. Raises NotFound, Refused, and Invalid where none of them has an address: that would hold nothing."""
        directory = self._acts.custodians
        found = [resolve(directory, each) for each in wanted]
        if found and query_of_all(resolution_of(directory, each, groups=groups) for each in found) is None:
            raise Invalid("none of these people has an address", code="custodian.without_address")
        return _unique(each.id for each in found)

    def _captures(self, names: Sequence[str], *, withdrawn: bool) -> dict[str, str]:
        """Log by capture; one that is to be erased is in the acts alone. Raises NotFound."""
        found: dict[str, str] = {}
        for name in names:
            row, asked = self._catalog.capture(name), self._acts.erasures.asked.get(name)
            gone = self._acts.erasures.withdrew(name) and not withdrawn
            if gone or (row is None and asked is None):
                raise NotFound("no capture of this id", code="capture.unknown")
            found[name] = row.log if row is not None else str(asked.log) if asked is not None else ""
        return found

    def _captures_of(self, messages: Sequence[str]) -> dict[str, str]:
        rows = self._catalog.messages(messages)
        if len(rows) < len(messages):
            raise NotFound("no message of this id", code="message.unknown")
        return {row.id: row.log for message in rows for row in message.captures}

    def _try(self, asked: HoldAsked) -> None:
        """Search for it once. Raises QueryError, Invalid. An index that is away, or not there yet, holds up no hold:
        what it may be about waits all the same."""
        try:
            parse(render(Sent(asked.first, asked.last)) if asked.first or asked.last else "*")
        except QueryError as error:
            detail = "a day is YYYY-MM-DD, YYYY-MM or YYYY, and the first is not behind the last"
            raise Invalid(detail, code="hold.invalid") from error
        if asked.query or asked.custodians:
            node, _ = node_of(self._acts.custodians, asked)
            with suppress(StoreError):
                self._index.search(node, limit=1, snippets=False)


def state_of(hold: Hold) -> str:
    """``in_force``; ``releasing`` while objects still bear it in the store; ``released``."""
    if hold.released is None:
        return "in_force"
    return "released" if hold.unlocked >= len(hold.covered) else "releasing"


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
