"""Helm 3, and charts rendered with it."""

import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.services.tools import find_tool, missing

HOW = "go install helm.sh/helm/v3/cmd/helm@v3.22.0 into .venv/tools"
KUBERNETES = "1.31.0"
Manifest = dict[str, Any]


class Refused(Exception):
    """Helm did not take the values; its own words."""


@dataclass(frozen=True)
class Helm:
    """The program and the folder of one chart."""

    program: str
    chart: Path

    def template(self, values: Path, *changes: str) -> list[Manifest]:
        """Every manifest of a values file and ``--set`` changes (``--set-json`` for what starts with ``json:``).
        Raises Refused."""
        options = [part for change in changes for part in _option(change)]
        command = ["template", "rel", str(self.chart), "--namespace", "ns", "--kube-version", KUBERNETES]
        text = self.run(*command, "--values", str(values), *options)
        return [document for document in yaml.safe_load_all(text) if document is not None]

    @cache
    def run(self, *arguments: str) -> str:
        """What it prints. Raises Refused."""
        done = subprocess.run([self.program, *arguments], capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise Refused(done.stderr + done.stdout)
        return done.stdout


def _option(change: str) -> tuple[str, str]:
    if change.startswith("json:"):
        return "--set-json", change.removeprefix("json:")
    return "--set", change


def found(chart: Path) -> Helm:
    """Helm, or a skip that names it."""
    program = find_tool("helm")
    if program is None:
        missing("helm", HOW)
    return Helm(program, chart)
