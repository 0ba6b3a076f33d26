"""``import``: mailboxes that are handed over."""

import argparse
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from archive_service.bootstrap import Core, Tenant, open_core
from archive_service.commands.mail_servers import on_server, server_of
from archive_service.commands.output import Output
from archive_service.following import parser_pool
from archive_service.imports.importing import Imported, Importer, Told, find_source, find_undeliverable
from archive_service.model.errors import Invalid
from archive_service.model.mail import Source, SourceKind
from archive_service.settings import Settings
from archive_service.source_changes import find_source as find_feed
from ingest.importers.base import Mailbox
from ingest.importers.eml_folder import EmlFolder
from ingest.importers.imap import Imap
from ingest.importers.maildir import Maildir
from ingest.importers.mbox import Mbox, Variant
from ingest.importers.msg_folder import MsgFolder
from ingest.importers.pop3 import Pop3
from ingest.importers.pst import Pst

_Open = Callable[[argparse.Namespace, Core], Mailbox]


def register(commands: Any) -> None:
    """Add the command, a format each below it."""
    imported = commands.add_parser("import", help="archive mail from files and mailboxes; repeatable")
    formats = imported.add_subparsers(dest="format", required=True, metavar="FORMAT")
    eml = _format(formats, "eml", "every .eml file under a folder, byte for byte", _eml)
    eml.add_argument("folder", type=Path, metavar="DIR")
    mbox = _format(formats, "mbox", "an mbox file, or every one under a folder", _mbox)
    mbox.add_argument("path", type=Path, metavar="PATH")
    mbox.add_argument(
        "--variant",
        default="auto",
        choices=[str(variant) for variant in Variant],
        help="how lines that begin with 'From ' were quoted when it was written",
    )
    maildir = _format(formats, "maildir", "a Maildir with all its folders", _maildir)
    maildir.add_argument("folder", type=Path, metavar="DIR")
    pst = _format(formats, "pst", "a PST or OST file, as readpst (pst-utils) reconstructs its mail", _pst)
    pst.add_argument("file", type=Path, metavar="FILE")
    msg = _format(
        formats, "msg", "every .msg file under a folder (messages saved by Outlook), byte for byte", _msg
    )
    msg.add_argument("folder", type=Path, metavar="DIR")
    on_server(_format(formats, "imap", "every folder of a mailbox on an IMAP server, read-only", _imap))
    pop3 = _format(formats, "pop3", "a mailbox on a POP3 server", _pop3)
    on_server(pop3)
    pop3.add_argument(
        "--delete", action="store_true", help="delete from the server what is durable in the archive"
    )


def _format(formats: Any, name: str, about: str, opened: _Open) -> Any:
    one = formats.add_parser(name, help=about)
    one.add_argument("--tenant", required=True, metavar="T")
    one.add_argument(
        "--kind",
        choices=[str(kind) for kind in SourceKind],
        help="dialect of the mail; generic unless given, with --undeliverable the feed's",
    )
    one.add_argument(
        "--source", metavar="NAME", help='import source, best one a mailbox; "import KIND" unless given'
    )
    one.add_argument(
        "--undeliverable",
        action="store_true",
        help="a mailbox of reports that the feed named by --source could not deliver",
    )
    one.add_argument("--report", type=Path, metavar="FILE", help="a JSON line an item: what became of it")
    one.set_defaults(run=lambda given, settings, output: _import(opened, given, settings, output))
    return one


def _eml(given: argparse.Namespace, core: Core) -> Mailbox:
    return EmlFolder(given.folder, core.settings.smtp_max_size)


def _msg(given: argparse.Namespace, core: Core) -> Mailbox:
    return MsgFolder(given.folder, core.settings.smtp_max_size)


def _mbox(given: argparse.Namespace, core: Core) -> Mailbox:
    return Mbox(given.path, core.settings.smtp_max_size, Variant(given.variant))


def _maildir(given: argparse.Namespace, core: Core) -> Mailbox:
    return Maildir(given.folder, core.settings.smtp_max_size)


def _pst(given: argparse.Namespace, core: Core) -> Mailbox:
    return Pst(given.file, core.settings.smtp_max_size, core.work / "run" / "importing")


def _imap(given: argparse.Namespace, core: Core) -> Mailbox:
    return Imap(server_of(given, given.format), core.settings.smtp_max_size)


def _pop3(given: argparse.Namespace, core: Core) -> Mailbox:
    return Pop3(server_of(given, given.format), core.settings.smtp_max_size, delete=given.delete)


def _import(opened: _Open, given: argparse.Namespace, settings: Settings, output: Output) -> int:
    core = open_core(settings)
    try:
        tenant = core.tenant(given.tenant)
        mailbox = opened(given, core)
        try:
            source, new, recipients = _source(given, tenant, settings)
            with parser_pool(settings) as pool, _report(given.report) as report:
                importer = Importer(core, tenant, source, pool, new=new, recipients=recipients)
                try:
                    found = _take(importer, mailbox, report, output)
                finally:
                    importer.close()
        finally:
            mailbox.close()
    finally:
        core.close()
    output.answer(
        {
            "imported": len(found.taken),
            "already": found.already,
            "failed": found.failed.total(),
            "reasons": dict(sorted(found.failed.items())),
            "source": source.id,
            "captures": found.taken,
        },
        _words(found),
    )
    return 1 if found.failed else 0


def _source(
    given: argparse.Namespace, tenant: Tenant, settings: Settings
) -> tuple[Source, bool, tuple[str, ...]]:
    """The import source, whether it is new, and under which address its items are taken. Raises Invalid."""
    if given.undeliverable:
        if given.source is None:
            raise Invalid("--undeliverable needs --source, the feed that they are of", code="input.usage")
        feed = find_feed(tenant, given.source)
        if given.kind not in (None, feed.kind):
            raise Invalid(f"the source of this name is of kind {feed.kind}", code="import.kind")
        feed, source, new = find_undeliverable(tenant, feed, settings.smtp_domain)
        assert feed.undeliverable is not None
        return source, new, (feed.undeliverable,)
    kind = SourceKind(given.kind or SourceKind.GENERIC)
    source, new = find_source(tenant, given.source or f"import {kind}", kind, settings.smtp_domain)
    return source, new, ()


def _take(importer: Importer, mailbox: Mailbox, report: IO[str] | None, output: Output) -> Imported:
    move, end = output.progress(mailbox.count(), "mail")

    def tell(told: Told, done: int) -> None:
        if report is not None:
            report.write(json.dumps(told.plain(), ensure_ascii=False) + "\n")
            report.flush()
        move(done)

    try:
        return importer.take(mailbox, tell)
    finally:
        end()


@contextmanager
def _report(path: Path | None) -> Iterator[IO[str] | None]:
    """The report's file, for its owner alone: items' names may be subjects. Raises Invalid when it exists."""
    if path is None:
        yield None
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise Invalid("the report's file exists already", code="import.report") from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        yield file


def _words(found: Imported) -> str:
    said = [f"{len(found.taken)} mails archived, chained and searchable"]
    if found.already:
        said.append(f"{found.already} were there already")
    if found.failed:
        reasons = ", ".join(f"{code} {count}" for code, count in sorted(found.failed.items()))
        said.append(f"{found.failed.total()} failed ({reasons}); --report says which")
    return "; ".join(said)
