"""A mailbox on an IMAP server (RFC 3501, 9051): every folder, read-only.

Folders are opened with EXAMINE and mail is fetched with BODY.PEEK[]: nothing is marked, moved or deleted. An item's
name is its URL (RFC 5092) with user, folder, UIDVALIDITY and UID; the server promises never to give that name to other
bytes, so what is known by it is not fetched again. When UIDVALIDITY changes, all names are new.

A connection that is lost is made again a few times; what was under way is asked for again. What a server says is
repeated nowhere: it may name somebody.
"""

import imaplib
import logging
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

from archive_service.model.backoff import Backoff
from archive_service.model.errors import ArchiveError, StoreError
from archive_service.model.reachable import connect
from ingest.importers import server as servers
from ingest.importers.base import Item, MailboxFailed, failing, too_large
from ingest.importers.imap_words import Folder, folder_url, folders, mail_url
from ingest.importers.server import Server, Tls

_log = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")
_LOST = (imaplib.IMAP4.abort, OSError, EOFError)
_UID = re.compile(rb"\bUID ([0-9]+)")
_SIZE = re.compile(rb"\bRFC822\.SIZE ([0-9]+)")
_MESSAGES = re.compile(rb"\bMESSAGES ([0-9]+)")
_BODY = re.compile(rb"\bBODY\[\] (\{[0-9]+\}\Z|\"\"|NIL)")


class _Bounded(imaplib.IMAP4):
    """Refuses literals above a limit instead of making room for whatever a server announces."""

    limit = 1 << 20

    def read(self, size: int) -> bytes:
        """See ``imaplib``. Raises StoreError; then the connection is of no more use."""
        if size > self.limit:
            raise too_large(self.limit)
        return super().read(size)

    def _create_socket(self, timeout: float | None) -> socket.socket:
        """As in imaplib, to an address that may be reached. Raises Refused."""
        return connect(self.host, self.port, timeout)


class _BoundedSsl(_Bounded, imaplib.IMAP4_SSL):
    """The same over TLS."""

    def _create_socket(self, timeout: float | None) -> socket.socket:
        """See above."""
        plain = super()._create_socket(timeout)
        secured: socket.socket = self.ssl_context.wrap_socket(plain, server_hostname=self.host)
        return secured


