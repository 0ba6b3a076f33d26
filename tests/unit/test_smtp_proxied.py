"""PROXY headers of both versions: the address they name, nothing read past them, and anything else refused."""

import asyncio
import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.smtp.proxied import peer_behind
from ingest.smtp.replies import NO_PROXY_HEADER, Refused

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
SOCKET = "10.9.9.9"
REFUSED = "refused"
AFTER = b"EHLO x\r\n"
PORTS = st.integers(0, 65535)


class Gone(Exception):
    """What a connection raises at its end."""


class Wire:
    """Hands out at most ``piece`` bytes at once."""

    def __init__(self, data: bytes, piece: int = 1 << 20) -> None:
        self.data, self.piece = data, piece

    async def take(self, n: int) -> bytes:
        if not self.data:
            raise Gone
        taken = self.data[: min(n, self.piece)]
        self.data = self.data[len(taken) :]
        return taken


def peer(header: bytes, piece: int = 1 << 20) -> tuple[str | None, bytes]:
    """The address, and what is left on the wire."""
    wire = Wire(header + AFTER, piece)
    try:
        return asyncio.run(peer_behind(wire.take, SOCKET, 20)), wire.data
    except Refused as refused:
        assert refused.reply is NO_PROXY_HEADER
        return REFUSED, wire.data
    except Gone:
        return REFUSED, wire.data


def v2(command: int, family: int, block: bytes, version: int = 2) -> bytes:
    return SIGNATURE + bytes([version << 4 | command, family]) + struct.pack("!H", len(block)) + block


def shown(address: IPv4Address | IPv6Address) -> str:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


@given(st.ip_addresses(), st.data(), PORTS, PORTS, st.integers(1, 200))
def test_the_address_is_the_one_the_header_names(
    source: IPv4Address | IPv6Address, data: st.DataObject, one: int, two: int, piece: int
) -> None:
    target = data.draw(st.ip_addresses(v=source.version))
    text = f"PROXY TCP{source.version} {source} {target} {one} {two}\r\n"
    assert peer(text.encode(), piece) == (shown(source), AFTER)
    extra = data.draw(st.binary(max_size=100))  # TLVs, which are not looked at
    block = source.packed + target.packed + struct.pack("!HH", one, two) + extra
    family = 0x11 if source.version == 4 else 0x21
    assert peer(v2(1, family, block), piece) == (shown(source), AFTER)
    assert peer(v2(0, family, block), piece) == (SOCKET, AFTER), "LOCAL: the balancer itself"


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN ff:: :: 1 2 and more\r\n",
        v2(1, 0, b""),
        v2(0, 0, b""),
        v2(1, 0, b"x" * 900),
    ],
    ids=repr,
)
def test_a_header_without_an_address_leaves_the_socket_s(header: bytes) -> None:
    assert peer(header) == (SOCKET, AFTER)


BLOCK4 = bytes(12)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"EHLO client.test\r\n",
        b"PROXY\r\n",
        b"PROXY \r\n",
        b"PROXY TCP4\r\n",
        b"PROXY TCP4 192.0.2.1\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
        b"PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 ::1 ::1 1 2\r\n",
        b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n",
        b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXYTCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY UNKNOWN " + b"x" * 200 + b"\r\n",
        b"PROXY " + b"x" * 100_000,
        SIGNATURE,
        SIGNATURE[:-1] + b"\r" + bytes(4),
        v2(1, 0x11, BLOCK4, version=1),
        v2(1, 0x11, BLOCK4, version=3),
        v2(2, 0x11, BLOCK4),
        v2(1, 0x11, BLOCK4[:-1]),
        v2(1, 0x21, BLOCK4),
        v2(1, 0x12, BLOCK4),  # UDP
        v2(1, 0x31, bytes(216)),  # a Unix socket has no address to be judged by
        v2(1, 0x41, BLOCK4),
        v2(1, 0x13, BLOCK4),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_what_is_no_header_is_refused(header: bytes) -> None:
    assert peer(header)[0] == REFUSED


@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11"]),
)
def test_anything_is_an_address_or_a_refusal(rubbish: bytes, start: bytes) -> None:
    found, _ = peer(start + rubbish)
    assert found in (REFUSED, SOCKET) or ip_address(str(found))


def test_a_header_that_does_not_come_is_refused() -> None:
    async def never(n: int) -> bytes:
        await asyncio.Event().wait()
        return b""

    with pytest.raises(Refused):
        asyncio.run(peer_behind(never, SOCKET, 0.01))
