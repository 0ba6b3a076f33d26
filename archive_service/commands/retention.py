"""``schedule``: how long mail is kept, and why."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from archive_service.access.policy import Right
from archive_service.commands.acting import acting, take_token
from archive_service.commands.output import Output
from archive_service.model.errors import Invalid
from archive_service.settings import Settings


def register(commands: Any) -> None:
    """Add the commands."""
    schedule = commands.add_parser("schedule", help="the retention schedule: classes, rules, versions")
    actions = schedule.add_subparsers(dest="action", required=True, metavar="ACTION")
    show = actions.add_parser("show", help="every version, and which one is in force")
    show.set_defaults(run=_show)
    templates = actions.add_parser("templates", help="classes to begin with, with their articles of law")
    templates.set_defaults(run=_templates)
    trying = actions.add_parser("dry-run", help="what a schedule would take; changes nothing")
    trying.set_defaults(run=_try)
    setting = actions.add_parser("set", help="ask for a new schedule; another person approves it")
    setting.add_argument("--effective-from", metavar="TIME", help="RFC 3339; at once when not given")
    setting.add_argument("--reason", required=True, metavar="TEXT")
    setting.set_defaults(run=_set)
    for command in (trying, setting):
        command.add_argument("file", metavar="FILE", help="the schedule in JSON; - reads standard input")
    for command in (show, templates, trying, setting):
        command.add_argument("--tenant", required=True, metavar="T")
        take_token(command)


def _show(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    with acting(settings, given, Right.SCHEDULES) as (opened, _):
        versions = list(opened.services.schedules.versions())
    output.answer({"schedules": versions}, "\n".join(map(_line, versions)) or "no schedule was set")
    return 0


def _line(version: dict[str, Any]) -> str:
    schedule = version["schedule"]
    counts = f"{len(schedule['classes'])} classes, {len(schedule['rules'])} rules"
    mark = "  in force" if version["in_force"] else ""
    return f"version {version['version']} from {version['effective_from']}: {counts}{mark}"


def _templates(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    with acting(settings, given, Right.SCHEDULES) as (opened, _):
        found = list(opened.services.schedules.templates())
    lines = [f"{each['id']:14}  {each['maximum']:6}  {each['article']}" for each in found]
    output.answer({"templates": found}, "\n".join(lines))
    return 0


def _try(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    schedule = _schedule(given.file)
    with acting(settings, given, Right.SCHEDULES) as (opened, _):
        found = opened.services.schedules.dry_run(schedule)
    lines = [
        f"{each['rule'] or 'default'}: {each['captures']} captures, {each['class']}"
        for each in found["rules"]
    ]
    lines += [f"{each['from']} -> {each['to']}: {each['captures']}" for each in found["moves"]]
    lines += [f"kept longer: {found['kept_longer']}, shorter: {found['kept_shorter']}"]
    lines += [f"their minimum longer: {found['minimum_longer']}, shorter: {found['minimum_shorter']}"]
    lines += [f"past their maximum at once: {found['past_maximum']}"]
    if found["undecided"]:
        lines += [f"their text decides and is not known, counted where kept longest: {found['undecided']}"]
    output.answer(found, "\n".join(lines))
    return 0


def _set(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    wanted = {"schedule": _schedule(given.file), "effective_from": given.effective_from}
    with acting(settings, given, Right.SCHEDULES_CHANGE) as (opened, actor):
        made = opened.services.four_eyes.ask(actor, "schedule.set", wanted, given.reason)
    output.answer(
        {"approval": made.id}, f"{made.id}\nanother person approves it: approvals approve {made.id}"
    )
    return 0


def _schedule(file: str) -> dict[str, Any]:
    """Raises Invalid (``schedule.file``)."""
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
        found = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise Invalid("the schedule is no file of JSON", code="schedule.file") from error
    if not isinstance(found, dict):
        raise Invalid("the schedule is no JSON object", code="schedule.file")
    return found
