"""What every importer gives: a mailbox, and its items one after the other.

An item's name is stable: the same mail in the same place of the same mailbox has the same name at every import. Its
bytes are read when they are asked for, before the next item is: an importer holds one item in memory at most.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from archive_service.model.errors import ArchiveError, StoreError


class MailboxFailed(StoreError):
    """The mailbox as a whole cannot be read (on): no further item can be had, and the import ends here."""

    code = "import.mailbox"


@dataclass(frozen=True)
class Item:
    """One mail of a mailbox.

    ``read`` gives its bytes; it raises ArchiveError for this item alone, MailboxFailed for all that follow.
    ``settled_by_name``: the name alone says which bytes these are (IMAP's UIDVALIDITY and UID), so that an item that is
    known need not be fetched. ``archived`` is called when the bytes that ``read`` gave are durable in the archive; it
    raises MailboxFailed or nothing.
    """

    name: str
    read: Callable[[], bytes]
    settled_by_name: bool = False
    archived: Callable[[], None] | None = None


class Mailbox(Protocol):
    """An opened mailbox. Used by one thread."""

    def count(self) -> int | None:
        """How many items there are, where that is known beforehand; for progress only."""
        ...

    def items(self) -> Iterator[Item]:
        """Every item, each read before the next is asked for. Raises MailboxFailed."""
        ...

    def close(self) -> None:
        """Let files and connections go. Never raises ArchiveError."""
        ...


def plain_name(name: str) -> str:
    """A name of a file system as text: bytes that are not UTF-8 appear as ``\\udcNN``."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def read_file(path: Path, limit: int) -> bytes:
    """A file of at most ``limit`` bytes. Raises StoreError: ``import.unreadable``, ``import.too_large``. Messages name
    no file: a name may be a subject."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise unreadable(error) from error
    if len(data) > limit:
        raise too_large(limit)
    return data


def unreadable(error: OSError, what: str = "file") -> StoreError:
    """The failure of an item whose file (or folder) cannot be read."""
    return StoreError(f"the {what} cannot be read ({error.strerror})", code="import.unreadable")


def too_large(limit: int) -> StoreError:
    """The failure of an item that is larger than the archive takes."""
    return StoreError(f"the mail is larger than {limit} bytes (smtp_max_size)", code="import.too_large")


def failing(name: str, error: ArchiveError) -> Item:
    """An item that cannot be read: how an importer reports what it had to leave out."""

    def read() -> bytes:
        raise error

    return Item(name, read)
