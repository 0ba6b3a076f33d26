"""The administrators' pages are true where that can be checked: kinds, commands, flags, Postfix' map."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from archive_service.cli import parser
from archive_service.model.mail import SourceKind
from ingest.subaddress import split_subaddress

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = REPOSITORY / "docs" / "sources"
KINDS = [kind.value for kind in SourceKind if kind is not SourceKind.GENERIC]
FLAG = re.compile(r"flagged `([a-z_]+)`")
COMMAND = re.compile(r"`archive-service ((?:source|import|reconcile) [^`]+)`")


def page(kind: str) -> str:
    return (PAGES / f"{kind}.md").read_text("utf-8")


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_a_page_that_the_readme_names(kind: str) -> None:
    assert f"`{kind}`" in page(kind)
    assert f"docs/sources/{kind}.md" in (REPOSITORY / "README.md").read_text("utf-8")


@pytest.mark.parametrize("kind", KINDS)
def test_each_page_says_what_the_administrator_asks(kind: str) -> None:
    text = page(kind)
    assert "## That nothing is lost" in text
    assert "annot know" in text
    assert "not verified" in text or "not tried" in text or "is tested" in text


@pytest.mark.parametrize(
    ("kind", "command"), [(kind, command) for kind in KINDS for command in COMMAND.findall(page(kind))]
)
def test_the_commands_of_the_archive_parse(kind: str, command: str) -> None:
    arguments = parser().parse_args(shlex.split(command))
    assert getattr(arguments, "kind", kind) in (kind, None)


@pytest.mark.parametrize("kind", KINDS)
def test_the_flags_it_names_are_given_by_a_dialect(kind: str) -> None:
    sources = "".join(path.read_text("utf-8") for path in (REPOSITORY / "ingest" / "dialects").glob("*.py"))
    for flag in FLAG.findall(page(kind)):
        assert f'"{flag}"' in sources


@pytest.mark.parametrize(
    "recipient", ["bob@example.fr", "bob+lists@example.fr", "a=b@example.fr", "o'brien@a.b"]
)
def test_postfix_reads_the_map_as_the_page_says(recipient: str, tmp_path: Path) -> None:
    postmap = shutil.which("postmap") or shutil.which("postmap", path="/usr/sbin")
    if postmap is None:
        pytest.skip("postmap (Postfix) is not here")
    found = re.search(r"^ +(/\^.*SECRET.*)$", page("postfix"), re.MULTILINE)
    assert found is not None
    table = tmp_path / "archive_bcc"
    table.write_text(found.group(1).replace("SECRET", "k3jx7q") + "\n", "utf-8")
    said = subprocess.run(
        [postmap, "-q", recipient, f"regexp:{table}"], capture_output=True, text=True, check=True
    )
    assert split_subaddress(said.stdout.strip()) == ("k3jx7q@archive.example.fr", recipient)
