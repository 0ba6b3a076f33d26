"""Behind a balancer: connections from its networks begin with a PROXY header, all others never do."""

import asyncio
import contextlib
import logging

import pytest

from archive_service.model.errors import Invalid
from archive_service.model.mail import Guard
from ingest.smtp.limits import SmtpSettings
from tests.flow.test_smtp_endpoint import on_both_loops
from tests.flow.test_smtp_guard import MAIL, guarded, rcpt
from tests.unit.smtp_fakes import Client, Site, serving
from tests.unit.test_smtp_proxied import v2

HERE = ("127.0.0.0/8",)
V1 = b"PROXY TCP4 192.0.2.7 192.0.2.1 4000 25\r\n"
V2 = v2(1, 0x11, bytes([192, 0, 2, 7, 192, 0, 2, 1, 1, 1, 0, 25]))


async def proxied(site: Site, header: bytes) -> Client:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    client = Client(reader, writer)
    site.clients.append(client)
    await client.send(header)
    return client


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
@on_both_loops
async def test_the_peer_is_who_the_header_names(header: bytes) -> None:
    async with serving(change=guarded(Guard(networks=("192.0.2.7/32",))), proxy_networks=HERE) as site:
        client = await proxied(site, header + b"EHLO client.test\r\n")
        assert (await client.reply()).startswith("220 mx.test ")
        assert (await client.reply()).startswith("250-mx.test")
        assert (await client.mail(MAIL)).startswith("250 2.0.0 archived ")
        assert site.intake.drafts[0].peer == "192.0.2.7"


@on_both_loops
async def test_the_balancer_s_own_address_opens_nothing() -> None:
    async with serving(change=guarded(Guard(networks=HERE)), proxy_networks=HERE) as site:
        client = await proxied(site, V1)
        assert (await client.reply()).startswith("220 ")
        await client.hello()
        assert (await rcpt(client)).startswith("550 5.1.1 ")
        check = await proxied(site, v2(0, 0, b""))  # a health check speaks for itself
        assert (await check.reply()).startswith("220 ")
        await check.hello()
        assert (await rcpt(check)).startswith("250 ")


@pytest.mark.parametrize(
    "first", [b"EHLO client.test\r\n", b"PROXY TCP4 x\r\n", b"\r\n\r\n\0\r\nQUIX\n\0\0\0\0"]
)
@on_both_loops
async def test_without_a_header_there_is_no_session(first: bytes) -> None:
    async with serving(proxy_networks=HERE) as site:
        client = await proxied(site, first)
        assert (await client.reply()).startswith("421 4.3.2 ")
        assert await client.at_end()
        assert site.server.counters.rejected["proxy"] == 1


@on_both_loops
async def test_a_sender_that_waits_for_the_greeting_is_told_to_come_again() -> None:
    async with serving(proxy_networks=HERE, proxy_timeout=0.05) as site:
        client = await proxied(site, b"")
        assert (await client.reply()).startswith("421 4.3.2 ")
        assert await client.at_end()


@on_both_loops
async def test_a_peer_that_leaves_inside_its_header_leaves_nothing() -> None:
    async with serving(proxy_networks=HERE) as site:
        client = await proxied(site, V2[:10])
        await client.close()
        async with asyncio.timeout(20):
            while site.server.counters.open or not site.server.counters.connections:
                await asyncio.sleep(0)


@on_both_loops
async def test_elsewhere_a_header_is_no_command_and_nobody_is_believed() -> None:
    async with serving(
        change=guarded(Guard(networks=("192.0.2.7/32",))), proxy_networks=("10.0.0.0/8",)
    ) as site:
        client = await proxied(site, V1)
        assert (await client.reply()).startswith("220 ")
        assert (await client.reply()).startswith("500 5.5.1 ")
        await client.hello()
        assert (await rcpt(client)).startswith("550 5.1.1 ")


@on_both_loops
async def test_a_drain_does_not_wait_for_headers() -> None:
    async with serving(proxy_networks=HERE, proxy_timeout=0.05) as site:
        client = await proxied(site, b"PROX")
        with contextlib.suppress(OSError):
            await site.server.stop(drain_seconds=10)
        assert (await client.reply()).startswith("421 ")


@on_both_loops
async def test_no_address_of_a_header_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(proxy_networks=HERE) as site:
        for header in (V1, b"PROXY TCP4 192.0.2.7 private 1 2\r\n"):
            client = await proxied(site, header)
            await client.reply()
    assert "192.0.2" not in caplog.text and "private" not in caplog.text


def test_networks_that_are_none_are_refused_at_the_start() -> None:
    with pytest.raises(Invalid):
        SmtpSettings(proxy_networks=("10.0.0.1/8",))
