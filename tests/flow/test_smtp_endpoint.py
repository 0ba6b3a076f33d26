"""The SMTP endpoint over real sockets, on both event loops: every reply, and what the intake was handed."""

import asyncio
import datetime
import functools
import inspect
import logging
import re
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from archive_service.model.errors import ArchiveError, Overloaded, SlotLost, StoreDenied, StoreFull
from ingest.smtp.input_buffer import HIGH_WATER_OCTETS
from ingest.smtp.limits import MIB, RETAINED_OCTETS, Charge, MemoryBudget, SmtpSettings
from ingest.smtp.server import SmtpServer
from tests.unit.smtp_fakes import OTHER, PATIENCE, SECRET, SOURCES, Client, FakeIntake, serving

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


def on_both_loops(scenario: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Make a test of a coroutine: it runs on asyncio's loop and on uvloop."""

    @functools.wraps(scenario)
    def test(loop_name: str, **arguments: Any) -> None:
        with asyncio.Runner(loop_factory=LOOPS[loop_name]) as runner:
            runner.run(asyncio.wait_for(scenario(**arguments), 60))

    signature = inspect.signature(scenario)
    extra = inspect.Parameter("loop_name", inspect.Parameter.KEYWORD_ONLY)
    test.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), extra]
    )
    both: Callable[..., None] = pytest.mark.parametrize("loop_name", LOOPS)(test)
    return both


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until ``condition`` holds; PATIENCE is only for a test that fails."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0)


# --- the 250 and what it means


@on_both_loops
async def test_a_message_is_archived_with_its_envelope() -> None:
    async with serving() as site:
        client = await site.connect()
        reply = await client.mail(b"Subject: x\r\n\r\n..dot\r\nbody\r\n.\r\n")
        assert reply == "250 2.0.0 archived log=c1 seq=1"
        draft, body = site.intake.captures[0]
        assert body == b"Subject: x\r\n\r\n.dot\r\nbody\r\n"
        assert (draft.tenant, draft.source, draft.acts_seen) == ("tenant", SOURCES[SECRET], 7)
        assert (draft.mail_from, draft.rcpt_to) == ("a@b.test", (SECRET,))
        assert (draft.peer, draft.helo, draft.tls) == ("127.0.0.1", "client.test", None)
        counters = site.server.counters
        assert (counters.connections, counters.open, counters.accepted) == (1, 1, 1)
        assert counters.accepted_bytes == len(body)
        assert (await client.line("QUIT")).startswith("221 2.0.0 ")
        assert await client.at_end()


@on_both_loops
async def test_no_250_before_the_commit_has_returned() -> None:
    async with serving() as site:
        gate = site.intake.gate["commit"] = asyncio.Event()
        client = await site.connect()
        await client.envelope()
        await client.line("DATA")
        await client.send(b"x\r\n.\r\n")
        await site.intake.reached["commit"].wait()
        reply = asyncio.ensure_future(client.reply())
        for _ in range(100):
            await asyncio.sleep(0)
        assert not reply.done()
        gate.set()
        assert (await reply).startswith("250 2.0.0 archived ")


@on_both_loops
async def test_many_messages_in_one_session() -> None:
    async with serving() as site:
        client = await site.connect()
        for number in range(1, 30):
            reply = await client.mail(b"%d\r\n.\r\n" % number)
            assert reply == f"250 2.0.0 archived log=c1 seq={number}"
        assert site.intake.bodies == [b"%d\r\n" % number for number in range(1, 30)]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\r\n",
        b"..\r\n.\r\n...\r\n",
        b"\0nul\0\r\n",
        b"bare \r and bare \n and \n\r\n",
        bytes(range(256)) + b"\r\n",
        b"x" * 300_000 + b"\r\n",
        b".\n.\r.\r\n",
        b"\n.\n\r\n",
    ],
    ids=lambda body: repr(body[:20]),
)
@on_both_loops
async def test_content_never_refuses_mail_and_is_kept_exactly(body: bytes) -> None:
    wire = body.replace(b"\r\n.", b"\r\n..")
    wire = (b"." if wire.startswith(b".") else b"") + wire
    async with serving() as site:
        client = await site.connect()
        assert (await client.mail(wire + b".\r\n")).startswith("250 2.0.0 archived ")
        assert site.intake.bodies == [body]


@on_both_loops
async def test_a_message_in_single_octets() -> None:
    async with serving() as site:
        client = await site.connect()
        await client.envelope()
        await client.line("DATA")
        for octet in b"a\r\n..b\r\n.\r\n":
            await client.send(bytes([octet]))
            await asyncio.sleep(0)
        assert (await client.reply()).startswith("250 2.0.0 archived ")
        assert site.intake.bodies == [b"a\r\n.b\r\n"]


# --- smuggling: only CRLF . CRLF ends DATA


