"""The milter endpoint with a scripted MTA: what is archived, what is told to come again, and what leaves nothing."""

import asyncio
import logging
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archive_service.model.errors import ArchiveError, Overloaded, StoreError, StoreFull
from archive_service.model.mail import Guard, MilterClient, SourceKind
from ingest.milter.limits import MilterLimits
from ingest.refusals import Refusal
from ingest.smtp.limits import MemoryBudget
from tests.flow.test_smtp_endpoint import on_both_loops, until
from tests.unit.milter_fakes import (
    FIELDS,
    macros,
    milter_serving,
    nul,
    offer,
    packet,
    postfix_sources,
)
from tests.unit.smtp_fakes import OTHER, SECRET, SOURCES, FakeIntake

ONE = SOURCES[SECRET].id
HEADER = b"From: a@b.test\r\nSubject: hello\r\n\r\n"


def guarded(guard: Guard) -> Callable[[FakeIntake], None]:
    def change(intake: FakeIntake) -> None:
        intake.sources[SECRET] = intake.sources[SECRET].model_copy(update={"guard": guard})

    return change


def gone_wrong(answer: bytes, words: bytes = b"") -> bool:
    return answer == b"t" or (answer.startswith(b"y45") and words in answer)


@on_both_loops
async def test_a_mail_is_archived_with_its_whole_envelope_before_the_mta_goes_on() -> None:
    async with milter_serving() as site:
        mta = await site.connect()
        await mta.send(macros("M", auth_authen="anne", tls_version="TLSv1.3", cipher="AES"))
        await mta.envelope(
            "<anne@b.test>", ("<bob@x.test>", "<hidden@x.test>", "carl@x.test"), "BODY=8BITMIME", "SIZE=99"
        )
        assert await mta.content(b"line\r\n.dot\r\n") == b"c"
        ((draft, raw),) = site.intake.captures
        assert raw == HEADER + b"line\r\n.dot\r\n"
        assert (draft.mail_from, draft.rcpt_to) == (
            "anne@b.test",
            ("bob@x.test", "hidden@x.test", "carl@x.test"),
        )
        assert (draft.source.id, draft.tenant, draft.acts_seen) == (ONE, "tenant", 7)
        assert (draft.peer, draft.helo, draft.tls) == ("127.0.0.1", None, None)
        assert draft.mail_parameters == ("BODY=8BITMIME", "SIZE=99")
        assert draft.milter == MilterClient(
            client="192.0.2.9",
            name="client.test",
            helo="helo.test",
            tls="TLSv1.3 AES",
            user="anne",
            queue="4QX1",
        )
        assert site.server.endpoint.counters.accepted == 1


@on_both_loops
async def test_the_answer_comes_after_the_commit_alone() -> None:
    async with milter_serving() as site:
        site.intake.gate["commit"] = asyncio.Event()
        mta = await site.connect()
        await mta.envelope()
        await mta.send(packet("L", nul(*FIELDS[0])), packet("N"), packet("E"))
        await asyncio.wait_for(site.intake.reached["commit"].wait(), 20)
        waiting = asyncio.create_task(mta.answer())
        for _ in range(50):
            await asyncio.sleep(0)
        assert not waiting.done()
        site.intake.gate["commit"].set()
        assert await waiting == b"c"


@on_both_loops
async def test_many_mails_in_one_connection_and_each_is_judged_anew() -> None:
    async with milter_serving() as site:
        mta = await site.connect()
        for sender in ("<>", "<a@b.test>"):
            await mta.envelope(sender)
            assert await mta.content() == b"c"
            await mta.send(packet("A"))  # as Postfix does after every mail
        assert [draft.mail_from for draft, _ in site.intake.captures] == ["", "a@b.test"]
        site.intake.sources.clear()
        assert gone_wrong(await mta.ask(packet("M", nul("<a@b.test>"))), b"source not known")
        postfix_sources_again(site.intake)
        await mta.envelope()
        assert await mta.content() == b"c"
        assert len(site.intake.captures) == 3


