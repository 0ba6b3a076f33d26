"""The README is true: its commands exist, with the options that it shows; every setting is described."""

import re
import shlex
from pathlib import Path

import pytest

from archive_service.cli import parser
from archive_service.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text("utf-8")
MAKEFILE = (REPOSITORY / "Makefile").read_text("utf-8")


@pytest.mark.parametrize("line", re.findall(r"^    \.venv/bin/archive-service (.*)$", README, re.MULTILINE))
def test_each_command_line_parses(line: str) -> None:
    parser().parse_args(shlex.split(line))


def test_each_command_named_in_the_table_exists() -> None:
    commands = {
        "init",
        "source",
        "token",
        "serve",
        "import",
        "search",
        "export",
        "verify-bundle",
        "verify",
        "rebuild",
    }
    commands |= {"keys", "doctor"}
    usage = parser().format_help()
    for name in commands:
        assert f"`{name}" in README
        assert re.search(rf"^\s+{name}\s", usage, re.MULTILINE)


@pytest.mark.parametrize(
    "target", sorted(set(re.findall(r"(?:`|^    )make ([a-z-]+)", README, re.MULTILINE)))
)
def test_each_make_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE)


def test_each_setting_is_described() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_the_lock_file_names_no_registry() -> None:
    assert "://" not in (REPOSITORY / "requirements.lock").read_text("utf-8")
