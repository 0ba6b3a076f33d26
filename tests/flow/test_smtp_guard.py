"""A source's guard over real connections: met, not met, cannot be checked; and what each sender hears."""

import asyncio
import base64
import logging
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from archive_service.model.errors import ArchiveError, Overloaded, StoreError
from archive_service.model.mail import Guard
from ingest.refusals import Refusal
from ingest.smtp.authentication import RESPONSE_OCTETS
from ingest.smtp.server import SmtpServer
from tests.flow.test_smtp_endpoint import on_both_loops, until
from tests.unit.smtp_fakes import OTHER, SECRET, SOURCES, Client, FakeIntake, Site, serving
from tests.unit.smtp_tls import Certificate, client_context, issue, server_context

STRANGER = "journal-0000@archive.test"
ONE = SOURCES[SECRET].id
PASSWORD = "correct horse battery"
MAIL = b"x" * 50 + b"\r\n.\r\n"


@dataclass
class Tls:
    """The server's context, made anew at each call, and clients with different certificates."""

    make: Callable[[], ssl.SSLContext]
    bare: ssl.SSLContext
    clients: dict[str, ssl.SSLContext]
    anchors: dict[str, Certificate]

    def guard(self, *names: str, **more: Any) -> Guard:
        return Guard(certificates=tuple(self.anchors[name].kept for name in names), **more)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    folder: Path = tmp_path_factory.mktemp("tls")
    server = issue("mx.test")
    root, other_root = issue("root", authority=True), issue("other root", authority=True)
    middle = issue("middle", root, authority=True)
    certificates = {
        "leaf": issue("leaf", middle),
        "pinned": issue("pinned"),
        "other": issue("other", other_root),
        "old": issue("old", root, days=(-3, -1)),
    }
    return Tls(
        lambda: server_context(folder / "server", server),
        client_context(server),
        {name: client_context(server, folder / name, own) for name, own in certificates.items()},
        {"root": root, "middle": middle, "other root": other_root, "pinned": certificates["pinned"]},
    )


def guarded(guard: Guard, address: str = SECRET) -> Callable[[FakeIntake], None]:
    def change(intake: FakeIntake) -> None:
        intake.sources[address] = SOURCES[address].model_copy(update={"guard": guard})

    return change


async def secured(site: Site, context: ssl.SSLContext) -> Client:
    client = await site.connect()
    assert (await client.line("STARTTLS")).startswith("220 ")
    await client.secure(context)
    assert "AUTH" in await client.hello()
    return client


def plain(user: str, password: str, authzid: str = "") -> str:
    return base64.b64encode(f"{authzid}\0{user}\0{password}".encode()).decode()


async def rcpt(client: Client, address: str = SECRET, parameters: str = "") -> str:
    assert (await client.line(f"MAIL FROM:<a@b.test>{parameters}")).startswith("250 ")
    return await client.line(f"RCPT TO:<{address}>")


# --- the table: each guard met, not met, and while nobody can say


@dataclass(frozen=True)
class Case:
    """``met``, ``lacking``: how the sender comes; ``reply``: what it hears when it lacks."""

    guard: Callable[[Tls], Guard]
    reply: str
    met: str = "clear"
    lacking: str = "clear"
    parameters: str = ""  # of MAIL, for who lacks


CASES = {
    "network": Case(lambda _: Guard(networks=("127.0.0.0/8",)), "550 5.1.1 "),
    "tls": Case(lambda _: Guard(tls=True), "530 5.7.0 ", met="bare"),
    "authority": Case(lambda tls: tls.guard("root"), "554 5.7.0 ", met="leaf", lacking="bare"),
    "intermediate": Case(lambda tls: tls.guard("middle"), "554 5.7.0 ", met="leaf", lacking="bare"),
    "pinned": Case(lambda tls: tls.guard("pinned"), "554 5.7.0 ", met="pinned", lacking="bare"),
    "certificate-in-clear": Case(lambda tls: tls.guard("pinned"), "530 5.7.0 ", met="pinned"),
    "login": Case(lambda _: Guard(password="hash"), "530 5.7.0 ", met="login", lacking="bare"),
    "login-in-clear": Case(lambda _: Guard(password="hash"), "530 5.7.0 ", met="login"),
    "size": Case(lambda _: Guard(max_size=100), "552 5.3.4 ", parameters=" SIZE=101"),
    "all": Case(
        lambda tls: tls.guard(
            "root", networks=("127.0.0.1/32",), tls=True, password="hash", max_size=100, rate=9
        ),
        "530 5.7.0 ",
        met="leaf+login",
        lacking="leaf",
    ),
}


