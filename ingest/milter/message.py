"""One mail that an MTA holds back: its envelope step by step, then its content on the way to the intake."""

import asyncio

from archive_service.model.mail import MilterClient, Source, SourceKind
from ingest.guard import Lack
from ingest.intake import Draft, Sender, SourceMatch, TurnedAway
from ingest.milter import replies as milter_replies
from ingest.milter.endpoint import MilterEndpoint
from ingest.milter.packets import Path
from ingest.smtp import replies
from ingest.smtp.limits import Charge
from ingest.smtp.replies import Reply
from ingest.smtp.steps import attempt
from ingest.smtp.transfer import Transfer

_GATHERED = 64 * 1024  # header fields are handed on together


def _declared(path: Path) -> int:
    """What MAIL said in SIZE (RFC 1870 section 3); 0 when it said nothing that is a number."""
    for parameter in path.parameters:
        keyword, _, value = parameter.partition("=")
        if keyword.upper() == "SIZE" and value.isdecimal() and value.isascii() and len(value) <= 20:
            return int(value)
    return 0


class Message:
    """From MAIL to the end of the body. Each step returns None when it was taken, or why the sender shall come again;
    a mail of which one step failed is never archived, whatever follows."""

    def __init__(self, endpoint: MilterEndpoint, peer: str | None, mail: Path) -> None:
        self._endpoint = endpoint
        self._peer = peer
        self._mail = mail
        self._address = ""  # the source's
        self._match: SourceMatch | None = None
        self._recipients: list[str] = []
        self._envelope_octets = 0
        self._charge = Charge(endpoint.budget)  # for recipients, and what is gathered of the header
        self._admitted = False
        self._transfer: Transfer | None = None
        self._gathered = bytearray()
        self._failure: Reply | None = None

    @property
    def has_content(self) -> bool:
        """Bytes of it have come."""
        return self._transfer is not None

    async def judge(self, address: str | None) -> Reply | None:
        """MAIL: the source, by the address that the MTA names, and whether its guard lets this MTA in."""
        if address is None:
            self._failure = milter_replies.SOURCE_UNNAMED
        elif self._endpoint.budget.full:
            self._failure = replies.OVERLOADED
        else:
            self._address = address
            self._failure = await self._judge(_declared(self._mail))
        return self._failure

    async def _judge(self, size: int) -> Reply | None:
        endpoint = self._endpoint
        seconds = min(endpoint.limits.judge, endpoint.settings.commit_timeout)
        found = await attempt(
            "match", endpoint.intake.match(self._address, Sender(peer=self._peer, size=size)), seconds
        )
        if isinstance(found, Reply):
            return replies.NOT_JUDGED
        if isinstance(found, SourceMatch) and found.source.kind is SourceKind.POSTFIX:
            self._match = found
            return None
        if found is None:
            endpoint.refusals.note(None, None, milter_replies.SOURCE_UNKNOWN.reason)
            return milter_replies.SOURCE_UNKNOWN
        reply = milter_replies.SOURCE_KIND
        if isinstance(found, TurnedAway):
            reply = milter_replies.LACKING[Lack(found.lack)]
        return self._refused(found.tenant, found.source, reply)

    def _refused(self, tenant: str, source: Source, reply: Reply) -> Reply:
        self._endpoint.refusals.note(tenant, source.id, reply.reason)
        return reply

    def add(self, path: Path) -> Reply | None:
        """RCPT, which the MTA has accepted. One that is too much fails alone: the sender brings it in a mail apart."""
        if self._failure is not None:
            return self._failure
        octets = len(path.address.encode("utf-8", "surrogatepass")) + 1
        if self._envelope_octets + octets > self._endpoint.limits.envelope:
            return replies.TOO_MANY_RECIPIENTS
        if self._endpoint.budget.exhausted:
            return replies.OVERLOADED
        self._envelope_octets += octets
        self._charge.add(octets)
        self._recipients.append(path.address)
        return None

    def admit(self) -> Reply | None:
        """DATA: whether there is room for one more mail, and within the source's rate. Counted once."""
        if self._failure is not None or self._admitted:
            return self._failure
        self._admitted = True
        match = self._match
        if match is None or not self._recipients:
            self._failure = milter_replies.NOT_UNDERSTOOD
        elif self._endpoint.budget.full:
            self._failure = replies.OVERLOADED
        elif not self._endpoint.rates.take(match.source, asyncio.get_running_loop().time()):
            self._failure = self._refused(match.tenant, match.source, replies.TOO_FAST)
        return self._failure

    async def open(self, client: MilterClient) -> None:
        """The first bytes come: begin the capture with the envelope as it stands now."""
        endpoint, match = self._endpoint, self._match
        self._transfer = Transfer(endpoint.intake, endpoint.settings, endpoint.budget, endpoint.counters)
        if self.admit() is None and match is not None:
            draft = Draft(
                tenant=match.tenant,
                source=match.source,
                acts_seen=match.acts_seen,
                mail_from=self._mail.address,
                rcpt_to=tuple(self._recipients),
                peer=self._peer,
                mail_parameters=self._mail.parameters,
                milter=client,
            )
            await self._transfer.open(draft)

    async def write(self, content: bytes) -> None:
        """A piece of the mail. Waits while the store is behind; a failure is told at the end."""
        self._gathered += content
        self._charge.add(len(content))
        if len(self._gathered) >= _GATHERED:
            await self._hand_on()

    async def _hand_on(self) -> None:
        content, self._gathered = bytes(self._gathered), bytearray()
        self._charge.drop(len(content))  # the transfer charges what it holds
        if content and self._transfer is not None and self._failure is None:
            await self._transfer.write(content)

    async def spoil(self, reply: Reply) -> None:
        """Something of it is missing: it must not be archived as if it were whole."""
        self._failure = self._failure or reply
        await self.abort()

    async def finish(self) -> Reply | None:
        """The end of the body. None only when the capture's entry is durable."""
        if self._failure is not None:
            await self.abort()
            return self._failure
        await self._hand_on()
        transfer = self._transfer
        if transfer is None:
            return milter_replies.NOT_UNDERSTOOD
        reply = await transfer.finish()
        if transfer.failure is None:
            return None
        if reply is replies.TOO_LARGE:
            return await self._too_large(transfer)
        return reply

    async def _too_large(self, transfer: Transfer) -> Reply:
        """By the source's own limit it is recorded, if that still is the limit."""
        if transfer.over_guard:
            return await self._judge(transfer.octets) or replies.NOT_JUDGED
        return milter_replies.OVERSIZED

    async def abort(self) -> None:
        """Give back what it held. If it has not come to its end, nothing of it is archived."""
        self._gathered.clear()
        self._charge.clear()
        if self._transfer is not None:
            await self._transfer.abort()
