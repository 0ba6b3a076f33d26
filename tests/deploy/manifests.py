"""What the chart's tests ask of rendered manifests."""

from collections.abc import Iterator
from typing import Any

Manifest = dict[str, Any]
ROLES = ("smtp", "api", "follower", "scheduler")


def named(manifests: list[Manifest], kind: str, ending: str = "") -> Manifest:
    """The one manifest of this kind whose name ends so."""
    found = [each for each in of_kind(manifests, kind) if each["metadata"]["name"].endswith(ending)]
    assert len(found) == 1, f"{len(found)} of {kind} named ...{ending}"
    return found[0]


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    """All of a kind."""
    return [each for each in manifests if each["kind"] == kind]


def pods(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Every pod template's labels and specification, by its component."""
    for each in manifests:
        if each["kind"] in ("Deployment", "Job"):
            template = each["spec"]["template"]
            yield template["metadata"]["labels"]["app.kubernetes.io/component"], template


def container(template: Manifest) -> Manifest:
    """The only container of a pod template."""
    (only,) = template["spec"]["containers"]
    return only  # type: ignore[no-any-return]


def plain_environment(manifests: list[Manifest], template: Manifest) -> dict[str, str]:
    """What the ConfigMaps and literals of a pod's container give it."""
    only = container(template)
    found: dict[str, str] = {}
    for source in only["envFrom"]:
        found |= named(manifests, "ConfigMap", source["configMapRef"]["name"])["data"] or {}
    return found | {each["name"]: each["value"] for each in only["env"] if "value" in each}


def secret_environment(template: Manifest) -> dict[str, tuple[str, str]]:
    """Variables by reference: which key of which Secret."""
    return {
        each["name"]: (each["valueFrom"]["secretKeyRef"]["name"], each["valueFrom"]["secretKeyRef"]["key"])
        for each in container(template)["env"]
        if "valueFrom" in each
    }


def selects(selector: dict[str, str], template: Manifest) -> bool:
    """Whether these labels are among the pod's."""
    labels = template["metadata"]["labels"]
    return all(labels.get(key) == value for key, value in selector.items())