async def come(site: Site, tls: Tls, how: str) -> Client:
    certificate, _, login = how.partition("+")
    if certificate == "clear":
        return await site.connect()
    if certificate == "login":
        certificate, login = "bare", "login"
    client = await secured(site, tls.bare if certificate == "bare" else tls.clients[certificate])
    if login:
        site.intake.passwords[ONE] = PASSWORD
        assert (await client.line(f"AUTH PLAIN {plain(ONE, PASSWORD)}")).startswith("235 2.7.0 ")
    return client


@pytest.mark.parametrize("name", CASES)
@on_both_loops
async def test_a_guard_that_is_met_lets_mail_in(name: str, tls: Tls) -> None:
    case = CASES[name]
    async with serving(tls=tls.make(), fresh_tls=tls.make, change=guarded(case.guard(tls))) as site:
        client = await come(site, tls, case.met)
        assert (await client.mail(MAIL)).startswith("250 2.0.0 archived ")
        assert site.server.refusals.take_singles() == site.server.refusals.take_sums() == []


@pytest.mark.parametrize("name", CASES)
@on_both_loops
async def test_a_guard_that_is_not_met_refuses_by_policy(name: str, tls: Tls) -> None:
    case = CASES[name]
    guard = Guard(networks=("192.0.2.0/24",)) if name == "network" else case.guard(tls)
    async with serving(tls=tls.make(), fresh_tls=tls.make, change=guarded(guard)) as site:
        client = await come(site, tls, case.lacking)
        assert (await rcpt(client, parameters=case.parameters)).startswith(case.reply)
        assert (await client.line("DATA")).startswith("503 5.5.1 ")
        assert site.intake.drafts == []
        await client.line("RSET")
        assert (await rcpt(client, OTHER)).startswith("250 "), "another source asks nothing"


@pytest.mark.parametrize("name", CASES)
@on_both_loops
async def test_while_a_guard_cannot_be_checked_nobody_is_refused_for_good(name: str, tls: Tls) -> None:
    """Whoever lacks something may lack it by old acts only: without their head there is no 5xx."""
    case = CASES[name]
    guard = Guard(networks=("192.0.2.0/24",)) if name == "network" else case.guard(tls)
    async with serving(tls=tls.make(), fresh_tls=tls.make, change=guarded(guard)) as site:
        client = await come(site, tls, case.lacking)
        site.intake.fail["head"] = StoreError("away")
        assert (await rcpt(client, parameters=case.parameters)).startswith("451 4.3.0 ")
        assert (await client.line("DATA")).startswith("451 4.3.0 "), "what was pipelined is deferred too"
        assert site.server.refusals.take_sums() == []
        if name != "network":  # who is in and meets the guard is let in by what is in memory
            met = await come(site, tls, case.met)
            assert (await met.mail(MAIL)).startswith("250 2.0.0 archived ")


@on_both_loops
async def test_outside_of_the_networks_a_source_is_no_more_than_a_stranger_s_guess(tls: Tls) -> None:
    """No oracle: the whole conversation is the same, octet for octet, whatever else the source asks."""
    guards = [
        Guard(networks=("192.0.2.0/24",)),
        tls.guard("root", networks=("::1/128",), tls=True, password="hash", max_size=1, rate=1),
    ]
    conversations = []
    for guard in [None, *guards]:
        address = STRANGER if guard is None else SECRET
        change = guarded(guard) if guard is not None else None
        async with serving(tls=tls.make(), fresh_tls=tls.make, change=change) as site:
            heard = []
            for context in (None, tls.bare):
                client = await site.connect() if context is None else await secured(site, context)
                for line in (
                    "MAIL FROM:<a@b.test> SIZE=100000",
                    f"RCPT TO:<{address}>",
                    f"RCPT TO:<{address}>",
                    "DATA",
                    "BDAT 0 LAST",
                    f"VRFY {address}",
                    "RSET",
                    f"AUTH PLAIN {plain(ONE, PASSWORD)}",
                ):
                    heard.append(await client.line(line))
            conversations.append(heard)
            assert site.server.counters.rejected["unknown_recipient"] == 4
    assert conversations[1] == conversations[2] == conversations[0]
    assert conversations[0][1].startswith("550 5.1.1 ")


