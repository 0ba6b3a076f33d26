"""What went in the span, and what may not go: dispositions, orders, erasures, and the holds that are to be reviewed."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from archive_service.event_journal.desk import EventJournal
from archive_service.event_journal.events import Kind
from archive_service.export.certificate import statement
from archive_service.holds.taken import standing
from archive_service.ledger.acts import Acts
from archive_service.ledger.dispositions import Disposition
from archive_service.ledger.holds import Hold
from archive_service.yearly_pack.span import Span

_PAGE = 1000


def holds_part(acts: Acts, span: Span) -> dict[str, Any]:
    """Holds that stood at the end of the span, with the day by which each is to be looked at again as it is now. Orders
    to keep are counted: they end when the court says so."""
    stood = [each for each in acts.holds.known.values() if _stood(each, span)]
    rows = [_hold(acts, each, span) for each in stood if not each.order]
    ended = [
        each
        for each in acts.holds.known.values()
        if each.released is not None and span.holds(each.released.at)
    ]
    return {
        "in_force": rows,
        "overdue": [each["id"] for each in rows if each["overdue"]],
        "placed": sum(span.holds(each.at) for each in acts.holds.known.values() if not each.order),
        "released": [each.id for each in ended if not each.order],
        "orders_to_keep": sum(each.order for each in stood),
    }


def _stood(hold: Hold, span: Span) -> bool:
    return hold.at < span.ends and (hold.released is None or hold.released.at >= span.ends)


def _hold(acts: Acts, hold: Hold, span: Span) -> dict[str, Any]:
    return {
        "id": hold.id,
        "matter": hold.matter,
        "name": hold.name,
        "ground": hold.ground,
        "owner": hold.owner,
        "placed_at": hold.at,
        "captures": len(standing(acts, hold)),
        "reviews": hold.reviewed,
        "review": hold.review,
        "overdue": hold.review < span.ends,
    }


def disposals_part(acts: Acts, journal: EventJournal, owner: str, span: Span) -> dict[str, Any]:
    """Runs and orders that were done in the span, with what their certificates say but the places; and everything that
    was destroyed, by the event journal, each event by the id that its certificate is had under."""
    done = [each for each in acts.dispositions.known.values() if span.holds(each.done)]
    runs = [statement(each, acts, owner) for each in done if not each.order]
    events = list(_events(journal, span))
    asked = Counter[str]()
    for event in events:
        if event["what"] == "erasure.ask":
            asked[event["facts"].get("ground", "withdrawn")] += event["facts"]["captures"]
    return {
        "dispositions": [{name: each[name] for name in each if name != "places"} for each in runs],
        "orders": [
            {"order": each.id, "captures": len(each.going), "said_at": each.done}
            for each in done
            if each.order
        ],
        "barred": dict(sorted(asked.items())),
        "withdrawn": _captures(events, "capture.withdraw"),
        "keys_destroyed": _captures(events, "erasure.done"),
        "objects_deleted": _captures(events, "erasure.deleted") + _deleted_by(done),
        "events": [{name: each[name] for name in ("id", "what", "time")} for each in events],
    }


def _deleted_by(done: Iterable[Disposition]) -> int:
    """Each capture once: an order may have taken it from a run of retention, and both are then done."""
    return len({capture.id for each in done for capture in each.going})


def _captures(events: list[dict[str, Any]], what: str) -> int:
    return sum(each["facts"]["captures"] for each in events if each["what"] == what)


def _events(journal: EventJournal, span: Span) -> Iterator[dict[str, Any]]:
    cursor: str | None = None
    while True:
        page = journal.page(_PAGE, cursor, kinds=(Kind.DESTRUCTION,), begins=span.begins, ends=span.ends)
        yield from page["events"]
        cursor = page["next"]
        if cursor is None:
            return
