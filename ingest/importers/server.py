"""Where a mail server is, how it is spoken to, and who asks: what IMAP and POP3 have in common."""

import base64
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from archive_service.model.backoff import Backoff
from archive_service.model.errors import Invalid, StoreError
from ingest.importers.base import MailboxFailed

_Answer = TypeVar("_Answer")
TIMEOUT = 60.0  # seconds of silence after which a connection counts as lost
PATIENCE = Backoff(tries=6, first_pause=1.0, longest_pause=20.0, total=90.0)
AT_ONCE = Backoff(tries=1)  # a wrong name or port is said at once


class Lost(StoreError):
    """The connection is gone, and may be made again. Its cause is why."""


class Tls(StrEnum):
    """How a connection is protected. NONE: not at all; only because somebody asked for it."""

    IMPLICIT = "implicit"
    STARTTLS = "starttls"
    NONE = "none"


@dataclass(frozen=True)
class Server:
    """A mailbox on a server. ``secret``: a password, or an OAuth 2.0 access token when ``token``; shown by nothing.
    ``ca``: PEM of the authorities trusted; None: the system's."""

    host: str
    port: int
    user: str
    secret: str = field(repr=False)
    token: bool = False
    tls: Tls = Tls.IMPLICIT
    ca: Path | None = None

    def __post_init__(self) -> None:
        """Raises Invalid for what cannot be said on a line."""
        for text in (self.host, self.user, self.secret):
            if not text or any(letter in text for letter in "\r\n\x00\x01"):
                raise Invalid("host, user and secret are one line each", code="import.server")

    def context(self) -> ssl.SSLContext:
        """Certificates are checked, whatever. Raises Invalid when the authorities cannot be read."""
        try:
            return ssl.create_default_context(cafile=str(self.ca) if self.ca is not None else None)
        except (OSError, ssl.SSLError) as error:
            raise Invalid("the file of certificate authorities cannot be read", code="import.ca") from error

    def xoauth2(self) -> bytes:
        """The answer of Google's and Microsoft's XOAUTH2 mechanism."""
        return f"user={self.user}\x01auth=Bearer {self.secret}\x01\x01".encode()

    def plain(self) -> bytes:
        """The answer of the PLAIN mechanism (RFC 4616)."""
        return f"\x00{self.user}\x00{self.secret}".encode()


def encoded(answer: bytes) -> str:
    """As it is sent on a line."""
    return base64.b64encode(answer).decode("ascii")


def repeated(
    work: Callable[[], _Answer], lost: Callable[[], None], patience: Backoff, *signs: type[Exception]
) -> _Answer:
    """``work``, and again after ``lost`` when it raises one of ``signs`` that its connection is gone. Raises
    MailboxFailed when that does not help; a certificate that is not trusted is not tried twice."""

    def attempt() -> _Answer:
        try:
            return work()
        except ssl.SSLCertVerificationError as error:
            raise unreachable(error) from error
        except signs as error:
            lost()
            raise Lost("the connection to the server is lost") from error

    try:
        return patience.repeat(attempt, Lost)
    except Lost as error:
        cause = error.__cause__
        raise unreachable(cause if isinstance(cause, Exception) else error) from error


def refused_login() -> MailboxFailed:
    """What the server says is not shown: it may name somebody."""
    return MailboxFailed("the server refuses the login", code="import.login")


def unreachable(error: Exception) -> MailboxFailed:
    """No connection, or no more. Which error is said by its kind alone."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return MailboxFailed(
            f"the server's certificate is not trusted ({error.verify_message})", code="import.tls"
        )
    if isinstance(error, ssl.SSLError):
        return MailboxFailed("the server does not speak TLS here", code="import.tls")
    return MailboxFailed(f"the server cannot be reached ({type(error).__name__})", code="import.connection")


def protocol_broken(why: str) -> MailboxFailed:
    """The server does not say what its protocol asks for."""
    return MailboxFailed(f"the server does not follow its protocol: {why}", code="import.protocol")
