"""The first packet of a connection: what the MTA offers, and what of it is taken.

Nothing that changes or refuses mail is asked for. Every recipient that the MTA accepts is wanted, and none that it
rejects (``RCPT_REJ`` is never taken). Answers are left out where the MTA allows it, so that it sends header and body
without waiting; which macros come is said here, so that the administrator sets none but the source's.
"""

from dataclasses import dataclass

from ingest.milter.packets import LENGTH_OCTETS, Command, Malformed, packed

VERSION = 6
"""Postfix since 2.6, Sendmail since 8.14."""

MACRO_LISTS = 0x100  # an action: the milter says which macros it wants
SOURCE = "archive_source"
"""The macro that names the source: its secret address."""

_NO_UNKNOWN = 0x100
_LEADING_SPACE = 0x100000
_SILENT = {
    Command.HEADER: 0x80,
    Command.CONNECT: 0x1000,
    Command.HELO: 0x2000,
    Command.UNKNOWN: 0x20000,
    Command.END_OF_HEADER: 0x40000,
    Command.BODY: 0x80000,
}
_WANTED = _NO_UNKNOWN | _LEADING_SPACE | sum(_SILENT.values())
# By the number of the step that they come with: connect, HELO, MAIL, RCPT, DATA, end of body, end of header.
_MACROS = {
    0: f"{{{SOURCE}}}",
    1: "",
    2: f"{{{SOURCE}}} {{auth_authen}} {{tls_version}} {{cipher}}",
    3: "i",
    4: "i",
    5: "",
    6: "i",
}


@dataclass(frozen=True, slots=True)
class Agreed:
    """What holds for a connection. ``silent``: commands that get no answer."""

    answer: bytes
    silent: frozenset[Command]
    leading_space: bool


def agree(data: bytes | None) -> Agreed:
    """Answer an offer. Raises Malformed, also for an MTA that speaks an older version."""
    if data is None or len(data) < 3 * LENGTH_OCTETS:
        raise Malformed
    version, actions, steps = (int.from_bytes(data[at : at + LENGTH_OCTETS], "big") for at in (0, 4, 8))
    if version < VERSION:
        raise Malformed
    taken = _WANTED & steps
    numbers = (VERSION, actions & MACRO_LISTS, taken)
    said = b"".join(number.to_bytes(LENGTH_OCTETS, "big") for number in numbers)
    if actions & MACRO_LISTS:
        for step, names in _MACROS.items():
            said += step.to_bytes(LENGTH_OCTETS, "big") + names.encode("ascii") + b"\0"
    silent = frozenset(command for command, bit in _SILENT.items() if bit & taken)
    return Agreed(packed(b"O", said), silent, bool(taken & _LEADING_SPACE))
