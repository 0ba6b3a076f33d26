"""docs/operations.md is true: its commands parse, its settings and values exist, and it knows every alarm."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from archive_service.alarms.catalogue import catalogue
from archive_service.cli import parser
from archive_service.settings import Settings
from ingest.milter import replies as milter_replies
from ingest.smtp import replies as smtp_replies
from tests.deploy.test_alarm_rules import PRESENCE
from tests.deploy.values_schema import CHART, schema

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs" / "operations.md").read_text("utf-8")
COMMANDS = re.findall(r"^    (?:kubectl .* -- )?archive-service (.*)$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("line", sorted(set(COMMANDS)))
def test_each_command_line_parses(line: str) -> None:
    parser().parse_args(shlex.split(line))


def _refusals() -> dict[str, set[str]]:
    """The replies of each reason, as the endpoints give them."""
    found: dict[str, set[str]] = {}
    every = (*vars(smtp_replies).values(), *vars(milter_replies).values())
    for reply in every:
        if isinstance(reply, smtp_replies.Reply) and reply.reason:
            code, status, *_ = reply.wire.decode("ascii").split()
            found.setdefault(reply.reason, set()).add(f"{code} {status}" if status[0].isdigit() else code)
    return found


def test_it_knows_every_refusal_with_its_codes() -> None:
    table = PAGE[PAGE.index("## Refusals") : PAGE.index("## Alarms")]
    told = re.findall(r"^\| `([a-z_]+)` \| ([^|]+) \|", table, re.MULTILINE)
    assert len(dict(told)) == len(told)
    assert {reason: set(codes.strip().split(", ")) for reason, codes in told} == _refusals()


def test_there_are_commands_to_parse() -> None:
    assert {"doctor", "verify", "rebuild", "keys heal"} <= set(COMMANDS)


def test_each_command_in_a_sentence_parses() -> None:
    for line in re.findall(r"`archive-service ([a-z][^`.]*)`", PAGE):
        parser().parse_args(shlex.split(line))


def test_each_setting_exists() -> None:
    known = {f"ARCHIVE_{name.upper()}" for name in Settings.model_fields}
    for name in set(re.findall(r"ARCHIVE_[A-Z0-9_]+", PAGE)) - {"ARCHIVE_", "ARCHIVE_ALARM_"}:
        assert name in known


def test_defaults_that_it_tells_are_the_defaults() -> None:
    settings = Settings()
    for name, told in {
        "erasure_grace_hours": 24,
        "slot_takeover_seconds": 60,
        "catalog_connections": 8,
        "smtp_max_in_flight": 256 * 1024**2,
        "parser_memory": 2 * 1024**3,
    }.items():
        assert getattr(settings, name) == told
        assert f"ARCHIVE_{name.upper()}`" in PAGE
    assert Settings.model_json_schema()["properties"]["erasure_grace_hours"]["maximum"] == 2160


def test_each_value_of_the_chart_exists() -> None:
    properties = schema()["properties"]
    for path in set(
        re.findall(r"`((?:smtp|api|scheduler|networkPolicy|monitoring|settings|init)\.[\w.]+)`", PAGE)
    ):
        where = properties
        for part in path.split("."):
            assert part in where, path
            where = where[part].get("properties", {})


def test_pauses_that_it_tells_are_the_charts() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    assert values["smtp"]["preStopSeconds"] == 15 and "`preStop` pause (15," in PAGE
    assert [
        values[role]["terminationGracePeriodSeconds"] for role in ("smtp", "api", "follower", "scheduler")
    ] == [
        120,
        120,
        90,
        90,
    ]
    connections = sum(values[role]["replicas"] for role in ("api", "follower", "scheduler")) * 8
    assert f"{connections} with the chart's two, two and one" in PAGE


def test_every_alarm_is_described_and_nothing_else() -> None:
    described = dict(re.findall(r"^### (\w+)\n`(\w+)`, (?:critical|warning)", PAGE, re.MULTILINE))
    alarms = {alarm.name: alarm.alert for alarm in catalogue(Settings())}
    own = {"role_missing": "ArchiveRoleMissing", "alarms_stopped": "ArchiveAlarmsStopped"}
    assert described == {**alarms, **own}
    assert set(own.values()) == PRESENCE


def test_severities_are_the_catalogues() -> None:
    for alarm in catalogue(Settings()):
        assert re.search(rf"^### {alarm.name}\n`{alarm.alert}`, {alarm.severity}\.", PAGE, re.MULTILINE), (
            alarm.name
        )


def test_the_charts_runbook_links_lead_here() -> None:
    headings = set(re.findall(r"^### (\w+)$", PAGE, re.MULTILINE))
    template = (CHART / "templates" / "prometheusrule.yaml").read_text("utf-8")
    assert set(re.findall(r'"archive.runbook" \(list \$ "(\w+)"\)', template)) == headings


def test_figures_are_the_benches() -> None:
    measured = (REPOSITORY / "bench" / "README.md").read_text("utf-8")
    for figure in (
        "1025.4",
        "1836.5",
        "930.0",
        "1581.4",
        "531.6",
        "1074.2",
        "554.8",
        "926.4",
        "2.28 PUT",
        "12.94",
    ):
        assert figure in measured, f"{figure}: measure again, and write it into docs/operations.md too"
    for told in (
        "1,025 to 1,837",
        "930 to 1,581",
        "532 (1 process",
        "1,074 (2",
        "555 to 926",
        "2.28 PUT",
        "12.94",
    ):
        assert told in PAGE
