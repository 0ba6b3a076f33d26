"""The Message-IDs of a mailbox on an IMAP server, some hundred mails a command, without fetching any mail."""

import imaplib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date
from functools import partial
from itertools import islice

from archive_service.model.errors import ArchiveError, Invalid, StoreError
from ingest.importers.base import MailboxFailed
from ingest.importers.headers import Listed, message_id_of
from ingest.importers.imap import Imap
from ingest.importers.imap_words import Folder, decode_name

_AT_ONCE = 200
_UID = re.compile(rb"\bUID ([0-9]+)")
_FIELDS = "BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]"
_HEADER = re.compile(rb'\bBODY\[HEADER\.FIELDS \("?MESSAGE-ID"?\)\] (?:\{[0-9]+\}\Z|""|NIL)', re.IGNORECASE)
_MONTHS = [
    "Jan",
    "Feb",
    "Mar",
    "Apr",
    "May",
    "Jun",
    "Jul",
    "Aug",
    "Sep",
    "Oct",
    "Nov",
    "Dec",
]  # RFC 9051: never the machine's own language


@dataclass(frozen=True)
class Chosen:
    """Which mails: of these folders (none: of all), that the server got on ``since`` or later and before ``before``, by
    the days of its own clock (RFC 9051 section 6.4.4)."""

    folders: Collection[str] = ()
    since: date | None = None
    before: date | None = None

    def criteria(self) -> list[str]:
        """For SEARCH; none: all."""
        named = (("SINCE", self.since), ("BEFORE", self.before))
        return [f"{word} {_day(day)}" for word, day in named if day is not None]


def _day(day: date) -> str:
    return f"{day.day}-{_MONTHS[day.month - 1]}-{day.year:04}"


def listed(mailbox: Imap, chosen: Chosen) -> Iterator[Listed]:
    """Every chosen mail, folder by folder. A folder that cannot be read is one that failed. Raises MailboxFailed;
    Invalid (``reconcile.folder``) for a folder that is not there."""
    folders = mailbox.folders()
    names = {decode_name(folder.wire) or folder.wire.decode("ascii", "replace"): folder for folder in folders}
    if unknown := [name for name in chosen.folders if name not in names]:
        raise Invalid(f"{len(unknown)} of the folders named are not there", code="reconcile.folder")
    for folder in [names[name] for name in chosen.folders] or folders:
        try:
            uids = _uids(mailbox, folder, chosen)
            yield from _of_folder(mailbox, folder, uids)
        except MailboxFailed:
            raise
        except ArchiveError as error:
            yield Listed(mailbox.name_of(folder), failed=error.code)


def _uids(mailbox: Imap, folder: Folder, chosen: Chosen) -> list[int]:
    there = [uid for uid, _ in mailbox.enter(folder)]
    criteria = chosen.criteria()
    if not criteria or not there:
        return there
    wanted = mailbox.ask(partial(_searched, criteria=criteria))
    return [uid for uid in there if uid in wanted]


def _searched(connection: imaplib.IMAP4, criteria: list[str]) -> set[int]:
    kind, answer = connection.uid("SEARCH", *criteria)
    if kind != "OK":
        raise StoreError("the server does not search the folder", code="import.folder")
    words = b" ".join(each for each in answer if isinstance(each, bytes)).split()
    return {int(word) for word in words if word.isdigit()}


def _of_folder(mailbox: Imap, folder: Folder, uids: list[int]) -> Iterator[Listed]:
    """One that is removed meanwhile is left out."""
    rest = iter(uids)
    while some := list(islice(rest, _AT_ONCE)):
        headers = mailbox.ask(partial(_headers, uids=some))
        for uid in some:
            if uid in headers:
                yield Listed(mailbox.name_of(folder, uid), message_id_of(headers[uid]))


def _headers(connection: imaplib.IMAP4, uids: list[int]) -> dict[int, bytes]:
    """By UID; a server may put it before or behind the header."""
    kind, answer = connection.uid("FETCH", ",".join(map(str, uids)), f"(UID {_FIELDS})")
    if kind != "OK":
        raise StoreError("the server does not give headers", code="import.refused")
    found: dict[int, bytes] = {}
    for place, each in enumerate(answer):
        line, literal = each if isinstance(each, tuple) else (each or b"", b"")
        behind = answer[place + 1] if place + 1 < len(answer) else b""
        named = _UID.search(line) or _UID.search(behind if isinstance(behind, bytes) else b"")
        if named is not None and _HEADER.search(line):
            found[int(named[1])] = literal
    return found
