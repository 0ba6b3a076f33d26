"""The PROXY protocol, versions 1 and 2 (haproxy's proxy-protocol.txt): who is behind a load balancer.

aiosmtpd reads the header; here is what it may cost, and whom to believe. Only connections from networks that the
settings name begin with a header, and there all of them do: anybody else could claim any address.
"""

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address

from aiosmtpd.proxy_protocol import AF, PROTO, V2_CMD, ProxyData, get_proxy

from ingest.smtp import replies
from ingest.smtp.replies import Refused

_V1_OCTETS = 107
"""Longest header of version 1 with its CRLF (section 2.1)."""

Take = Callable[[int], Awaitable[bytes]]


class _Reader:
    """What aiosmtpd reads from: never more than the header."""

    def __init__(self, take: Take) -> None:
        self._take = take

    async def read(self, n: int = -1) -> bytes:
        """Some bytes, at most ``n``."""
        return await self._take(n)

    async def readexactly(self, n: int) -> bytes:
        """``n`` bytes."""
        found = b""
        while len(found) < n:
            found += await self._take(n - len(found))
        return found

    async def readuntil(self, separator: bytes = b"\n") -> bytes:
        """Up to the end of the header's one line. Raises ValueError when it is longer than it may be."""
        found = b""
        while not found.endswith(separator):
            if len(found) > _V1_OCTETS:
                raise ValueError
            found += await self._take(1)
        return found


async def peer_behind(take: Take, peer: str | None, seconds: float) -> str | None:
    """The address that the header names, or ``peer``, the socket's own, where it names none (LOCAL, UNKNOWN).

    ``take(n)`` gives the next bytes, at most n. Raises Refused when there is no header, or not within ``seconds``.
    """
    try:
        async with asyncio.timeout(seconds):
            header = await get_proxy(_Reader(take))
    except TimeoutError:
        raise Refused(replies.NO_PROXY_HEADER) from None
    if not header.valid:
        raise Refused(replies.NO_PROXY_HEADER)
    return _named(header, peer)


def _named(header: ProxyData, peer: str | None) -> str | None:
    if header.version == 2 and header.command == V2_CMD.LOCAL:
        return peer  # the balancer's own health check; the addresses are to be ignored (section 2.2)
    if header.family == AF.UNSPEC or header.protocol == PROTO.UNSPEC:
        return peer
    address = header.src_addr
    if header.protocol != PROTO.STREAM or not isinstance(address, IPv4Address | IPv6Address):
        raise Refused(replies.NO_PROXY_HEADER)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)
