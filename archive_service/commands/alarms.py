"""``alarms``: which are on, and whether the channels reach anybody."""

import argparse
import time
from typing import Any

from archive_service.alarms.catalogue import catalogue
from archive_service.alarms.channels import channels_of
from archive_service.alarms.notices import trial
from archive_service.alarms.state import Memory, state_path
from archive_service.alarms.watch import work_of
from archive_service.commands.output import Output
from archive_service.model.errors import ArchiveError, Invalid
from archive_service.settings import Settings


def register(commands: Any) -> None:
    """Add the commands."""
    alarms = commands.add_parser("alarms", help="what the service watches, and who is told")
    actions = alarms.add_subparsers(dest="action", required=True)
    listed = actions.add_parser("list", help="every alarm, and which are on here")
    listed.set_defaults(run=_list)
    test = actions.add_parser("test", help="send a test notice through every channel")
    test.set_defaults(run=_test)


def _list(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    """As the scheduler of this work folder last wrote it."""
    del given
    channels = [channel.name for channel in channels_of(settings)]
    memory = Memory(state_path(work_of(settings)), channels)
    alarms = [
        {
            "alarm": alarm.name,
            "severity": str(alarm.severity),
            "on": alarm.name in memory.standing,
            "means": alarm.means,
            "expression": alarm.expression(),
        }
        for alarm in catalogue(settings)
    ]
    lines = [f"{'ON ' if each['on'] else 'off'} {each['alarm']:<24} {each['means']}" for each in alarms]
    waiting = memory.waiting()
    lines += [f"channel {name}: {count} notices wait" for name, count in waiting.items()]
    output.answer(
        {"alarms": alarms, "waiting": waiting}, "\n".join(lines if waiting else [*lines, "no channel is set"])
    )
    return 0


def _test(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    """0 if every channel took it. Raises Invalid when none is set."""
    del given
    channels = channels_of(settings)
    if not channels:
        reason = "no channel is set: see alarm_webhook_url and alarm_mail_server"
        raise Invalid(reason, code="alarm.no_channel")
    notice = trial(time.time())
    said: dict[str, str] = {}
    for channel in channels:
        try:
            channel.deliver(notice)
            said[channel.name] = "delivered"
        except ArchiveError as error:
            said[channel.name] = f"FAILED ({error.code}): {error}"
    delivered = all(each == "delivered" for each in said.values())
    output.answer(
        {"delivered": delivered, "notice": notice.id, "channels": said},
        "\n".join(f"{name}: {each}" for name, each in said.items()),
    )
    return 0 if delivered else 1
