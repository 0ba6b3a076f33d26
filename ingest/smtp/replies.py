"""Every reply of the endpoint, and the one mapping from errors to replies.

All carry an enhanced status code (RFC 2034, RFC 3463) except the greeting, replies to HELO and EHLO, and
3xx, which RFC 2034 section 4 exempts. A 5xx is policy or the sender's mistake alone; what goes wrong on
our side is 4xx, so that the sender keeps the mail and tries again. No reply repeats an address.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from archive_service.model.errors import ArchiveError, Overloaded, StoreFull
from ingest.intake import Receipt


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply as it goes over the wire. ``reason`` names a refusal in the counters; "" is none.

    ``fault``: the sender's mistake, which counts against the session's error limit.
    """

    wire: bytes
    reason: str = ""
    fault: bool = False

    @property
    def is_transient(self) -> bool:
        """A 4xx: the sender keeps the mail and tries again."""
        return self.wire.startswith(b"4")


class Refused(Exception):
    """A command cannot be obeyed; ``reply`` says why."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.reason)
        self.reply = reply


def make(code: int, status: str, text: str, *, reason: str = "", fault: bool = False) -> Reply:
    """A one-line reply with its enhanced status code."""
    return Reply(f"{code} {status} {text}\r\n".encode("ascii"), reason, fault)


def _mistake(code: int, status: str, text: str, reason: str) -> Reply:
    return make(code, status, text, reason=reason, fault=True)


RESET = make(250, "2.0.0", "reset")
NOTHING_DONE = make(250, "2.0.0", "nothing done")
SENDER_OK = make(250, "2.1.0", "sender ok")
RECIPIENT_OK = make(250, "2.1.5", "recipient ok")
NOT_TELLING = make(252, "2.0.0", "addresses are not verified here")
GOODBYE = make(221, "2.0.0", "goodbye")
START_TLS = make(220, "2.0.0", "ready to start TLS")
SEND_DATA = Reply(b"354 end the message with <CR><LF>.<CR><LF>\r\n")

UNKNOWN_RECIPIENT = _mistake(550, "5.1.1", "no such recipient", "unknown_recipient")
BAD_RECIPIENT = _mistake(501, "5.1.3", "malformed recipient address", "syntax")
BAD_SENDER = _mistake(501, "5.1.7", "malformed sender address", "syntax")
BAD_ARGUMENTS = _mistake(501, "5.5.4", "wrong arguments", "syntax")
BAD_LINE = _mistake(500, "5.5.2", "a command is one line of text ended by <CR><LF>", "syntax")
LINE_TOO_LONG = _mistake(500, "5.5.2", "command line too long", "syntax")
UNKNOWN_COMMAND = _mistake(500, "5.5.1", "command not recognized", "syntax")
UNKNOWN_PARAMETER = _mistake(555, "5.5.4", "parameter not recognized", "syntax")
HELLO_SYNTAX = Reply(b"501 a host name is needed\r\n", "syntax", fault=True)
NO_TLS = _mistake(502, "5.5.1", "TLS is not offered", "sequence")
ALREADY_TLS = _mistake(503, "5.5.1", "TLS is already active", "sequence")
NEED_HELLO = _mistake(503, "5.5.1", "EHLO first", "sequence")
NEED_MAIL = _mistake(503, "5.5.1", "MAIL first", "sequence")
NEED_RECIPIENT = _mistake(503, "5.5.1", "a valid RCPT first", "sequence")
NESTED_MAIL = _mistake(503, "5.5.1", "a transaction is open already", "sequence")
NEED_BDAT = _mistake(503, "5.5.1", "this transaction goes on with BDAT", "sequence")

# RFC 3207 section 4 (530) and 4.1 (554), RFC 4954 section 6.
NEED_TLS = _mistake(530, "5.7.0", "must issue a STARTTLS command first", "need_tls")
NEED_CERTIFICATE = _mistake(554, "5.7.0", "refused: a client certificate is needed", "need_certificate")
NEED_LOGIN = _mistake(530, "5.7.0", "authentication required", "need_login")
AUTH_IN_CLEAR = _mistake(538, "5.7.11", "encryption required for authentication", "sequence")
AUTHENTICATED = make(235, "2.7.0", "authentication succeeded")
WRONG_CREDENTIALS = _mistake(535, "5.7.8", "authentication credentials invalid", "wrong_credentials")
ALREADY_AUTHENTICATED = _mistake(503, "5.5.1", "already authenticated", "sequence")
AUTH_IN_MAIL = _mistake(503, "5.5.1", "AUTH is not possible inside a transaction", "sequence")
UNKNOWN_MECHANISM = _mistake(504, "5.5.4", "authentication mechanism not known", "syntax")
BAD_RESPONSE = _mistake(501, "5.5.2", "the response cannot be decoded", "syntax")
RESPONSE_TOO_LONG = _mistake(500, "5.5.6", "authentication exchange line is too long", "syntax")
EXCHANGE_CANCELLED = _mistake(501, "5.7.0", "authentication cancelled", "cancelled")
AUTH_UNCHECKED = make(
    454, "4.7.0", "authentication not possible now, try again later", reason="auth_unchecked"
)
TLS_UNAVAILABLE = make(454, "4.7.0", "TLS not available now, try again later", reason="tls_unavailable")
TOO_MANY_GUESSES = make(421, "4.7.0", "too many wrong credentials", reason="guesses")
TOO_FAST = make(450, "4.7.1", "too much mail of this source, try again later", reason="rate")
NO_PROXY_HEADER = make(421, "4.3.2", "a PROXY header is needed from here", reason="proxy")

TOO_LARGE = make(552, "5.3.4", "message larger than the limit", reason="too_large")
TOO_MANY_RECIPIENTS = make(452, "4.5.3", "too many recipients", reason="too_many_recipients")
OTHER_SOURCE = make(452, "4.5.3", "one source per transaction, send a copy apart", reason="other_source")
OVERLOADED = make(452, "4.3.1", "too much mail in flight, try again later", reason="overloaded")
STORE_FULL = make(452, "4.3.1", "storage is full, try again later", reason="store_full")
NOT_ARCHIVED = make(451, "4.3.0", "not archived, try again later", reason="internal")
NOT_JUDGED = make(451, "4.3.0", "recipient cannot be checked now, try again later", reason="not_judged")
TOO_SLOW = make(451, "4.4.5", "not archived in time, try again later", reason="commit_timeout")

TOO_MANY_CONNECTIONS = make(421, "4.3.2", "too many connections, try again later", reason="connections")
SHUTTING_DOWN = make(421, "4.3.2", "shutting down, try again later", reason="shutdown")
IDLE = make(421, "4.4.2", "timed out", reason="idle")
TOO_MANY_ERRORS = make(421, "4.7.0", "too many errors", reason="errors")

_BY_ERROR: dict[type[ArchiveError], Reply] = {
    StoreFull: STORE_FULL,
    Overloaded: OVERLOADED,
    ArchiveError: NOT_ARCHIVED,
}


def for_error(error: ArchiveError) -> Reply:
    """The 4xx for an error of the archive, by its nearest class; always 4xx."""
    return next(_BY_ERROR[kind] for kind in type(error).__mro__ if kind in _BY_ERROR)


def archived(receipt: Receipt) -> Reply:
    """The only 250 that ends a message: its entry is durable."""
    return make(250, "2.0.0", f"archived log={receipt.log} seq={receipt.seq}")


def chunk_received(octets: int) -> Reply:
    """A BDAT chunk that is not the last was taken (RFC 3030 section 2); nothing is archived yet."""
    return make(250, "2.0.0", f"{octets} octets received")


def greeting(hostname: str) -> Reply:
    """The first line of a session."""
    return Reply(f"220 {hostname} ESMTP archive\r\n".encode("ascii"))


def hello(hostname: str, extensions: Sequence[str] = ()) -> Reply:
    """The reply to HELO (no extensions) or EHLO."""
    lines = [hostname, *extensions]
    marked = [f"250-{line}" for line in lines[:-1]] + [f"250 {lines[-1]}"]
    return Reply("".join(f"{line}\r\n" for line in marked).encode("ascii"))


def supported(commands: list[str]) -> Reply:
    """The reply to HELP."""
    return make(214, "2.0.0", "commands: " + " ".join(commands))
