"""What the scheduler does for notices: hand over what is due, one mail at a time, an act before each and one behind."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

from archive_service.ledger.acts import Acts
from archive_service.ledger.holds import Hold
from archive_service.ledger.notices import Campaign, NoticeKind, Notified
from archive_service.model.clock import Clock
from archive_service.model.custodians import AddressKind, in_order
from archive_service.model.errors import StoreError
from archive_service.notices.links import link_of
from retention.notices import begin, due, end

_log = logging.getLogger(__name__)
_SURELY_NOT = (
    ".refused",
    ".address",
)  # codes of a mail that the server has not taken; of others nobody knows
_HEADS = {
    NoticeKind.NOTICE: "",
    NoticeKind.REMINDER: "Reminder: ",
    NoticeKind.ESCALATION: "Not acknowledged: ",
    NoticeKind.RELEASE: "Over: ",
}

Hand = Callable[[EmailMessage, str], None]
"""Hands a mail to one address over. Raises StoreError as ``mailing.hand_over``."""


@dataclass(frozen=True)
class Sending:
    """One tenant's. ``secret``: as in ``NoticeDesk``; ``url``: of the API as custodians reach it; ``sender``: a bare
    address."""

    acts: Acts
    owner: str
    secret: Callable[[], bytes]
    hand: Hand
    sender: str
    url: str
    clock: Clock

    def run(self) -> int:
        """Everything that is due; how many mails were handed over. Raises ArchiveError; the next run goes on."""
        self.acts.refresh()
        done = 0
        for campaign in list(self.acts.notices.known.values()):
            for person in list(campaign.people.values()):
                if (kind := due(self.acts, campaign, person, self.clock())) is not None:
                    done += self._send(campaign, person, kind)
        return done

    def _send(self, campaign: Campaign, person: Notified, kind: NoticeKind) -> int:
        """Who has no address now, waits for one; who answers for the hold hears that he has not acknowledged."""
        to = self._address(campaign, person, kind)
        if to is None or not begin(self.acts, campaign.hold, person.custodian, kind, self.clock):
            return 0
        try:
            self.hand(self._mail(campaign, person, kind, to), to)
        except StoreError as error:
            if error.code.endswith(_SURELY_NOT):
                end(self.acts, campaign.hold, person.custodian, kind, error.code, self.clock)
            _log.warning("a notice of hold %s: %s", campaign.hold, error.code)
            return 0
        end(self.acts, campaign.hold, person.custodian, kind, None, self.clock)
        return 1

    def _address(self, campaign: Campaign, person: Notified, kind: NoticeKind) -> str | None:
        if kind is NoticeKind.ESCALATION:
            return campaign.escalate_to
        known, today = self.acts.custodians.get(person.custodian), self.clock().date().isoformat()
        held = () if known is None else in_order(known.addresses)
        usable = (each.address for each in held if each.kind is not AddressKind.OTHER and each.on(today))
        return next((address for address in usable if address.isascii()), None)

    def _mail(self, campaign: Campaign, person: Notified, kind: NoticeKind, to: str) -> EmailMessage:
        hold = self.acts.holds.known[campaign.hold]
        message = EmailMessage()
        message["From"] = self.sender
        message["To"] = to
        said = _filled(campaign.subject, hold, self._name(person))
        message["Subject"] = _HEADS[kind] + " ".join(said.split())  # older acts may have one of two lines
        message["Date"] = formatdate()
        message["Message-ID"] = make_msgid(campaign.hold, "archive-service.invalid")
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834
        message.set_content("\n".join(self._lines(campaign, person, kind, hold)) + "\n")
        return message

    def _lines(self, campaign: Campaign, person: Notified, kind: NoticeKind, hold: Hold) -> list[str]:
        text = _filled(campaign.text, hold, self._name(person))
        if kind is NoticeKind.RELEASE:
            return [f"The hold {hold.name} is over. What it asked for is asked for no more."]
        if kind is NoticeKind.ESCALATION:
            return [f"{self._name(person)} has not acknowledged the notice of hold {hold.name}.", "", text]
        link = link_of(self.secret(), self.owner, campaign.hold, person.custodian)
        return [text, "", f"Say that you have read this: {self.url}/v1/acknowledgements/{link}"]

    def _name(self, person: Notified) -> str:
        known = self.acts.custodians.get(person.custodian)
        return person.custodian if known is None else known.name


def _filled(text: str, hold: Hold, name: str) -> str:
    """``{name}``, ``{hold}`` and ``{claim}`` are what they say; nothing else in braces is looked at. On one line where
    the text is."""
    for field, value in (("{name}", name), ("{hold}", hold.name), ("{claim}", hold.claim)):
        text = text.replace(field, " ".join(value.split()))
    return text
