"""Passwords: hashed, checked off the loop, and a flood of guesses that is bounded."""

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from archive_service.model.errors import ArchiveError, Invalid, Overloaded
from ingest import passwords
from ingest.passwords import LONGEST, SHORTEST, PasswordChecks, hashed

RIGHT = "correct horse battery"


@pytest.fixture
def checks() -> Iterator[PasswordChecks]:
    made = PasswordChecks()
    yield made
    made.close()


def test_a_hash_is_argon2id_and_salted() -> None:
    one, two = hashed(RIGHT), hashed(RIGHT)
    assert one != two
    assert one.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert RIGHT not in one


@pytest.mark.parametrize("password", ["", "x" * (SHORTEST - 1), "x" * (LONGEST + 1), "x" * SHORTEST + "\0"])
def test_what_is_no_password_is_refused_without_repeating_it(password: str) -> None:
    with pytest.raises(Invalid) as caught:
        hashed(password)
    assert "xxx" not in str(caught.value)


@pytest.mark.parametrize("password", [RIGHT, "é" * (LONGEST - 1), "密码" * SHORTEST, " " * SHORTEST])
def test_the_right_password_fits_and_no_other(checks: PasswordChecks, password: str) -> None:
    phc = hashed(password)

    async def work() -> None:
        assert not await checks.fits(phc, password + "x", "a")
        for _ in range(2):
            assert await checks.fits(phc, password, "a")
        assert not await checks.fits(phc, password.swapcase() + "!", "a")
        assert not await checks.fits(None, password, "a")
        assert not await checks.fits(hashed(password + "!"), password, "a"), "remembered for one hash alone"

    asyncio.run(work())


def test_a_hash_that_cannot_be_read_is_our_fault(checks: PasswordChecks) -> None:
    with pytest.raises(ArchiveError) as caught:
        asyncio.run(checks.fits("no hash", RIGHT, "a"))
    assert not isinstance(caught.value, Overloaded)


def test_nobody_costs_as_much_as_somebody(checks: PasswordChecks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the time would tell which sources have a password."""
    verified: list[str] = []
    real = passwords._HASHER

    class Counting:
        def verify(self, phc: str, password: str) -> bool:
            verified.append(phc)
            return real.verify(phc, password)

    phc = hashed(RIGHT)
    monkeypatch.setattr(passwords, "_HASHER", Counting())
    for known in (phc, None):
        assert not asyncio.run(checks.fits(known, "wrong guess!", "a"))
    assert len(verified) == 2
    assert {each.split("$")[3] for each in verified} == {"m=19456,t=2,p=1"}


class Held:
    """Checks that wait until they are let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go = threading.Event()
        self.running = 0
        self.most = 0
        self.lock = threading.Lock()
        verify: Callable[[str | None, str], bool] = passwords._verify

        def held(phc: str | None, password: str) -> bool:
            with self.lock:
                self.running += 1
                self.most = max(self.most, self.running)
            self.go.wait(20)
            with self.lock:
                self.running -= 1
            return verify(phc, password)

        monkeypatch.setattr(passwords, "_verify", held)


def test_a_flood_is_bounded_and_who_is_known_gets_in(
    checks: PasswordChecks, monkeypatch: pytest.MonkeyPatch
) -> None:
    phc = hashed(RIGHT)

    async def work() -> None:
        assert await checks.fits(phc, RIGHT, "sender")
        held = Held(monkeypatch)
        try:
            flood = [asyncio.ensure_future(checks.fits(phc, f"guess {n}", "one peer")) for n in range(50)]
            await asyncio.sleep(0)
            assert sum(each.done() for each in flood) == 48, (
                "two of one peer wait, the others hear no at once"
            )
            wide = [asyncio.ensure_future(checks.fits(phc, "guess", f"peer {n}")) for n in range(50)]
            await asyncio.sleep(0)
            assert sum(each.done() for each in wide) == 50 - 14
            assert await checks.fits(phc, RIGHT, "sender"), "remembered: it does not stand in the queue"
            with pytest.raises(Overloaded):
                await checks.fits(phc, "another", "sender")
        finally:
            held.go.set()
        answers = await asyncio.gather(*flood, *wide, return_exceptions=True)
        assert [each for each in answers if not isinstance(each, Overloaded)] == [False] * 16
        assert held.most == 1
        assert not await checks.fits(phc, "guess", "one peer"), "there is room again"

    asyncio.run(work())


def test_a_check_that_nobody_waits_for_makes_room_when_it_ends(
    checks: PasswordChecks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelling a wait ends no thread: a peer that hangs up must not be able to queue more."""
    phc = hashed(RIGHT)

    async def work() -> None:
        held = Held(monkeypatch)
        try:
            for _ in range(2):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0):
                        await checks.fits(phc, "guess", "a")
            with pytest.raises(Overloaded):
                await checks.fits(phc, "guess", "a")
        finally:
            held.go.set()
        async with asyncio.timeout(20):
            while checks._waiting:
                await asyncio.sleep(0)
        assert await checks.fits(phc, RIGHT, "a")

    asyncio.run(work())


def test_after_the_end_nothing_is_known(checks: PasswordChecks) -> None:
    checks.close()
    with pytest.raises(Overloaded):
        asyncio.run(checks.fits(hashed(RIGHT), RIGHT, "a"))
