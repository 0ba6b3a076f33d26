"""The intake over real acts: whom a guard lets in, by which acts, and for how long an old address is good."""

import asyncio
import base64
import threading
from collections.abc import Coroutine, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_service.bootstrap import add_source
from archive_service.model.errors import ArchiveError, Overloaded
from archive_service.model.mail import Guard, Source, SourceKind
from archive_service.source_changes import rotate, set_guard
from ingest import passwords
from ingest.guard import Lack, in_networks, lack
from ingest.intake import Login, Sender, SourceMatch, TurnedAway
from ingest.smtp.rates import Rates
from tests.unit.smtp_tls import issue
from tests.unit.test_archive_intake import Intake, known

PASSWORD = "correct horse battery"


@pytest.fixture
def intake() -> Iterator[Intake]:
    made = Intake()
    yield made
    made.close()


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


async def judged(intake: Intake, sender: Sender, address: str | None = None) -> str:
    """The source's name, what the sender lacks, or "" for a stranger."""
    found = await intake.intake.match(address or intake.source.address, sender)
    if isinstance(found, TurnedAway):
        return found.lack
    return found.source.name if found is not None else ""


def change(intake: Intake, **fields: Any) -> None:
    """As another process does it: the serving one has to read it."""
    set_guard(intake.core.tenant("acme"), intake.source.id, fields)


def test_who_lacks_nothing_any_more_is_let_in_at_the_head(intake: Intake) -> None:
    async def work() -> None:
        change(intake, networks=["192.0.2.0/24"], tls=True)
        assert await judged(intake, Sender("198.51.100.1", tls=True)) == Lack.NETWORK
        assert await judged(intake, Sender("192.0.2.9")) == Lack.TLS
        assert await judged(intake, Sender("192.0.2.9", tls=True)) == "feed"
        change(intake, networks=["198.51.100.0/24"], tls=None)
        assert await judged(intake, Sender("198.51.100.1")) == "feed"

    run(work())


@pytest.mark.parametrize(
    "sender",
    [Sender("198.51.100.1", tls=True), Sender("192.0.2.9"), Sender("192.0.2.9", tls=True, size=11)],
    ids=str,
)
def test_without_the_head_nobody_is_turned_away(intake: Intake, sender: Sender) -> None:
    """The act that would let the sender in may be the one that cannot be read."""

    async def work() -> None:
        change(intake, networks=["192.0.2.0/24"], tls=True, max_size=10)
        await judged(intake, sender)
        intake.archive.world.plan.fail("read", prefix=f"ledger/{intake.archive.owner}/acts/", times=None)
        with pytest.raises(ArchiveError):
            await intake.intake.match(intake.source.address, sender)
        assert await judged(intake, Sender("192.0.2.9", tls=True)) == "feed", "known from memory"
        intake.archive.world.heal()
        assert await judged(intake, sender) in set(Lack)

    run(work())


def test_an_old_address_is_good_to_the_last_moment_of_its_overlap(intake: Intake) -> None:
    old = intake.source.address
    turned, _ = rotate(intake.core.tenant("acme"), intake.source.id, timedelta(days=14))
    end = datetime.fromisoformat(turned.former[0].until)
    clock = intake.archive.world.clock

    async def work() -> None:
        for offset, expected in ((-1, "feed"), (0, ""), (1, "")):
            clock.now = end + timedelta(microseconds=offset)
            assert await judged(intake, Sender(), old) == expected
            assert await judged(intake, Sender(), turned.address) == "feed"
        clock.now = end
        intake.archive.world.plan.fail("read", prefix=f"ledger/{intake.archive.owner}/acts/", times=None)
        with pytest.raises(ArchiveError):  # a 550 by the acts at their head alone
            await intake.intake.match(old, Sender())

    run(work())


def test_before_the_rotation_is_read_the_new_address_is_looked_for_at_the_head(intake: Intake) -> None:
    async def work() -> None:
        await known(intake)
        turned, _ = rotate(intake.core.tenant("acme"), intake.source.id, timedelta(0))
        assert await judged(intake, Sender(), turned.address) == "feed"
        assert await judged(intake, Sender()) == "", "cut off at once"

    run(work())


