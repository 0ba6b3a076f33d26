"""Work over many items in a few threads: results in order, each failure its own item's, threads at work together."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.side_by_side import outcomes


def half(number: int) -> int:
    if number % 2:
        raise ValueError(str(number))
    return number // 2


@given(st.integers(1, 5), st.lists(st.integers(0, 99), max_size=30))
def test_every_item_has_its_own_outcome_in_order(width: int, items: list[int]) -> None:
    said: list[int | str] = []
    for outcome in outcomes(width, half, items):
        try:
            said.append(outcome())
        except ValueError as error:
            said.append(str(error))
    assert said == [str(item) if item % 2 else item // 2 for item in items]


def test_as_many_are_at_work_as_was_said() -> None:
    together = threading.Barrier(3)
    assert [each() for each in outcomes(3, lambda item: together.wait(60) >= 0 and item, [1, 2, 3])] == [
        1,
        2,
        3,
    ]


def test_one_by_one_nothing_is_done_before_it_is_asked_for() -> None:
    done: list[int] = []
    first, *_ = outcomes(1, done.append, [1, 2, 3])
    assert done == []
    first()
    assert done == [1]


def test_what_is_no_error_of_an_item_ends_it_all() -> None:
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        outcomes(2, interrupted, [1, 2])
