"""The bytes of the milter protocol: a packet is its length (4 bytes, big-endian), a letter, and data.

``length`` counts the letter. Strings in data end with a NUL. Everything here is pure, and raises ``Malformed`` alone.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

LENGTH_OCTETS = 4

_BARE_LF = re.compile(rb"(?<!\r)\n")
_ROUTE = re.compile(r"@[^:]*:(?=.)")  # RFC 5321 appendix C: accepted and ignored


class Malformed(Exception):
    """These bytes are not what the protocol says."""


class Command(StrEnum):
    """What the MTA sends."""

    ABORT = "A"
    BODY = "B"
    CONNECT = "C"
    MACROS = "D"
    END_OF_BODY = "E"
    HELO = "H"
    QUIT_NEW_CONNECTION = "K"
    HEADER = "L"
    MAIL = "M"
    END_OF_HEADER = "N"
    NEGOTIATE = "O"
    QUIT = "Q"
    RCPT = "R"
    DATA = "T"
    UNKNOWN = "U"


CONTENT = frozenset((Command.HEADER, Command.END_OF_HEADER, Command.BODY, Command.END_OF_BODY))

CONTINUE = b"c"
TEMPFAIL = b"t"
REPLY_CODE = b"y"


@dataclass(frozen=True, slots=True)
class Packet:
    """``data`` is None when it was longer than what is read."""

    command: Command
    data: bytes | None


@dataclass(frozen=True, slots=True)
class Client:
    """The MTA's SMTP client, or whoever called its sendmail command. ``address`` is None where there is none."""

    name: str
    address: str | None


@dataclass(frozen=True, slots=True)
class Path:
    """The argument of MAIL or RCPT: the address without brackets ("" for the null reverse-path), and parameters."""

    address: str
    parameters: tuple[str, ...]


def command_of(letter: int) -> Command:
    """The command of a packet's first byte."""
    try:
        return Command(chr(letter))
    except ValueError:
        raise Malformed from None


def packed(letter: bytes, data: bytes = b"") -> bytes:
    """A packet as it goes over the wire."""
    return (len(data) + 1).to_bytes(LENGTH_OCTETS, "big") + letter + data


def text(data: bytes) -> str:
    """UTF-8; other bytes appear as ``\\xNN``, as everywhere in a capture record."""
    return data.decode("utf-8", "backslashreplace")


def strings(data: bytes) -> list[bytes]:
    """NUL-ended strings, and nothing behind the last."""
    if not data:
        return []
    if not data.endswith(b"\0"):
        raise Malformed
    return data[:-1].split(b"\0")


def macros(data: bytes) -> tuple[str, dict[str, str]]:
    """The command that the macros are for, and their values by name without braces."""
    pairs = strings(data[1:])
    if not data or len(pairs) % 2:
        raise Malformed
    named = zip(pairs[::2], pairs[1::2], strict=True)
    return chr(data[0]), {text(name).strip("{}"): text(value) for name, value in named}


def client(data: bytes) -> Client:
    """Host name NUL family [port(2) address NUL]; families: 4, 6, L (a local socket), U (unknown)."""
    name, end, rest = data.partition(b"\0")
    if not end or not rest:
        raise Malformed
    family, where = rest[:1], rest[3:]
    if family == b"U":
        return Client(text(name), None)
    if family not in (b"4", b"6", b"L") or not where.endswith(b"\0"):
        raise Malformed
    address = text(where[:-1])
    # Sendmail marks IPv6 addresses as RFC 5321 section 4.1.3 does, Postfix does not.
    return Client(text(name), address.removeprefix("IPv6:") if family in (b"4", b"6") else None)


def only_string(data: bytes) -> str:
    """The one string of HELO."""
    found = strings(data)
    if len(found) != 1:
        raise Malformed
    return text(found[0])


def path(data: bytes) -> Path:
    """An address, in brackets or not, and its parameters as they were written."""
    found = [text(each) for each in strings(data)]
    if not found:
        raise Malformed
    address = found[0].strip()
    if address.startswith("<") and address.endswith(">"):
        address = address[1:-1].strip()
    return Path(_ROUTE.sub("", address, count=1) if address.startswith("@") else address, tuple(found[1:]))


def header_field(data: bytes, *, leading_space: bool) -> bytes:
    """The field as it stands in a mail, CRLF at its end. ``leading_space``: values come with what follows the colon;
    otherwise the MTA has eaten one space there. Folds come as LF, and leave as CRLF."""
    name, end, value = data.partition(b"\0")
    if not end or not value.endswith(b"\0"):
        raise Malformed
    colon = b":" if leading_space else b": "
    return name + colon + _BARE_LF.sub(b"\r\n", value[:-1]) + b"\r\n"
