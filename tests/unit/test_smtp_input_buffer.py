"""The input buffer: nothing lost, nothing twice, memory bounded and accounted for."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.smtp.input_buffer import HIGH_WATER_OCTETS, LOW_WATER_OCTETS, InputBuffer, LineTooLong
from ingest.smtp.limits import Charge, MemoryBudget


class FakeTransport:
    def __init__(self) -> None:
        self.reading = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


def new_buffer(loop: Any = None) -> tuple[InputBuffer, Charge, FakeTransport]:
    charge = Charge(MemoryBudget(1 << 30))
    buffer = InputBuffer(loop, charge)
    transport = FakeTransport()
    buffer.attach(transport)  # type: ignore[arg-type]
    return buffer, charge, transport


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("feed"), st.binary(min_size=1, max_size=30)),
        st.tuples(st.just("take"), st.integers(0, 40)),
        st.tuples(st.just("back"), st.integers(0, 40)),
        st.tuples(st.just("line"), st.none()),
    )
)


@given(STEPS)
def test_it_behaves_as_one_string_of_octets(steps: list[tuple[str, Any]]) -> None:
    buffer, charge, _ = new_buffer()
    model = b""
    for action, value in steps:
        if action == "feed":
            buffer.feed(value)
            model += value
        elif action == "take":
            assert buffer.take_at_most(value) == model[:value]
            model = model[value:]
        elif action == "back":
            taken = buffer.take()
            assert taken == model
            model = model[value:]
            buffer.push_back(taken[value:])
        else:
            line, newline, rest = model.partition(b"\n")
            assert buffer.next_line(10_000) == (line + newline if newline else None)
            model = rest if newline else model
        assert len(buffer) == len(model) == charge.held
    assert buffer.take() == model
    assert charge.held == 0


def test_the_socket_is_paused_while_nobody_takes() -> None:
    buffer, _, transport = new_buffer()
    buffer.feed(b"x" * HIGH_WATER_OCTETS)
    assert transport.reading
    buffer.feed(b"x")
    assert not transport.reading
    buffer.take_at_most(HIGH_WATER_OCTETS - LOW_WATER_OCTETS)
    assert not transport.reading
    buffer.take_at_most(1)
    assert transport.reading


def test_an_overlong_line_is_thrown_away_as_it_comes() -> None:
    buffer, charge, _ = new_buffer()
    for _ in range(20):
        buffer.feed(b"x" * 10)
        assert buffer.next_line(50) is None
        assert charge.held <= 60
    assert buffer.skipped == 200
    buffer.feed(b"end\r\nNOOP\r\n")
    with pytest.raises(LineTooLong):
        buffer.next_line(50)
    assert buffer.next_line(50) == b"NOOP\r\n"


def test_a_line_just_over_the_limit_is_refused_and_one_at_the_limit_is_not() -> None:
    buffer, _, _ = new_buffer()
    buffer.feed(b"12345678\r\n123456789\r\nNOOP\r\n")
    assert buffer.next_line(10) == b"12345678\r\n"
    with pytest.raises(LineTooLong):
        buffer.next_line(10)
    assert buffer.next_line(10) == b"NOOP\r\n"


def test_waiting_ends_with_data_with_a_wake_and_at_the_end() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        buffer, _, _ = new_buffer(loop)
        for act in (lambda: buffer.feed(b"x"), buffer.wake, buffer.feed_eof):
            loop.call_soon(act)
            await buffer.wait()
        await buffer.wait()
        assert buffer.take() == b"x"

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_a_long_lived_pipeline_does_not_grow() -> None:
    buffer, _, _ = new_buffer()
    buffer.feed(b"NO")
    for _ in range(1000):
        buffer.feed(b"OP\r\nNO")
        assert buffer.next_line(50) == b"NOOP\r\n"
    assert len(buffer._data) < 50
