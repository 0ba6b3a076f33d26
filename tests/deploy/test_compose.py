"""compose.yaml: well formed, of real settings, without a secret in it. It is not run: CI has no container runtime."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from archive_service.cli import parser
from archive_service.places.placement import OnS3, placement
from archive_service.settings import Settings
from tests.deploy.values_schema import secret_names

REPOSITORY = Path(__file__).resolve().parents[2]
TEXT = (REPOSITORY / "compose.yaml").read_text("utf-8")
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
OURS = {name: each for name, each in SERVICES.items() if "build" in each}
ROLES = ("smtp", "api", "follower", "scheduler")


def test_all_roles_and_engines() -> None:
    assert set(SERVICES) == {*ROLES, "init", "folders", "s3", "postgres", "elasticsearch"}
    assert set(OURS) == {*ROLES, "init"}


@pytest.mark.parametrize("name", OURS)
def test_commands_parse(name: str) -> None:
    given = parser().parse_args(OURS[name]["command"])
    assert name == "init" or given.role == name


@pytest.mark.parametrize("name", OURS)
def test_the_service_takes_the_settings(name: str) -> None:
    environment = OURS[name]["environment"]
    plain = {key.removeprefix("ARCHIVE_").lower(): value for key, value in environment.items()}
    settings = Settings(**plain)  # refuses what it does not know
    assert all(key.startswith("ARCHIVE_") for key in environment)
    assert (
        isinstance(placement(settings), OnS3) and settings.catalog_url and settings.index == "elasticsearch"
    )


def test_no_secret_stands_in_the_file() -> None:
    secret = re.compile("PASSWORD|SECRET|TOKEN|PIN$")
    names = {f"ARCHIVE_{name.upper()}" for name in secret_names()} - {
        "ARCHIVE_S3_ACCESS_KEY",
        "ARCHIVE_ES_USER",
    }
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if secret.search(name) or name in names:
                assert re.search(r"\$\{[A-Z0-9_]+:\?", value), (
                    f"{name} must come from outside, or compose must refuse"
                )


@pytest.mark.parametrize("name", OURS)
def test_containers_are_confined(name: str) -> None:
    service = OURS[name]
    assert service["read_only"] and service["cap_drop"] == ["ALL"] and service["tmpfs"] == ["/tmp"]
    assert service["security_opt"] == ["no-new-privileges:true"] and "user" not in service
    assert int(service["stop_grace_period"].removesuffix("s")) >= 90
    mounted = {volume.split(":")[1] for volume in service["volumes"]}
    assert {service["environment"]["ARCHIVE_WORK"], service["environment"]["ARCHIVE_KMS_FOLDER"]} == mounted


def test_ports_are_published_on_loopback_alone() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published and all(port.startswith("127.0.0.1:") for port in published)


def test_everything_named_exists() -> None:
    volumes = set(yaml.safe_load(TEXT)["volumes"])
    for service in SERVICES.values():
        assert {volume.split(":")[0] for volume in service.get("volumes", [])} <= volumes
        assert set(service.get("depends_on", {})) <= set(SERVICES)
        assert re.search(r":[\w.-]+$", service["image"]) and not service["image"].endswith(":latest")
    for endpoint, name in (("ARCHIVE_S3_ENDPOINT", "s3"), ("ARCHIVE_ES_URL", "elasticsearch")):
        assert f"//{name}:" in OURS["smtp"]["environment"][endpoint]


def test_the_version_is_the_projects() -> None:
    project = (REPOSITORY / "pyproject.toml").read_text("utf-8")
    version = re.search(r'^version = "(.*)"$', project, re.MULTILINE)
    assert version is not None
    assert all(service["image"] == f"archive-service:{version[1]}" for service in OURS.values())
    chart = yaml.safe_load((REPOSITORY / "helm" / "archive-service" / "Chart.yaml").read_text("utf-8"))
    assert chart["appVersion"] == version[1]
