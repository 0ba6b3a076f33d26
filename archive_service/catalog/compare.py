"""The live catalog and index against rows made again from the logs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from archive_service.catalog.base import Dump, Position
from archive_service.ledger.verify.report import Report, What
from archive_service.model.errors import StoreError

_TRIES = 5

Key = tuple[str, str]
Rows = dict[Key, dict[str, Any]]


class Compared(Dump, Protocol):
    """A catalog that can be dumped."""

    def position(self) -> Position:
        """See ``base.Catalog``."""
        ...

    def took(self) -> dict[str, int]:
        """See ``base.Catalog``."""
        ...

    def unread(self) -> list[tuple[str, int]]:
        """See ``base.Catalog``."""
        ...


@dataclass(frozen=True)
class _Look:
    """What stood in the live projections between two positions; ``index`` None: it cannot be read."""

    before: Position
    after: Position
    rows: Rows
    took: dict[str, int]
    unread: list[tuple[str, int]]
    index: dict[str, int] | None

    @property
    def still(self) -> bool:
        return self.before == self.after


def _rows(catalog: Compared) -> Iterator[tuple[Key, dict[str, Any]]]:
    try:
        for row in catalog.dump():
            yield (str(row["table"]), str(row["id"])), row
    except (TypeError, ValueError) as error:
        raise StoreError("the catalog holds a row that cannot be read", code="catalog.unreadable") from error


def compare_catalogs(
    live: Compared,
    again: Compared,
    run_to: Callable[[int], None],
    index_ids: Callable[[], dict[str, int]],
    report: Report,
) -> None:
    """Name every row that differs, is missing or is too many. ``run_to`` makes rows up to an order-log position.

    A live catalog may grow meanwhile: it is read again until it stood still for the length of a look; if it never
    does, the rows that changed during the last look are left to the next run. Raises ArchiveError when either side
    cannot be read.
    """
    look = _look(live, index_ids, report)
    run_to(look.before.rows)
    expected = dict(_rows(again))
    _compare_position(look, again, report)
    later = expected
    if not look.still:
        run_to(look.after.rows)
        later = dict(_rows(again))
    moving = {key for key in expected.keys() | later.keys() if expected.get(key) != later.get(key)}
    report.tally.rows += len(expected)
    for key in sorted((expected.keys() | look.rows.keys()) - moving):
        _compare_row(key, expected.get(key), look.rows.get(key), report)
    if look.index is not None:
        _compare_index(look, later, moving, look.index, report)


def _look(live: Compared, index_ids: Callable[[], dict[str, int]], report: Report) -> _Look:
    for _ in range(_TRIES):
        before = live.position()
        rows, took, unread = dict(_rows(live)), live.took(), live.unread()
        try:
            index, unreadable = index_ids(), ""
        except StoreError as error:
            index, unreadable = None, str(error)
        look = _Look(before, live.position(), rows, took, unread, index)
        if look.still:
            break
    if unreadable and look.before.indexed > 0:
        report.damage(What.INDEX, unreadable)
    elif unreadable:
        report.note(What.INDEX, "no index yet")
    return look


def _compare_position(look: _Look, again: Compared, report: Report) -> None:
    """A catalog that claims to be elsewhere than it is would go on from there, and pass over mail."""
    made, claimed = again.position(), look.before
    if (made.rows, made.acts) != (claimed.rows, claimed.acts) or claimed.indexed > claimed.rows:
        detail = f"the catalog claims to stand at {claimed.rows}, which the order log does not give"
        report.damage(What.ROW, detail, name="position")
    elif look.still:
        made_took, made_unread = again.took(), again.unread()
        for log in sorted(made_took.keys() | look.took.keys()):
            if made_took.get(log) != look.took.get(log):
                detail = "the catalog says of a log that the order took another part of it"
                report.damage(What.ROW, detail, log=log, name="took")
        for log, seq in sorted(set(made_unread) ^ set(look.unread)):
            detail = "the catalog says otherwise than the order whether a capture is still to be read"
            report.damage(What.ROW, detail, log=log, seq=seq, name="unread")


def _compare_row(
    key: Key, expected: dict[str, Any] | None, found: dict[str, Any] | None, report: Report
) -> None:
    name = ":".join(key)
    if found is None:
        report.damage(What.ROW, "the catalog lacks a row that the logs give", name=name)
    elif expected is None:
        report.damage(What.ROW, "the catalog has a row that the logs do not give", name=name)
    elif expected != found:
        both = expected.keys() | found.keys()
        fields = sorted(each for each in both if expected.get(each) != found.get(each))
        detail = f"the catalog's row differs from the logs in {', '.join(fields)}"
        report.damage(What.ROW, detail, name=name)


def _compare_index(
    look: _Look, later: Rows, moving: set[Key], indexed: dict[str, int], report: Report
) -> None:
    """Every message below the indexed position stands in its version; above it the follower is still at work."""
    messages = {key[1]: int(row["version"]) for key, row in later.items() if key[0] == "messages"}
    for name in sorted(messages.keys() | indexed.keys()):
        wanted, found = messages.get(name), indexed.get(name)
        under_way = wanted is not None and (wanted >= look.before.indexed or ("messages", name) in moving)
        if found == wanted or (under_way and (found is None or found < (wanted or 0))):
            continue
        report.damage(What.INDEX, "the index does not hold a message as the logs give it", name=name)
