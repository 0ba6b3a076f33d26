"""The steps of an MTA, each to its answer."""

import asyncio

from archive_service.model.mail import MilterClient
from ingest.milter import replies as milter_replies
from ingest.milter.connection import Connection, Leave
from ingest.milter.endpoint import MilterEndpoint
from ingest.milter.macros import Macros
from ingest.milter.message import Message
from ingest.milter.negotiation import SOURCE, Agreed, agree
from ingest.milter.packets import (
    CONTENT,
    Client,
    Command,
    Malformed,
    Packet,
    client,
    header_field,
    macros,
    only_string,
    path,
)
from ingest.smtp import replies
from ingest.smtp.replies import Reply
from ingest.smtp.steps import log_unexpected

_LONGEST_NAME = 1024  # characters of a client's name or HELO that are kept


class MilterSession(Connection):
    """One connection of an MTA: one SMTP client of it, one mail after the other; or one mail of its sendmail command.

    What is not understood, or fails in an unplanned way, ends the session with a "try again later": one that the MTA
    had not asked for is what it reads for its next step.
    """

    def __init__(self, endpoint: MilterEndpoint, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(endpoint, loop)
        self._agreed: Agreed | None = None
        self._macros = Macros()
        self._client: Client | None = None
        self._helo: str | None = None
        self._message: Message | None = None

    async def converse(self) -> None:
        """See Connection."""
        last: Reply | None = None
        try:
            await self._negotiate()
            while True:
                message = self._message
                packet = await self.next_packet(content=message is not None and message.has_content)
                await self._obey(packet)
        except Leave:
            last = replies.SHUTTING_DOWN if self.endpoint.draining else None
        except Malformed:
            last = milter_replies.NOT_UNDERSTOOD
        except asyncio.CancelledError:
            last = replies.SHUTTING_DOWN
            raise
        except Exception as error:  # noqa: BLE001 - logged; the sender keeps its mail, and this session ends
            log_unexpected("milter", error)
            last = replies.NOT_ARCHIVED
        finally:
            if last is not None and self._agreed is not None:
                self._refuse(last)
            await self._end_message()

    async def _negotiate(self) -> None:
        packet = await self.next_packet(content=True)  # an MTA speaks at once
        if packet.command is not Command.NEGOTIATE:
            raise Malformed
        agreed = agree(packet.data)
        self.send(agreed.answer)
        self._agreed = agreed

    async def _obey(self, packet: Packet) -> None:
        """One step. Raises Leave at the end, Malformed for what is none."""
        command = packet.command
        if command in CONTENT:
            await self._content(packet)
        elif packet.data is None:
            raise Malformed
        elif command is Command.MACROS:
            self._macros.set(*macros(packet.data))
        elif command is Command.MAIL:
            await self._mail(packet.data)
        elif command is Command.RCPT:
            self._rcpt(packet.data)
        elif command is Command.DATA:
            self._answer(command, self._open_message().admit())
        elif command is Command.ABORT:
            await self._end_message()
        else:
            await self._connection_step(command, packet.data)

    async def _connection_step(self, command: Command, data: bytes) -> None:
        if command is Command.CONNECT:
            self._client = client(data)
            self._answer(command)
        elif command is Command.HELO:
            self._helo = only_string(data)[:_LONGEST_NAME]
            self._answer(command)
        elif command is Command.UNKNOWN:
            self._answer(command)
        elif command is Command.QUIT_NEW_CONNECTION:
            await self._end_message()
            self._macros.end_connection()
            self._client = self._helo = None
        elif command is Command.QUIT:
            raise Leave
        else:
            raise Malformed  # a second negotiation

    # --- the envelope

    async def _mail(self, data: bytes) -> None:
        if self._message is not None:
            raise Malformed
        message = Message(self.endpoint, self.peer, path(data))
        self.may_leave = False
        refusal = await message.judge(self._macros.get(SOURCE))
        if refusal is None:
            self._message = message
        else:
            self.may_leave = True
        self._answer(Command.MAIL, refusal)

    def _rcpt(self, data: bytes) -> None:
        self._answer(Command.RCPT, self._open_message().add(path(data)))

    def _open_message(self) -> Message:
        if self._message is None or self._message.has_content:
            raise Malformed
        return self._message

    def _milter_client(self) -> MilterClient:
        """What is known of the MTA's client."""
        version, cipher = self._macros.get("tls_version"), self._macros.get("cipher")
        known = self._client
        return MilterClient(
            client=known.address if known is not None else None,
            name=(known.name[:_LONGEST_NAME] or None) if known is not None else None,
            helo=self._helo,
            tls=f"{version} {cipher}" if version and cipher else version,
            user=self._macros.get("auth_authen"),
            queue=self._macros.get("i"),
        )

    # --- the content

    async def _content(self, packet: Packet) -> None:
        message = self._message
        if message is None:
            raise Malformed
        if not message.has_content:
            await message.open(self._milter_client())
        if packet.data is None:
            await message.spoil(milter_replies.OVERSIZED)
        else:
            await self._take(message, packet.command, packet.data)
        if packet.command is Command.END_OF_BODY:
            await self._conclude(message)
        else:
            self._answer(packet.command)

    async def _take(self, message: Message, command: Command, data: bytes) -> None:
        if command is Command.HEADER:
            assert self._agreed is not None
            await message.write(header_field(data, leading_space=self._agreed.leading_space))
        elif command is Command.END_OF_HEADER:
            await message.write(b"\r\n")
        elif data:
            await message.write(data)

    async def _conclude(self, message: Message) -> None:
        """The one answer that counts: go on only for what is archived."""
        refusal = await message.finish()
        await self._end_message()
        self._answer(Command.END_OF_BODY, refusal)

    async def _end_message(self) -> None:
        """Forget the mail; what was not archived of it is dropped."""
        message, self._message = self._message, None
        self._macros.end_message()
        if message is not None:
            await message.abort()
        self.may_leave = True

    # --- answers

    def _answer(self, command: Command, refusal: Reply | None = None) -> None:
        if refusal is not None:
            self._refuse(refusal)
        elif self._agreed is not None and command not in self._agreed.silent:
            self.send(milter_replies.GO_ON)

    def _refuse(self, refusal: Reply) -> None:
        self.endpoint.counters.rejected[refusal.reason] += 1
        self.send(milter_replies.packet(refusal))