@pytest.mark.parametrize(
    ("end", "stored"),
    [
        (b"\n.\n", b"\n.\n"),
        (b"\n.\r\n", b"\n.\r\n"),
        (b"\r\n.\n", b"\r\n\n"),  # a line that starts with a dot loses it (RFC 5321 section 4.5.2)
        (b"\r.\r", b"\r.\r"),
        (b"\r.\r\n", b"\r.\r\n"),
        (b"\r\n.\r", b"\r\n\r"),
        (b"\r.\n", b"\r.\n"),
        (b"\n.\r", b"\n.\r"),
        (b"\r\r\n.\r\r\n", b"\r\r\n\r\r\n"),
        (b"\n\r.\n\r", b"\n\r.\n\r"),
        (b"\r\n\0.\r\n", b"\r\n\0.\r\n"),
        (b"\r\n.\0\r\n", b"\r\n\0\r\n"),
        (b"\r\n. \r\n", b"\r\n \r\n"),
        (b"\r\n..\r\n", b"\r\n.\r\n"),
    ],
    ids=repr,
)
@on_both_loops
async def test_smuggling_a_false_end_is_content(end: bytes, stored: bytes) -> None:
    evil = f"MAIL FROM:<evil@b.test>\r\nRCPT TO:<{SECRET}>\r\nDATA\r\nsmuggled\r\n".encode()
    async with serving() as site:
        client = await site.connect()
        assert (await client.mail(b"first" + end + evil + b".\r\n")).startswith("250 2.0.0 archived ")
        assert (await client.line("QUIT")).startswith("221 ")
        assert await client.at_end()
        assert site.intake.bodies == [b"first" + stored + evil]


# --- BDAT


@on_both_loops
async def test_bdat_in_chunks() -> None:
    async with serving() as site:
        client = await site.connect()
        await client.envelope()
        assert await client.ask(b"BDAT 7\r\n.\r\n.\r\n\0") == "250 2.0.0 7 octets received"
        assert await client.ask(b"BDAT 0\r\n") == "250 2.0.0 0 octets received"
        assert await client.ask(b"bdat 3 last\r\n\n.\n") == "250 2.0.0 archived log=c1 seq=1"
        assert site.intake.bodies == [b".\r\n.\r\n\0\n.\n"]
        assert (await client.mail(b"then DATA\r\n.\r\n")).endswith("seq=2")


@on_both_loops
async def test_bdat_zero_last_ends_a_message() -> None:
    async with serving() as site:
        client = await site.connect()
        await client.envelope()
        await client.ask(b"BDAT 2\r\nhi")
        assert (await client.line("BDAT 0 LAST")).startswith("250 2.0.0 archived ")
        await client.envelope()
        assert (await client.line("BDAT 0 LAST")).startswith("250 2.0.0 archived ")
        assert site.intake.bodies == [b"hi", b""]


@on_both_loops
async def test_bdat_pipelined_with_everything() -> None:
    async with serving() as site:
        client = await site.connect()
        await client.send(
            f"MAIL FROM:<> BODY=BINARYMIME\r\nRCPT TO:<{SECRET}>\r\nBDAT 4\r\nQUITBDAT 6 LAST\r\nRSET\r\n"
            f"MAIL FROM:<>\r\nRCPT TO:<{SECRET}>\r\nBDAT 1 LAST\r\nxNOOP\r\nQUIT\r\n".encode()
        )
        starts = ["250 2.1.0", "250 2.1.5", "250 2.0.0 4 octets", "250 2.0.0 archived log=c1 seq=1"]
        starts += ["250 2.1.0", "250 2.1.5", "250 2.0.0 archived log=c1 seq=2", "250 2.0.0", "221 2.0.0"]
        for start in starts:
            assert (await client.reply()).startswith(start)
        assert await client.at_end()
        assert site.intake.bodies == [b"QUITRSET\r\n", b"x"]


@on_both_loops
async def test_bdat_out_of_order_is_read_and_refused() -> None:
    async with serving() as site:
        client = await site.connect()
        assert (await client.ask(b"BDAT 6 LAST\r\nQUIT\r\n")).startswith("503 5.5.1 ")
        await client.line("MAIL FROM:<>")
        assert (await client.ask(b"BDAT 6\r\nQUIT\r\n")).startswith("503 5.5.1 ")
        await client.line(f"RCPT TO:<{SECRET}>")
        await client.ask(b"BDAT 1\r\nx")
        assert (await client.line("DATA")).startswith("503 5.5.1 ")
        assert (await client.line(f"RCPT TO:<{SECRET}>")).startswith("503 5.5.1 ")
        assert (await client.line("MAIL FROM:<>")).startswith("503 5.5.1 ")
        assert (await client.line("RSET")).startswith("250 2.0.0 ")
        assert site.intake.aborted == 1
        assert (await client.line("BDAT 0 LAST")).startswith("503 5.5.1 ")
        assert site.intake.captures == []


@pytest.mark.parametrize("argument", ["", " x", " -1", " 1 FIRST"])
@on_both_loops
async def test_bdat_of_unknown_length_ends_the_session(argument: str) -> None:
    async with serving() as site:
        client = await site.connect()
        await client.envelope()
        await client.send(f"BDAT{argument}\r\nQUIT\r\n".encode())
        assert (await client.reply()).startswith("501 5.5.4 ")
        assert await client.at_end()