class Imap:
    """See ``base.Mailbox``. Connected on return. Raises Invalid, MailboxFailed."""

    def __init__(self, server: Server, limit: int, patience: Backoff = servers.PATIENCE) -> None:
        self._server = server
        self._limit = limit
        self._patience = patience
        self._context = server.context()
        self._connection: imaplib.IMAP4 | None = None
        self._folder: Folder | None = None
        self._uidvalidity = 0
        try:
            self._folders = self._again(_listed, servers.AT_ONCE)
        except ArchiveError:
            self._drop()
            raise

    # --- what the engine sees -------------------------------------------------------------------------

    def count(self) -> int | None:
        """As the server says now."""
        try:
            return sum(self._again(partial(_messages, folder=folder)) for folder in self._mail_folders())
        except StoreError:
            return None

    def items(self) -> Iterator[Item]:
        """Folder by folder, each by UID."""
        for folder in self._folders:
            if folder.selectable and not folder.sendable:
                yield self._without(
                    folder, StoreError("a folder's name that cannot be sent", code="import.folder")
                )
        for folder in self._mail_folders():
            try:
                listed = self._enter(folder)
            except MailboxFailed:
                raise
            except ArchiveError as error:
                yield self._without(folder, error)
                continue
            uidvalidity = self._uidvalidity
            for uid, size in listed:
                name = mail_url(self._server.host, self._server.user, folder, uidvalidity, uid)
                yield Item(name, partial(self._read, uid, size), settled_by_name=True)

    # --- what a listing of it sees --------------------------------------------------------------------

    def folders(self) -> list[Folder]:
        """Those that can hold mail."""
        return self._mail_folders()

    def enter(self, folder: Folder) -> list[tuple[int, int]]:
        """Open a folder read-only; the UIDs and sizes in it. Raises StoreError for this folder alone, MailboxFailed."""
        return self._enter(folder)

    def ask(self, work: Callable[[imaplib.IMAP4], _Answer]) -> _Answer:
        """Something about the folder that is open, again over a new connection when that is lost. Raises MailboxFailed,
        StoreError."""
        return self._again(work)

    def name_of(self, folder: Folder, uid: int | None = None) -> str:
        """As ``items`` names the folder, or a mail in the one that is open."""
        host, user = self._server.host, self._server.user
        if uid is None:
            return folder_url(host, user, folder)
        return mail_url(host, user, folder, self._uidvalidity, uid)

    def close(self) -> None:
        """Log out."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.logout()
            except (imaplib.IMAP4.error, *_LOST) as error:
                _log.debug("the server did not say goodbye: %s", type(error).__name__)

    # --- folders and mail -----------------------------------------------------------------------------

    def _mail_folders(self) -> list[Folder]:
        return [folder for folder in self._folders if folder.selectable and folder.sendable]

    def _without(self, folder: Folder, error: ArchiveError) -> Item:
        return failing(folder_url(self._server.host, self._server.user, folder), error)

    def _enter(self, folder: Folder) -> list[tuple[int, int]]:
        """Open a folder; the UIDs and sizes in it. Raises StoreError for this folder alone."""
        self._folder, self._uidvalidity = None, 0

        def attempt(connection: imaplib.IMAP4) -> list[tuple[int, int]]:
            self._uidvalidity, count = _examined(connection, folder)
            return _sizes(connection) if count else []

        listed = self._again(attempt)
        self._folder = folder
        return listed

    def _read(self, uid: int, size: int) -> bytes:
        if size > self._limit:
            raise too_large(self._limit)
        return self._again(partial(_fetched, uid=uid))

    # --- the connection -------------------------------------------------------------------------------

    def _again(self, work: Callable[[imaplib.IMAP4], _Answer], patience: Backoff | None = None) -> _Answer:
        """``work`` over a connection, anew when that is lost. Raises MailboxFailed when it cannot be made again,
        StoreError when the server says no."""

        def over_connection() -> _Answer:
            return work(self._connected())

        try:
            return servers.repeated(over_connection, self._drop, patience or self._patience, *_LOST)
        except StoreError as error:
            if error.code == "import.too_large":
                self._drop()  # in the middle of an answer
            raise
        except imaplib.IMAP4.error as error:
            raise StoreError("the server refuses a command", code="import.refused") from error

    def _connected(self) -> imaplib.IMAP4:
        """The connection in the folder that is being read. Raises MailboxFailed, StoreError when that is another one
        now, and what imaplib raises."""
        if self._connection is None:
            connection = self._open()
            self._connection = connection
            _log_in(connection, self._server)
            if self._folder is not None:
                uidvalidity, _ = _examined(connection, self._folder)
                if uidvalidity != self._uidvalidity:
                    raise StoreError(
                        "the folder was made anew while it was read: import again", code="import.uidvalidity"
                    )
        return self._connection

    def _open(self) -> imaplib.IMAP4:
        server = self._server
        made: _Bounded
        if server.tls is Tls.IMPLICIT:
            made = _BoundedSsl(server.host, server.port, ssl_context=self._context, timeout=servers.TIMEOUT)
        else:
            made = _Bounded(server.host, server.port, timeout=servers.TIMEOUT)
        made.limit = self._limit
        if server.tls is Tls.STARTTLS:
            _start_tls(made, self._context)
        return made

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            _shut(connection)


def _shut(connection: imaplib.IMAP4) -> None:
    try:
        connection.shutdown()
    except OSError as error:
        _log.debug("a connection was gone already: %s", type(error).__name__)


def _start_tls(connection: imaplib.IMAP4, context: ssl.SSLContext) -> None:
    """Never goes on without TLS."""
    if "STARTTLS" not in connection.capabilities:
        _shut(connection)
        raise MailboxFailed("the server offers no STARTTLS", code="import.tls")
    try:
        connection.starttls(context)
    except imaplib.IMAP4.error as error:
        _shut(connection)
        raise MailboxFailed("the server refuses STARTTLS", code="import.tls") from error
    except OSError:
        _shut(connection)
        raise


def _log_in(connection: imaplib.IMAP4, server: Server) -> None:
    """XOAUTH2 with a token; else PLAIN where it is offered, for LOGIN knows ASCII alone. Raises MailboxFailed."""
    answers: list[bytes] = []

    def answer(_: bytes) -> bytes:
        """What the mechanism says first; to the server's reasons afterwards, nothing (XOAUTH2 asks for that)."""
        return answers.pop() if answers else b""

    try:
        if server.token:
            answers.append(server.xoauth2())
            connection.authenticate("XOAUTH2", answer)
        elif "AUTH=PLAIN" in connection.capabilities:
            answers.append(server.plain())
            connection.authenticate("PLAIN", answer)
        else:
            user = re.sub(r'(["\\])', r"\\\1", server.user)
            connection.login(f'"{user}"', server.secret)
    except imaplib.IMAP4.abort:
        raise
    except (imaplib.IMAP4.error, UnicodeEncodeError) as error:
        raise servers.refused_login() from error


