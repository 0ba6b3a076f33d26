"""The live catalog and index against rows made again from the logs."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from archive_service.catalog.base import Dump, Position
from archive_service.ledger.verify.report import Report, What

_TRIES = 5


class Compared(Dump, Protocol):
    """A catalog that can be dumped."""

    def position(self) -> Position:
        """See ``base.Catalog``."""
        ...


def _key(row: dict[str, Any]) -> tuple[str, str]:
    return str(row["table"]), str(row["id"])


def _rows(catalog: Compared) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    for row in catalog.dump():
        yield _key(row), row


def compare_catalogs(
    live: Compared,
    again: Compared,
    run_to: Callable[[int], None],
    index_ids: Callable[[], dict[str, int]],
    report: Report,
) -> None:
    """Name every row that differs, is missing or is too many. ``run_to`` makes rows up to an order-log position.

    A live catalog may grow meanwhile: it is read again until it stood still for the length of a look.
    """
    for attempt in range(_TRIES):
        before = live.position()
        found = dict(_rows(live))
        indexed = index_ids()
        if live.position() == before or attempt == _TRIES - 1:
            break
    run_to(before.rows)
    expected = dict(_rows(again))
    report.tally.rows += len(expected)
    for key in sorted(expected.keys() | found.keys()):
        if key not in found:
            report.damage(What.ROW, "the catalog lacks a row that the logs give", name=":".join(key))
        elif key not in expected:
            report.damage(What.ROW, "the catalog has a row that the logs do not give", name=":".join(key))
        elif expected[key] != found[key]:
            fields = sorted(name for name in expected[key] if expected[key][name] != found[key].get(name))
            detail = f"the catalog's row differs from the logs in {', '.join(fields)}"
            report.damage(What.ROW, detail, name=":".join(key))
    if before.indexed == before.rows:
        _compare_index(expected, indexed, report)


def _compare_index(
    expected: dict[tuple[str, str], dict[str, Any]], indexed: dict[str, int], report: Report
) -> None:
    messages = {key[1]: row["version"] for key, row in expected.items() if key[0] == "messages"}
    for name in sorted(messages.keys() | indexed.keys()):
        if messages.get(name) != indexed.get(name):
            detail = "the index does not hold a message as the logs give it"
            report.damage(What.INDEX, detail, name=name)