@on_both_loops
async def test_binarymime_needs_bdat() -> None:
    async with serving() as site:
        client = await site.connect()
        await client.line("MAIL FROM:<> BODY=BINARYMIME")
        await client.line(f"RCPT TO:<{SECRET}>")
        assert (await client.line("DATA")).startswith("503 5.5.1 ")
        assert (await client.ask(b"BDAT 3 LAST\r\n\n\0\r")).startswith("250 2.0.0 archived ")
        assert site.intake.bodies == [b"\n\0\r"]


@on_both_loops
async def test_bdat_a_failed_chunk_answers_4xx_to_the_end() -> None:
    async with serving() as site:
        site.intake.fail["write"] = StoreFull("no")
        client = await site.connect()
        await client.envelope()
        await client.send(b"BDAT 3\r\nabcBDAT 3\r\ndefBDAT 3 LAST\r\nghi")
        for _ in range(3):
            assert (await client.reply()).startswith("452 4.3.1 ")
        assert site.intake.aborted == 1
        site.intake.fail.clear()
        assert (await client.mail(b"x\r\n.\r\n")).startswith("250 2.0.0 archived ")


# --- the envelope


@on_both_loops
async def test_null_sender_parameters_and_utf8() -> None:
    async with serving() as site:
        client = await site.connect()
        await client.send(b"MAIL FROM:<> SIZE=3 BODY=8BITMIME SMTPUTF8 RET=FULL ENVID=q1\r\n")
        assert (await client.reply()).startswith("250 2.1.0 ")
        await client.line(f"RCPT TO:<{SECRET.upper()}> NOTIFY=NEVER")
        site.intake.acts_seen = 9
        await client.line(f"RCPT TO:<{SECRET}>")
        await client.line("DATA")
        await client.ask(b"x\r\n.\r\n")
        draft = site.intake.drafts[0]
        assert draft.mail_from == ""
        assert draft.acts_seen == 7  # that of the first judgement, to which the source belongs
        assert draft.mail_parameters == ("SIZE=3", "BODY=8BITMIME", "SMTPUTF8", "RET=FULL", "ENVID=q1")
        assert draft.rcpt_to == (SECRET.upper(), SECRET)
        await client.mail(b"x\r\n.\r\n", sender="élise@société.test")
        assert site.intake.drafts[1].mail_from == "élise@société.test"
        await client.ask(b"MAIL FROM:<caf\xe9@b.test>\r\n")
        await client.line(f"RCPT TO:<{SECRET}>")
        await client.ask(b"BDAT 1 LAST\r\nx")
        assert site.intake.drafts[2].mail_from == "caf\\xe9@b.test"


@on_both_loops
async def test_a_wrong_recipient_is_550_and_adds_nothing() -> None:
    async with serving() as site:
        client = await site.connect()
        await client.line("MAIL FROM:<a@b.test>")
        reply = await client.line("RCPT TO:<someone@elsewhere.test>")
        assert reply.startswith("550 5.1.1 ")
        assert "elsewhere" not in reply
        assert (await client.line("DATA")).startswith("503 5.5.1 ")
        assert (await client.line(f"RCPT TO:<{SECRET}>")).startswith("250 2.1.5 ")
        assert (await client.line("RCPT TO:<someone@elsewhere.test>")).startswith("550 5.1.1 ")
        await client.line("DATA")
        await client.ask(b"x\r\n.\r\n")
        assert site.intake.drafts[0].rcpt_to == (SECRET,)


@on_both_loops
async def test_one_source_per_transaction() -> None:
    async with serving() as site:
        client = await site.connect()
        await client.envelope()
        assert (await client.line(f"RCPT TO:<{OTHER}>")).startswith("452 4.5.3 ")
        await client.line("DATA")
        await client.ask(b"x\r\n.\r\n")
        assert site.intake.drafts[0].rcpt_to == (SECRET,)
        await client.envelope(recipient=OTHER)
        assert site.server.counters.rejected == {"other_source": 1}


@on_both_loops
async def test_too_many_recipients() -> None:
    async with serving(max_recipients=3) as site:
        client = await site.connect()
        await client.envelope()
        for _ in range(2):
            assert (await client.line(f"RCPT TO:<{SECRET}>")).startswith("250 2.1.5 ")
        assert (await client.line(f"RCPT TO:<{SECRET}>")).startswith("452 4.5.3 ")


@pytest.mark.parametrize("error", [ArchiveError("no"), Overloaded("no"), RuntimeError("no"), TimeoutError()])
@on_both_loops
async def test_a_recipient_that_cannot_be_judged_is_451_and_so_is_what_follows(error: Exception) -> None:
    async with serving() as site:
        site.intake.fail["match"] = error
        client = await site.connect()
        await client.send(f"MAIL FROM:<>\r\nRCPT TO:<{SECRET}>\r\nDATA\r\n".encode())
        assert (await client.reply()).startswith("250 2.1.0 ")
        assert (await client.reply()).startswith("451 4.3.0 ")
        assert (await client.reply()).startswith("451 4.3.0 ")
        assert (await client.ask(b"BDAT 3 LAST\r\nabc")).startswith("451 4.3.0 ")
        site.intake.fail.clear()
        assert (await client.line(f"RCPT TO:<{SECRET}>")).startswith("250 2.1.5 ")


