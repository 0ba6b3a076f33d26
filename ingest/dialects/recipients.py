"""Whom a message's own header names, and in which role a journal without roles then has them."""

from collections.abc import Iterable

from archive_service.model.mail import Recipient, Role
from ingest.mime.addresses import parse_addresses
from ingest.mime.charsets import clean
from ingest.mime.headers import raw_text
from ingest.mime.scanner import Headers

_ROLE_FIELDS = (("to", Role.TO), ("cc", Role.CC), ("bcc", Role.BCC))


def addresses_in(value: bytes) -> list[str]:
    """The bare addresses of one address field."""
    return parse_addresses(clean(raw_text(value)))


def header_addresses(headers: Headers, name: str) -> list[str]:
    """The bare addresses of all fields of this lower-case name, in order."""
    return [address for value in headers.all(name) for address in addresses_in(value)]


def header_recipients(headers: Headers) -> list[Recipient]:
    """To, Cc and Bcc of the message itself, each address once under the first role it has."""
    found: dict[str, Recipient] = {}
    for name, role in _ROLE_FIELDS:
        for address in header_addresses(headers, name):
            found.setdefault(address.lower(), Recipient(address=address, role=role))
    return list(found.values())


def delivered_to(headers: Headers, addresses: Iterable[str]) -> tuple[Recipient, ...]:
    """Recipients that an envelope names, each once, in the role that the header gives them. Whom the header does not
    name has none that is known: a Bcc, a member of a list, a forwarding."""
    named = list(addresses)
    if not named:
        return ()  # most copies: the header need not be read for it
    roles = {one.address.lower(): one.role for one in header_recipients(headers)}
    found: dict[str, Recipient] = {}
    for address in named:
        role = roles.get(address.lower(), Role.UNKNOWN)
        found.setdefault(address.lower(), Recipient(address=address, role=role, on_report=True))
    return tuple(found.values())
