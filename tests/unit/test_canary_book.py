"""Canaries under way: written down before they are sent, known after a restart, never sent double, and no clock that
jumps makes one late or keeps the next from leaving."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_service.alarms import names
from archive_service.alarms.canary_book import CanaryBook
from archive_service.completeness.canary_mail import canary_mail
from archive_service.model.canaries import canary_message_id, is_canary, parse_canary
from archive_service.model.clock import rfc3339
from archive_service.model.errors import StoreDenied
from archive_service.model.mail import Canary, Source, SourceKind
from tests.unit.core_world import TestClock

CANARY = Canary(host="mail", port=25, security="none", sender="c@ex.fr", recipient="bob@ex.fr")
SOURCE = Source(
    id="s0123456789abcdef", name="feed", kind=SourceKind.EXCHANGE, address="a@archive", canary=CANARY
)
MINUTE, HOUR = 60.0, 3600.0
KEY = b"k" * 32


class Held:
    """A catalog that has these canaries, received at a time."""

    def __init__(self) -> None:
        self.has: dict[int, str] = {}

    def canaries(self, source: str, numbers: list[int]) -> dict[int, str]:
        assert source == SOURCE.id
        return {number: self.has[number] for number in numbers if number in self.has}


class World:
    """A book over a folder, and both clocks."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.catalog = folder, Held()
        self.wall, self.mono = 1_800_000_000.0, 50.0
        self.restart()

    def restart(self) -> None:
        self.book = CanaryBook(self.folder, lambda: self.wall, lambda: self.mono)

    def later(self, seconds: float) -> None:
        self.wall += seconds
        self.mono += seconds

    def due(self) -> int | None:
        return self.book.due("o1", SOURCE, CANARY)

    def sent(self) -> int:
        number = self.due()
        assert number is not None
        self.book.taken("o1", SOURCE, number)
        return number

    def arrives(self, number: int) -> None:
        clock = TestClock()
        self.catalog.has[number] = rfc3339(clock())

    def look(self, behind: float = 0.0) -> dict[str, float]:
        samples = self.book.look(self.catalog, "o1", [SOURCE], behind)  # type: ignore[arg-type]
        return {each.metric: each.value for each in samples}

    @property
    def waiting(self) -> float:
        return self.look()[names.CANARY_WAITING]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_one_leaves_an_hour_and_each_has_a_number_of_its_own(world: World) -> None:
    first = world.sent()
    assert world.due() is None
    world.later(59 * MINUTE)
    assert world.due() is None
    world.later(MINUTE)
    assert world.sent() != first


def test_it_is_in_the_file_before_it_is_sent(world: World) -> None:
    number = world.due()
    kept = json.loads((world.folder / "run" / "canaries.json").read_text())
    assert [each["number"] for each in kept["pages"][f"o1/{SOURCE.id}"]["waiting"]] == [number]


def test_what_cannot_be_written_down_is_not_sent(world: World) -> None:
    (world.folder / "run").write_text("in the way")
    with pytest.raises(StoreDenied):
        world.due()
    (world.folder / "run").unlink()
    assert world.look()[names.CANARY_WAITING] == 0
    assert world.due() is not None


def test_a_restart_knows_what_is_under_way_and_sends_none_double(world: World) -> None:
    number = world.sent()
    world.later(20 * MINUTE)
    world.restart()
    assert world.due() is None
    assert world.waiting == 20 * MINUTE
    assert world.look()[names.CANARY_USED] == pytest.approx(20 / 15)
    world.arrives(number)
    assert world.waiting == 0
    world.restart()
    assert world.waiting == 0


def test_one_that_no_server_took_is_tried_again_as_the_same(world: World) -> None:
    number = world.due()
    for _ in range(3):
        world.later(MINUTE)
        assert world.due() == number
    world.restart()
    assert world.due() == number
    world.later(2 * HOUR)
    assert world.due() == number
    assert world.waiting == 2 * HOUR + 3 * MINUTE
    world.arrives(number)  # the server had taken it, and its answer was lost
    assert world.waiting == 0
    assert world.due() != number


