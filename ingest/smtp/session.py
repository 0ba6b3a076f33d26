"""The commands of a session (RFC 5321 section 4.1), each from its argument to its reply."""

import asyncio

from ingest.guard import Lack
from ingest.intake import Login, Sender, SourceMatch, TurnedAway
from ingest.smtp import replies
from ingest.smtp.authentication import credentials
from ingest.smtp.connection import Connection, Leave
from ingest.smtp.data_reader import DataDecoder
from ingest.smtp.endpoint import Endpoint
from ingest.smtp.input_buffer import LineTooLong
from ingest.smtp.limits import COMMAND_LINE_OCTETS, ENVELOPE_LINE_OCTETS
from ingest.smtp.parameters import parse_bdat, parse_mail, parse_rcpt
from ingest.smtp.replies import Refused, Reply
from ingest.smtp.steps import attempt, log_unexpected
from ingest.smtp.transaction import Transaction
from ingest.smtp.transfer import Transfer

_SESSION_COMMANDS = ("HELO", "EHLO", "STARTTLS", "AUTH", "RSET", "NOOP", "QUIT", "HELP", "VRFY", "EXPN")
_ENVELOPE_COMMANDS = ("MAIL", "RCPT")
_MESSAGE_COMMANDS = ("DATA", "BDAT")
_LACKING = {
    Lack.NETWORK: replies.UNKNOWN_RECIPIENT,  # not a word more than a stranger hears
    Lack.TLS: replies.NEED_TLS,
    Lack.CERTIFICATE: replies.NEED_CERTIFICATE,
    Lack.LOGIN: replies.NEED_LOGIN,
    Lack.SIZE: replies.TOO_LARGE,
}
_METHODS = [f"smtp_{name}" for name in _SESSION_COMMANDS + _ENVELOPE_COMMANDS + _MESSAGE_COMMANDS]


