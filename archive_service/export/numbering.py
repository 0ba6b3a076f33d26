"""Bates numbers: a prefix and a zero-padded counter, one a page, contiguous; and the names made of them."""

import re
from dataclasses import dataclass

from archive_service.model.errors import Invalid

DIGITS = 7
_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}\Z")
_COUNTER = re.compile(r"[0-9]{7,15}\Z")


def check_prefix(prefix: str) -> str:
    """The prefix itself. Raises Invalid unless it can stand in a file name."""
    if not _PREFIX.match(prefix):
        raise Invalid(
            "a Bates prefix is 1 to 40 letters, digits, '.', '_' or '-', the first a letter or digit"
        )
    return prefix


@dataclass(frozen=True)
class Numbering:
    """The range of one production: pages 0, 1, ... get ``first``, ``first + 1``, ..."""

    prefix: str
    first: int
    pages: int

    def label(self, page: int) -> str:
        """The Bates number of a page, all of a range being equally long."""
        width = max(DIGITS, len(str(self.first + self.pages - 1)))
        return f"{self.prefix}{self.first + page:0{width}d}"


def parse_bates(text: str, prefix: str) -> int:
    """The counter of a Bates number. Raises ValueError if it has another form."""
    counter = text.removeprefix(prefix)
    if not text.startswith(prefix) or not _COUNTER.match(counter):
        raise ValueError("a Bates number of another form")
    return int(counter)


def message_folder(bates: str) -> str:
    """Where a message lies in the ZIP, by its first Bates number."""
    return f"messages/{bates}"


def capture_file(number: int) -> str:
    """The name of a message's capture, counted from 1."""
    return f"capture-{number}.eml"
