"""What is told of an alarm: its name, how bad, since when, counts and opaque ids. Never a subject, an address, a name
of a tenant or a secret."""

import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from archive_service.alarms.catalogue import Alarm, Severity
from archive_service.alarms.tally import Sample
from archive_service.model.clock import rfc3339

_MOST_SERIES = 10


class State(StrEnum):
    """What has happened to an alarm."""

    RAISED = "raised"
    STILL_ON = "still_on"
    CLEARED = "cleared"
    TEST = "test"


@dataclass(frozen=True)
class Notice:
    """``id``: the same for every channel and every attempt, so that who hears twice can tell. ``since``, ``at``: RFC
    3339. ``count``: how many series made it so; ``series``: the worst of them, each {metric, labels, value}."""

    id: str
    alarm: str
    severity: str
    state: State
    since: str
    at: str
    means: str
    count: int
    series: list[dict[str, Any]]

    def plain(self) -> dict[str, Any]:
        """As JSON: the body of a webhook, and what the state file keeps."""
        return {"version": 1, **asdict(self), "state": str(self.state)}

    @staticmethod
    def parse(plain: Any) -> "Notice":
        """The reverse of ``plain``. Raises ValueError, KeyError or TypeError for what is none."""
        texts = {name: str(plain[name]) for name in ("id", "alarm", "severity", "since", "at", "means")}
        return Notice(
            **texts, state=State(plain["state"]), count=int(plain["count"]), series=list(plain["series"])
        )

    def text(self) -> str:
        """For people."""
        lines = [
            f"Alarm:    {self.alarm}",
            f"State:    {self.state.replace('_', ' ')}",
            f"Severity: {self.severity}",
            f"Since:    {self.since}",
            f"At:       {self.at}",
            f"Notice:   {self.id}",
            "",
            self.means,
            "",
        ]
        lines += [f"{each['metric']} {_labels(each['labels'])}= {each['value']:g}" for each in self.series]
        if self.count > len(self.series):
            lines.append(f"and {self.count - len(self.series)} more")
        return "\n".join(lines).rstrip() + "\n"


def _labels(labels: dict[str, str]) -> str:
    return "".join(f"{name}={value} " for name, value in sorted(labels.items()))


def new_notice(alarm: Alarm, state: State, since: float, at: float, because: Sequence[Sample]) -> Notice:
    """Of an alarm; times in seconds since 1970."""
    return Notice(
        id=secrets.token_hex(12),
        alarm=alarm.name,
        severity=str(alarm.severity),
        state=state,
        since=_time(since),
        at=_time(at),
        means=alarm.means,
        count=len(because),
        series=[
            {"metric": each.metric, "labels": dict(each.labels), "value": each.value}
            for each in because[:_MOST_SERIES]
        ],
    )


def trial(at: float) -> Notice:
    """What ``alarms test`` sends."""
    return Notice(
        id=secrets.token_hex(12),
        alarm="test",
        severity=str(Severity.WARNING),
        state=State.TEST,
        since=_time(at),
        at=_time(at),
        means="A test: this channel for alarms works.",
        count=0,
        series=[],
    )


def _time(seconds: float) -> str:
    return rfc3339(datetime.fromtimestamp(seconds, UTC))
