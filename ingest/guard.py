"""What a source asks of whoever hands mail in, held against who is at the other end. Pure: no store, no clock."""

from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from archive_service.model.mail import Guard, Source
from ingest.intake import Sender


class Lack(StrEnum):
    """What the sender lacks, as a stable word for counters and records."""

    NETWORK = "network"
    TLS = "tls"
    CERTIFICATE = "certificate"
    LOGIN = "login"
    SIZE = "size"


def lack(source: Source, sender: Sender) -> Lack | None:
    """The first thing that the sender lacks, or None: it may hand mail in.

    The network comes first, so that whoever is outside of it learns nothing of what else the source asks.
    """
    guard = source.guard
    if not in_networks(guard.networks, sender.peer):
        return Lack.NETWORK
    if (guard.tls or guard.certificates or guard.password is not None) and not sender.tls:
        return Lack.TLS
    if guard.certificates and sender.chain.isdisjoint(_fingerprints(guard)):
        return Lack.CERTIFICATE
    if guard.password is not None and sender.login != source.id:
        return Lack.LOGIN
    if guard.max_size is not None and sender.size > guard.max_size:
        return Lack.SIZE
    return None


def in_networks(networks: tuple[str, ...], peer: str | None) -> bool:
    """Whether the address is in one of the networks; in none named everybody is. An IPv4 address that is written as
    IPv6 (``::ffff:192.0.2.1``, RFC 4291 section 2.5.5.2) counts as the IPv4 one."""
    if not networks:
        return True
    try:
        address = ip_address((peer or "").partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in _parsed(networks))


@lru_cache(maxsize=1024)
def _parsed(networks: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(network) for network in networks)


@lru_cache(maxsize=1024)
def _fingerprints(guard: Guard) -> frozenset[str]:
    return frozenset(guard.fingerprints)