# --- STARTTLS


@on_both_loops
async def test_where_no_tls_can_be_had_a_source_that_wants_it_defers() -> None:
    """The fault is ours: a 530 would bounce what the sender cannot send otherwise."""
    async with serving(change=guarded(Guard(tls=True))) as site:
        client = await site.connect()
        assert (await rcpt(client)).startswith("451 4.3.0 ")


@on_both_loops
async def test_a_tls_context_that_cannot_be_made_is_454_and_then_nobody_is_refused(tls: Tls) -> None:
    def broken() -> ssl.SSLContext:
        raise FileNotFoundError("gone")

    async with serving(tls=tls.make(), fresh_tls=broken, change=guarded(tls.guard("root"))) as site:
        client = await site.connect()
        assert (await client.line("STARTTLS")).startswith("454 4.7.0 ")
        assert (await rcpt(client)).startswith("451 4.3.0 ")
        assert (await client.line("RSET")).startswith("250 ")
        assert (await rcpt(client, OTHER)).startswith("250 ")


# --- client certificates


@pytest.mark.parametrize("name", ["other", "old"])
@on_both_loops
async def test_a_certificate_that_no_anchor_vouches_for_gets_no_session(name: str, tls: Tls) -> None:
    async with serving(tls=tls.make(), fresh_tls=tls.make, change=guarded(tls.guard("root"))) as site:
        client = await site.connect()
        await client.line("STARTTLS")
        try:
            await client.secure(tls.clients[name])
            assert await client.at_end()
        except (OSError, asyncio.IncompleteReadError):
            pass
        await until(lambda: site.server.counters.open == 0)
        assert site.server.counters.tls == 0


@on_both_loops
async def test_another_source_s_anchor_is_not_this_one_s(tls: Tls) -> None:
    """The handshake takes both; which source the chain leads to is judged at RCPT."""

    def change(intake: FakeIntake) -> None:
        guarded(tls.guard("root"))(intake)
        guarded(tls.guard("other root"), OTHER)(intake)

    async with serving(tls=tls.make(), fresh_tls=tls.make, change=change) as site:
        for name, mine, theirs in (("leaf", SECRET, OTHER), ("other", OTHER, SECRET)):
            client = await secured(site, tls.clients[name])
            assert (await rcpt(client, theirs)).startswith("554 5.7.0 ")
            assert (await client.line(f"RCPT TO:<{mine}>")).startswith("250 ")


@on_both_loops
async def test_where_no_source_wants_a_certificate_any_will_do(tls: Tls) -> None:
    async with serving(tls=tls.make(), fresh_tls=tls.make) as site:
        for name in ("other", "old"):
            client = await secured(site, tls.clients[name])
            assert (await client.mail(MAIL)).startswith("250 2.0.0 archived ")
        assert {sender.chain for sender in site.intake.senders} == {frozenset()}


@on_both_loops
async def test_the_chain_is_what_the_handshake_verified(tls: Tls) -> None:
    async with serving(
        tls=tls.make(), fresh_tls=tls.make, change=guarded(tls.guard("root", "middle"))
    ) as site:
        for _ in range(2):  # a second connection resumes no session: the chain would be missing
            client = await secured(site, tls.clients["leaf"])
            assert (await client.mail(MAIL)).startswith("250 ")
        for sender in site.intake.senders:
            assert tls.anchors["middle"].fingerprint in sender.chain


# --- size and rate


@pytest.mark.parametrize("command", ["DATA", "BDAT"])
@on_both_loops
async def test_a_mail_over_its_source_s_size_is_read_to_its_end_and_refused(command: str) -> None:
    async with serving(change=guarded(Guard(max_size=100)), max_size=10_000) as site:
        client = await site.connect()

        async def send(octets: int) -> str:
            await client.envelope()
            if command == "BDAT":
                return await client.ask(b"BDAT %d LAST\r\n" % octets + b"x" * octets)
            await client.line("DATA")
            return await client.ask(b"x" * (octets - 2) + b"\r\n.\r\n")

        assert (await send(100)).startswith("250 2.0.0 archived ")
        assert (await send(101)).startswith("552 5.3.4 ")
        site.intake.fail["head"] = StoreError("away")
        assert (await send(101)).startswith("451 4.3.0 ")
        site.intake.fail.clear()
        assert (await send(20_000)).startswith("552 5.3.4 ")
        assert (await send(99)).startswith("250 2.0.0 archived ")
        assert [len(body) for body in site.intake.bodies] == [100, 99]
        assert site.intake.aborted == 3