class SmtpSession(Connection):
    """One SMTP session. Every command gets exactly one reply, and a 5xx is never our own fault."""

    envelope: Transaction

    def __init__(self, endpoint: Endpoint, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(endpoint, loop)
        self._errors = 0
        self._login: Login | None = None  # the source whose password was given
        self._wrong_guesses = 0
        self._login_unchecked = False  # the last AUTH could not be judged
        self._no_tls_now = False  # the last STARTTLS failed for a fault of ours

    def __dir__(self) -> list[str]:
        """The commands only.

        aiosmtpd's constructor lists its object three times to find them; going through every attribute
        would cost each connection as much as receiving a message does.
        """
        return list(_METHODS)

    def _set_rset_state(self) -> None:
        self.envelope = Transaction()
        self.may_leave = True

    async def _handle_client(self) -> None:
        """The life of the session: obey commands until one of both sides leaves."""
        last: Reply | None = None
        self._set_rset_state()
        try:
            await self.learn_peer()
            self.answer(self.endpoint.greeting())
            await self._converse()
        except Leave as leave:
            last = leave.reply
        except asyncio.CancelledError:
            last = replies.SHUTTING_DOWN
            raise
        except Exception as error:  # noqa: BLE001 - logged; the sender keeps its mail, and this session ends
            log_unexpected("session", error)
            last = replies.NOT_ARCHIVED
        finally:
            self.say_last(last)
            await self._abandon()
            await self.leave()

    async def _converse(self) -> None:
        while True:
            try:
                line = await self.next_line(ENVELOPE_LINE_OCTETS)
                await self._obey(line)
            except LineTooLong:
                self._refuse(replies.LINE_TOO_LONG)
            except Refused as refused:
                self._refuse(refused.reply)

    async def _abandon(self) -> None:
        """Drop the transaction under way; its sink is aborted."""
        transfer = self.envelope.transfer
        self._set_rset_state()
        if transfer is not None:
            await transfer.abort()

    async def _obey(self, line: bytes) -> None:
        """Obey one line. Raises Refused for a mistake, Leave at the end."""
        # RFC 5321 section 2.3.8: only CRLF ends a line, and neither octet stands alone.
        if not line.endswith(b"\r\n") or line.find(b"\r") != len(line) - 2 or b"\0" in line:
            raise Refused(replies.BAD_LINE)
        verb, _, rest = line[:-2].partition(b" ")
        name = verb.upper().decode("ascii", "replace")
        if len(line) > COMMAND_LINE_OCTETS and name not in (*_ENVELOPE_COMMANDS, "AUTH"):
            raise Refused(replies.LINE_TOO_LONG)
        method = self._smtp_methods.get(name)
        if method is None:
            raise Refused(replies.UNKNOWN_COMMAND)
        argument = rest.strip().decode("utf-8", "backslashreplace") or None
        try:
            await method(argument)
        except (Refused, Leave):
            raise
        except Exception as error:
            # A bug on our side must not lose mail: it is logged, and answered with a 4xx. Inside
            # a message nobody knows what is a command and what is mail: the session cannot go on.
            log_unexpected(name, error)
            if name in _MESSAGE_COMMANDS:
                raise Leave(replies.NOT_ARCHIVED) from error
            await self._abandon()
            self.envelope.deferral = replies.NOT_ARCHIVED
            self.answer(replies.NOT_ARCHIVED)

    def _refuse(self, reply: Reply) -> None:
        """Answer a refusal; too many mistakes end the session."""
        if reply.fault:
            self._errors += 1
            if self._errors > self.endpoint.settings.max_errors:
                raise Leave(replies.TOO_MANY_ERRORS)
        self.answer(reply)

    # --- the session

    async def smtp_HELO(self, arg: str | None) -> None:
        """Greet (RFC 5321 section 4.1.1.1); resets the transaction."""
        await self._greet(arg, extended=False)

    async def smtp_EHLO(self, arg: str | None) -> None:
        """Greet and offer the extensions."""
        await self._greet(arg, extended=True)

    async def _greet(self, name: str | None, *, extended: bool) -> None:
        if not name:
            raise Refused(replies.HELLO_SYNTAX)
        await self._abandon()
        assert self.session is not None
        self.session.host_name = name
        self.session.extended_smtp = extended
        self.answer(self.endpoint.hello(extended=extended, secured=self.tls is not None))

    async def smtp_STARTTLS(self, arg: str | None) -> None:
        """Switch to TLS (RFC 3207); the session begins anew, EHLO included."""
        if arg:
            raise Refused(replies.BAD_ARGUMENTS)
        if self.tls is not None:
            raise Refused(replies.ALREADY_TLS)
        peer = self.session.peer if self.session is not None else None
        try:
            context = self.endpoint.tls_for(peer)
        except Refused as refused:
            self._no_tls_now = refused.reply.is_transient
            raise
        await self._abandon()
        await self.start_tls(context)
        self.session = self._create_session()
        self.session.peer = peer

    async def smtp_AUTH(self, arg: str | None) -> None:
        """Log in as a source (RFC 4954), under TLS only: the user is the source's id."""
        if self.tls is None:
            raise Refused(replies.AUTH_IN_CLEAR)
        if self.session is None or not self.session.extended_smtp:
            raise Refused(replies.NEED_HELLO)
        if self.envelope.is_open:
            raise Refused(replies.AUTH_IN_MAIL)
        if self._login is not None:
            raise Refused(replies.ALREADY_AUTHENTICATED)
        user, password = await credentials(self, arg)
        endpoint = self.endpoint
        login = await attempt(
            "authenticate",
            endpoint.intake.authenticate(user, password, self.sender()),
            endpoint.settings.commit_timeout,
        )
        self._login_unchecked = isinstance(login, Reply)
        if isinstance(login, Reply):
            raise Refused(replies.AUTH_UNCHECKED)
        if login is None or not login.fits:
            self._note(replies.WRONG_CREDENTIALS, login)
            self._wrong_guesses += 1
            if self._wrong_guesses >= endpoint.settings.max_guesses:
                raise Leave(replies.TOO_MANY_GUESSES)
            raise Refused(replies.WRONG_CREDENTIALS)
        self._login = login
        self.answer(replies.AUTHENTICATED)

    def sender(self, size: int = 0) -> Sender:
        """Who is at the other end, for the source's guard."""
        peer = self.session.peer if self.session is not None else None
        login = self._login.source if self._login is not None else None
        return Sender(peer, self.tls is not None, self.chain, login, size)

    def _note(self, reply: Reply, of: Login | TurnedAway | SourceMatch | None) -> None:
        """Have a refusal recorded, with the source that it concerns: the address's, else the login's."""
        about = of or self._login
        sender = self.sender()
        proven = sender.peer if sender.login is not None or sender.chain else None
        tenant = source = None
        if about is not None:
            tenant = about.tenant
            source = about.source if isinstance(about, Login) else about.source.id
        self.endpoint.refusals.note(tenant, source, reply.reason, proven)

    async def smtp_RSET(self, arg: str | None) -> None:
        """Drop the transaction."""
        if arg:
            raise Refused(replies.BAD_ARGUMENTS)
        await self._abandon()
        self.answer(replies.RESET)

    async def smtp_NOOP(self, arg: str | None) -> None:
        """Nothing; an argument is ignored (RFC 5321 section 4.1.1.9)."""
        self.answer(replies.NOTHING_DONE)

    async def smtp_QUIT(self, arg: str | None) -> None:
        """Leave."""
        if arg:
            raise Refused(replies.BAD_ARGUMENTS)
        raise Leave(replies.GOODBYE)

    async def smtp_HELP(self, arg: str | None) -> None:
        """Name the commands."""
        self.answer(replies.supported(sorted(self._smtp_methods)))

    async def smtp_VRFY(self, arg: str | None) -> None:
        """Tell nothing: the addresses are secrets (RFC 5321 section 7.3)."""
        if not arg:
            raise Refused(replies.BAD_ARGUMENTS)
        self.answer(replies.NOT_TELLING)

    async def smtp_EXPN(self, arg: str | None) -> None:
        """Tell nothing, as VRFY."""
        await self.smtp_VRFY(arg)

    # --- the envelope

    async def smtp_MAIL(self, arg: str | None) -> None:
        """Open a transaction; ``MAIL FROM:<>`` is as good as any sender."""
        if self.session is None or not self.session.host_name:
            raise Refused(replies.NEED_HELLO)
        if self.envelope.is_open:
            raise Refused(replies.NESTED_MAIL)
        self._set_rset_state()
        arguments = parse_mail(arg or "")
        if arguments.size is not None and arguments.size > self.endpoint.settings.max_size:
            raise Refused(replies.TOO_LARGE)  # RFC 1870 section 6.1
        if self.endpoint.budget.full:
            self.envelope.deferral = replies.OVERLOADED
            raise Refused(replies.OVERLOADED)
        self.envelope.begin(arguments)
        self.may_leave = False
        self.answer(replies.SENDER_OK)

    async def smtp_RCPT(self, arg: str | None) -> None:
        """Add a recipient, which is the secret address of a source; one source per transaction."""
        envelope = self.envelope
        if not envelope.is_open:
            raise Refused(envelope.deferral or replies.NEED_MAIL)
        if envelope.transfer is not None:
            raise Refused(replies.NEED_BDAT)  # the capture has begun with the recipients there were
        if len(envelope.rcpt_tos) >= self.endpoint.settings.max_recipients:
            raise Refused(replies.TOO_MANY_RECIPIENTS)
        address = parse_rcpt(arg or "")
        match = await self._judge(address, envelope.declared_size)
        if isinstance(match, Reply):
            if match.is_transient:
                envelope.deferral = match
            raise Refused(match)
        if not envelope.joins(match):
            raise Refused(replies.OTHER_SOURCE)
        if envelope.match is None and not self.endpoint.rates.take(match.source, self.loop.time()):
            self._note(replies.TOO_FAST, match)
            envelope.deferral = replies.TOO_FAST
            raise Refused(replies.TOO_FAST)
        envelope.add(address, match)
        self.answer(replies.RECIPIENT_OK)

    async def _judge(self, address: str, size: int) -> SourceMatch | Reply:
        """The source of an address whose guard lets this session in, or the refusal: 5xx by the acts at their head
        alone, 4xx when these cannot be read or the lack is our own fault."""
        endpoint = self.endpoint
        found = await attempt(
            "match", endpoint.intake.match(address, self.sender(size)), endpoint.settings.commit_timeout
        )
        if isinstance(found, Reply):
            return replies.NOT_JUDGED
        if isinstance(found, SourceMatch):
            return found
        reply = self._turned_away(found) if found is not None else replies.UNKNOWN_RECIPIENT
        if not reply.is_transient:
            self._note(reply, found)
        return reply

    def _turned_away(self, found: TurnedAway) -> Reply:
        if found.lack == Lack.TLS and (self.endpoint.tls is None or self._no_tls_now):
            return replies.NOT_JUDGED  # we cannot give what the source asks
        if found.lack == Lack.LOGIN and self._login_unchecked:
            return replies.NOT_JUDGED
        return _LACKING[Lack(found.lack)]

    # --- the message

    async def smtp_DATA(self, arg: str | None) -> None:
        """Take a message up to CRLF . CRLF; 250 only when it is archived."""
        if arg:
            raise Refused(replies.BAD_ARGUMENTS)
        envelope = self.envelope
        if envelope.arguments is not None and envelope.arguments.binary:
            raise Refused(replies.NEED_BDAT)  # RFC 3030 section 3
        if envelope.transfer is not None:
            raise Refused(replies.NEED_BDAT)  # RFC 3030 section 2: DATA and BDAT do not mix
        transfer = await self._open_transfer()
        if transfer.failure is not None:
            await self._conclude(transfer)
            return
        self.answer(replies.SEND_DATA)
        decoder = DataDecoder()
        rest: bytes | None = None
        while rest is None:
            content, rest = decoder.feed(await self.next_chunk())
            if content:
                await transfer.write(content)
        self.put_back(rest)
        await self._conclude(transfer)

    async def smtp_BDAT(self, arg: str | None) -> None:
        """Take one chunk of a message (RFC 3030). Its octets are read whatever the reply will be."""
        try:
            octets, last = parse_bdat(arg)
        except Refused as refused:
            # Where the chunk ends is unknown: reading on would take its content for commands.
            self._refuse(refused.reply)
            raise Leave from refused
        try:
            transfer = self.envelope.transfer or await self._open_transfer()
        except Refused:
            await self._read_chunk(octets, None)
            raise
        await self._read_chunk(octets, transfer)
        if last:
            await self._conclude(transfer)
        else:
            self.answer(transfer.failure or replies.chunk_received(octets))

    async def _read_chunk(self, octets: int, transfer: Transfer | None) -> None:
        while octets > 0:
            content = await self.next_chunk(octets)
            octets -= len(content)
            if transfer is not None:
                await transfer.write(content)

    async def _open_transfer(self) -> Transfer:
        """Begin a capture. Raises Refused when the envelope is not complete."""
        envelope = self.envelope
        draft = envelope.draft(
            peer=self.session.peer if self.session is not None else None,
            helo=self.session.host_name if self.session is not None else None,
            tls=self.tls,
        )
        if draft is None:
            missing = replies.NEED_RECIPIENT if envelope.is_open else replies.NEED_MAIL
            raise Refused(envelope.deferral or missing)
        endpoint = self.endpoint
        transfer = Transfer(endpoint.intake, endpoint.settings, endpoint.budget, endpoint.counters)
        envelope.transfer = transfer
        await transfer.open(draft)
        return transfer

    async def _conclude(self, transfer: Transfer) -> None:
        """End the message and the transaction with the one reply that counts."""
        envelope = self.envelope
        reply = await transfer.finish()
        if transfer.over_guard:
            reply = await self._too_large(envelope, transfer.octets)
        self._set_rset_state()
        if transfer.failure is None:
            self._errors = 0
        self.answer(reply)

    async def _too_large(self, envelope: Transaction, octets: int) -> Reply:
        """A mail over its source's limit: 552 by the acts at their head, else 4xx, and the sender tries again."""
        judged = await self._judge(envelope.rcpt_tos[0], octets)
        return judged if isinstance(judged, Reply) else replies.NOT_JUDGED