def _listed(connection: imaplib.IMAP4) -> list[Folder]:
    kind, answer = connection.list()
    if kind != "OK":
        raise MailboxFailed("the server lists no folders", code="import.refused")
    try:
        return folders(list(answer))
    except ValueError as error:
        raise servers.protocol_broken(str(error)) from error


def _messages(connection: imaplib.IMAP4, folder: Folder) -> int:
    _, answer = connection.status(folder.quoted, "(MESSAGES)")  # type: ignore[arg-type]  # bytes go as they are
    found = _MESSAGES.search(b" ".join(each for each in _pieces(answer)))
    return int(found[1]) if found is not None else 0


def _examined(connection: imaplib.IMAP4, folder: Folder) -> tuple[int, int]:
    """UIDVALIDITY, and how many mails there are. Raises StoreError."""
    kind, count = connection.select(folder.quoted, readonly=True)  # type: ignore[arg-type]  # bytes go as they are
    if kind != "OK":
        raise StoreError("the server does not open the folder", code="import.folder")
    validity = connection.response("UIDVALIDITY")[1][0]
    if not isinstance(validity, bytes) or not validity.isdigit():
        raise StoreError("the folder has no UIDVALIDITY: its mail has no lasting names", code="import.folder")
    return int(validity), int(count[0] or 0)


def _sizes(connection: imaplib.IMAP4) -> list[tuple[int, int]]:
    """Every UID with the size that the server tells, in order."""
    kind, answer = connection.uid("FETCH", "1:*", "(UID RFC822.SIZE)")
    if kind != "OK":
        raise StoreError("the server does not list the folder", code="import.folder")
    found: dict[int, int] = {}
    for line in _pieces(answer):
        uid, size = _UID.search(line), _SIZE.search(line)
        if uid is not None:
            found[int(uid[1])] = int(size[1]) if size is not None else 0
    return sorted(found.items())


def _fetched(connection: imaplib.IMAP4, uid: int) -> bytes:
    """A mail's bytes. Raises StoreError."""
    kind, answer = connection.uid("FETCH", str(uid), "(UID BODY.PEEK[])")
    if kind != "OK":
        raise StoreError("the server does not give the mail", code="import.refused")
    for place, each in enumerate(answer):
        line, literal = each if isinstance(each, tuple) else (each or b"", b"")
        behind = answer[place + 1] if place + 1 < len(answer) else b""
        named = _UID.search(line) or _UID.search(behind if isinstance(behind, bytes) else b"")
        body = _BODY.search(line)
        if body is not None and named is not None and int(named[1]) == uid and body[1] != b"NIL":
            return bytes(literal)
    raise StoreError("the mail was removed while the mailbox was read", code="import.gone")


def _pieces(answer: list[Any]) -> Iterator[bytes]:
    for each in answer:
        if isinstance(each, tuple):
            yield b" ".join(each)
        elif isinstance(each, bytes):
            yield each
