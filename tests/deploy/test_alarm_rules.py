"""The rules for Prometheus are the service's own alarms, with the thresholds of the installation's settings."""

import re
from typing import Any

import pytest

from archive_service.alarms.catalogue import Alarm, catalogue
from archive_service.alarms.names import METRICS
from archive_service.settings import Settings
from tests.deploy.manifests import ROLES, Manifest, named, of_kind, plain_environment
from tests.deploy.values_schema import CHART
from tests.services.helm import Helm, found

PRESENCE = {"ArchiveRoleMissing", "ArchiveAlarmsStopped"}
"""What the service cannot tell of itself."""


@pytest.fixture(scope="module")
def helm() -> Helm:
    """Helm with our chart."""
    return found(CHART)


@pytest.fixture(params=["full", "rules"])
def manifests(helm: Helm, request: pytest.FixtureRequest) -> list[Manifest]:
    """With thresholds of its own, and with the defaults."""
    return helm.template(CHART / "ci" / f"{request.param}.yaml")


def _rules(manifests: list[Manifest]) -> list[dict[str, Any]]:
    return [rule for group in named(manifests, "PrometheusRule")["spec"]["groups"] for rule in group["rules"]]


def _alarms(manifests: list[Manifest]) -> dict[str, Alarm]:
    scheduler = named(manifests, "Deployment", "-scheduler")["spec"]["template"]
    given = plain_environment(manifests, scheduler)
    values = {name.removeprefix("ARCHIVE_").lower(): value for name, value in given.items() if name != "HOME"}
    return {alarm.alert: alarm for alarm in catalogue(Settings(**values))}


def test_every_alarm_is_a_rule_and_every_rule_an_alarm(manifests: list[Manifest]) -> None:
    assert {rule["alert"] for rule in _rules(manifests)} - PRESENCE == set(_alarms(manifests))


def test_conditions_and_words_are_the_catalogues(manifests: list[Manifest]) -> None:
    alarms = _alarms(manifests)
    for rule in _rules(manifests):
        if rule["alert"] not in PRESENCE:
            alarm = alarms[rule["alert"]]
            assert rule["expr"] == alarm.expression(), rule["alert"]
            assert rule["labels"]["severity"] == str(alarm.severity)
            assert rule["annotations"]["summary"] == alarm.means


def test_thresholds_follow_the_settings(helm: Helm) -> None:
    default = _alarms(helm.template(CHART / "ci" / "rules.yaml"))
    own = _alarms(helm.template(CHART / "ci" / "full.yaml"))
    changed = {name for name in own if own[name].expression() != default[name].expression()}
    assert changed == {"ArchiveFollowerLag", "ArchiveWorkDiskFull", "ArchiveCertificateExpiring"}


def test_rules_ask_for_metrics_that_exist(manifests: list[Manifest]) -> None:
    for rule in _rules(manifests):
        asked = set(re.findall(r"\barchive_[a-z_]+", rule["expr"]))
        assert asked and asked <= set(METRICS), rule["alert"]


def test_every_role_is_missed(manifests: list[Manifest]) -> None:
    rules = [rule for rule in _rules(manifests) if rule["alert"] == "ArchiveRoleMissing"]
    assert {rule["labels"]["role"] for rule in rules} == set(ROLES)


def test_structure_of_what_kubernetes_has_no_schema_for(manifests: list[Manifest]) -> None:
    for each in [*of_kind(manifests, "PrometheusRule"), *of_kind(manifests, "ServiceMonitor")]:
        assert set(each) == {"apiVersion", "kind", "metadata", "spec"}
        assert each["apiVersion"] == "monitoring.coreos.com/v1"
    for group in named(manifests, "PrometheusRule")["spec"]["groups"]:
        assert set(group) == {"name", "rules"}
        for rule in group["rules"]:
            assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
            assert re.fullmatch(r"\d+m", rule["for"]) and rule["expr"].count("(") == rule["expr"].count(")")


def test_monitors_find_services_and_ports(helm: Helm) -> None:
    manifests = helm.template(CHART / "ci" / "full.yaml")
    for monitor in of_kind(manifests, "ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"]
        services = [
            service
            for service in of_kind(manifests, "Service")
            if wanted.items() <= service["metadata"]["labels"].items()
        ]
        assert len(services) == 1
        ports = {port["name"] for port in services[0]["spec"]["ports"]}
        for endpoint in monitor["spec"]["endpoints"]:
            assert endpoint["port"] in ports and endpoint["path"] == "/metrics"
        assert monitor["metadata"]["labels"]["release"] == "prometheus"