def postfix_sources_again(intake: FakeIntake) -> None:
    intake.sources = dict(SOURCES)
    postfix_sources(intake)


@on_both_loops
async def test_a_recipient_that_the_mta_never_names_is_not_in_the_record_and_a_reset_forgets() -> None:
    async with milter_serving() as site:
        mta = await site.connect()
        assert await mta.ask(packet("M", nul("<other@b.test>"))) == b"c"
        assert await mta.ask(packet("R", nul("<wrong@x.test>"))) == b"c"
        await mta.send(packet("A"))  # RSET
        await mta.envelope()
        assert await mta.content() == b"c"
        ((draft, _),) = site.intake.captures
        assert (draft.mail_from, draft.rcpt_to) == ("a@b.test", ("bob@x.test",))


@pytest.mark.parametrize("body", [b"", b"\0\x00nul", b"\xff8bit\r\n", b"bare\rcr\nlf", b"z" * 5_000_000])
@on_both_loops
async def test_any_body_comes_through_byte_for_byte(body: bytes) -> None:
    async with milter_serving() as site:
        mta = await site.connect()
        await mta.envelope()
        assert await mta.content(body) == b"c"
        assert site.intake.bodies == [HEADER + body]


@on_both_loops
async def test_a_large_mail_is_not_held_in_memory() -> None:
    async with milter_serving() as site:
        mta = await site.connect()
        await mta.envelope()
        assert await mta.content(b"x" * 50_000_000) == b"c"
        assert len(site.intake.bodies[0]) == len(HEADER) + 50_000_000
        assert site.server.endpoint.budget.peak < 10_000_000


@on_both_loops
async def test_odd_headers_come_through() -> None:
    fields = (
        (b"X-Long", b" " + b"y" * 300_000),
        (b"X-8", b"\t\xe9\xff"),
        (b"X-Empty", b""),
        (b"To", b" a,\n\tb"),
        (b"X-Nul", b"a\0b"),
    )
    async with milter_serving() as site:
        mta = await site.connect()
        await mta.envelope("<béa@b.test>", ("<jürgen@x.test>",), "SMTPUTF8")
        assert await mta.content(b"", fields) == b"c"
        ((draft, raw),) = site.intake.captures
        assert raw == (
            b"X-Long: "
            + b"y" * 300_000
            + b"\r\nX-8:\t\xe9\xff\r\nX-Empty:\r\nTo: a,\r\n\tb\r\nX-Nul:a\0b\r\n\r\n"
        )
        assert (draft.mail_from, draft.rcpt_to) == ("béa@b.test", ("jürgen@x.test",))


@on_both_loops
async def test_an_mta_that_waits_for_every_answer_gets_every_answer() -> None:
    """Nothing silent is offered, and one space is eaten: as an MTA without these steps would have it."""
    async with milter_serving() as site:
        mta = await site.connect(greet=False)
        answer = await mta.ask(offer(6, 0, 0))
        assert answer == b"O" + b"\0\0\0\x06" + b"\0" * 8
        steps = [
            macros("C", archive_source=SECRET) + packet("C", nul("unknown") + b"U"),
            packet("H", nul("helo")),
            packet("U", nul("XFOO")),
            packet("M", nul("<>")),
            packet("R", nul("<bob@x.test>")),
            packet("T"),
            packet("L", nul("Subject", "hello")),
            packet("N"),
            packet("B", b"x"),
            packet("E", b"yz"),
        ]
        assert [await mta.ask(step) for step in steps] == [b"c"] * len(steps)
        assert site.intake.bodies == [b"Subject: hello\r\n\r\nxyz"]
        await mta.send(packet("Q"))
        assert await mta.at_end()


@on_both_loops
async def test_a_connection_can_be_used_for_another_client() -> None:
    async with milter_serving() as site:
        mta = await site.connect()
        await mta.send(packet("K"))
        assert gone_wrong(await mta.ask(packet("M", nul("<>"))), b"no source is named")
        await mta.send(macros("C", archive_source=SECRET), packet("C", nul("two.test") + b"U"))
        await mta.envelope()
        assert await mta.content() == b"c"
        assert site.intake.captures[0][0].milter == MilterClient(name="two.test", queue="4QX1")