def test_two_under_way_the_older_one_counts_and_late_is_in_time_to_clear(world: World) -> None:
    first = world.sent()
    world.later(HOUR)
    second = world.sent()
    world.later(10 * MINUTE)
    world.arrives(second)
    assert world.waiting == 70 * MINUTE
    world.arrives(first)
    assert world.waiting == 0


def test_one_that_never_comes_is_forgotten_after_the_window(world: World) -> None:
    world.sent()
    world.later(47 * HOUR)
    assert world.waiting == 47 * HOUR
    world.later(2 * HOUR)
    assert world.waiting == 0


def test_what_is_not_followed_yet_is_not_late(world: World) -> None:
    world.sent()
    world.later(20 * MINUTE)
    assert world.look(behind=18 * MINUTE)[names.CANARY_WAITING] == 2 * MINUTE
    assert world.look(behind=HOUR)[names.CANARY_WAITING] == 0


@pytest.mark.parametrize("jump", [400 * 24 * HOUR, -400 * 24 * HOUR, HOUR, -HOUR])
def test_a_clock_that_jumps_makes_none_late_and_holds_none_up(world: World, jump: float) -> None:
    world.sent()
    world.wall += jump
    assert world.waiting == 0
    world.later(59 * MINUTE)
    assert world.due() is None
    world.later(MINUTE)
    world.sent()
    if jump < 0:
        world.restart()
        world.later(61 * MINUTE)
        assert world.due() is not None


def test_a_clock_that_went_back_while_nobody_looked_holds_none_up(world: World) -> None:
    world.sent()
    world.wall -= 400 * 24 * HOUR
    world.restart()
    world.later(HOUR)
    assert world.waiting == 0  # from the first look of this process on
    assert world.due() is None
    world.later(HOUR)
    assert world.due() is not None


def test_a_source_without_a_canary_is_in_no_book(world: World) -> None:
    world.sent()
    plain = SOURCE.model_copy(update={"canary": None})
    assert world.book.look(world.catalog, "o1", [plain], 0.0) == []  # type: ignore[arg-type]
    world.later(20 * MINUTE)
    assert world.waiting == 0


@pytest.mark.parametrize("damage", [b"", b"{", b'{"pages": 1}', b'{"pages": {"x": {}}}'])
def test_a_damaged_book_is_begun_anew(world: World, damage: bytes) -> None:
    world.sent()
    (world.folder / "run" / "canaries.json").write_bytes(damage)
    world.restart()
    assert world.sent() is not None


def test_the_mail_is_the_same_at_every_attempt_and_is_nobody_elses() -> None:
    mail = canary_mail(KEY, SOURCE, CANARY, 7)
    assert mail["Message-ID"] == canary_mail(KEY, SOURCE, CANARY, 7)["Message-ID"]
    assert is_canary(KEY, SOURCE.id, mail["Message-ID"])
    assert is_canary(KEY, SOURCE.id, str(mail["Message-ID"]).strip("<>").upper())
    assert not is_canary(b"x" * 32, SOURCE.id, mail["Message-ID"])
    assert not is_canary(KEY, "s" + "0" * 16, mail["Message-ID"])
    assert not is_canary(KEY, SOURCE.id, str(mail["Message-ID"]).replace(".7.", ".8."))
    assert mail["Auto-Submitted"] == "auto-generated"


@given(st.text(max_size=80) | st.from_regex(r"<?canary\.s[0-9a-f]{16}\.[0-9]{1,20}\.[a-z2-7]{30,33}@x>?"))
def test_no_message_id_is_taken_for_one(text: str) -> None:
    assert not is_canary(KEY, SOURCE.id, text)


@given(st.integers(0, 10**15 - 1))
def test_every_number_is_read_back(number: int) -> None:
    name = parse_canary(canary_message_id(KEY, SOURCE.id, number, "ex.fr"))
    assert name is not None
    assert (name.source, name.number) == (SOURCE.id, number)