def test_a_login_is_checked_by_the_newest_password(intake: Intake) -> None:
    source = intake.source.id

    async def work() -> None:
        ask = intake.intake.authenticate
        assert await ask(source, PASSWORD, Sender("a")) == Login(intake.archive.owner, source, False)
        assert await ask("nobody", PASSWORD, Sender("a")) is None
        change(intake, password=PASSWORD)
        for _ in range(2):
            assert await ask(source, PASSWORD, Sender("a")) == Login(intake.archive.owner, source, True)
        change(intake, password=PASSWORD + "!")
        assert await ask(source, PASSWORD + "!", Sender("a")) == Login(intake.archive.owner, source, True)
        assert await ask(source, PASSWORD, Sender("a")) == Login(intake.archive.owner, source, False)
        assert await judged(intake, Sender(tls=True, login=source)) == "feed"
        assert await judged(intake, Sender(tls=True, login="another")) == Lack.LOGIN

    run(work())


def test_from_outside_the_networks_no_password_fits(intake: Intake) -> None:
    async def work() -> None:
        change(intake, password=PASSWORD, networks=["192.0.2.0/24"])
        for peer, fits in (
            ("192.0.2.1", True),
            ("192.0.3.1", False),
            (None, False),
            ("::ffff:192.0.2.1", True),
        ):
            login = await intake.intake.authenticate(intake.source.id, PASSWORD, Sender(peer))
            assert login == Login(intake.archive.owner, intake.source.id, fits), peer

    run(work())


def test_without_the_head_a_wrong_password_is_not_called_wrong(intake: Intake) -> None:
    async def work() -> None:
        change(intake, password=PASSWORD)
        await judged(intake, Sender(tls=True))
        intake.archive.world.plan.fail("read", prefix=f"ledger/{intake.archive.owner}/acts/", times=None)
        for user in (intake.source.id, "nobody"):
            with pytest.raises(ArchiveError):
                await intake.intake.authenticate(user, "wrong", Sender("a"))
        login = await intake.intake.authenticate(intake.source.id, PASSWORD, Sender("a"))
        assert login is not None and login.fits

    run(work())


