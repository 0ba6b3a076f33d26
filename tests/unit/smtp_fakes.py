"""Fakes for the SMTP endpoint: an intake that records, fails or waits on demand, and a raw client."""

import asyncio
import base64
import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from archive_service.model.mail import Source, SourceKind
from ingest.guard import lack
from ingest.intake import Draft, Login, Receipt, Sender, Sink, SourceMatch, TurnedAway
from ingest.smtp.limits import MemoryBudget, SmtpSettings
from ingest.smtp.server import SmtpServer

SECRET = "journal-4f1c@archive.test"
OTHER = "journal-99aa@archive.test"
PATIENCE = 20.0  # seconds until a test that hangs fails; never a measure


def source(name: str, address: str) -> Source:
    return Source(id=name, name=name, kind=SourceKind.GENERIC, address=address)


SOURCES = {SECRET: source("one", SECRET), OTHER: source("two", OTHER)}


STEPS = ("match", "head", "authenticate", "begin", "write", "commit", "abort")


class FakeIntake:
    """``fail`` and ``gate`` take the steps (head: only for who would be turned away): an exception to raise, an
    event to wait for. ``reached`` has an event per step, set when the step has begun; ``aborted`` counts aborts."""

    def __init__(self) -> None:
        self.fail: dict[str, Exception] = {}
        self.gate: dict[str, asyncio.Event] = {}
        self.reached = {step: asyncio.Event() for step in STEPS}
        self.captures: list[tuple[Draft, bytes]] = []
        self.drafts: list[Draft] = []
        self.matched: list[str] = []
        self.senders: list[Sender] = []
        self.sources = dict(SOURCES)
        self.passwords: dict[str, str] = {}
        self.guesses: list[tuple[str, str]] = []
        self.aborted = 0
        self.acts_seen = 7
        self.broken_rules: list[str] = []  # of the sink's contract; ``serving`` wants none at the end
        self.longest_write = 0

    async def step(self, name: str) -> None:
        self.reached[name].set()
        if name in self.gate:
            await self.gate[name].wait()
        if name in self.fail:
            raise self.fail[name]

    async def match(self, address: str, sender: Sender) -> SourceMatch | TurnedAway | None:
        self.matched.append(address)
        self.senders.append(sender)
        await self.step("match")
        found = self.sources.get(address.lower())
        if found is None:
            return None
        lacking = lack(found, sender)
        if lacking is not None:
            await self.step("head")
            return TurnedAway("tenant", found, lacking)
        return SourceMatch("tenant", found, acts_seen=self.acts_seen)

    async def authenticate(self, user: str, password: str, sender: Sender) -> Login | None:
        self.guesses.append((user, password))
        await self.step("authenticate")
        known = self.passwords.get(user)
        return Login("tenant", user, known == password) if known is not None else None

    def anchors(self, peer: str | None) -> tuple[bytes, ...]:
        return tuple(
            base64.b64decode(each) for one in self.sources.values() for each in one.guard.certificates
        )

    async def begin(self, draft: Draft) -> Sink:
        await self.step("begin")
        self.drafts.append(draft)
        return FakeSink(self, draft)

    @property
    def bodies(self) -> list[bytes]:
        return [body for _, body in self.captures]


@dataclass
class FakeSink:
    intake: FakeIntake
    draft: Draft
    pieces: list[bytes] = field(default_factory=list)
    over: bool = False

    def rule(self, kept: bool, name: str) -> None:
        if not kept:
            self.intake.broken_rules.append(name)

    async def write(self, chunk: bytes) -> None:
        self.rule(type(chunk) is bytes and bool(chunk) and not self.over, "write: bytes, before the end")
        self.intake.longest_write = max(self.intake.longest_write, len(chunk))
        await self.intake.step("write")
        self.pieces.append(chunk)

    async def commit(self) -> Receipt:
        self.rule(not self.over, "commit: once, and not after abort")
        self.over = True
        await self.intake.step("commit")
        self.intake.captures.append((self.draft, b"".join(self.pieces)))
        number = len(self.intake.captures)
        return Receipt(log="c1", seq=number, capture=f"capture-{number}")

    async def abort(self) -> None:
        self.rule(not self.over, "abort: once, and not after commit")
        self.over = True
        self.intake.aborted += 1
        await self.intake.step("abort")