@on_both_loops
async def test_a_limit_that_was_lifted_while_the_mail_came_defers_it() -> None:
    async with serving(change=guarded(Guard(max_size=100))) as site:
        client = await site.connect()
        await client.envelope()
        await client.line("DATA")
        site.intake.sources[SECRET] = SOURCES[SECRET]
        assert (await client.ask(b"x" * 200 + b"\r\n.\r\n")).startswith("451 4.3.0 ")
        assert (await client.mail(b"x" * 200 + b"\r\n.\r\n")).startswith("250 ")


@on_both_loops
async def test_a_rate_defers_what_is_too_much_and_other_sources_are_not_touched() -> None:
    async with serving(change=guarded(Guard(rate=2))) as site:
        client = await site.connect()
        for _ in range(2):
            assert (await client.mail(MAIL)).startswith("250 ")
        assert (await rcpt(client)).startswith("450 4.7.1 ")
        assert (await client.line("DATA")).startswith("450 4.7.1 ")
        await client.line("RSET")
        assert (await rcpt(client, OTHER)).startswith("250 ")
        other = await site.connect()
        assert (await rcpt(other)).startswith("450 4.7.1 ")
        assert len(site.intake.captures) == 2


@on_both_loops
async def test_more_recipients_of_one_mail_count_once() -> None:
    async with serving(change=guarded(Guard(rate=1))) as site:
        client = await site.connect()
        await client.envelope()
        assert (await client.line(f"RCPT TO:<{SECRET.upper()}>")).startswith("250 ")


# --- AUTH


@on_both_loops
async def test_auth_is_offered_and_obeyed_under_tls_alone(tls: Tls) -> None:
    async with serving(tls=tls.make()) as site:
        client = await site.connect()
        assert "AUTH" not in await client.hello()
        for line in ("AUTH PLAIN", f"AUTH PLAIN {plain(ONE, PASSWORD)}", "AUTH LOGIN", "AUTH", "AUTH X"):
            assert (await client.line(line)).startswith("538 5.7.11 ")
        assert site.intake.guesses == []
        client = await secured(site, tls.bare)
        assert "\n250-AUTH PLAIN LOGIN\n" in await client.hello()


@pytest.mark.parametrize(
    "mechanism", ["PLAIN", "plain", "PLAIN later", "LOGIN", "LOGIN initial", "PLAIN authzid"]
)
@on_both_loops
async def test_both_mechanisms_in_all_their_forms(mechanism: str, tls: Tls) -> None:
    user, password = (base64.b64encode(text.encode()).decode() for text in (ONE, "pässword with umlaut"))
    whole = plain(ONE, "pässword with umlaut", ONE if "authzid" in mechanism else "")
    async with serving(tls=tls.make()) as site:
        site.intake.passwords[ONE] = "pässword with umlaut"
        client = await secured(site, tls.bare)
        if mechanism == "PLAIN later":
            assert await client.line("AUTH PLAIN") == "334 "
            reply = await client.line(whole)
        elif mechanism.startswith("LOGIN"):
            challenge = await client.line(f"AUTH LOGIN {user}" if "initial" in mechanism else "AUTH LOGIN")
            if "initial" not in mechanism:
                assert base64.b64decode(challenge[4:]) == b"Username:"
                challenge = await client.line(user)
            assert base64.b64decode(challenge[4:]) == b"Password:"
            reply = await client.line(password)
        else:
            reply = await client.line(f"AUTH {mechanism.split()[0]} {whole}")
        assert reply.startswith("235 2.7.0 ")
        assert (await client.line("AUTH PLAIN")).startswith("503 5.5.1 ")
        await rcpt(client)
        assert (await client.line("AUTH PLAIN")).startswith("503 5.5.1 ")
        await client.line("RSET")
        await rcpt(client)
        assert {sender.login for sender in site.intake.senders} == {ONE}, "RSET is no logout"


