"""Groups as the writing threads take them."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_service.ledger.arrivals import Arrivals

PATIENCE = 30.0


class Seconds:
    """A clock that the test moves. ``asked`` tells that a taker has begun: it looks at the clock first, under the
    lock that a ``put`` needs."""

    def __init__(self) -> None:
        self.now = 100.0
        self.asked = threading.Event()

    def __call__(self) -> float:
        self.asked.set()
        return self.now


def made(clock: Callable[[], float] | None = None, **limits: float) -> Arrivals[bytes]:
    most, most_bytes = int(limits.get("most", 64)), int(limits.get("most_bytes", 1000))
    patience = limits.get("patience", 0.0)
    return Arrivals(len, most=most, most_bytes=most_bytes, patience=patience, clock=clock or Seconds())


@given(st.lists(st.binary(max_size=400), max_size=40), st.integers(1, 10), st.integers(1, 1000))
def test_every_item_once_in_order_within_the_limits(items: list[bytes], most: int, most_bytes: int) -> None:
    arrivals = made(most=most, most_bytes=most_bytes)
    for item in items:
        assert arrivals.put(item)
    arrivals.close()
    groups = []
    while (group := arrivals.take()) is not None:
        groups.append(group)
    assert [item for group in groups for item in group] == items
    for group in groups:
        assert 1 <= len(group) <= most
        assert sum(map(len, group[:-1])) < most_bytes, "only its last item may take a group over the limit"


def test_after_closing_nothing_is_taken_in() -> None:
    arrivals = made()
    arrivals.put(b"before")
    arrivals.close()
    assert not arrivals.put(b"after")
    assert arrivals.take() == [b"before"]
    assert arrivals.take() is None


def test_closing_wakes_every_taker() -> None:
    arrivals = made()
    with ThreadPoolExecutor(3) as pool:
        takers = [pool.submit(arrivals.take) for _ in range(3)]
        arrivals.close()
        assert [taker.result(PATIENCE) for taker in takers] == [None] * 3


def written(arrivals: Arrivals[bytes], clock: Seconds, count: int, took: float) -> None:
    """A group of ``count`` is taken, and written in ``took`` seconds."""
    for _ in range(count):
        arrivals.put(b"x")
    assert arrivals.take() == [b"x"] * count
    clock.now += took


@contextmanager
def taking(arrivals: Arrivals[bytes], clock: Seconds) -> Iterator["Future[list[bytes] | None]"]:
    """A taker that has begun."""
    clock.asked.clear()
    with ThreadPoolExecutor(1) as pool:
        taker = pool.submit(arrivals.take)
        assert clock.asked.wait(PATIENCE)
        yield taker


def test_the_senders_of_the_last_group_are_waited_for() -> None:
    clock = Seconds()
    arrivals = made(clock, patience=PATIENCE)
    written(arrivals, clock, 3, PATIENCE)
    arrivals.put(b"waits already")
    arrivals.put(b"waits already")
    with taking(arrivals, clock) as taker:
        for _ in range(3):
            assert not taker.done()
            arrivals.put(b"back")
        group = taker.result(PATIENCE / 2)
    assert group == [b"waits already"] * 2 + [b"back"] * 3


@pytest.mark.parametrize("took", [0.0, 1e-9])
def test_nobody_is_waited_for_longer_than_a_write_takes(took: float) -> None:
    clock = Seconds()
    arrivals = made(clock, patience=PATIENCE)
    written(arrivals, clock, 3, took)
    arrivals.put(b"alone")
    assert arrivals.take() == [b"alone"]


def test_a_sender_alone_waits_for_nobody() -> None:
    clock = Seconds()
    arrivals = made(clock, patience=PATIENCE)
    for _ in range(3):
        with taking(arrivals, clock) as taker:
            arrivals.put(b"x")
            assert taker.result(PATIENCE / 2) == [b"x"]
        clock.now += PATIENCE


def test_no_more_are_waited_for_than_a_group_holds() -> None:
    clock = Seconds()
    arrivals = made(clock, most=4, patience=PATIENCE)
    written(arrivals, clock, 4, PATIENCE)
    for _ in range(4):
        arrivals.put(b"y")
    assert arrivals.take() == [b"y"] * 4


def test_closing_ends_the_wait_for_others() -> None:
    clock = Seconds()
    arrivals = made(clock, patience=PATIENCE)
    written(arrivals, clock, 2, PATIENCE)
    arrivals.put(b"last")
    with ThreadPoolExecutor(1) as pool:
        taker = pool.submit(arrivals.take)
        arrivals.close()
        assert taker.result(PATIENCE / 2) == [b"last"]


def test_many_threads_put_and_take_every_item_once() -> None:
    arrivals = made(most=7)
    taken: list[bytes] = []
    lock = threading.Lock()

    def take() -> None:
        while (group := arrivals.take()) is not None:
            with lock:
                taken.extend(group)

    def put(number: int) -> None:
        for place in range(200):
            arrivals.put(b"%d.%d" % (number, place))

    with ThreadPoolExecutor(6) as pool:
        takers = [pool.submit(take) for _ in range(3)]
        putters = [pool.submit(put, number) for number in range(3)]
        for putter in putters:
            putter.result(PATIENCE)
        arrivals.close()
        for taker in takers:
            taker.result(PATIENCE)
    assert sorted(taken) == sorted(b"%d.%d" % (n, i) for n in range(3) for i in range(200))
