"""Every alarm looks at a metric that exists; every metric is counted; both can be told to Prometheus."""

import re
from functools import cache
from pathlib import Path

import pytest

from archive_service.alarms import names
from archive_service.alarms.catalogue import Alarm, Growth, Level, catalogue
from archive_service.alarms.tally import Sample, Tally, exposition
from archive_service.settings import load

ALARMS = catalogue(load())
REPOSITORY = Path(__file__).resolve().parents[2]
WORDS = {
    value: name
    for name, value in vars(names).items()
    if isinstance(value, str) and value.startswith("archive_")
}


@cache
def _sources() -> list[str]:
    paths = (REPOSITORY / "archive_service").glob("**/*.py")
    return [path.read_text("utf-8") for path in paths if path.name != "catalogue.py"]


@pytest.mark.parametrize("alarm", ALARMS, ids=lambda alarm: alarm.name)
def test_each_alarm_looks_at_metrics_that_exist_by_labels_that_they_have(alarm: Alarm) -> None:
    assert alarm.means.endswith(".")
    for condition in alarm.when:
        metric = names.METRICS[condition.metric]
        assert set(condition.labels) <= {*metric.labels, "role"}
        if isinstance(condition, Growth):
            assert condition.window > 0
            assert condition.by >= 1


def test_names_are_unique_and_stable_words() -> None:
    found = [alarm.name for alarm in ALARMS]
    assert len(set(found)) == len(found)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", name) for name in found)
    assert ALARMS[0].alert == "ArchiveMailRefusedOverload"


def test_thresholds_are_those_of_the_settings() -> None:
    lag = next(alarm for alarm in catalogue(load(alarm_lag_seconds=7.5)) if alarm.name == "follower_lag")
    assert "archive_follower_lag_seconds > 7.5" in lag.expression()


@pytest.mark.parametrize("metric", sorted(names.METRICS))
def test_each_metric_is_counted_somewhere_and_follows_prometheus_names(metric: str) -> None:
    assert (names.METRICS[metric].kind == "counter") == metric.endswith("_total")
    used = re.compile(rf"names\.{WORDS[metric]}\b|\b{WORDS[metric]}, \w+, \*\*")
    assert any(used.search(text) for text in _sources()), "nobody counts it"


def test_a_name_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="nobody knows"):
        Sample.parse(["archive_invented", {}, 1])


def test_the_exposition_has_help_type_and_escaped_labels() -> None:
    tally = Tally()
    tally.add(names.FAILURES, code='a"b\\c\nd')
    tally.add(names.FAILURES, 2, code="x")
    tally.set(names.WORK_FREE, 0.25)
    text = exposition(tally.samples())
    assert text.splitlines() == [
        "# HELP archive_failures_total Steps of a role that failed and are tried again, by error code.",
        "# TYPE archive_failures_total counter",
        'archive_failures_total{code="a\\"b\\\\c\\nd"} 1',
        'archive_failures_total{code="x"} 2',
        "# HELP archive_work_free_ratio Free part of the disk under the work folder, 0 to 1.",
        "# TYPE archive_work_free_ratio gauge",
        "archive_work_free_ratio 0.25",
    ]


def test_promql_of_both_kinds_of_condition() -> None:
    level = Level(names.CLOCK_OFFSET, ">", 300, either_sign=True)
    growth = Growth(names.SMTP_REFUSED, 1, 600, {"reason": ("a", "b")})
    assert level.expression() == "abs(archive_store_clock_offset_seconds) > 300"
    assert growth.expression() == 'sum(increase(archive_smtp_refused_total{reason=~"a|b"}[10m])) >= 1'
