"""Reconciliation with a mailbox: its mails by Message-ID, of their headers alone; and, where that is asked for, those
that no Message-ID settles by content.

    list      name and Message-ID of every mail
    compare   by Message-ID, as with any other listing
    look      what is left, whole, read as an import would be: it is there when a capture has its identity
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from archive_service.catalog.base import Catalog
from archive_service.model.errors import ArchiveError
from archive_service.model.mail import CaptureRecord, Parsed, SourceKind
from ingest.importers.base import Item, Mailbox, MailboxFailed
from ingest.importers.headers import Listed
from ingest.listings.base import Listing, bare

_AT_ONCE = 200  # mails whose identities are looked up together

Interpret = Callable[[bytes, SourceKind, CaptureRecord], Parsed]
Identify = Callable[[str, int], str]


@dataclass
class Held:
    """What a mailbox holds. ``named``: items' names by bare Message-ID; ``unnamed``: those of mails without one;
    ``failed``: those whose header could not be read, each with why."""

    named: dict[str, list[str]] = field(default_factory=dict)
    unnamed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def listing(self) -> Listing:
        """As any other list."""
        count = sum(map(len, self.named.values()))
        return Listing("mailbox", tuple(self.named), count - len(self.named))

    def unsettled(self, missing: Iterable[str]) -> set[str]:
        """The items that a comparison by Message-ID leaves open: those that are missing, and those without one."""
        return {name for message_id in missing for name in self.named[message_id]} | set(self.unnamed)


def held(mails: Iterable[Listed]) -> Held:
    """Read a listing once. Raises MailboxFailed."""
    found = Held()
    for mail in mails:
        message_id = bare(mail.message_id or "")
        if mail.failed is not None:
            found.failed[mail.name] = mail.failed
        elif not message_id:
            found.unnamed.append(mail.name)
        else:
            found.named.setdefault(message_id, []).append(mail.name)
    return found


@dataclass
class ByContent:
    """``present``, ``missing``: items that were read whole; ``failed``: those that could not be, each with why."""

    present: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)


def by_content(
    mailbox: Mailbox,
    wanted: Collection[str],
    kind: SourceKind,
    catalog: Catalog,
    interpret: Interpret,
    identify: Identify,
) -> ByContent:
    """Whether the archive has these items of a mailbox, whatever their Message-ID. What has gone from the mailbox
    meanwhile is ``import.gone``. Raises MailboxFailed, StoreError."""
    found = ByContent()
    rest = _identities(
        (item for item in mailbox.items() if item.name in wanted), kind, interpret, identify, found
    )
    while some := dict(islice(rest, _AT_ONCE)):
        there = {row.id for row in catalog.messages(list(dict.fromkeys(some.values())))}
        for name, identity in some.items():
            (found.present if identity in there else found.missing).add(name)
    gone = set(wanted) - found.present - found.missing - set(found.failed)
    found.failed.update(dict.fromkeys(gone, "import.gone"))
    return found


def _identities(
    items: Iterable[Item], kind: SourceKind, interpret: Interpret, identify: Identify, found: ByContent
) -> Iterator[tuple[str, str]]:
    record = CaptureRecord(capture="", source="", received_at="", mail_from="", rcpt_to=(), channel="import")
    for item in items:
        try:
            raw = item.read()
        except MailboxFailed:
            raise
        except ArchiveError as error:
            found.failed[item.name] = error.code
            continue
        parsed = interpret(raw, kind, record)
        yield item.name, identify(parsed.inner_digest, parsed.identity_version)
