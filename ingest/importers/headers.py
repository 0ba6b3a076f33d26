"""Mails of a mailbox by their Message-ID: what a reconciliation lists. Nothing is changed or marked where they lie."""

from collections.abc import Iterator
from dataclasses import dataclass

from archive_service.model.errors import ArchiveError
from ingest.importers.base import Mailbox, MailboxFailed
from ingest.mime.headers import decode_value
from ingest.mime.scanner import scan_headers


@dataclass(frozen=True)
class Listed:
    """One mail, by the name that it has as an item of the mailbox. ``message_id``: None where it has none; ``failed``:
    why that could not be read, a stable code."""

    name: str
    message_id: str | None = None
    failed: str | None = None


def message_id_of(header: bytes) -> str | None:
    """The Message-ID in a header, or in a whole mail, as the archive itself reads it."""
    value = scan_headers(header, 0, len(header)).first("message-id")
    return decode_value(value) or None if value is not None else None


def of_files(mailbox: Mailbox) -> Iterator[Listed]:
    """Of a mailbox in files, which is read whole: to find where a header ends costs as much. Raises MailboxFailed."""
    for item in mailbox.items():
        try:
            yield Listed(item.name, message_id_of(item.read()))
        except MailboxFailed:
            raise
        except ArchiveError as error:
            yield Listed(item.name, failed=error.code)
