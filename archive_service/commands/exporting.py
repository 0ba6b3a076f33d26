"""``export`` and ``verify-bundle``."""

import argparse
import re
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from archive_service.bootstrap import open_core
from archive_service.catching_up import catch_up, seal_looks
from archive_service.commands.files import require_new
from archive_service.commands.mail import include_drafts, operator, said_of_drafts, the_tenant
from archive_service.commands.output import Output
from archive_service.export.verify_access import verify_access
from archive_service.export.verify_bundle import verify_bundle
from archive_service.export.verify_certificate import verify_certificate
from archive_service.exporting import ExportAsked, run_export, summary
from archive_service.following import parser_pool
from archive_service.model.clock import rfc3339
from archive_service.model.errors import Invalid
from archive_service.settings import Settings
from archive_service.tenant_services import open_tenant
from search.query_language import parse

_CERTIFICATE = re.compile(rb'\{\s*"(certificate|pack|note|keys|proofs)"')


def register(commands: Any) -> None:
    """Add the commands."""
    export = commands.add_parser("export", help="write an evidence bundle; recorded in the access log")
    export.add_argument("query", nargs="?", metavar="QUERY")
    export.add_argument(
        "--id", action="append", dest="ids", metavar="ID", help="a message, instead of a query"
    )
    export.add_argument("--tenant", metavar="T")
    include_drafts(export)
    export.add_argument("--output", "-o", type=Path, required=True, metavar="FILE.zip")
    export.add_argument("--matter", metavar="TEXT")
    export.add_argument("--purpose", metavar="TEXT")
    export.add_argument("--lang", choices=["en", "fr"], default="en", help="the report's language")
    export.set_defaults(run=_export)
    verify = commands.add_parser(
        "verify-bundle",
        help="check an evidence bundle (a ZIP or its unpacked folder), a file of access entries, a certificate or a "
        "yearly pack in JSON",
    )
    verify.add_argument("path", type=Path, metavar="PATH")
    verify.add_argument(
        "--key", action="append", default=[], metavar="VKEY", help="a verifier key that must have signed"
    )
    verify.set_defaults(run=_verify)


def _export(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    if (given.query is None) == (given.ids is None):
        raise Invalid("an export takes either a query or --id", code="export.selection")
    if given.query is not None:
        parse(given.query)
    require_new(given.output)
    core = open_core(settings)
    move, end = output.progress(None, "message")
    try:
        tenant = the_tenant(core, given.tenant)
        with parser_pool(settings) as pool:
            catch_up(core, tenant, pool)
            opened = open_tenant(core, tenant)
            try:
                asked = ExportAsked(
                    id=secrets.token_hex(16),
                    actor=operator(),
                    role="cli",
                    requested_at=rfc3339(core.clock()),
                    query=given.query,
                    ids=tuple(given.ids) if given.ids else None,
                    matter=given.matter,
                    purpose=given.purpose,
                    lang=given.lang,
                    include_drafts=given.include_drafts,
                )
                result, selected = run_export(
                    opened, asked, pool, given.output, lambda done, total: move(done)
                )
            finally:
                opened.close()
                seal_looks(core)
    finally:
        end()
        core.close()
    text = (
        f"{len(selected.ids)} messages on {result.pages} pages: {given.output}\n"
        f"manifest SHA-256 {result.manifest_sha256}{said_of_drafts(selected.drafts_left_out)}"
    )
    text = "\n".join([text, *(each.line() for each in selected.named)])
    output.answer(summary(result, selected), text)
    return 0


def _verify(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    del settings
    if not given.path.exists():
        raise Invalid("no such file or folder", code="bundle.path")
    problems = _check_of(given.path)(given.path, given.key)
    output.answer({"ok": not problems, "problems": problems}, "\n".join(problems) or "OK")
    return 1 if problems else 0


def _check_of(path: Path) -> Callable[[Path, Sequence[str]], list[str]]:
    """By what it begins with: no ZIP begins with a brace."""
    if not path.is_file():
        return verify_bundle
    with path.open("rb") as file:
        begin = file.read(256)
    if _CERTIFICATE.match(begin):
        return verify_certificate
    return verify_access if begin.startswith(b"{") else verify_bundle
