"""A scripted MTA for the milter endpoint: packets octet for octet, every answer checked for what it may be."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from archive_service.model.mail import SourceKind
from ingest.intake import Intake
from ingest.milter.limits import MilterLimits
from ingest.milter.server import MilterServer
from ingest.smtp.limits import MemoryBudget, SmtpSettings
from tests.unit.smtp_fakes import PATIENCE, SECRET, FakeIntake

ALL_STEPS = 0x1FFFFF
ALL_ACTIONS = 0x1FF
SILENT = set("LNBCHU")
FIELDS = ((b"From", b" a@b.test"), (b"Subject", b" hello"))


def packet(letter: str, data: bytes = b"") -> bytes:
    return (len(data) + 1).to_bytes(4, "big") + letter.encode() + data


def offer(version: int = 6, actions: int = ALL_ACTIONS, steps: int = ALL_STEPS) -> bytes:
    return packet("O", b"".join(number.to_bytes(4, "big") for number in (version, actions, steps)))


def nul(*words: str | bytes) -> bytes:
    return b"".join((word.encode() if isinstance(word, str) else word) + b"\0" for word in words)


def macros(step: str, **values: str) -> bytes:
    pairs = [
        word for name, value in values.items() for word in (f"{{{name}}}" if len(name) > 1 else name, value)
    ]
    return packet("D", step.encode() + nul(*pairs))


def check(answer: bytes) -> None:
    """Nothing but go on, or try again later: a milter of ours never rejects and never discards."""
    assert answer[:1] == b"O" or answer in (b"c", b"t") or answer.startswith((b"y45", b"y42")), answer


class Mta:
    """One connection. ``answer`` reads one packet; "c" is go on, "t" and "y45..." come again later."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.silent: set[str] = set()

    async def send(self, *packets: bytes) -> None:
        self.writer.write(b"".join(packets))
        await asyncio.wait_for(self.writer.drain(), PATIENCE)

    async def answer(self) -> bytes:
        length = int.from_bytes(await asyncio.wait_for(self.reader.readexactly(4), PATIENCE), "big")
        answer = await asyncio.wait_for(self.reader.readexactly(length), PATIENCE)
        check(answer)
        return answer

    async def ask(self, *packets: bytes) -> bytes:
        await self.send(*packets)
        return await self.answer()

    async def greet(self, source: str | None = SECRET, **connection: str) -> None:
        """Negotiate and say who the client is."""
        assert (await self.ask(offer()))[:1] == b"O"
        self.silent = SILENT
        known = dict(connection) if source is None else {"archive_source": source, **connection}
        await self.send(
            macros("C", **known), packet("C", nul("client.test") + b"4\x10\x00" + nul("192.0.2.9"))
        )
        await self.send(packet("H", nul("helo.test")))

    async def envelope(
        self, sender: str = "<a@b.test>", recipients: Iterable[str] = ("<bob@x.test>",), *parameters: str
    ) -> None:
        """MAIL, RCPTs, DATA; all are to be taken."""
        assert await self.ask(packet("M", nul(sender, *parameters))) == b"c"
        for recipient in recipients:
            assert await self.ask(packet("R", nul(recipient))) == b"c"
        assert await self.ask(macros("T", i="4QX1"), packet("T")) == b"c"

    async def content(
        self, body: bytes = b"body\r\n", fields: Iterable[tuple[bytes, bytes]] = FIELDS
    ) -> bytes:
        """Header and body, and the answer at their end."""
        await self.send(*(packet("L", nul(name, value)) for name, value in fields), packet("N"))
        for start in range(0, len(body), 65535):
            await self.send(packet("B", body[start : start + 65535]))
        return await self.ask(packet("E"))

    async def at_end(self) -> bool:
        """Whether the endpoint closes without another word."""
        try:
            return await asyncio.wait_for(self.reader.read(), PATIENCE) == b""
        except ConnectionResetError:
            return True

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await asyncio.wait_for(self.writer.wait_closed(), PATIENCE)


@dataclass
class MilterSite:
    """A listening milter endpoint; ``intake`` is the fake one where none was given."""

    intake: FakeIntake
    server: MilterServer
    port: int
    clients: list[Mta] = field(default_factory=list)

    async def connect(self, source: str | None = SECRET, *, greet: bool = True, **connection: str) -> Mta:
        client = Mta(*await asyncio.open_connection("127.0.0.1", self.port))
        self.clients.append(client)
        if greet:
            await client.greet(source, **connection)
        return client

    @property
    def refused(self) -> dict[str, int]:
        return dict(self.server.endpoint.counters.rejected)


def postfix_sources(intake: FakeIntake) -> None:
    """Only sources of this kind take mail by milter."""
    intake.sources = {
        address: source.model_copy(update={"kind": SourceKind.POSTFIX})
        for address, source in intake.sources.items()
    }


@contextlib.asynccontextmanager
async def milter_serving(
    *,
    intake: Intake | None = None,
    change: Callable[[FakeIntake], None] | None = None,
    limits: MilterLimits | None = None,
    budget: MemoryBudget | None = None,
    **settings: Any,
) -> AsyncIterator[MilterSite]:
    """A server on a free port, stopped at the end; afterwards nothing may be left of any session."""
    fake = FakeIntake()
    postfix_sources(fake)
    if change is not None:
        change(fake)
    server = MilterServer(intake or fake, SmtpSettings(**settings), limits, budget=budget)
    _, port = await server.start("127.0.0.1", 0)
    site = MilterSite(fake, server, port)
    try:
        yield site
    finally:
        for client in site.clients:
            await client.close()
        await server.stop(drain_seconds=PATIENCE)
        assert server.endpoint.counters.open == 0
        assert server.endpoint.budget.used == 0
        assert fake.broken_rules == []