@pytest.mark.parametrize(
    ("lines", "start"),
    [
        (["AUTH"], "501 5.5.4 "),
        (["AUTH PLAIN x y"], "501 5.5.4 "),
        (["AUTH CRAM-MD5"], "504 5.5.4 "),
        (["AUTH PLAIN ="], "501 5.5.2 "),
        (["AUTH PLAIN ==="], "501 5.5.2 "),
        (["AUTH PLAIN *"], "501 5.5.2 "),
        (["AUTH PLAIN", "*"], "501 5.7.0 "),
        (["AUTH PLAIN", "not base64!"], "501 5.5.2 "),
        (["AUTH PLAIN", ""], "501 5.5.2 "),
        (["AUTH PLAIN", "a\0b"], "501 5.5.2 "),
        (["AUTH PLAIN", base64.b64encode(b"\0user").decode()], "501 5.5.2 "),
        (["AUTH PLAIN", base64.b64encode(b"\0\0\0").decode()], "501 5.5.2 "),
        (["AUTH PLAIN", base64.b64encode(b"\0u\xff\0password").decode()], "501 5.5.2 "),
        (["AUTH PLAIN", base64.b64encode(b"else\0user\0password").decode()], "535 5.7.8 "),
        (["AUTH LOGIN", "*"], "501 5.7.0 "),
        (["AUTH LOGIN", "dXNlcg==", "*"], "501 5.7.0 "),
        (["AUTH LOGIN", "dXNlcg==", "?"], "501 5.5.2 "),
        (["AUTH PLAIN", "A" * RESPONSE_OCTETS], "500 5.5.6 "),
        (["AUTH PLAIN", "A" * 1_000_000], None),
        (["AUTH PLAIN", "A" * (RESPONSE_OCTETS - 2)], "501 5.5.2 "),
        (["AUTH PLAIN " + "A" * 1900], "501 5.5.2 "),
        (["AUTH PLAIN " + "A" * 2100], "500 5.5.2 "),
    ],
    ids=lambda value: repr(value)[:40],
)
@on_both_loops
async def test_what_is_no_exchange_is_refused_and_the_session_goes_on(
    lines: list[str], start: str | None, tls: Tls
) -> None:
    async with serving(tls=tls.make()) as site:
        client = await secured(site, tls.bare)
        reply = ""
        for line in lines:
            reply = await client.line(line)
        if start is None:  # past all bounds the session ends
            assert reply.startswith(("421 ", "500 5.5.6 "))
            return
        assert reply.startswith(start)
        assert site.intake.guesses == []
        assert (await client.line("NOOP")).startswith("250 ")


@on_both_loops
async def test_wrong_credentials_end_the_session_soon(tls: Tls) -> None:
    async with serving(tls=tls.make(), change=guarded(Guard(password="hash"))) as site:
        site.intake.passwords[ONE] = PASSWORD
        client = await secured(site, tls.bare)
        assert (await client.line(f"AUTH PLAIN {plain(ONE, 'wrong')}")).startswith("535 5.7.8 ")
        assert (await rcpt(client)).startswith("530 5.7.0 "), "a wrong guess is no excuse"
        await client.line("RSET")
        assert (await client.line(f"AUTH PLAIN {plain('nobody', 'wrong')}")).startswith("535 5.7.8 ")
        assert (await client.line(f"AUTH PLAIN {plain(ONE, 'wrong')}")).startswith("421 4.7.0 ")
        assert await client.at_end()


@pytest.mark.parametrize(
    "error", [StoreError("away"), Overloaded("flood"), ArchiveError("bad"), RuntimeError()], ids=repr
)
@on_both_loops
async def test_credentials_that_cannot_be_checked_are_454_and_mail_is_deferred(
    error: Exception, tls: Tls
) -> None:
    async with serving(tls=tls.make(), change=guarded(Guard(password="hash"))) as site:
        site.intake.passwords[ONE] = PASSWORD
        client = await secured(site, tls.bare)
        site.intake.fail["authenticate"] = error
        for _ in range(5):
            assert (await client.line(f"AUTH PLAIN {plain(ONE, PASSWORD)}")).startswith("454 4.7.0 ")
        assert (await rcpt(client)).startswith("451 4.3.0 "), "the fault is ours"
        await client.line("RSET")
        site.intake.fail.clear()
        assert (await client.line(f"AUTH PLAIN {plain(ONE, PASSWORD)}")).startswith("235 2.7.0 ")
        assert (await client.mail(MAIL)).startswith("250 ")