# --- the source


@pytest.mark.parametrize(
    ("source", "reason"),
    [(None, "source_unnamed"), ("journal-0000@archive.test", "source_unknown"), ("", "source_unnamed")],
)
@on_both_loops
async def test_without_a_known_source_mail_stays_with_its_sender(source: str | None, reason: str) -> None:
    async with milter_serving() as site:
        mta = await site.connect(source)
        assert gone_wrong(await mta.ask(packet("M", nul("<a@b.test>"))))
        assert site.refused == {reason: 1}
        assert site.intake.captures == []


@on_both_loops
async def test_only_a_source_of_postfix_takes_mail_by_milter() -> None:
    def change(intake: FakeIntake) -> None:
        intake.sources[SECRET] = intake.sources[SECRET].model_copy(update={"kind": SourceKind.M365})

    async with milter_serving(change=change) as site:
        mta = await site.connect()
        assert gone_wrong(await mta.ask(packet("M", nul("<>"))), b"not a source for a milter")
        assert site.server.endpoint.refusals.take_sums() == [Refusal("tenant", ONE, "source_kind")]


@pytest.mark.parametrize(
    ("guard", "reason"),
    [
        (Guard(networks=("192.0.2.0/24",)), "source_unknown"),
        (Guard(tls=True), "source_guard"),
        (Guard(password="$argon2id$x"), "source_guard"),
        (Guard(max_size=50), "oversized"),
    ],
    ids=["network", "tls", "password", "size"],
)
@on_both_loops
async def test_what_the_guard_asks_and_a_milter_has_not_is_recorded_and_comes_again(
    guard: Guard, reason: str
) -> None:
    async with milter_serving(change=guarded(guard)) as site:
        mta = await site.connect()
        assert gone_wrong(await mta.ask(packet("M", nul("<>", "SIZE=51"))))
        assert site.refused == {reason: 1}
        assert site.server.endpoint.refusals.take_sums() == [Refusal("tenant", ONE, reason)]
        postfix_sources_again(site.intake)
        await mta.envelope()
        assert await mta.content() == b"c"


@pytest.mark.parametrize("more", [{}, {"max_size": 65536}], ids=["source", "endpoint"])
@on_both_loops
async def test_a_mail_that_turns_out_too_large_comes_again(more: dict[str, int]) -> None:
    guard = Guard() if more else Guard(max_size=70_000)
    async with milter_serving(change=guarded(guard), **more) as site:
        mta = await site.connect()
        await mta.envelope()
        assert gone_wrong(await mta.content(b"x" * 80_000), b"452 4.3.4")
        assert site.refused == {"oversized": 1}
        assert site.intake.captures == []
        await mta.envelope()
        assert await mta.content(b"small") == b"c"


@on_both_loops
async def test_the_rate_counts_mails_not_attempts() -> None:
    async with milter_serving(change=guarded(Guard(rate=1))) as site:
        mta = await site.connect()
        for _ in range(5):
            assert await mta.ask(packet("M", nul("<>"))) == b"c"
            await mta.send(packet("A"))
        await mta.envelope()
        assert await mta.content() == b"c"
        assert await mta.ask(packet("M", nul("<>"))) == b"c"
        assert await mta.ask(packet("R", nul("<bob@x.test>"))) == b"c"
        assert gone_wrong(await mta.ask(packet("T")), b"too much mail")
        assert site.server.endpoint.refusals.take_sums() == [Refusal("tenant", ONE, "rate")]


# --- faults


