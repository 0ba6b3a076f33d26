"""``import``: mailboxes that are handed over."""

import argparse
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from archive_service.bootstrap import Core, open_core
from archive_service.commands.output import Output
from archive_service.following import parser_pool
from archive_service.importing import Imported, Importer, Told, find_source
from archive_service.model.errors import Invalid
from archive_service.model.mail import SourceKind
from archive_service.settings import Settings
from ingest.importers.base import Mailbox
from ingest.importers.eml_folder import EmlFolder
from ingest.importers.imap import Imap
from ingest.importers.maildir import Maildir
from ingest.importers.mbox import Mbox, Variant
from ingest.importers.msg_folder import MsgFolder
from ingest.importers.pop3 import Pop3
from ingest.importers.pst import Pst
from ingest.importers.server import Server, Tls

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
    _on_server(_format(formats, "imap", "every folder of a mailbox on an IMAP server, read-only", _imap))
    pop3 = _format(formats, "pop3", "a mailbox on a POP3 server", _pop3)
    _on_server(pop3)
    pop3.add_argument(
        "--delete", action="store_true", help="delete from the server what is durable in the archive"
    )


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


_TLS_PORTS = {"imap": 993, "pop3": 995}
_PORTS = {"imap": 143, "pop3": 110}


def _on_server(one: Any) -> None:
    """Options of a mailbox on a server. A secret is never one: every user of the machine could read it."""
    one.add_argument("--host", required=True, metavar="HOST")
    one.add_argument("--port", type=int, metavar="N", help="the protocol's own unless given")
    one.add_argument("--user", required=True, metavar="USER")
    secret = one.add_mutually_exclusive_group(required=True)
    secret.add_argument("--password-file", type=Path, metavar="FILE", help="its first line is the password")
    secret.add_argument("--password-env", metavar="NAME", help="the environment variable with the password")
    secret.add_argument("--token-file", type=Path, metavar="FILE", help="OAuth 2.0 access token, for XOAUTH2")
    secret.add_argument("--token-env", metavar="NAME", help="the environment variable with such a token")
    one.add_argument("--tls", default="implicit", choices=[str(tls) for tls in Tls])
    one.add_argument(
        "--ca", type=Path, metavar="FILE", help="PEM of the authorities trusted; the system's unless given"
    )


def _server(given: argparse.Namespace) -> Server:
    tls = Tls(given.tls)
    port = given.port or (_TLS_PORTS if tls is Tls.IMPLICIT else _PORTS)[given.format]
    token = given.token_file is not None or given.token_env is not None
    return Server(given.host, port, given.user, _secret(given), token=token, tls=tls, ca=given.ca)


def _secret(given: argparse.Namespace) -> str:
    """Raises Invalid when it is not where it was said to be."""
    variable, path = given.password_env or given.token_env, given.password_file or given.token_file
    try:
        text = path.read_text("utf-8") if path is not None else os.environ.get(variable, "")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid("the file of the secret cannot be read", code="import.secret") from error
    secret: str = text.partition("\n")[0].removesuffix("\r")
    if not secret:
        raise Invalid("there is no secret in the file or variable named", code="import.secret")
    return secret


def _imap(given: argparse.Namespace, core: Core) -> Mailbox:
    return Imap(_server(given), core.settings.smtp_max_size)


def _pop3(given: argparse.Namespace, core: Core) -> Mailbox:
    return Pop3(_server(given), core.settings.smtp_max_size, delete=given.delete)


def _import(opened: _Open, given: argparse.Namespace, settings: Settings, output: Output) -> int:
    core = open_core(settings)
    try:
        tenant = core.tenant(given.tenant)
        mailbox = opened(given, core)
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
