"""Some work over many items in a few threads, with as few hand-overs between them as can be: what waits for another
process gains, and what only computes loses nothing much."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def outcomes(
    width: int, work: Callable[[_Item], _Result], items: Sequence[_Item]
) -> list[Callable[[], _Result]]:
    """For each item, in order, what returns its result or raises what ``work`` raised. With more than one thread and
    item all is done on return; else each is done when it is called."""
    if width == 1 or len(items) < 2:
        return [partial(work, item) for item in items]
    found: list[Callable[[], _Result] | None] = [None] * len(items)
    left = iter(enumerate(items))
    taking = threading.Lock()

    def take() -> None:
        while True:
            with taking:
                place, item = next(left, (-1, None))
            if place < 0:
                return
            found[place] = _outcome(work, item)  # type: ignore[arg-type]  # an item, since it has a place

    with ThreadPoolExecutor(width, thread_name_prefix="reader") as threads:
        for each in [threads.submit(take) for _ in range(min(width, len(items)))]:
            each.result()
    return [each for each in found if each is not None]


def _outcome(work: Callable[[_Item], _Result], item: _Item) -> Callable[[], _Result]:
    try:
        result = work(item)
    except Exception as error:  # noqa: BLE001 - raised to whoever asks for this item
        return partial(_raise, error)
    return lambda: result


def _raise(error: Exception) -> _Result:  # type: ignore[type-var]  # it never returns
    raise error
