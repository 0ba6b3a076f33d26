"""Which addresses may be connected to by a name from a setting or an option. Names are answered by others: one that
leads to the metadata service of a cloud would hand out credentials of this machine."""

import ipaddress
import socket

from archive_service.model.errors import Refused

_METADATA = {
    ipaddress.ip_address("100.100.100.200"),  # Alibaba Cloud
    ipaddress.ip_address("168.63.129.16"),  # Azure's host
    ipaddress.ip_address("192.0.0.192"),  # Oracle Cloud
    ipaddress.ip_address("fd00:ec2::254"),  # AWS; link-local ones are refused as such
    ipaddress.ip_address("fd20:ce::254"),  # Google Cloud
}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_TRIED = 3  # addresses of one name

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


def looked_up(host: str, port: int) -> list[str]:
    """The first addresses of a name, to be connected to as they are. Raises OSError, UnicodeError for one that is not
    known, Refused (``network.address``) when any of them may not be reached."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(where[0]) for *_, where in found))
    if any(is_refused(address) for address in addresses):
        raise Refused("the host has an address that may not be reached", code="network.address")
    return addresses[:_TRIED]


def connect(host: str, port: int, seconds: float | None) -> socket.socket:
    """To the first address that takes it: to the addresses that were looked at, for a name that is asked twice may
    answer twice. Raises as ``looked_up``, and OSError when nobody answers."""
    failed: OSError | None = None
    for address in looked_up(host, port):
        try:
            return socket.create_connection((address, port), seconds)
        except OSError as error:
            failed = error
    raise failed or OSError("the name has no address")