def test_mail_is_taken_while_guesses_keep_the_checks_busy(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()

    def held(phc: str | None, password: str) -> bool:
        return go.wait(20) and False

    async def work() -> None:
        await known(intake)
        monkeypatch.setattr(passwords, "_verify", held)
        guesses = [
            asyncio.ensure_future(intake.intake.authenticate("nobody", "guess", Sender(f"peer {n}")))
            for n in range(100)
        ]
        try:
            await asyncio.sleep(0)
            for number in range(5):
                assert await judged(intake, Sender()) == "feed"
                assert await judged(intake, Sender(), "stranger@archive.localhost") == ""
                sink = await intake.intake.begin(intake.draft())
                await sink.write(b"%d" % number)
                await sink.commit()
            assert sum(each.done() for each in guesses) == 100 - 16
        finally:
            go.set()
        answers = await asyncio.gather(*guesses, return_exceptions=True)
        assert {type(answer) for answer in answers} == {Overloaded, type(None)}

    run(asyncio.wait_for(work(), 60))
    assert intake.raws() == [b"%d" % number for number in range(5)]


def test_certificates_are_asked_for_where_a_source_wants_one(intake: Intake) -> None:
    anchor = issue("sender")

    async def work() -> None:
        await known(intake)
        assert intake.intake.anchors("192.0.2.1") == ()
        change(intake, certificates=[anchor.pem.decode()], networks=["192.0.2.0/24"])
        add_source(intake.core.tenant("acme"), "open", SourceKind.GENERIC, "archive.localhost")
        intake.intake.refresh()
        assert intake.intake.anchors("192.0.2.1") == (anchor.der,)
        assert intake.intake.anchors("192.0.3.1") == ()
        chain = frozenset({anchor.fingerprint, "0" * 64})
        assert await judged(intake, Sender("192.0.2.1", tls=True, chain=chain)) == "feed"
        assert await judged(intake, Sender("192.0.2.1", chain=chain)) == Lack.TLS
        assert (
            await judged(intake, Sender("192.0.2.1", tls=True, chain=frozenset({"0" * 64})))
            == Lack.CERTIFICATE
        )

    run(work())


def test_a_match_names_the_source_as_it_is_now(intake: Intake) -> None:
    async def work() -> None:
        change(intake, max_size=7)
        intake.intake.refresh()
        found = await intake.intake.match(intake.source.address, Sender())
        assert isinstance(found, SourceMatch)
        assert found.source.guard.max_size == 7
        assert found.acts_seen == intake.serving.tenant("acme").acts.seen

    run(work())


@pytest.mark.parametrize(
    ("beside", "name"),
    [
        ("+bob=example.fr", "feed"),
        ("+a+b=c=example.fr", "feed"),
        ("+nobody", ""),
        ("bob=example.fr", ""),
        ("+", ""),
        ("+=x", ""),
    ],
)
def test_a_recipient_beside_the_secret_address_is_the_source_s(
    intake: Intake, beside: str, name: str
) -> None:
    local, _, domain = intake.source.address.partition("@")

    async def work() -> None:
        assert await judged(intake, Sender(), f"{local.upper()}{beside}@{domain}") == name
        assert await judged(intake, Sender(), f"other{beside}@{domain}") == ""
        change(intake, tls=True)
        intake.intake.refresh()
        assert await judged(intake, Sender(), f"{local}{beside}@{domain}") == (Lack.TLS if name else "")

    run(work())


# --- the guard by itself


@pytest.mark.parametrize(
    ("networks", "peer", "inside"),
    [
        ((), None, True),
        ((), "anything", True),
        (("192.0.2.0/24",), "192.0.2.255", True),
        (("192.0.2.0/24",), "192.0.3.0", False),
        (("192.0.2.7/32",), "192.0.2.7", True),
        (("192.0.2.0/24",), "::ffff:192.0.2.1", True),
        (("192.0.2.0/24",), "::ffff:192.0.3.1", False),
        (("0.0.0.0/0",), "::1", False),
        (("::/0",), "192.0.2.1", False),
        (("2001:db8::/32", "10.0.0.0/8"), "10.1.2.3", True),
        (("fe80::/10",), "fe80::1%eth0", True),
        (("0.0.0.0/0",), None, False),
        (("0.0.0.0/0",), "", False),
        (("0.0.0.0/0",), "10.0.0.1\0", False),
    ],
)
def test_networks(networks: tuple[str, ...], peer: str | None, inside: bool) -> None:
    assert in_networks(networks, peer) is inside


GUARDS = st.builds(
    Guard,
    networks=st.sampled_from([(), ("192.0.2.0/24",)]),
    tls=st.booleans(),
    certificates=st.sampled_from([(), (base64.b64encode(b"der").decode(),)]),
    password=st.sampled_from([None, "hash"]),
    max_size=st.sampled_from([None, 10]),
)
SENDERS = st.builds(
    Sender,
    peer=st.sampled_from([None, "192.0.2.1", "198.51.100.1"]),
    tls=st.booleans(),
    chain=st.sampled_from([frozenset(), frozenset(Guard(certificates=("ZGVy",)).fingerprints)]),
    login=st.sampled_from([None, "s1", "s2"]),
    size=st.sampled_from([0, 10, 11]),
)


@given(GUARDS, SENDERS)
def test_a_sender_is_let_in_just_when_it_meets_every_part(guard: Guard, sender: Sender) -> None:
    source = Source(id="s1", name="n", kind=SourceKind.GENERIC, address="a@b", guard=guard)
    meets = {
        Lack.NETWORK: not guard.networks or sender.peer == "192.0.2.1",
        Lack.TLS: sender.tls or not (guard.tls or guard.certificates or guard.password),
        Lack.CERTIFICATE: not guard.certificates or bool(sender.chain),
        Lack.LOGIN: guard.password is None or sender.login == "s1",
        Lack.SIZE: guard.max_size is None or sender.size <= guard.max_size,
    }
    missing = [each for each in Lack if not meets[each]]
    assert lack(source, sender) == (missing[0] if missing else None)


# --- rates


def limited(rate: int | None) -> Source:
    return Source(id="s1", name="n", kind=SourceKind.GENERIC, address="a@b", guard=Guard(rate=rate))


@given(st.integers(1, 50), st.lists(st.floats(0, 30, allow_nan=False), max_size=200))
def test_a_rate_is_never_exceeded_over_any_stretch(rate: int, pauses: list[float]) -> None:
    rates, now, taken = Rates(), 1000.0, []
    for pause in pauses:
        now += pause
        if rates.take(limited(rate), now):
            taken.append(now)
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            allowed = rate + (taken[last] - taken[first]) * rate / 60
            assert last - first + 1 <= allowed + 1e-6


@given(st.integers(1, 50))
def test_a_sender_within_its_rate_is_never_deferred(rate: int) -> None:
    rates = Rates()
    assert all(rates.take(limited(rate), 60.0 / rate * (n + n * 1e-9)) for n in range(3 * rate))


def test_a_rate_that_changes_counts_at_once() -> None:
    rates = Rates()
    assert rates.take(limited(1), 0)
    assert not rates.take(limited(1), 1)
    assert rates.take(limited(None), 1)
    assert [rates.take(limited(3), 1) for _ in range(4)] == [True, True, True, False]
