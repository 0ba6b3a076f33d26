"""Which addresses a webhook may reach. A URL is a setting, but names are answered by others: one that leads to the
metadata service of a cloud would hand out credentials of this machine."""

import ipaddress
import socket
from urllib.parse import SplitResult

from archive_service.model.errors import Refused, StoreError

_METADATA = {
    ipaddress.ip_address("100.100.100.200"),  # Alibaba Cloud
    ipaddress.ip_address("168.63.129.16"),  # Azure's host
    ipaddress.ip_address("192.0.0.192"),  # Oracle Cloud
    ipaddress.ip_address("fd00:ec2::254"),  # AWS; link-local ones are refused as such
    ipaddress.ip_address("fd20:ce::254"),  # Google Cloud
}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, where it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def is_refused(text: str) -> bool:
    """Whether an address is link-local, a cloud's metadata service, or of no single machine."""
    address = _inner(ipaddress.ip_address(text.partition("%")[0]))
    return address.is_link_local or address.is_multicast or address.is_unspecified or address in _METADATA


def resolve(url: SplitResult, *, anywhere: bool) -> list[tuple[str, int]]:
    """The addresses of a URL's host, to be connected to as they are: a name that is asked twice may answer twice.
    Raises StoreError (``alarm.unreachable``) for an unknown name, Refused (``alarm.address``) when any address may not
    be reached."""
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        found = socket.getaddrinfo(url.hostname, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise StoreError("the webhook's host is not known", code="alarm.unreachable") from error
    addresses = [(str(where[0]), port) for *_, where in found]
    if not anywhere and any(is_refused(address) for address, _ in addresses):
        raise Refused("the webhook's host has an address that may not be reached", code="alarm.address")
    return list(dict.fromkeys(addresses))
