"""``import``: mailboxes that are handed over."""

import argparse
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from archive_service.bootstrap import open_core
from archive_service.commands.output import Output
from archive_service.following import parser_pool
from archive_service.importing import Imported, Importer, Told, find_source
from archive_service.model.errors import Invalid
from archive_service.model.mail import SourceKind
from archive_service.settings import Settings
from ingest.importers.base import Mailbox
from ingest.importers.eml_folder import EmlFolder
from ingest.importers.maildir import Maildir
from ingest.importers.mbox import Mbox, Variant

_Open = Callable[[argparse.Namespace, Settings], Mailbox]


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


def _format(formats: Any, name: str, about: str, opened: _Open) -> Any:
    one = formats.add_parser(name, help=about)
    one.add_argument("--tenant", required=True, metavar="T")
    one.add_argument(
        "--kind", default="generic", choices=[str(kind) for kind in SourceKind], help="dialect of the mail"
    )
    one.add_argument(
        "--source", metavar="NAME", help='import source, best one a mailbox; "import KIND" unless given'
    )
    one.add_argument("--report", type=Path, metavar="FILE", help="a JSON line an item: what became of it")
    one.set_defaults(run=lambda given, settings, output: _import(opened, given, settings, output))
    return one


def _eml(given: argparse.Namespace, settings: Settings) -> Mailbox:
    return EmlFolder(given.folder, settings.smtp_max_size)


def _mbox(given: argparse.Namespace, settings: Settings) -> Mailbox:
    return Mbox(given.path, settings.smtp_max_size, Variant(given.variant))


def _maildir(given: argparse.Namespace, settings: Settings) -> Mailbox:
    return Maildir(given.folder, settings.smtp_max_size)


def _import(opened: _Open, given: argparse.Namespace, settings: Settings, output: Output) -> int:
    core = open_core(settings)
    try:
        tenant = core.tenant(given.tenant)
        mailbox = opened(given, settings)
        try:
            kind = SourceKind(given.kind)
            name = given.source or f"import {kind}"
            source, new = find_source(tenant, name, kind, settings.smtp_domain)
            with parser_pool(settings) as pool, _report(given.report) as report:
                importer = Importer(core, tenant, source, pool, new=new)
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
