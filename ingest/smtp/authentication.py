"""The AUTH exchange (RFC 4954) with PLAIN (RFC 4616) and LOGIN: from the command's argument to user and password."""

import base64
import binascii
from typing import Protocol

from ingest.smtp import replies
from ingest.smtp.input_buffer import LineTooLong
from ingest.smtp.replies import Refused, Reply

RESPONSE_OCTETS = 12288
"""Longest line of an exchange with its CRLF, RFC 4954 section 4."""

MECHANISMS = ("PLAIN", "LOGIN")


class Talk(Protocol):
    """What the exchange needs of a connection."""

    def answer(self, reply: Reply) -> None:
        """Queue a reply."""
        ...

    async def next_line(self, limit: int) -> bytes:
        """The next line with its LF. Raises LineTooLong."""
        ...


async def credentials(talk: Talk, argument: str | None) -> tuple[str, str]:
    """Have the peer say user and password. Raises Refused with the reply: nothing was said, or not in this form."""
    words = (argument or "").split(" ")
    mechanism = words[0].upper()
    if not mechanism or len(words) > 2:
        raise Refused(replies.BAD_ARGUMENTS)
    if mechanism not in MECHANISMS:
        raise Refused(replies.UNKNOWN_MECHANISM)
    initial = words[1] if len(words) == 2 else None
    if mechanism == "PLAIN":
        return _plain(await _response(talk, b"", initial))
    user = await _response(talk, b"Username:", initial)
    return _text(user), _text(await _response(talk, b"Password:", None))


async def _response(talk: Talk, challenge: bytes, initial: str | None) -> bytes:
    """The peer's answer to a challenge, or what it sent ahead of one (RFC 4954 section 4: ``=`` is empty)."""
    if initial is not None:
        return b"" if initial == "=" else _decoded(initial.encode("utf-8"))
    talk.answer(Reply(b"334 " + base64.b64encode(challenge) + b"\r\n"))
    try:
        line = await talk.next_line(RESPONSE_OCTETS)
    except LineTooLong as error:
        raise Refused(replies.RESPONSE_TOO_LONG) from error
    if not line.endswith(b"\r\n"):
        raise Refused(replies.BAD_RESPONSE)
    if line == b"*\r\n":
        raise Refused(replies.EXCHANGE_CANCELLED)
    return _decoded(line[:-2])


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise Refused(replies.BAD_RESPONSE) from error


def _plain(message: bytes) -> tuple[str, str]:
    """RFC 4616 section 2: ``[authzid] NUL authcid NUL passwd``. Nobody acts for another."""
    parts = message.split(b"\0")
    if len(parts) != 3 or not parts[1] or not parts[2]:
        raise Refused(replies.BAD_RESPONSE)
    if parts[0] not in (b"", parts[1]):
        raise Refused(replies.WRONG_CREDENTIALS)
    return _text(parts[1]), _text(parts[2])


def _text(said: bytes) -> str:
    try:
        return said.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(replies.BAD_RESPONSE) from error
