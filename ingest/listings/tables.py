"""Tables with a column of Message-IDs: Exchange's message tracking log, Microsoft 365's message trace, Google
Workspace's email log search, or a mailbox listing from a spreadsheet. Comma, semicolon or tab between the columns; a
``#Fields:`` line names them too."""

import csv
from collections.abc import Iterator, Sequence

from archive_service.model.errors import Invalid

_NAMES = ("messageid", "internetmessageid")  # compared without case, spaces and signs
_FIELDS = "#fields:"
_DELIMITERS = ",;\t"
_LONGEST = 1 << 20  # characters of one field: a recipient list may be long
_LOOKED_AT = 20  # lines before the names of the columns


def read(lines: Iterator[str]) -> Iterator[str]:
    """Raises Invalid (``listing.format``) when no column is one of Message-IDs, or a row has not got it."""
    csv.field_size_limit(_LONGEST)
    head: list[str] = []
    place = None
    for line in lines:
        head.append(line)
        place = column(head)
        if place is not None or len(head) >= _LOOKED_AT:
            break
    if place is None:
        raise Invalid("no column of the table is called Message-ID", code="listing.format")
    number, delimiter = place
    try:
        for row in csv.reader((line for line in lines if not line.startswith("#")), delimiter=delimiter):
            if not row:
                continue
            if len(row) <= number:
                raise Invalid("a row of the table ends before its Message-ID", code="listing.format")
            yield row[number]
    except csv.Error as error:
        raise Invalid("the table cannot be read", code="listing.format") from error


def column(lines: Sequence[str]) -> tuple[int, str] | None:
    """Which column holds the Message-IDs, and what stands between columns, if one of these lines names them."""
    for line in lines[:_LOOKED_AT]:
        text = line[len(_FIELDS) :] if line.lower().startswith(_FIELDS) else line
        for delimiter in _DELIMITERS:
            names = [_plain(name) for name in text.strip().split(delimiter)]
            if len(names) > 1 or delimiter == _DELIMITERS[0]:
                for name in _NAMES:
                    if name in names:
                        return names.index(name), delimiter
    return None


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