# --- commands


@pytest.mark.parametrize(
    ("line", "start"),
    [
        ("NOOP whatever", "250 2.0.0 "),
        ("noop", "250 2.0.0 "),
        ("RSET", "250 2.0.0 "),
        ("RSET now", "501 5.5.4 "),
        ("QUIT now", "501 5.5.4 "),
        ("HELP", "214 2.0.0 "),
        ("VRFY someone", "252 2.0.0 "),
        ("EXPN list", "252 2.0.0 "),
        ("VRFY", "501 5.5.4 "),
        ("HELO", "501 "),
        ("EHLO", "501 "),
        ("HELO client.test", "250 mx.test"),
        ("AUTH PLAIN AGEAYg==", "538 5.7.11 "),
        ("HELP AUTH", "214 2.0.0 "),
        ("STARTTLS", "502 5.5.1 "),
        ("", "500 5.5.1 "),
        ("WHAT", "500 5.5.1 "),
        ("__CLASS__", "500 5.5.1 "),
        ("ÉHLO", "500 5.5.1 "),
        ("MAIL", "501 5.5.4 "),
        ("MAIL FROM:<a@b", "501 5.1.7 "),
        ("MAIL FROM:<a@b> X=1", "555 5.5.4 "),
        ("MAIL FROM:<a@b> SIZE=999999999999", "552 5.3.4 "),
        (f"RCPT TO:<{SECRET}>", "503 5.5.1 "),
        ("DATA", "503 5.5.1 "),
        ("DATA now", "501 5.5.4 "),
        ("BDAT 0 LAST", "503 5.5.1 "),
        ("NOOP a\0b", "500 5.5.2 "),
        ("NOOP a\rb", "500 5.5.2 "),
        ("NOOP\r", "500 5.5.2 "),
        ("NOOP " + "x" * 600, "500 5.5.2 "),
        ("NOOP " + "x" * 60_000, "500 5.5.2 "),
        ("MAIL FROM:<" + "x" * 1000 + "@b.test>", "250 2.1.0 "),
        ("MAIL FROM:<" + "x" * 3000 + "@b.test>", "500 5.5.2 "),
    ],
    ids=lambda value: repr(value[:24]),
)
@on_both_loops
async def test_each_command_has_its_reply_and_the_session_goes_on(line: str, start: str) -> None:
    async with serving() as site:
        client = await site.connect()
        assert (await client.line(line)).startswith(start)
        assert (await client.line("NOOP")).startswith("250 2.0.0 ")
        assert (await client.line("QUIT")).startswith("221 2.0.0 ")


@on_both_loops
async def test_a_line_ended_by_a_bare_lf_is_refused() -> None:
    async with serving() as site:
        client = await site.connect()
        await client.send(b"\nMAIL FROM:<a@b.test>\nNOOP\r\n")
        assert (await client.reply()).startswith("500 5.5.2 ")
        assert (await client.reply()).startswith("500 5.5.2 ")
        assert (await client.reply()).startswith("250 2.0.0 ")
        assert (await client.line(f"RCPT TO:<{SECRET}>")).startswith("503 5.5.1 ")


@on_both_loops
async def test_the_extensions() -> None:
    async with serving(max_size=12345) as site:
        client = await site.connect()
        offered = [line[4:] for line in (await client.hello()).split("\n")[1:]]
        assert set(offered) == {
            "SIZE 12345",
            "8BITMIME",
            "SMTPUTF8",
            "CHUNKING",
            "BINARYMIME",
            "PIPELINING",
            "ENHANCEDSTATUSCODES",
            "HELP",
        }


@on_both_loops
async def test_hello_comes_first_and_resets() -> None:
    async with serving() as site:
        client = await site.connect(greet=False)
        await client.reply()
        assert (await client.line("MAIL FROM:<>")).startswith("503 5.5.1 ")
        await client.hello()
        await client.envelope()
        await client.ask(b"BDAT 1\r\nx")
        await client.hello()
        assert site.intake.aborted == 1
        assert (await client.line(f"RCPT TO:<{SECRET}>")).startswith("503 5.5.1 ")
        assert (await client.mail(b"x\r\n.\r\n")).startswith("250 2.0.0 archived ")
        assert (await client.line("MAIL FROM:<>")).startswith("250 ")
        assert (await client.line("MAIL FROM:<>")).startswith("503 5.5.1 ")


@on_both_loops
async def test_pipelining_keeps_what_follows_the_end_of_data() -> None:
    async with serving() as site:
        client = await site.connect()
        envelope = f"MAIL FROM:<>\r\nRCPT TO:<{SECRET}>\r\nDATA\r\n".encode()
        await client.send(envelope)
        for code in ("250", "250", "354"):
            assert (await client.reply()).startswith(code)
        await client.send(b"one\r\n.\r\n" + envelope + b"two\r\n.\r\nNOOP\r\nQUIT\r\n")
        for start in ("250 2.0.0 archived", "250", "250", "354", "250 2.0.0 archived", "250 2.0.0", "221"):
            assert (await client.reply()).startswith(start)
        assert site.intake.bodies == [b"one\r\n", b"two\r\n"]


