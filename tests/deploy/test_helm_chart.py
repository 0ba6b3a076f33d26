"""The chart: every values file renders, is valid Kubernetes, and holds what a production archive must have."""

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from archive_service.places.placement import OnS3, placement
from archive_service.settings import Settings
from tests.deploy.manifests import (
    ROLES,
    Manifest,
    container,
    named,
    of_kind,
    plain_environment,
    pods,
    secret_environment,
    selects,
)
from tests.deploy.values_schema import CHART, secret_names, text
from tests.services.helm import KUBERNETES, Helm, Refused, found

FILES = sorted((CHART / "ci").glob("*.yaml"))
_CUSTOM = {"ServiceMonitor", "PrometheusRule"}


@pytest.fixture(scope="module")
def helm() -> Helm:
    """Helm with our chart."""
    return found(CHART)


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def values(request: pytest.FixtureRequest) -> Path:
    """One of the values files."""
    path: Path = request.param
    return path


@pytest.fixture
def manifests(helm: Helm, values: Path) -> list[Manifest]:
    """As rendered."""
    return helm.template(values)


@pytest.fixture
def full(helm: Helm) -> list[Manifest]:
    """Everything on."""
    return helm.template(CHART / "ci" / "full.yaml")


def test_schema_is_made_from_the_settings() -> None:
    assert (CHART / "values.schema.json").read_text("utf-8") == text(), "python -m tests.deploy.values_schema"


def test_lint_strict(helm: Helm, values: Path) -> None:
    assert "0 chart(s) failed" in helm.run("lint", "--strict", str(CHART), "--values", str(values))


def test_valid_kubernetes(manifests: list[Manifest]) -> None:
    for manifest in manifests:
        if manifest["kind"] not in _CUSTOM:
            kubernetes_validate.validate(manifest, KUBERNETES.rpartition(".")[0], strict=True)


def test_names_are_unique(manifests: list[Manifest]) -> None:
    names = [(each["kind"], each["metadata"]["name"]) for each in manifests]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 63 for _, name in names)


def test_no_more_than_is_asked_for(helm: Helm) -> None:
    kinds = {each["kind"] for each in helm.template(CHART / "ci" / "minimal.yaml")}
    assert not kinds & {"Ingress", "HorizontalPodAutoscaler", "Job", "Secret", *_CUSTOM}


# --- pods --------------------------------------------------------------------------------------------


def test_every_role_runs(manifests: list[Manifest]) -> None:
    for role in ROLES:
        template = named(manifests, "Deployment", f"-{role}")["spec"]["template"]
        assert container(template)["args"] == ["serve", "--role", role]


def test_no_pod_is_root_or_writes_its_image(manifests: list[Manifest]) -> None:
    for _, template in pods(manifests):
        pod, own = template["spec"]["securityContext"], container(template)["securityContext"]
        assert pod["runAsNonRoot"] and pod["runAsUser"] > 0 and pod["runAsGroup"] > 0
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
        assert own["runAsNonRoot"] and own["readOnlyRootFilesystem"] and not own["allowPrivilegeEscalation"]
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(template["spec"])


