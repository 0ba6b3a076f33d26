"""A mailbox on a POP3 server (RFC 1939): what it lists, by UIDL.

An item's name holds the server, the user and the mail's unique id, which the server promises never to give to another
mail: what is known by it is not fetched again. An id that is listed twice promises nothing: then the bytes decide,
and such mail is never deleted.

Nothing is deleted, unless that was asked for; then each mail is fetched, whatever is known of it, and deleted once
exactly these bytes are durable in the archive. The server deletes when the session ends well (QUIT), not before.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import TypeVar
from urllib.parse import quote

from archive_service.model.backoff import Backoff
from archive_service.model.errors import ArchiveError, StoreError
from ingest.importers import server as servers
from ingest.importers.base import Item, MailboxFailed, too_large
from ingest.importers.pop3_wire import Refusal, Wire
from ingest.importers.server import Server

_log = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")


class Pop3:
    """See ``base.Mailbox``. Connected on return. Raises Invalid, MailboxFailed."""

    def __init__(
        self, server: Server, limit: int, *, delete: bool = False, patience: Backoff = servers.PATIENCE
    ) -> None:
        self._server = server
        self._limit = limit
        self._delete = delete
        self._patience = patience
        self._context = server.context()
        self._wire: Wire | None = None
        self._numbers: dict[str, list[int]] = {}
        try:
            self._listed = self._again(_listed, servers.AT_ONCE)
            self._sizes = self._again(_sizes)
        except ArchiveError:
            self._hang_up()
            raise

    # --- what the engine sees -------------------------------------------------------------------------

    def count(self) -> int | None:
        """As listed."""
        return len(self._listed)

    def items(self) -> Iterator[Item]:
        """In the server's order."""
        times = Counter(unique for _, unique in self._listed)
        seen: Counter[str] = Counter()
        for number, unique in self._listed:
            place, alone = seen[unique], times[unique] == 1
            seen[unique] += 1
            yield Item(
                self._name(unique),
                partial(self._read, unique, place, self._sizes.get(number, 0)),
                settled_by_name=alone and not self._delete,
                archived=partial(self._archived, unique) if alone and self._delete else None,
            )

    def _name(self, unique: str) -> str:
        return f"pop://{quote(self._server.user, safe='')}@{self._server.host}/;UIDL={quote(unique, safe='')}"

    def close(self) -> None:
        """End the session well, so that what was to be deleted is."""
        wire = self._wire
        if wire is not None:
            try:
                wire.ask("QUIT")
            except (OSError, StoreError) as error:
                level = logging.WARNING if self._delete else logging.DEBUG
                _log.log(level, "the POP3 session did not end well: %s", type(error).__name__)
        self._hang_up()

    # --- one mail -------------------------------------------------------------------------------------

    def _read(self, unique: str, place: int, size: int) -> bytes:
        if size > self._limit:
            raise too_large(self._limit)
        return self._again(lambda wire: wire.mail(self._number(wire, unique, place), self._limit))

    def _archived(self, unique: str) -> None:
        """Mark a mail for deletion. One that the server keeps is told of in the log alone: it is archived."""
        try:
            self._again(lambda wire: wire.ask(f"DELE {self._number(wire, unique, 0)}"))
        except MailboxFailed:
            raise
        except StoreError as error:
            _log.warning("the server does not delete a mail: %s", error.code)

    def _number(self, wire: Wire, unique: str, place: int) -> int:
        """A mail's number in this session: another session counts anew. Raises StoreError."""
        if not self._numbers:
            for number, each in _listed(wire):
                self._numbers.setdefault(each, []).append(number)
        numbers = self._numbers.get(unique, [])
        if place >= len(numbers):
            raise StoreError("the mail was removed while the mailbox was read", code="import.gone")
        return numbers[place]

    # --- the connection -------------------------------------------------------------------------------

    def _again(self, work: Callable[[Wire], _Answer], patience: Backoff | None = None) -> _Answer:
        """``work`` over a connection, anew when that is lost. Raises MailboxFailed when it cannot be made again."""
        patience = patience or self._patience
        return servers.repeated(lambda: work(self._connected()), self._hang_up, patience, OSError)

    def _connected(self) -> Wire:
        if self._wire is None:
            wire = Wire(self._server, self._context)
            try:
                _log_in(wire, self._server)
            except BaseException:
                wire.close()
                raise
            self._wire = wire
        return self._wire

    def _hang_up(self) -> None:
        wire, self._wire = self._wire, None
        self._numbers = {}
        if wire is not None:
            wire.close()


def _log_in(wire: Wire, server: Server) -> None:
    """XOAUTH2 with a token; else USER and PASS. Raises MailboxFailed; OSError for what passes, as a mailbox that a
    session which was cut still holds."""
    try:
        if server.token:
            _with_token(wire, server)
        else:
            wire.ask(f"USER {server.user}")
            wire.ask(f"PASS {server.secret}")
    except Refusal as error:
        if error.passing:
            raise ConnectionRefusedError("the mailbox is in use") from error
        raise servers.refused_login() from error


def _with_token(wire: Wire, server: Server) -> None:
    """A server that refuses says its reasons as one more challenge, to which nothing is answered."""
    if wire.challenged("AUTH XOAUTH2") and wire.challenged(servers.encoded(server.xoauth2())):
        wire.ask("")
        raise servers.refused_login()


def _listed(wire: Wire) -> list[tuple[int, str]]:
    """Numbers and unique ids. Raises MailboxFailed where there are none: such mail has no lasting name."""
    try:
        lines = wire.listing("UIDL")
    except Refusal as error:
        raise MailboxFailed("the server gives no unique ids (UIDL)", code="import.uidl") from error
    found = []
    for line in lines:
        number, _, unique = line.partition(b" ")
        if not number.isdigit() or not unique:
            raise servers.protocol_broken("a line of UIDL that does not parse")
        found.append((int(number), unique.decode("utf-8", "backslashreplace")))
    return found


def _sizes(wire: Wire) -> dict[int, int]:
    """Sizes by number, as far as the server tells them."""
    found = {}
    for line in wire.listing("LIST"):
        words = line.split()
        with suppress(ValueError, IndexError):
            found[int(words[0])] = int(words[1])
    return found