@on_both_loops
async def test_a_sender_that_closes_its_side_is_still_answered() -> None:
    async with serving() as site:
        gate = site.intake.gate["commit"] = asyncio.Event()
        client = await site.connect()
        (session,) = site.server._endpoint.sessions
        await client.send(f"MAIL FROM:<>\r\nRCPT TO:<{SECRET}>\r\nBDAT 2 LAST\r\nhi".encode())
        client.writer.write_eof()
        await until(lambda: session._input.eof)
        for _ in range(20):
            await asyncio.sleep(0)
        gate.set()
        for start in ("250 2.1.0", "250 2.1.5", "250 2.0.0 archived"):
            assert (await client.reply()).startswith(start)
        assert await client.at_end()


@on_both_loops
async def test_too_many_errors_end_the_session() -> None:
    async with serving(max_errors=3) as site:
        client = await site.connect()
        for _ in range(3):
            assert (await client.line("WHAT")).startswith("500 5.5.1 ")
        assert (await client.line("WHAT")).startswith("421 4.7.0 ")
        assert await client.at_end()


@on_both_loops
async def test_an_archived_message_forgives_errors() -> None:
    async with serving(max_errors=3) as site:
        client = await site.connect()
        for _ in range(4):
            assert (await client.line("WHAT")).startswith("500 5.5.1 ")
            assert (await client.mail(b"x\r\n.\r\n")).startswith("250 2.0.0 archived ")


@on_both_loops
async def test_endless_junk_ends_the_session() -> None:
    async with serving() as site:
        client = await site.connect()
        await client.send(b"x" * 100_000)
        assert (await client.reply()).startswith("421 4.7.0 ")


# --- size


@on_both_loops
async def test_a_message_over_the_limit_is_read_to_its_end_and_refused() -> None:
    async with serving(max_size=1000) as site:
        client = await site.connect()
        assert (await client.line("MAIL FROM:<> SIZE=1001")).startswith("552 5.3.4 ")
        assert (await client.mail(b"x" * 999 + b"\r\n.\r\nNOOP\r\n")).startswith("552 5.3.4 ")
        assert (await client.reply()).startswith("250 2.0.0 ")
        assert (await client.mail(b"x" * 998 + b"\r\n.\r\n")).startswith("250 2.0.0 archived ")
        await client.envelope()
        assert (await client.ask(b"BDAT 600\r\n" + b"x" * 600)).startswith("250 2.0.0 600 ")
        assert (await client.ask(b"BDAT 600\r\n" + b"x" * 600)).startswith("552 5.3.4 ")
        assert (await client.ask(b"BDAT 1 LAST\r\nx")).startswith("552 5.3.4 ")
        assert (site.intake.aborted, len(site.intake.captures)) == (2, 1)
        assert site.server.counters.rejected["too_large"] == 4


# --- faults of ours are 4xx, and the session goes on


