"""People from a CSV file (RFC 4180), as HR systems and spreadsheets write it: docs/custodians.md has the columns.

UTF-8, with or without a byte order mark; commas, semicolons or tabs, as the header has them. A row that is none is
reported by its line and left out.
"""

import csv
import io
import re
from collections.abc import Iterator

from archive_service.directory.incoming import GivenAddress, GivenGroup, Incoming, Read, Trouble
from archive_service.model.custodians import AddressKind, address_key, is_smtp
from archive_service.model.errors import Invalid

COLUMNS = (
    *("id", "name", "given", "family", "address", "aliases"),
    *("groups", "entity", "department", "joined", "left"),
)
ORIGIN = "csv"
MOST_ROWS = 500_000
_SPAN = re.compile(r"(\S+)\s+(\S*)\.\.(\S*)")


def read_csv(data: bytes, origin: str = ORIGIN) -> Read:
    """Its people. Raises Invalid for what is no such file: ``csv.encoding``, ``csv.columns``, ``csv.too_long``."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Invalid("a CSV file of people is UTF-8", code="csv.encoding") from error
    found = Read()
    rows = _rows(text, found)
    _, header = next(rows, (1, []))
    columns = _columns(header)
    for count, (line, row) in enumerate(rows):
        if count == MOST_ROWS:
            raise Invalid(f"a file of people has at most {MOST_ROWS} rows", code="csv.too_long")
        if not any(cell.strip() for cell in row):
            continue
        if len(row) > len(columns):
            found.troubles.append(Trouble(line, "row.columns", "more cells than the header has"))
            continue
        cells = {name: cell.strip() for name, cell in zip(columns, row, strict=False)}
        try:
            found.people.append(_person(line, cells, origin))
        except Invalid as error:
            found.troubles.append(Trouble(line, error.code, str(error)))
    return found


def _rows(text: str, found: Read) -> Iterator[tuple[int, list[str]]]:
    """Each row with the line on which it begins."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error:
            found.troubles.append(Trouble(line, "row.quotes", "quotes that do not fit, or a cell too long"))
            continue
        yield line, row


def _delimiter(text: str) -> str:
    header = text.partition("\n")[0]
    return max(",;\t", key=header.count)


def _columns(header: list[str]) -> list[str]:
    columns = [name.strip().casefold() for name in header]
    wrong = [str(place) for place, name in enumerate(columns, 1) if name not in COLUMNS]
    if wrong:
        message = (
            f"columns without a name of ours: number {', '.join(wrong[:10])}; ours: {', '.join(COLUMNS)}"
        )
        raise Invalid(message, code="csv.columns")
    if len(set(columns)) < len(columns):
        raise Invalid("a column twice", code="csv.columns")
    if "id" not in columns and "address" not in columns:
        raise Invalid("a column id or address is needed: it says who is who", code="csv.columns")
    return columns


def _person(line: int, cells: dict[str, str], origin: str) -> Incoming:
    """Raises Invalid."""
    primary = _addresses(cells.get("address", ""), AddressKind.PRIMARY)
    if len(primary) > 1:
        raise Invalid("one address; others stand under aliases", code="row.address")
    key = cells.get("id") or next((each.address for each in primary), "")
    if not key:
        raise Invalid("neither id nor address", code="row.nobody")
    aliases = _addresses(cells.get("aliases", ""), AddressKind.ALIAS)
    given = "address" in cells or "aliases" in cells
    return Incoming(
        place=line,
        external={origin: key},
        addresses=tuple(dict.fromkeys((*primary, *aliases))) if given else None,
        groups=_groups(cells["groups"]) if "groups" in cells else None,
        name=cells.get("name"),
        given=cells.get("given"),
        family=cells.get("family"),
        entity=cells.get("entity"),
        department=cells.get("department"),
        joined=cells.get("joined"),
        left=cells.get("left"),
    )


def _addresses(cell: str, kind: AddressKind) -> tuple[GivenAddress, ...]:
    """``anne@ex.fr | a.martin@ex.fr 2020-01-01..2022-12-31``; either end may be open."""
    found = []
    for part in filter(None, (part.strip() for part in cell.split("|"))):
        span = _SPAN.fullmatch(part)
        address = address_key(span[1] if span else part)
        if not is_smtp(address):
            raise Invalid("not a mail address, or not: address from..until", code="row.address")
        begins, until = (span[2] or None, span[3] or None) if span else (None, None)
        found.append(GivenAddress(address, kind, begins, until))
    return tuple(found)


def _groups(cell: str) -> tuple[GivenGroup, ...]:
    """Addresses or names, ``|`` between them."""
    found = []
    for part in filter(None, (part.strip() for part in cell.split("|"))):
        key = address_key(part)
        found.append(GivenGroup(key, part, key if is_smtp(key) else None))
    return tuple(found)