class Client:
    """Speaks SMTP octet for octet. Each reply it reads is checked for its form and status code."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await asyncio.wait_for(self.writer.drain(), PATIENCE)

    async def reply(self) -> str:
        """The next reply, lines joined by LF."""
        lines: list[str] = []
        while not lines or lines[-1][3] == "-":
            line = await asyncio.wait_for(self.reader.readline(), PATIENCE)
            assert line.endswith(b"\r\n"), f"no whole reply line: {line!r}"
            lines.append(line.decode("ascii")[:-2])
        self._check(lines)
        return "\n".join(lines)

    def _check(self, lines: list[str]) -> None:
        """RFC 2034 section 4: a status code of the same class, but for greeting, HELO, EHLO and 3xx."""
        first = lines[0]
        exempt = first.startswith(("220 mx.test", "250-mx.test", "250 mx.test", "354 ", "334 ", "501 a host"))
        if not exempt:
            assert re.match(r"([245])\d\d \1\.\d{1,3}\.\d{1,3} \S", first), first

    async def ask(self, data: bytes) -> str:
        """Send, and read one reply."""
        await self.send(data)
        return await self.reply()

    async def line(self, text: str) -> str:
        """Send a command line, and read its reply."""
        return await self.ask(text.encode() + b"\r\n")

    async def at_end(self) -> bool:
        """Whether the server closes without another word."""
        try:
            return await asyncio.wait_for(self.reader.read(), PATIENCE) == b""
        except ConnectionResetError:
            return True

    async def hello(self) -> str:
        return await self.line("EHLO client.test")

    async def envelope(self, sender: str = "a@b.test", recipient: str = SECRET) -> None:
        assert (await self.line(f"MAIL FROM:<{sender}>")).startswith("250 2.1.0 ")
        assert (await self.line(f"RCPT TO:<{recipient}>")).startswith("250 2.1.5 ")

    async def mail(self, wire: bytes, *, sender: str = "a@b.test") -> str:
        """A whole transaction; ``wire`` is what follows the 354, end of data included."""
        await self.envelope(sender)
        assert (await self.line("DATA")).startswith("354 ")
        return await self.ask(wire)

    async def secure(self, context: ssl.SSLContext) -> None:
        await asyncio.wait_for(
            self.writer.start_tls(context, server_hostname="mx.test", ssl_handshake_timeout=PATIENCE),
            PATIENCE,
        )

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await asyncio.wait_for(self.writer.wait_closed(), PATIENCE)


@dataclass
class Site:
    """A listening endpoint over a fake intake."""

    intake: FakeIntake
    server: SmtpServer
    port: int
    clients: list[Client] = field(default_factory=list)

    async def connect(self, *, greet: bool = True) -> Client:
        """A new connection, past the greeting, and past EHLO unless ``greet`` is off."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        client = Client(reader, writer)
        self.clients.append(client)
        if greet:
            assert (await client.reply()).startswith("220 mx.test ")
            assert (await client.hello()).startswith("250-mx.test\n")
        return client


@contextlib.asynccontextmanager
async def serving(
    *,
    tls: ssl.SSLContext | None = None,
    budget: MemoryBudget | None = None,
    change: Callable[[FakeIntake], None] | None = None,
    fresh_tls: Callable[[], ssl.SSLContext] | None = None,
    **settings: Any,
) -> AsyncIterator[Site]:
    """A server on a free port, stopped at the end; afterwards nothing may be left of any session."""
    intake = FakeIntake()
    if change is not None:
        change(intake)
    server = SmtpServer(intake, SmtpSettings(hostname="mx.test", **settings), tls, budget, fresh_tls)
    _, port = await server.start("127.0.0.1", 0)
    site = Site(intake, server, port)
    try:
        yield site
    finally:
        for client in site.clients:
            await client.close()
        await server.stop(drain_seconds=PATIENCE)
        assert server.counters.open == 0
        assert intake.broken_rules == []