def test_no_pod_holds_a_kubernetes_token_or_foreign_variables(manifests: list[Manifest]) -> None:
    for _, template in pods(manifests):
        assert template["spec"]["automountServiceAccountToken"] is False
        assert template["spec"]["enableServiceLinks"] is False, "ARCHIVE_* of a Service named archive"
    for account in of_kind(manifests, "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


def test_what_is_written_is_mounted(manifests: list[Manifest]) -> None:
    for role, template in pods(manifests):
        only = container(template)
        mounted = {each["mountPath"]: each["name"] for each in only["volumeMounts"]}
        volumes = {each["name"]: each for each in template["spec"]["volumes"]}
        environment = plain_environment(manifests, template)
        assert set(mounted.values()) == set(volumes)
        work = volumes[mounted[environment["ARCHIVE_WORK"]]]
        assert "emptyDir" in work or (role == "scheduler" and "persistentVolumeClaim" in work)
        assert "emptyDir" in volumes[mounted[environment["HOME"]]] and environment["HOME"] == "/tmp"
        shared = f"{environment['ARCHIVE_WORK']}/exports" in mounted
        assert shared == (role in ("api", "scheduler"))


def test_exports_are_one_volume_for_who_writes_and_who_reads(manifests: list[Manifest]) -> None:
    claims = {
        volume["persistentVolumeClaim"]["claimName"]
        for _, template in pods(manifests)
        for volume in template["spec"]["volumes"]
        if volume["name"] == "exports"
    }
    assert len(claims) == 1
    for claim in of_kind(manifests, "PersistentVolumeClaim"):
        assert claim["metadata"]["name"] in claims and claim["spec"]["accessModes"] == ["ReadWriteMany"]


def test_files_that_settings_name_are_mounted(manifests: list[Manifest]) -> None:
    for _, template in pods(manifests):
        mounts = [each["mountPath"] for each in container(template)["volumeMounts"]]
        for name, value in plain_environment(manifests, template).items():
            if re.search("_(CA_BUNDLE|CERTIFICATE|KEY|FOLDER)$", name) and value.startswith("/"):
                if name.startswith("ARCHIVE_SMTP_TLS") and container(template)["name"] != "smtp":
                    continue  # only the SMTP role opens them
                assert any(value.startswith(mount) for mount in mounts), name


def test_resources_and_spread(manifests: list[Manifest]) -> None:
    for role, template in pods(manifests):
        resources = container(template)["resources"]
        assert {"cpu", "memory"} <= set(resources["requests"]) and "memory" in resources["limits"]
        if role in ROLES:
            for spread in template["spec"]["topologySpreadConstraints"]:
                assert selects(spread["labelSelector"]["matchLabels"], template)


def test_smtp_memory_holds_what_its_bounds_allow(manifests: list[Manifest]) -> None:
    template = named(manifests, "Deployment", "-smtp")["spec"]["template"]
    settings = _settings(manifests, template)
    limit = _bytes(container(template)["resources"]["limits"]["memory"])
    assert limit > settings.smtp_workers * settings.smtp_max_in_flight


def _bytes(quantity: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", quantity).groups()  # type: ignore[union-attr]
    return int(number) * {"Mi": 1024**2, "Gi": 1024**3}[unit]


def test_image_by_digest_stands_above_its_tag(full: list[Manifest]) -> None:
    for _, template in pods(full):
        assert container(template)["image"].startswith("registry.example.org/archive-service@sha256:")
        assert template["spec"]["imagePullSecrets"] == [{"name": "registry-login"}]


# --- probes and drains -------------------------------------------------------------------------------


def test_probes_on_all(manifests: list[Manifest]) -> None:
    for role in ROLES:
        only = container(named(manifests, "Deployment", f"-{role}")["spec"]["template"])
        ports = {port["name"]: port["containerPort"] for port in only["ports"]}
        assert only["startupProbe"]["httpGet"] == {"path": "/health/ready", "port": "health"}
        assert only["livenessProbe"]["httpGet"]["path"] == "/health/live"
        ready = only["readinessProbe"]
        asked = ready.get("httpGet", ready.get("tcpSocket"))
        assert asked["port"] in ports and asked.get("path", "/health/ready") == "/health/ready"
        patience = only["startupProbe"]["periodSeconds"] * only["startupProbe"]["failureThreshold"]
        assert patience > 60, "serve itself gives a start 60 seconds, and says why it failed"


def test_smtp_and_api_are_asked_on_their_own_ports(manifests: list[Manifest]) -> None:
    smtp, api = (
        container(named(manifests, "Deployment", f"-{r}")["spec"]["template"]) for r in ("smtp", "api")
    )
    assert smtp["readinessProbe"]["tcpSocket"] == {"port": "smtp"}
    assert api["readinessProbe"]["httpGet"] == {"path": "/health/ready", "port": "http"}
    assert api["livenessProbe"]["httpGet"] == {"path": "/health/live", "port": "http"}


def test_ports_are_the_settings(manifests: list[Manifest]) -> None:
    for _, template in pods(manifests):
        environment = plain_environment(manifests, template)
        for port in container(template).get("ports", []):
            assert environment[f"ARCHIVE_{port['name'].upper()}"].endswith(f":{port['containerPort']}")


def test_mail_in_flight_is_finished_before_the_kill(manifests: list[Manifest]) -> None:
    for role in ROLES:
        template = named(manifests, "Deployment", f"-{role}")["spec"]["template"]
        name, pause = container(template)["lifecycle"]["preStop"]["exec"]["command"]
        grace = template["spec"]["terminationGracePeriodSeconds"]
        assert name == "sleep" and grace >= 90 and grace - int(pause) >= 75


def test_one_scheduler_at_a_time(manifests: list[Manifest]) -> None:
    scheduler = named(manifests, "Deployment", "-scheduler")["spec"]
    assert scheduler["replicas"] == 1 and scheduler["strategy"] == {"type": "Recreate"}


def test_a_second_follower_stands_by(helm: Helm) -> None:
    manifests = helm.template(CHART / "ci" / "minimal.yaml")
    assert named(manifests, "Deployment", "-follower")["spec"]["replicas"] == 2


def test_budget_for_each_role_with_more_than_one_pod(manifests: list[Manifest]) -> None:
    budgets = {each["metadata"]["name"]: each["spec"] for each in of_kind(manifests, "PodDisruptionBudget")}
    scaled = {
        each["spec"]["scaleTargetRef"]["name"]: each["spec"]
        for each in of_kind(manifests, "HorizontalPodAutoscaler")
    }
    for deployment in of_kind(manifests, "Deployment"):
        name = deployment["metadata"]["name"]
        if name in scaled:
            assert "replicas" not in deployment["spec"], (
                "the autoscaler's number would be undone by every upgrade"
            )
            least = scaled[name]["minReplicas"]
        else:
            least = deployment["spec"]["replicas"]
        assert (name in budgets) == (least > 1), name
        if name in budgets:
            assert budgets[name]["maxUnavailable"] == 1
            assert selects(budgets[name]["selector"]["matchLabels"], deployment["spec"]["template"])


# --- settings and secrets ----------------------------------------------------------------------------


def _settings(manifests: list[Manifest], template: Manifest) -> Settings:
    """What the service itself makes of a pod's environment; secrets stand in as the names of their keys."""
    secrets = {name: f"postgresql://{key}" for name, (_, key) in secret_environment(template).items()}
    given = {**plain_environment(manifests, template), **secrets}
    return Settings(
        **{n.removeprefix("ARCHIVE_").lower(): v for n, v in given.items() if n.startswith("ARCHIVE_")}
    )


def test_the_service_takes_every_pods_settings(manifests: list[Manifest]) -> None:
    for role, template in pods(manifests):
        settings = _settings(manifests, template)  # an unknown name or an impossible value is refused
        assert isinstance(placement(settings), OnS3)
        if role != "smtp":
            assert settings.index == "elasticsearch" and settings.es_url and settings.catalog_url


def test_large_numbers_stay_numbers(full: list[Manifest]) -> None:
    settings = _settings(full, named(full, "Deployment", "-scheduler")["spec"]["template"])
    assert settings.smtp_max_in_flight == 268435456
    assert (settings.alarm_lag_entries, settings.alarm_disk_percent) == (2000000, 12.5)


def test_secrets_by_reference_only(manifests: list[Manifest]) -> None:
    secret = {f"ARCHIVE_{name.upper()}" for name in secret_names()}
    assert not of_kind(manifests, "Secret")
    for config in of_kind(manifests, "ConfigMap"):
        assert not secret & set(config["data"] or {})
    for _, template in pods(manifests):
        assert not secret & set(plain_environment(manifests, template))


def test_a_role_holds_only_the_secrets_it_uses(full: list[Manifest]) -> None:
    held = {role: set(secret_environment(template)) for role, template in pods(full)}
    projections, alarms = {"ARCHIVE_CATALOG_URL", "ARCHIVE_ES_API_KEY"}, "ARCHIVE_ALARM_"
    assert not held["smtp"] & projections
    assert all(projections <= held[role] for role in ("api", "follower", "scheduler", "init"))
    assert {role for role in held if any(name.startswith(alarms) for name in held[role])} == {"scheduler"}
    assert all({"ARCHIVE_S3_SECRET_KEY", "ARCHIVE_VAULT_TOKEN"} <= names for names in held.values())
    every = {
        f"ARCHIVE_{n.upper()}" for n in yaml.safe_load((CHART / "ci" / "full.yaml").read_text())["secrets"]
    }
    assert held["scheduler"] == every


def test_variables_in_the_templates_are_settings() -> None:
    known = {f"ARCHIVE_{name.upper()}" for name in Settings.model_fields}
    for template in (CHART / "templates").iterdir():
        for line in template.read_text("utf-8").splitlines():
            for name in re.findall(r"ARCHIVE_[A-Z0-9_]*[A-Z0-9](?![A-Z0-9_{ ]*\{\{)", line):
                assert name in known, f"{template.name}: {name}"


def test_new_settings_make_new_pods(helm: Helm) -> None:
    before, after = (
        {
            role: template["metadata"]["annotations"]["checksum/settings"]
            for role, template in pods(helm.template(CHART / "ci" / "minimal.yaml", *changes))
        }
        for changes in ((), ("settings.log_level=DEBUG",))
    )
    assert all(before[role] != after[role] for role in ROLES)


# --- network -----------------------------------------------------------------------------------------


def test_default_deny(manifests: list[Manifest], values: Path) -> None:
    if values.stem == "small":
        assert not of_kind(manifests, "NetworkPolicy")
        return
    spec = named(manifests, "NetworkPolicy", "-default-deny")["spec"]
    assert set(spec) == {"podSelector", "policyTypes"} and spec["policyTypes"] == ["Ingress", "Egress"]
    for _, template in pods(manifests):
        assert selects(spec["podSelector"]["matchLabels"], template)


def _rules(manifests: list[Manifest], template: Manifest, way: str) -> list[dict[str, Any]]:
    """All rules that let a pod's traffic through in one direction."""
    labels = template["metadata"]["labels"]
    rules: list[dict[str, Any]] = []
    for policy in of_kind(manifests, "NetworkPolicy"):
        selector = policy["spec"]["podSelector"]
        among = all(
            labels.get(each["key"]) in each["values"] for each in selector.get("matchExpressions", [])
        )
        if among and selects(selector["matchLabels"], template):
            rules += policy["spec"].get(way, [])
    return rules


def test_no_rule_lets_everybody_through(full: list[Manifest]) -> None:
    for _, template in pods(full):
        for way, side in (("ingress", "from"), ("egress", "to")):
            for rule in _rules(full, template, way):
                assert rule.get(side), "an empty list of peers means everybody"
                assert rule.get("ports"), "and an empty list of ports every port"


def test_smtp_from_the_mail_servers_alone(full: list[Manifest]) -> None:
    template = named(full, "Deployment", "-smtp")["spec"]["template"]
    rules = [
        rule
        for rule in _rules(full, template, "ingress")
        if {"protocol": "TCP", "port": "smtp"} in rule["ports"]
    ]
    assert [rule["from"] for rule in rules] == [
        [{"ipBlock": {"cidr": "192.0.2.0/24"}}, {"ipBlock": {"cidr": "2001:db8::/48"}}]
    ]
    service = named(full, "Service", "-smtp")["spec"]
    assert service["externalTrafficPolicy"] == "Local", "else the policy sees a node's address"
    assert service["loadBalancerSourceRanges"] == ["192.0.2.0/24", "2001:db8::/48"]


def test_a_milter_listens_where_the_pod_says_and_for_the_mail_servers_alone(full: list[Manifest]) -> None:
    template = named(full, "Deployment", "-smtp")["spec"]["template"]
    ports = {port["name"]: port["containerPort"] for port in container(template)["ports"]}
    common = named(full, "ConfigMap", "-common")["data"]
    assert common["ARCHIVE_MILTER"].rpartition(":")[2] == str(ports["milter"])
    rules = [
        rule
        for rule in _rules(full, template, "ingress")
        if {"protocol": "TCP", "port": "milter"} in rule["ports"]
    ]
    assert [rule["from"] for rule in rules] == [
        [{"ipBlock": {"cidr": "192.0.2.0/24"}}, {"ipBlock": {"cidr": "2001:db8::/48"}}]
    ]
    service = named(full, "Service", "-smtp")["spec"]["ports"]
    assert {"name": "milter", "port": 10025, "targetPort": "milter"} in service


def test_without_a_milter_no_port_is_open_for_one(helm: Helm) -> None:
    assert "milter" not in str(helm.template(CHART / "ci" / "minimal.yaml")).lower()


def test_each_role_reaches_what_it_needs_and_no_more(full: list[Manifest]) -> None:
    common = {53, 443, 8200}
    expected = {
        "smtp": common,
        "api": common | {5432, 9200},
        "follower": common | {5432, 9200},
        "init": common | {5432, 9200},
        "scheduler": common | {5432, 9200, 587},
    }
    reached = {
        role: {port["port"] for rule in _rules(full, template, "egress") for port in rule["ports"]}
        for role, template in pods(full)
    }
    assert reached == expected


def test_services_find_their_pods(manifests: list[Manifest]) -> None:
    for service, roles in (("-smtp", {"smtp"}), ("-api", {"api"}), ("-health", set(ROLES))):
        spec = named(manifests, "Service", service)["spec"]
        chosen = {role: template for role, template in pods(manifests) if selects(spec["selector"], template)}
        assert set(chosen) == roles
        for template in chosen.values():
            open_ports = {port["name"] for port in container(template)["ports"]}
            assert {port["targetPort"] for port in spec["ports"]} <= open_ports


def test_ingress_ends_tls_and_shows_no_metrics(full: list[Manifest]) -> None:
    spec = named(full, "Ingress")["spec"]
    assert spec["tls"] == [{"hosts": ["archive.example.org"], "secretName": "archive-api-tls"}]
    paths = [path["path"] for rule in spec["rules"] for path in rule["http"]["paths"]]
    assert paths == ["/v1", "/openapi.json"]


# --- what is refused ---------------------------------------------------------------------------------

WRONG = {
    "unknown_value": ("smpt.replicas=3", "additional properties"),
    "unknown_setting": ("settings.s3_buckets=x", "s3_buckets"),
    "secret_as_setting": ("settings.s3_secret_key=x", "s3_secret_key"),
    "password_as_setting": ("settings.catalog_url=postgresql://u:p@h/d", "catalog_url"),
    "secret_in_clear": ("secrets.catalog_url=postgresql://u:p@h/d", "/secrets/catalog_url"),
    "secret_value": ("json:secrets.vault_token={\"value\":\"s.abc\"}", "/secrets/vault_token"),
    "login_in_a_url": ("settings.es_url=https://u:p@es.example.org:9200", "/settings/es_url"),
    "login_in_one_of_several_urls": ("settings.es_url=https://a:1\\,https://u:p@b:1", "/settings/es_url"),
    "login_in_the_store": ("settings.s3_endpoint=https://u:p@s3.example.org", "/settings/s3_endpoint"),
    "no_scheme": ("settings.es_url=es.example.org:9200", "/settings/es_url"),
    "prefix_of_no_index": ("settings.es_prefix=Archive", "/settings/es_prefix"),
    "two_logins": (
        "json:secrets={\"catalog_url\":{\"name\":\"a\",\"key\":\"b\"},\"vault_token\":{\"name\":\"a\",\"key\":\"b\"},"
        "\"es_api_key\":{\"name\":\"a\",\"key\":\"b\"},\"es_user\":{\"name\":\"a\",\"key\":\"b\"},"
        "\"es_password\":{\"name\":\"a\",\"key\":\"b\"}}",
        "/secrets/es_user",
    ),
    "setting_out_of_range": ("settings.smtp_workers=0", "/settings/smtp_workers"),
    "setting_of_wrong_type": ("settings.smtp_workers=two", "/settings/smtp_workers"),
    "setting_of_the_chart": ("settings.work=/elsewhere", "work"),
    "key_place_in_a_folder": ("settings.keys_b=/keys", "/settings/keys_b"),
    "no_catalog": ("json:secrets={\"vault_token\":{\"name\":\"a\",\"key\":\"b\"}}", "catalog_url"),
    "vault_without_token": ("json:secrets.vault_token=null", "vault_token"),
    "access_key_alone": ("json:secrets.s3_access_key={\"name\":\"a\",\"key\":\"b\"}", "s3_secret_key"),
    "key_folder_without_claim": ("settings.kms=local-file", "/kmsFolder/existingClaim"),
    "token_without_pin": ("settings.kms=pkcs11", "pkcs11_pin"),
    "root": ("runAs.user=0", "/runAs/user"),
    "two_schedulers": ("scheduler.replicas=2", "/scheduler/replicas"),
    "short_grace": ("smtp.terminationGracePeriodSeconds=30", "/smtp/terminationGracePeriodSeconds"),
    "grace_eaten_by_the_pause": ("smtp.preStopSeconds=100", "at least 75 more"),
    "upside_down_autoscaling": ("json:api.autoscaling={\"enabled\":true,\"minReplicas\":9}", "above its maxReplicas"),
    "smtp_for_nobody": ("json:smtp.allowedCIDRs=[]", "/smtp/allowedCIDRs"),
    "not_a_network": ("json:smtp.allowedCIDRs=[\"everybody\"]", "/smtp/allowedCIDRs/0"),
    "rule_without_ports": (
        "json:networkPolicy.egress.store=[{\"to\":[{\"ipBlock\":{\"cidr\":\"198.51.100.0/24\"}}]}]",
        "ports",
    ),
    "rule_for_everywhere": (
        "json:networkPolicy.egress.store=[{\"to\":[],\"ports\":[{\"protocol\":\"TCP\",\"port\":443}]}]",
        "/networkPolicy/egress/store/0/to",
    ),
    "store_not_reachable": ("json:networkPolicy.egress.store=[]", "/networkPolicy/egress/store"),
    "vault_not_reachable": ("json:networkPolicy.egress.keyService=[]", "/networkPolicy/egress/keyService"),
    "ingress_without_tls": ("json:api.ingress={\"enabled\":true,\"host\":\"a.example\"}", "/api/ingress/tlsSecret"),
    "metrics_not_reachable": ("monitoring.serviceMonitor.enabled=true", "/networkPolicy/metricsFrom"),
    "alarm_mail_not_reachable": ("settings.alarm_mail_server=mail:25", "/networkPolicy/egress/alarms"),
    "authority_without_map": ("json:trustedCA.services=[\"s3\"]", "/trustedCA/existingConfigMap"),
    "short_digest": ("image.digest=sha256:abc", "/image/digest"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "said"), WRONG.values(), ids=WRONG)
def test_wrong_values_are_refused(helm: Helm, change: str, said: str) -> None:
    with pytest.raises(Refused) as refused:
        helm.template(CHART / "ci" / "minimal.yaml", change)
    assert said in str(refused.value)


def test_defaults_alone_name_what_an_installation_has_to_give(helm: Helm) -> None:
    with pytest.raises(Refused) as refused:
        helm.template(CHART / "values.yaml")
    for name in ("s3_bucket", "keys_a", "keys_b", "kms", "es_url", "catalog_url", "allowedCIDRs"):
        assert name in str(refused.value)
