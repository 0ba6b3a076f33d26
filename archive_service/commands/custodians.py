"""``custodians``: the directory from the command line, and its imports from CSV files and LDAP servers."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from archive_service.access.directory import resolution_of, resolve
from archive_service.bootstrap import open_core
from archive_service.commands.files import bytes_of, text_of
from archive_service.commands.mail import operator, the_tenant
from archive_service.commands.output import Output
from archive_service.directory import ldap_people
from archive_service.directory.changes import Report
from archive_service.directory.csv_people import ORIGIN, read_csv
from archive_service.directory.incoming import Read
from archive_service.directory.people import People, custodian_view
from archive_service.directory.planning import Source
from archive_service.model.clock import rfc3339, utc_now
from archive_service.model.custodians import Custodian, address_key
from archive_service.model.errors import Invalid
from archive_service.settings import Settings

_SHOWN = 20  # troubles that people are told of one by one


def register(commands: Any) -> None:
    """Add the command."""
    custodians = commands.add_parser("custodians", help="the people whose mail is here, and their addresses")
    actions = custodians.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = _action(actions, "list", "everybody, those who have left too", _list)
    listing.add_argument("--text", metavar="WORDS", help="only who has these in name or addresses")
    listing.add_argument("--limit", type=int, default=1000, metavar="N")
    show = _action(actions, "show", "one person, and what a search that names him uses", _show)
    show.add_argument("who", metavar="WHO", help="an id, an address or a name")
    change = _action(actions, "set", "one person's whole record, from a JSON file as the API takes it", _set)
    change.add_argument("--id", metavar="ID", help="whose; without it a new person")
    change.add_argument("--record", type=Path, required=True, metavar="FILE")
    leave = _action(actions, "leave", "say that somebody has left; his mail is still found", _leave)
    leave.add_argument("who", metavar="WHO", help="an id, an address or a name")
    leave.add_argument("--on", metavar="DAY", help="the last day; without it today")
    imports = actions.add_parser("import", help="people from a file or a server")
    kinds = imports.add_subparsers(dest="kind", required=True, metavar="KIND")
    table = _action(kinds, "csv", "from a CSV file (docs/custodians.md)", _import_csv)
    table.add_argument("file", type=Path, metavar="FILE")
    _import_options(table, ORIGIN)
    server = _action(kinds, "ldap", "from an LDAP server or Active Directory, over TLS", _import_ldap)
    server.add_argument(
        "--url", required=True, metavar="URL", help="ldaps://host, or ldap://host with STARTTLS"
    )
    server.add_argument("--base", required=True, metavar="DN", help="below which people and groups are")
    server.add_argument("--bind-dn", metavar="DN", help="who we are there; without it nobody")
    server.add_argument("--password-file", type=Path, metavar="FILE")
    server.add_argument("--filter", default=ldap_people.PEOPLE, metavar="FILTER", help="of people (RFC 4515)")
    server.add_argument("--ca", type=Path, metavar="PEM", help="who signed its certificate")
    server.add_argument("--no-tls", action="store_true", help="with ldap://: in clear, the password too")
    _import_options(server, ldap_people.ORIGIN)


def _action(actions: Any, name: str, words: str, run: Callable[..., int]) -> Any:
    action = actions.add_parser(name, help=words)
    action.add_argument("--tenant", metavar="T", help="may be left out when there is one")
    action.set_defaults(run=run)
    return action


def _import_options(action: Any, origin: str) -> None:
    action.add_argument("--dry-run", action="store_true", help="say what would change, and change nothing")
    action.add_argument("--strict", action="store_true", help="take nothing where anything is in trouble")
    action.add_argument("--complete", action="store_true", help="whom the source no longer names has left")
    action.add_argument(
        "--most-leavers", type=int, default=50, metavar="N", help="with --complete: more are not believed"
    )
    action.add_argument(
        "--origin", default=origin, metavar="WORD", help="what this source is called in the records"
    )


def _with_people(given: argparse.Namespace, settings: Settings, work: Callable[[People], Any]) -> Any:
    core = open_core(settings)
    try:
        return work(People(the_tenant(core, given.tenant).acts, core.clock))
    finally:
        core.close()


def _list(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    words = address_key(given.text or "").split()

    def work(people: People) -> list[dict[str, Any]]:
        directory = people.at_head()
        found: list[dict[str, Any]] = []
        for custodian in directory.everyone():
            if len(found) >= given.limit:
                break
            text = address_key(" ".join([custodian.name, *(each.address for each in custodian.addresses)]))
            if all(word in text for word in words):
                found.append(custodian_view(directory, custodian))
        return found

    shown = _with_people(given, settings, work)
    rows = [
        f"{each['id']}  {each['name']}  {' '.join(held['address'] for held in each['addresses'])}"
        + (f"  left {each['left']}" if each["left"] else "")
        for each in shown
    ]
    output.answer({"custodians": shown}, "\n".join(rows) or "nobody")
    return 0


def _show(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    def work(people: People) -> tuple[dict[str, Any], str]:
        directory = people.at_head()
        found = resolve(directory, given.who)
        resolved = resolution_of(directory, found)
        return custodian_view(directory, found) | {"resolved": resolved.plain()}, resolved.line()

    view, line = _with_people(given, settings, work)
    output.answer(view, line)
    return 0


def _set(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    try:
        record = json.loads(text_of(given.record))
    except ValueError as error:
        raise Invalid("the record is not JSON", code="custodian.invalid") from error
    if not isinstance(record, dict):
        raise Invalid("the record is no JSON object", code="custodian.invalid")
    for held in record.get("addresses", ()):
        if isinstance(held, dict) and isinstance(held.get("address"), str):
            held["address"] = address_key(held["address"])

    def work(people: People) -> tuple[Custodian, int]:
        people.at_head()
        return people.changes.put(lambda _: record, by=operator(), origin="cli", custodian=given.id)

    made, version = _with_people(given, settings, work)
    output.answer({"id": made.id, "version": version, "seq": version + 1}, made.id)
    return 0


def _leave(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    def work(people: People) -> tuple[Custodian, int]:
        found = resolve(people.at_head(), given.who)
        last = given.on or people.changes.today()

        def left(stored: Custodian | None) -> dict[str, Any]:
            assert stored is not None
            return stored.plain() | {"left": last}

        return people.changes.put(left, by=operator(), origin="cli", custodian=found.id)

    made, version = _with_people(given, settings, work)
    output.answer(
        {"id": made.id, "left": made.left, "version": version, "seq": version + 1},
        f"{made.id} left on {made.left}",
    )
    return 0


def _import_csv(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    return take_in(given, settings, output, read_csv(bytes_of(given.file), given.origin))


def _import_ldap(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    # ldap3 is slow to load: only who needs it does
    from archive_service.directory.ldap_client import LdapServer, connected

    password = None
    if given.password_file is not None:
        password = text_of(given.password_file).removesuffix("\n").removesuffix("\r")
    if (given.bind_dn is None) != (not password):
        raise Invalid("--bind-dn and --password-file go together", code="input.usage")
    server = LdapServer(given.url, given.bind_dn, password, given.ca, given.no_tls)
    today = rfc3339(utc_now())[:10]
    with connected(server) as reader:
        read = ldap_people.read_ldap(
            reader, given.base, filter=given.filter, today=today, origin=given.origin
        )
    return take_in(given, settings, output, read)


def take_in(given: argparse.Namespace, settings: Settings, output: Output, read: Read) -> int:
    """Import what was read, and say what came of it. 1 when anything could not be taken."""
    source = Source(given.origin, given.complete, given.most_leavers)

    def work(people: People) -> Report:
        return people.changes.take_in(read, source, by=operator(), dry_run=given.dry_run, strict=given.strict)

    report: Report = _with_people(given, settings, work)
    output.answer(report.plain(), _said(report))
    return 1 if report.troubles else 0


def _said(report: Report) -> str:
    verb = "taken" if report.applied else "not taken; would be"
    lines = [
        f"{verb}: {report.added} added, {report.changed} changed, {report.left} left, "
        f"{report.passed_on} gave an address on; {report.unchanged} unchanged, {len(report.troubles)} in trouble"
    ]
    lines += [f"line {each.place}: {each.detail} ({each.code})" for each in report.troubles[:_SHOWN]]
    if len(report.troubles) > _SHOWN:
        lines.append("... all of them with --json")
    return "\n".join(lines)