@on_both_loops
async def test_a_check_that_takes_too_long_is_454(tls: Tls) -> None:
    async with serving(tls=tls.make(), commit_timeout=0.05) as site:
        site.intake.gate["authenticate"] = asyncio.Event()
        client = await secured(site, tls.bare)
        assert (await client.line(f"AUTH PLAIN {plain(ONE, PASSWORD)}")).startswith("454 4.7.0 ")


@on_both_loops
async def test_starttls_cannot_be_given_a_login_from_the_clear(tls: Tls) -> None:
    """What is injected behind STARTTLS is thrown away: an attacker's AUTH would make the session his."""
    async with serving(tls=tls.make(), change=guarded(Guard(password="hash"))) as site:
        site.intake.passwords[ONE] = PASSWORD
        client = await site.connect()
        injected = f"EHLO evil.test\r\nAUTH PLAIN {plain(ONE, PASSWORD)}\r\n"
        assert (await client.ask(f"STARTTLS\r\n{injected}".encode())).startswith("220 ")
        await client.secure(tls.bare)
        assert (await client.line("AUTH PLAIN")).startswith("503 5.5.1 "), "EHLO first"
        await client.hello()
        assert (await rcpt(client)).startswith("530 5.7.0 ")
        assert site.intake.guesses == []


# --- what is recorded, and what is not


@on_both_loops
async def test_strangers_are_summed_and_known_senders_recorded_each(tls: Tls) -> None:
    async with serving(tls=tls.make(), change=guarded(Guard(networks=("192.0.2.0/24",)))) as site:
        site.intake.passwords["two"] = PASSWORD
        refusals = site.server.refusals
        stranger = await site.connect()
        await stranger.line("MAIL FROM:<a@b.test>")
        for _ in range(3):
            await stranger.line(f"RCPT TO:<{STRANGER}>")
            await stranger.line(f"RCPT TO:<{SECRET}>")
        guesser = await secured(site, tls.bare)
        await guesser.line(f"AUTH PLAIN {plain('two', 'wrong')}")
        await guesser.line(f"AUTH PLAIN {plain('nobody', 'wrong')}")
        assert refusals.take_singles() == []
        assert sorted(refusals.take_sums(), key=repr) == sorted(
            [
                Refusal(None, None, "unknown_recipient", count=3),
                Refusal("tenant", ONE, "unknown_recipient", count=3),
                Refusal("tenant", "two", "wrong_credentials"),
                Refusal(None, None, "wrong_credentials"),
            ],
            key=repr,
        )
        known = await secured(site, tls.bare)
        await known.line(f"AUTH PLAIN {plain('two', PASSWORD)}")
        await known.line("MAIL FROM:<a@b.test>")
        for address in (STRANGER, STRANGER, SECRET):
            await known.line(f"RCPT TO:<{address}>")
        assert refusals.take_singles() == [
            Refusal("tenant", "two", "unknown_recipient", "127.0.0.1"),
            Refusal("tenant", "two", "unknown_recipient", "127.0.0.1"),
            Refusal("tenant", ONE, "unknown_recipient", "127.0.0.1"),
        ]
        assert refusals.take_singles() == refusals.take_sums() == []


@on_both_loops
async def test_no_user_password_or_address_is_logged(tls: Tls, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(tls=tls.make(), change=guarded(Guard(password="hash", rate=1))) as site:
        site.intake.passwords[ONE] = PASSWORD
        for error in (None, RuntimeError(f"private {PASSWORD}")):
            site.intake.fail = {"authenticate": error} if error else {}
            client = await secured(site, tls.bare)
            await client.line("AUTH LOGIN")
            await client.line("private")
            await client.line(base64.b64encode(b"private").decode())
            await client.line(f"AUTH PLAIN {plain('private', 'private')}")
            await client.line(f"AUTH PLAIN {plain(ONE, PASSWORD)}")
            await rcpt(client)
    leaked = re.compile(
        "private|journal-|" + re.escape(PASSWORD) + "|" + plain(ONE, PASSWORD) + r"|127\.0\.0\.1"
    )
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name != "asyncio")
    assert not leaked.search(ours)
    assert isinstance(site.server, SmtpServer)