@pytest.mark.parametrize(
    "error", [StoreError("x"), ArchiveError("x"), Overloaded("x"), StoreFull("x"), RuntimeError("x")]
)
@pytest.mark.parametrize("step", ["match", "begin", "write", "commit"])
@on_both_loops
async def test_every_fault_is_told_to_come_again_and_the_next_mail_is_archived(
    step: str, error: Exception
) -> None:
    async with milter_serving() as site:
        site.intake.fail[step] = error
        mta = await site.connect()
        if step == "match":
            assert gone_wrong(await mta.ask(packet("M", nul("<>"))))
        else:
            await mta.envelope()
            assert gone_wrong(await mta.content(b"x" * 200_000))
        assert site.intake.captures == []
        site.intake.fail.clear()
        await mta.envelope()
        assert await mta.content() == b"c"
        assert len(site.intake.captures) == 1


@pytest.mark.parametrize("step", ["match", "begin", "write", "commit"])
@on_both_loops
async def test_a_step_that_gives_no_answer_in_time_is_told_to_come_again(step: str) -> None:
    async with milter_serving(commit_timeout=0.05) as site:
        site.intake.gate[step] = asyncio.Event()
        mta = await site.connect()
        if step == "match":
            assert gone_wrong(await mta.ask(packet("M", nul("<>"))))
        else:
            await mta.envelope()
            assert gone_wrong(await mta.content(b"x" * 70_000))
        assert site.intake.captures == []


@on_both_loops
async def test_overload_is_told_at_mail_and_a_mail_in_hand_is_shed() -> None:
    budget = MemoryBudget(100_000)
    async with milter_serving(budget=budget) as site:
        mta = await site.connect()
        budget.used += 100_000
        assert gone_wrong(await mta.ask(packet("M", nul("<>"))), b"452 4.3.1")
        budget.used -= 100_000
        await mta.envelope()
        budget.used += 200_000
        assert gone_wrong(await mta.content(), b"452 4.3.1")
        budget.used -= 200_000
        assert site.intake.captures == []


@on_both_loops
async def test_too_many_recipients_are_told_one_by_one_and_the_others_stay() -> None:
    async with milter_serving(limits=MilterLimits(envelope=25)) as site:
        mta = await site.connect()
        assert await mta.ask(packet("M", nul("<>"))) == b"c"
        assert await mta.ask(packet("R", nul("<one@x.test>"))) == b"c"
        assert await mta.ask(packet("R", nul("<two@x.test>"))) == b"c"
        assert gone_wrong(await mta.ask(packet("R", nul("<three@x.test>"))), b"452 4.5.3")
        assert await mta.ask(packet("T")) == b"c"
        assert await mta.content() == b"c"
        assert site.intake.captures[0][0].rcpt_to == ("one@x.test", "two@x.test")


@on_both_loops
async def test_a_packet_that_is_too_long_spoils_its_mail_alone() -> None:
    async with milter_serving(limits=MilterLimits(packet=70_000)) as site:
        mta = await site.connect()
        await mta.envelope()
        answer = await mta.content(b"body", ((b"X", b"y" * 80_000), *FIELDS))
        assert gone_wrong(answer, b"452 4.3.4")
        await mta.envelope()
        assert await mta.content() == b"c"
        assert site.intake.bodies == [HEADER + b"body\r\n"]


# --- what leaves nothing


@pytest.mark.parametrize("large", [False, True])
@on_both_loops
async def test_an_mta_that_goes_away_inside_a_mail_leaves_nothing(large: bool) -> None:
    async with milter_serving() as site:
        mta = await site.connect()
        await mta.envelope()
        await mta.send(
            packet("L", nul(*FIELDS[0])), packet("N"), *[packet("B", b"x" * 65535)] * (3 if large else 1)
        )
        await asyncio.wait_for(site.intake.reached["begin"].wait(), 20)
        await mta.send(packet("B", b"y" * 100)[:50])
        await mta.close()
        await until(lambda: site.server.endpoint.counters.open == 0)
        assert site.intake.captures == [] and site.intake.aborted == 1
        assert site.server.endpoint.counters.abandoned == 1


@on_both_loops
async def test_an_abort_inside_the_content_leaves_nothing_and_the_connection_lives() -> None:
    async with milter_serving() as site:
        mta = await site.connect()
        await mta.envelope()
        await mta.send(packet("L", nul(*FIELDS[0])), packet("B", b"half"), packet("A"))
        await mta.envelope()
        assert await mta.content() == b"c"
        assert site.intake.bodies == [HEADER + b"body\r\n"]
        assert site.intake.aborted == 1


