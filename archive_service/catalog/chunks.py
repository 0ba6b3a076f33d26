"""Long lists in pieces that one statement takes."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

AT_ONCE = 500  # values in one IN list, rows in one page
_Item = TypeVar("_Item")


def chunks(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    """All of them, in order."""
    rest = iter(items)
    while some := list(islice(rest, AT_ONCE)):
        yield some
