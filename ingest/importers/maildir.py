"""A Maildir with its folders (https://cr.yp.to/proto/maildir.html; Maildir++ subfolders, or folders in folders).

Any folder below the given one that holds ``cur`` or ``new`` is a mail folder; ``tmp`` holds what is not yet mail. An
item's name is the folder's and the unique part of the file's: neither the flags behind it (``:2,S``) nor whether it
lies in ``new`` or ``cur`` belong to it, for both change while the mail stays the same. Nothing is changed, moved or
marked as seen.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from archive_service.model.errors import Invalid, StoreError
from ingest.importers.base import Item, failing, plain_name, read_file, unreadable

_PLACES = ("new", "cur")
_NO_FOLDERS = (*_PLACES, "tmp")
_FLAGS = re.compile(r"[:;!]2,[^/]*\Z")  # ":" may not stand in names on Windows


class Maildir:
    """See ``base.Mailbox``. Raises Invalid when there is no Maildir."""

    def __init__(self, top: Path, limit: int) -> None:
        self._top = top
        self._limit = limit
        self._folders = sorted(_folders(top)) if top.is_dir() else []
        if not self._folders:
            raise Invalid("no Maildir: no folder with cur or new in it", code="import.folder")

    def count(self) -> int | None:
        """As of now: a mailbox in use changes."""
        return sum(len(_files(folder / place)) for folder in self._folders for place in _PLACES)

    def items(self) -> Iterator[Item]:
        """Folder by folder, in the order of their paths; a folder's by their unique parts, which is the order of
        delivery for most servers."""
        for folder in self._folders:
            name = "" if folder == self._top else f"{folder.relative_to(self._top)}/"
            try:
                paths = [path for place in _PLACES for path in _files(folder / place)]
            except OSError as error:
                yield failing(plain_name(name or "."), unreadable(error))
                continue
            for path in sorted(paths, key=lambda path: (unique(path), path)):
                yield Item(plain_name(name + unique(path)), partial(self._read, folder, path))

    def _read(self, folder: Path, path: Path) -> bytes:
        """Where it was listed, or, when a mail program has moved it in between, where it is now."""
        if not path.exists():
            path = self._moved(folder, path)
        return read_file(path, self._limit)

    @staticmethod
    def _moved(folder: Path, path: Path) -> Path:
        for place in _PLACES:
            for other in _files(folder / place):
                if unique(other) == unique(path):
                    return other
        raise StoreError("the mail was removed while the mailbox was read", code="import.gone")

    def close(self) -> None:
        """Nothing is kept open."""


def unique(path: Path) -> str:
    """The part of a file's name that stays as long as the mail."""
    return _FLAGS.sub("", path.name)


def _folders(top: Path) -> Iterator[Path]:
    """``top`` and what is below it; links to elsewhere are not followed."""
    if any((top / place).is_dir() for place in _PLACES):
        yield top
    for path in top.iterdir():
        if path.name not in _NO_FOLDERS and path.is_dir() and not path.is_symlink():
            yield from _folders(path)


def _files(place: Path) -> list[Path]:
    """Hidden files are no mail: so says the format."""
    if not place.is_dir():
        return []
    return [path for path in place.iterdir() if not path.name.startswith(".") and path.is_file()]