@on_both_loops
async def test_a_commit_under_way_runs_to_its_end_when_the_mta_goes() -> None:
    async with milter_serving() as site:
        site.intake.gate["commit"] = asyncio.Event()
        mta = await site.connect()
        await mta.envelope()
        await mta.send(packet("L", nul(*FIELDS[0])), packet("E"))
        await asyncio.wait_for(site.intake.reached["commit"].wait(), 20)
        mta.writer.transport.abort()
        site.intake.gate["commit"].set()
        await until(lambda: site.server.endpoint.counters.open == 0)
        assert len(site.intake.captures) == 1


@pytest.mark.parametrize(
    "wire",
    [
        packet("X"),
        packet("M"),
        packet("M", b"<a@b.test>"),
        packet("R", nul("<bob@x.test>")),
        packet("T"),
        packet("L", nul(*FIELDS[0])),
        packet("B", b"body"),
        packet("E"),
        packet("D", b"Cj\0"),
        packet("C", b"x"),
        packet("H", b"\0\0"),
        offer(),
        b"\0\0\0\0",
        b"\xff\xff\xff\xffM",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
@on_both_loops
async def test_what_is_no_step_ends_the_connection_with_come_again(wire: bytes) -> None:
    async with milter_serving() as site:
        mta = await site.connect()
        await mta.send(wire)
        assert gone_wrong(await mta.answer(), b"451 4.5.2")
        assert await mta.at_end()
        assert site.intake.captures == []


@on_both_loops
async def test_steps_have_a_bound_and_what_is_kept_of_a_name_too() -> None:
    async with milter_serving() as site:
        mta = await site.connect()
        await mta.send(packet("H", nul("h" * 60_000)))
        await mta.envelope()
        held = site.server.endpoint.budget.used
        assert held >= len("bob@x.test")
        assert await mta.content() == b"c"
        told = site.intake.captures[0][0].milter
        assert told is not None and told.helo == "h" * 1024
        await mta.send(packet("H", nul("h" * 70_000)))
        assert gone_wrong(await mta.answer(), b"451 4.5.2")
        assert await mta.at_end()


@on_both_loops
async def test_recipients_are_charged_and_shed_when_memory_is_gone() -> None:
    budget = MemoryBudget(100_000)
    async with milter_serving(budget=budget) as site:
        mta = await site.connect()
        assert await mta.ask(packet("M", nul("<>"))) == b"c"
        answers = [await mta.ask(packet("R", nul(b"<" + b"x" * 50_000 + b">"))) for _ in range(8)]
        assert answers[0] == b"c" and gone_wrong(answers[-1], b"452 4.3.1")
        assert budget.peak < 300_000


@on_both_loops
async def test_a_second_mail_inside_of_one_is_no_step() -> None:
    async with milter_serving() as site:
        mta = await site.connect()
        await mta.envelope()
        assert gone_wrong(await mta.ask(packet("M", nul("<>"))), b"451 4.5.2")


@on_both_loops
async def test_content_without_a_recipient_is_never_archived() -> None:
    async with milter_serving() as site:
        mta = await site.connect()
        assert await mta.ask(packet("M", nul("<>"))) == b"c"
        assert gone_wrong(await mta.ask(packet("T")))
        assert gone_wrong(await mta.content())
        assert site.intake.captures == []


@pytest.mark.parametrize("first", [packet("C"), b"EHLO x\r\n", offer(2), packet("O", b"x"), b"\0\0\0"])
@on_both_loops
async def test_who_speaks_something_else_is_left_alone(first: bytes) -> None:
    async with milter_serving() as site:
        mta = await site.connect(greet=False)
        await mta.send(first)
        mta.writer.write_eof()
        assert await mta.at_end()


# --- limits and the end


@on_both_loops
async def test_silence_ends_a_connection_and_a_mail_that_stops() -> None:
    async with milter_serving(limits=MilterLimits(idle=0.05)) as site:
        mta = await site.connect()
        assert await mta.at_end()
    async with milter_serving(data_timeout=0.05) as site:
        mta = await site.connect()
        await mta.envelope()
        await mta.send(packet("L", nul(*FIELDS[0])))
        assert await mta.at_end()
        assert site.intake.captures == [] and site.intake.aborted == 1


@on_both_loops
async def test_connections_beyond_the_bound_are_closed() -> None:
    async with milter_serving(max_connections=1) as site:
        await site.connect()
        other = await site.connect(greet=False)
        assert await other.at_end()
        assert site.refused == {"connections": 1}


@on_both_loops
async def test_a_stop_lets_the_mail_under_way_finish_and_takes_no_other() -> None:
    async with milter_serving() as site:
        site.intake.gate["commit"] = asyncio.Event()
        idle, busy = await site.connect(), await site.connect()
        await busy.envelope()
        await busy.send(packet("L", nul(*FIELDS[0])), packet("E"))
        await asyncio.wait_for(site.intake.reached["commit"].wait(), 20)
        stopping = asyncio.create_task(site.server.stop(20))
        assert gone_wrong(await idle.answer())
        assert await idle.at_end()
        site.intake.gate["commit"].set()
        assert await busy.answer() == b"c"
        await stopping
        assert len(site.intake.captures) == 1


@on_both_loops
async def test_a_stop_cuts_off_what_does_not_end() -> None:
    async with milter_serving() as site:
        mta = await site.connect()
        await mta.envelope()
        await mta.send(packet("L", nul(*FIELDS[0])))
        await asyncio.wait_for(site.intake.reached["begin"].wait(), 20)
        await site.server.stop(0.01)
        assert gone_wrong(await mta.answer())
        assert site.intake.captures == [] and site.intake.aborted == 1


@on_both_loops
async def test_no_address_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with milter_serving() as site:
        site.intake.fail["commit"] = RuntimeError("bob@x.test")
        mta = await site.connect()
        await mta.envelope()
        await mta.content()
        await mta.ask(packet("M", b"<secret@x.test>"))
    assert "@" not in caplog.text.replace("@pytest", "")


# --- any sequence of steps

_PIECES = [
    macros("C", archive_source=SECRET),
    macros("M", archive_source=OTHER),
    macros("M", archive_source="nobody@archive.test"),
    packet("C", nul("client.test") + b"U"),
    packet("H", nul("helo")),
    packet("M", nul("<a@b.test>")),
    packet("R", nul("<bob@x.test>")),
    packet("T"),
    packet("L", nul(*FIELDS[0])),
    packet("N"),
    packet("B", b"body"),
    packet("E"),
    packet("A"),
    packet("K"),
    packet("U", nul("x")),
    packet("M", b"cut"),
    packet("Z"),
    b"\0\0\0\x05",
]


async def _play(steps: list[bytes]) -> None:
    async with milter_serving() as site:
        mta = await site.connect(greet=False)
        await mta.send(offer(), *steps)
        mta.writer.write_eof()
        while not mta.reader.at_eof():
            try:
                await mta.answer()  # checks that it is nothing but go on or come again
            except (asyncio.IncompleteReadError, ConnectionResetError):
                break
        await until(lambda: site.server.endpoint.counters.open == 0)
        assert len(site.intake.captures) <= steps.count(packet("E"))
        for draft, _ in site.intake.captures:
            assert draft.rcpt_to and draft.milter is not None
        well = await site.connect()
        await well.envelope()
        assert await well.content() == b"c"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from(_PIECES), max_size=14))
def test_no_sequence_of_steps_rejects_or_breaks_anything(
    steps: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.clear()
    asyncio.run(asyncio.wait_for(_play(steps), 60))
    assert "unexpected" not in caplog.text


@settings(max_examples=40, deadline=None)
@given(wire=st.binary(max_size=60))
def test_no_bytes_break_anything(wire: bytes) -> None:
    asyncio.run(asyncio.wait_for(_play([wire]), 60))
