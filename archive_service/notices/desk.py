"""Notices as people send and see them, and as a custodian answers one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from archive_service.access.directory import resolve
from archive_service.access.events import Actor
from archive_service.ledger.acts import Acts
from archive_service.ledger.holds import Hold
from archive_service.ledger.notices import Notified
from archive_service.model.clock import Clock
from archive_service.model.custodians import is_smtp
from archive_service.model.errors import Invalid, NotFound
from archive_service.notices.links import who
from retention.notices import NoticeAsked, acknowledge, open_notices


@dataclass(frozen=True)
class NoticeDesk:
    """One tenant's. Thread-safe as the acts are. ``secret``: the tenant's key for links."""

    acts: Acts
    secret: Callable[[], bytes]
    clock: Clock

    def open(self, actor: Actor, hold: Hold, given: Mapping[str, Any]) -> dict[str, Any]:
        """Have the custodians of a hold told, or those of ``to`` (id, address or name). Raises Invalid, NotFound,
        Refused (``hold.silent``)."""
        self.acts.refresh()
        wanted = given.get("to")
        to = [resolve(self.acts.custodians, each).id for each in wanted] if wanted else hold.custodians
        if not _bare(str(given["escalate_to"])):
            raise Invalid("escalate_to is a bare address", code="notice.invalid")
        words = {
            name: given[name] for name in ("subject", "text", "remind_days", "escalate_days", "escalate_to")
        }
        asked = NoticeAsked(tuple(dict.fromkeys(to)), **words)
        seq = open_notices(self.acts, hold.id, asked, actor.subject, self.clock)
        return {**self.view(hold), "seq": seq}

    def view(self, hold: Hold) -> dict[str, Any]:
        """What was sent to whom, and who knows; by the acts at their head."""
        self.acts.refresh()
        known = self.acts.notices.known.get(hold.id)
        people = [] if known is None else [_person(each) for each in known.people.values()]
        names = ("subject", "text", "remind_days", "escalate_days", "escalate_to")
        said = dict.fromkeys(names) if known is None else {name: getattr(known, name) for name in names}
        return {"hold": hold.id, **said, "people": people}

    def by_hand(self, actor: Actor, hold: Hold, custodian: str, reason: str) -> dict[str, Any]:
        """Somebody says for a custodian that he knows. Raises NotFound, Invalid."""
        self.acts.refresh()
        acknowledge(self.acts, hold.id, custodian, actor.subject, reason, self.clock)
        return self.view(hold)

    def by_link(self, hold: str, mac: str) -> None:
        """The custodian whose link it is knows. Raises NotFound, the same for whatever is wrong with it."""
        self.acts.refresh()
        known = self.acts.notices.known.get(hold)
        custodian = None if known is None else who(self.secret(), hold, mac, known.people)
        if custodian is None:
            raise NotFound("no such notice", code="notice.unknown")
        acknowledge(self.acts, hold, custodian, "", None, self.clock)


def _bare(address: str) -> bool:
    """Whether it can stand in a header and an SMTP command as it is."""
    return (
        is_smtp(address) and address.isascii() and address.isprintable() and not set(address) & set(' ,;<>"')
    )


def _person(person: Notified) -> dict[str, Any]:
    return {
        "custodian": person.custodian,
        "acknowledged_at": person.acknowledged,
        "acknowledged_by": person.by or None,
        "reason": person.reason,
        "mails": [{**vars(step), "kind": str(step.kind)} for step in person.steps],
    }