@pytest.mark.parametrize(
    ("error", "start"),
    [
        (StoreFull("no"), "452 4.3.1 "),
        (Overloaded("no"), "452 4.3.1 "),
        (StoreDenied("no"), "451 4.3.0 "),
        (SlotLost("no"), "451 4.3.0 "),
        (ArchiveError("no"), "451 4.3.0 "),
        (RuntimeError("no"), "451 4.3.0 "),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
@pytest.mark.parametrize("step", ["begin", "write", "commit"])
@on_both_loops
async def test_a_failing_step_is_4xx(step: str, error: Exception, start: str) -> None:
    async with serving() as site:
        site.intake.fail[step] = error
        client = await site.connect()
        await client.envelope()
        reply = await client.line("DATA")
        if step != "begin":
            reply = await client.ask(b"x" * 500_000 + b"\r\n.\r\nNOOP\r\n")
            assert (await client.reply()).startswith("250 2.0.0 ")
        assert reply.startswith(start)
        # After a commit was begun its outcome may be unknown: the sink is not told to abort.
        assert site.intake.aborted == (1 if step == "write" else 0)
        site.intake.fail.clear()
        assert (await client.mail(b"x\r\n.\r\n")).startswith("250 2.0.0 archived ")


@pytest.mark.parametrize(
    ("step", "start"),
    [("match", "451 4.3.0 "), ("begin", "451 4.4.5 "), ("write", "451 4.4.5 "), ("commit", "451 4.4.5 ")],
)
@on_both_loops
async def test_a_step_that_takes_too_long_is_451(step: str, start: str) -> None:
    async with serving(commit_timeout=0.05) as site:
        site.intake.gate[step] = asyncio.Event()
        client = await site.connect()
        await client.line("MAIL FROM:<>")
        reply = await client.line(f"RCPT TO:<{SECRET}>")
        if reply.startswith("250"):
            reply = await client.line("DATA")
        if reply.startswith("354"):
            reply = await client.ask(b"x\r\n.\r\n")
        assert reply.startswith(start)
        assert site.intake.captures == []
        del site.intake.gate[step]
        await client.line("RSET")
        assert (await client.mail(b"x\r\n.\r\n")).startswith("250 2.0.0 archived ")


@on_both_loops
async def test_a_bug_in_a_command_is_451_and_the_session_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as site:
        client = await site.connect()
        with monkeypatch.context() as patch:
            patch.setattr("ingest.smtp.session.parse_mail", lambda argument: 1 // 0)
            await client.send(f"MAIL FROM:<>\r\nRCPT TO:<{SECRET}>\r\nDATA\r\n".encode())
            for _ in range(3):
                assert (await client.reply()).startswith("451 4.3.0 ")
        assert (await client.mail(b"x\r\n.\r\n")).startswith("250 2.0.0 archived ")


@on_both_loops
async def test_a_bug_outside_of_commands_ends_the_session_with_a_4xx(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as site:
        client = await site.connect()
        with monkeypatch.context() as patch:
            patch.setattr("ingest.smtp.session.SmtpSession._refuse", lambda self, reply: 1 // 0)
            assert (await client.line("WHAT")).startswith("451 4.3.0 ")
            assert await client.at_end()
        client = await site.connect()
        assert (await client.mail(b"x\r\n.\r\n")).startswith("250 2.0.0 archived ")


@on_both_loops
async def test_nothing_secret_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving() as site:
        client = await site.connect()
        await client.mail(b"Subject: private\r\n.\r\n", sender="private@b.test")
        await client.line(f"VRFY {SECRET}")
        await client.line("MAIL FROM:<private@b.test> X=private")
        for step in ("begin", "write", "commit", "match"):
            site.intake.fail = {step: RuntimeError(f"private {SECRET}")}
            await client.line("RSET")
            await client.line("MAIL FROM:<private@b.test>")
            reply = await client.line(f"RCPT TO:<{SECRET}>")
            if reply.startswith("250"):
                reply = await client.line("DATA")
            if reply.startswith("354"):
                reply = await client.ask(b"private\r\n.\r\n")
            assert reply.startswith("451 4.3.0 ")
    text = "\n".join(record.getMessage() for record in caplog.records)
    assert not [record for record in caplog.records if record.name == "mail.log"]  # aiosmtpd's own
    assert text.count("unexpected RuntimeError in ") == 4
    assert not re.search(r"private|journal-|127\.0\.0\.1|Traceback", caplog.text)


# --- disconnects and timeouts


@pytest.mark.parametrize("command", ["DATA", "BDAT 100 LAST"])
@on_both_loops
async def test_a_sender_that_goes_away_inside_a_message_aborts_it(command: str) -> None:
    async with serving() as site:
        client = await site.connect()
        await client.envelope()
        await client.send(f"{command}\r\n".encode())
        if command == "DATA":
            await client.reply()
        await client.send(b"half a message\r\n.")
        await site.intake.reached["begin"].wait()
        await client.close()
        await until(lambda: site.intake.aborted == 1)
        await until(lambda: site.server.counters.open == 0)
        assert site.intake.captures == []
        assert site.server.counters.abandoned == 1
        assert site.server.budget.used == 0


@on_both_loops
async def test_a_sender_that_goes_away_during_the_commit_does_not_stop_it() -> None:
    async with serving() as site:
        gate = site.intake.gate["commit"] = asyncio.Event()
        client = await site.connect()
        await client.envelope()
        await client.line("DATA")
        await client.send(b"x\r\n.\r\n")
        await site.intake.reached["commit"].wait()
        client.writer.transport.abort()
        for _ in range(20):
            await asyncio.sleep(0)
        gate.set()
        await until(lambda: site.server.counters.open == 0)
        assert site.intake.bodies == [b"x\r\n"]
        assert site.intake.aborted == 0


@on_both_loops
async def test_an_idle_session_is_ended() -> None:
    async with serving(command_timeout=0.05) as site:
        client = await site.connect(greet=False)
        await client.reply()
        assert (await client.reply()).startswith("421 4.4.2 ")
        assert await client.at_end()


@on_both_loops
async def test_a_message_that_stands_still_is_aborted() -> None:
    async with serving(data_timeout=0.05) as site:
        client = await site.connect()
        await client.envelope()
        await client.line("DATA")
        await client.send(b"half")
        assert (await client.reply()).startswith("421 4.4.2 ")
        assert await client.at_end()
        await until(lambda: site.server.counters.open == 0)
        assert site.intake.aborted == 1


@on_both_loops
async def test_a_slow_store_is_not_counted_against_the_sender() -> None:
    async with serving() as site:
        gate = site.intake.gate["commit"] = asyncio.Event()
        client = await site.connect()
        (session,) = site.server._endpoint.sessions
        await client.envelope()
        await client.line("DATA")
        assert session._timer._deadline is not None
        await client.send(b"x\r\n.\r\n")
        await site.intake.reached["commit"].wait()
        assert session._timer._deadline is None
        gate.set()
        assert (await client.reply()).startswith("250 2.0.0 archived ")


# --- memory


@on_both_loops
async def test_past_the_budget_new_mail_is_deferred() -> None:
    budget = MemoryBudget(1000)
    async with serving(budget=budget) as site:
        client = await site.connect()
        elsewhere = Charge(budget)
        elsewhere.add(1000)
        await client.send(f"MAIL FROM:<>\r\nRCPT TO:<{SECRET}>\r\nBDAT 2 LAST\r\nhi".encode())
        for _ in range(3):
            assert (await client.reply()).startswith("452 4.3.1 ")
        elsewhere.clear()
        assert (await client.mail(b"x\r\n.\r\n")).startswith("250 2.0.0 archived ")
        assert budget.used == 0


@on_both_loops
async def test_past_twice_the_budget_mail_under_way_is_shed() -> None:
    budget = MemoryBudget(MIB)
    async with serving(budget=budget) as site:
        client = await site.connect()
        await client.envelope()
        await client.line("DATA")
        elsewhere = Charge(budget)
        elsewhere.add(2 * MIB)
        assert (await client.ask(b"x" * 300_000 + b"\r\n.\r\n")).startswith("452 4.3.1 ")
        assert site.intake.aborted == 1
        elsewhere.clear()
        assert budget.used == 0
        assert (await client.mail(b"x\r\n.\r\n")).startswith("250 2.0.0 archived ")


@on_both_loops
async def test_a_large_message_streams_in_flat_memory_behind_a_slow_store() -> None:
    size = 64 * MIB
    buffered = HIGH_WATER_OCTETS + MIB  # what one read of the socket may add is below 1 MiB
    async with serving(change=lambda intake: intake.gate.update(write=asyncio.Event())) as site:
        client = await site.connect()
        await client.envelope()
        await client.line("DATA")
        client.writer.write(b"0123456789abcde\n" * (size // 16))
        sending = asyncio.ensure_future(client.send(b"\r\n.\r\n"))
        await site.intake.reached["write"].wait()
        for _ in range(500):
            await asyncio.sleep(0)
        budget = site.server.budget
        assert not sending.done()
        assert 0 < budget.used <= buffered
        site.intake.gate.pop("write").set()
        await sending
        assert (await client.reply()).startswith("250 2.0.0 archived ")
        assert len(site.intake.bodies[0]) == size + 2
        assert budget.peak <= RETAINED_OCTETS + buffered
        assert site.intake.longest_write <= buffered
        assert budget.used == 0


@on_both_loops
async def test_a_peer_that_never_reads_costs_bounded_memory() -> None:
    async with serving(command_timeout=0.1, closing_timeout=0.1) as site:
        client = await site.connect()
        (session,) = site.server._endpoint.sessions
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]
        sending = asyncio.ensure_future(client.send(b"HELP\r\n" * 500_000))
        unread = 0
        while site.server.counters.open:
            await asyncio.sleep(0)
            if session.transport is not None:
                unread = max(unread, session.transport.get_write_buffer_size())
        assert 0 < unread < MIB
        assert site.server.budget.peak <= HIGH_WATER_OCTETS + MIB
        client.writer.transport.abort()
        await asyncio.wait({sending})
        sending.exception()


@on_both_loops
async def test_connections_past_the_limit_are_turned_away() -> None:
    async with serving(max_connections=1) as site:
        first = await site.connect()
        second = await site.connect(greet=False)
        assert (await second.reply()).startswith("421 4.3.2 ")
        assert await second.at_end()
        await first.line("QUIT")
        await first.close()
        await until(lambda: site.server.counters.open == 0)
        third = await site.connect()
        assert (await third.mail(b"x\r\n.\r\n")).startswith("250 2.0.0 archived ")


# --- TLS


@pytest.fixture(scope="module")
def tls_pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's context over a certificate made for this run."""
    folder: Path = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mx.test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("mx.test")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "cert.pem").write_bytes(pem)
    (folder / "key.pem").write_bytes(private)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return server, ssl.create_default_context(cafile=str(folder / "cert.pem"))


Pair = tuple[ssl.SSLContext, ssl.SSLContext]


@on_both_loops
async def test_starttls_carries_mail_and_is_recorded(tls_pair: Pair) -> None:
    server, trusted = tls_pair
    async with serving(tls=server) as site:
        client = await site.connect()
        assert "\n250-STARTTLS\n" in await client.hello()
        assert (await client.line("STARTTLS now")).startswith("501 5.5.4 ")
        assert (await client.line("STARTTLS")).startswith("220 2.0.0 ")
        await client.secure(trusted)
        assert "STARTTLS" not in await client.hello()
        assert (await client.line("STARTTLS")).startswith("503 5.5.1 ")
        body = b"x" * 1_000_000 + b"\r\n"
        assert (await client.mail(body + b".\r\n")).startswith("250 2.0.0 archived ")
        assert (await client.line("QUIT")).startswith("221 ")
        draft, stored = site.intake.captures[0]
        assert stored == body
        assert draft.tls is not None
        assert draft.tls.startswith("TLSv1.")
        assert draft.peer == "127.0.0.1"
        assert site.server.counters.tls == 1


@on_both_loops
async def test_starttls_throws_away_what_was_injected_in_clear(tls_pair: Pair) -> None:
    server, trusted = tls_pair
    async with serving(tls=server) as site:
        client = await site.connect()
        injected = f"EHLO evil.test\r\nMAIL FROM:<evil@b.test>\r\nRCPT TO:<{SECRET}>\r\n"
        reply = await client.ask(f"STARTTLS\r\n{injected}".encode())
        assert reply.startswith("220 2.0.0 ")
        await client.secure(trusted)
        # The next reply is that of the first command inside TLS, and nothing is known of the injected ones.
        assert (await client.line(f"RCPT TO:<{SECRET}>")).startswith("503 5.5.1 ")
        assert (await client.line("MAIL FROM:<>")).startswith("503 5.5.1 ")
        assert site.intake.matched == []


@on_both_loops
async def test_starttls_forgets_greeting_and_transaction(tls_pair: Pair) -> None:
    server, trusted = tls_pair
    async with serving(tls=server) as site:
        client = await site.connect()
        await client.envelope()
        await client.ask(b"BDAT 1\r\nx")
        await client.line("STARTTLS")
        assert site.intake.aborted == 1
        await client.secure(trusted)
        assert (await client.line("MAIL FROM:<>")).startswith("503 5.5.1 ")
        await client.hello()
        assert (await client.line("DATA")).startswith("503 5.5.1 ")


@on_both_loops
async def test_a_failed_handshake_ends_the_session(tls_pair: Pair) -> None:
    server, _ = tls_pair
    async with serving(tls=server) as site:
        client = await site.connect()
        await client.line("STARTTLS")
        await client.send(b"MAIL FROM:<evil@b.test>\r\n" * 20)
        await until(lambda: site.server.counters.open == 0)
        await client.close()
        assert site.server.counters.tls == 0


@on_both_loops
async def test_a_tls_sender_that_goes_away_aborts_its_message(tls_pair: Pair) -> None:
    server, trusted = tls_pair
    async with serving(tls=server) as site:
        client = await site.connect()
        await client.line("STARTTLS")
        await client.secure(trusted)
        await client.hello()
        await client.envelope()
        await client.line("DATA")
        await client.send(b"half")
        await client.close()
        await until(lambda: site.server.counters.open == 0)
        assert site.intake.aborted == 1


# --- start and stop


@on_both_loops
async def test_draining_ends_idle_sessions_and_lets_mail_finish() -> None:
    async with serving() as site:
        gate = site.intake.gate["commit"] = asyncio.Event()
        idle, busy, slow = await site.connect(), await site.connect(), await site.connect()
        await busy.envelope()
        await busy.line("DATA")
        await busy.send(b"x\r\n.\r\nMAIL FROM:<>\r\n")
        await site.intake.reached["commit"].wait()
        await slow.line("MAIL FROM:<>")
        stopping = asyncio.ensure_future(site.server.stop(drain_seconds=PATIENCE))
        assert (await idle.reply()).startswith("421 4.3.2 ")
        assert await idle.at_end()
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", site.port)
        gate.set()
        assert (await busy.reply()).startswith("250 2.0.0 archived ")
        assert (await busy.reply()).startswith("421 4.3.2 ")  # no new transaction
        await slow.line(f"RCPT TO:<{SECRET}>")
        await slow.line("DATA")
        assert (await slow.ask(b"y\r\n.\r\n")).startswith("250 2.0.0 archived ")
        assert (await slow.reply()).startswith("421 4.3.2 ")
        for client in (idle, busy, slow):
            await client.close()
        await stopping
        assert len(site.intake.captures) == 2


@on_both_loops
async def test_what_does_not_finish_in_time_is_cut_off_without_a_250() -> None:
    async with serving() as site:
        site.intake.gate["commit"] = asyncio.Event()
        half, waiting = await site.connect(), await site.connect()
        await half.envelope()
        await half.line("DATA")
        await half.send(b"half")
        await waiting.envelope()
        await waiting.line("DATA")
        await waiting.send(b"x\r\n.\r\n")
        await site.intake.reached["commit"].wait()
        await site.intake.reached["write"].wait()
        stopping = asyncio.ensure_future(site.server.stop(drain_seconds=0.05))
        for client in (half, waiting):
            assert (await client.reply()).startswith("421 4.3.2 ")
            assert await client.at_end()
            await client.close()
        await stopping
        assert site.intake.captures == []
        assert site.intake.aborted == 1  # of the one whose commit was not begun
        assert site.server.budget.used == 0


@on_both_loops
async def test_two_servers_share_a_port_and_a_third_may_be_refused() -> None:
    async with serving() as site:
        twin = SmtpServer(FakeIntake(), SmtpSettings(hostname="mx.test"))
        assert await twin.start("127.0.0.1", site.port) == ("127.0.0.1", site.port)
        await twin.stop()
        lone = SmtpServer(FakeIntake(), SmtpSettings(hostname="mx.test"))
        with pytest.raises(ArchiveError) as error:
            await lone.start("127.0.0.1", site.port, reuse_port=False)
        assert error.value.code == "smtp.listen"


@on_both_loops
async def test_a_server_starts_again_after_a_stop() -> None:
    server = SmtpServer(FakeIntake(), SmtpSettings(hostname="mx.test"))
    for _ in range(2):
        _, port = await server.start("127.0.0.1", 0)
        client = Client(*await asyncio.open_connection("127.0.0.1", port))
        assert (await client.reply()).startswith("220 mx.test ")
        await client.line("QUIT")
        await client.close()
        await server.stop()
    assert server.counters.connections == 2
