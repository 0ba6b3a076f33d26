"""The image's recipe. No container is built here: its text is checked, and what it would install is run."""

import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from fnmatch import fnmatch
from importlib.metadata import distribution
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from helm.runtime_lock import blocks, needed, runtime_lock
from tests.deploy.values_schema import CHART

REPOSITORY = Path(__file__).resolve().parents[2]
CONTAINERFILE = (REPOSITORY / "Containerfile").read_text("utf-8")
LOCK = (REPOSITORY / "requirements.lock").read_text("utf-8")
PROJECT_TEXT = (REPOSITORY / "pyproject.toml").read_text("utf-8")
PROJECT = tomllib.loads(PROJECT_TEXT)["project"]
STAGES = re.split(r"^FROM .*$", CONTAINERFILE, flags=re.MULTILINE)[1:]


def _names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(each).name) for each in requirements}


def _instructions(text: str, word: str) -> list[str]:
    joined = re.sub(r"\\\n", " ", text)
    return re.findall(rf"^{word} (.*)$", joined, re.MULTILINE)


# --- the text ----------------------------------------------------------------------------------------


def test_base_is_given_by_tag_and_can_be_given_by_digest() -> None:
    assert _instructions(CONTAINERFILE, "ARG") == ["PYTHON_IMAGE=docker.io/library/python:3.11-slim"]
    assert _instructions(CONTAINERFILE, "FROM") == ["${PYTHON_IMAGE} AS build", "${PYTHON_IMAGE}"]


def test_every_package_by_hash_and_nothing_compiled() -> None:
    installs = re.findall(r"pip[^&\n]* install [^&\n]*", STAGES[0])
    assert len(installs) == 3
    assert all("--require-hashes" in each or "--no-deps --no-index /dist/" in each for each in installs)
    assert "PIP_ONLY_BINARY=:all:" in STAGES[0]
    assert not re.search(r"gcc|build-essential|python3-dev|\bmake\b", CONTAINERFILE)


def test_final_stage_installs_nothing_but_its_first_process_and_what_reads_pst_files() -> None:
    (install,) = re.findall(r"apt-get install [^&\\]*", STAGES[1])
    asked = install.split()[2:]
    assert [each for each in asked if not each.startswith("-")] == ["pst-utils", "tini"]
    assert "--no-install-recommends" in asked
    assert "pst-utils" in (REPOSITORY / ".ci" / "run").read_text("utf-8"), "the tests know the same program"
    assert "pip" not in STAGES[1]
    assert _instructions(STAGES[1], "COPY") == ["--from=build /opt/archive /opt/archive"]


def test_user_is_a_number_that_the_chart_knows() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    assert _instructions(STAGES[1], "USER") == [f"{values['runAs']['user']}:{values['runAs']['group']}"]
    assert values["runAs"]["user"] > 0


def test_process_signals_and_ports() -> None:
    assert _instructions(STAGES[1], "STOPSIGNAL") == ["SIGTERM"]
    assert _instructions(STAGES[1], "HEALTHCHECK") == ["NONE"]
    assert _instructions(STAGES[1], "EXPOSE") == ["2525 2526 8025 8026"]
    (entry,) = _instructions(STAGES[1], "ENTRYPOINT")
    assert yaml.safe_load(entry) == ["/usr/bin/tini", "--", "archive-service"]
    assert "archive-service" in PROJECT["scripts"]


def test_copies_what_the_wheel_holds_and_the_ignore_file_lets_it_through() -> None:
    copied = {source for line in _instructions(STAGES[0], "COPY") for source in line.split()[:-1]}
    packages = tomllib.loads(PROJECT_TEXT)["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert copied == {
        *packages,
        "requirements.lock",
        "pyproject.toml",
        PROJECT["readme"],
        "helm/runtime_lock.py",
    }
    assert all((REPOSITORY / each).exists() for each in copied)
    lines = (REPOSITORY / ".containerignore").read_text("utf-8").splitlines()
    assert "*" in lines and {line[1:] for line in lines if line.startswith("!")} == copied
    assert not any(
        fnmatch(each, line) for each in copied for line in lines if line not in {"*"} and line[:1] not in "!#"
    )


# --- the runtime part of the lock --------------------------------------------------------------------


def test_runtime_lock_holds_what_is_needed_and_no_tools() -> None:
    chosen = set(blocks(runtime_lock(LOCK, PROJECT_TEXT)))
    assert _names(PROJECT["dependencies"]) <= chosen < set(blocks(LOCK))
    assert not {"pytest", "mypy", "ruff", "moto", "hypothesis", "hatchling", "flask", "pip"} & chosen
    only_tools = _names(PROJECT["optional-dependencies"]["dev"]) - needed(PROJECT["dependencies"])
    assert only_tools and not only_tools & chosen


def test_runtime_lock_keeps_every_pin_and_hash() -> None:
    for block in blocks(runtime_lock(LOCK, PROJECT_TEXT)).values():
        assert block in LOCK and re.match(r"^[A-Za-z0-9._\[\]-]+==\S+", block) and "--hash=sha256:" in block


def test_a_lock_without_a_needed_package_is_refused() -> None:
    without = LOCK.replace("urllib3==", "something-else==")
    with pytest.raises(KeyError, match="urllib3"):
        runtime_lock(without, PROJECT_TEXT)


# --- what it would install ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and the runtime part of the lock, nothing else: the interpreter in it. The packages
    are links to those installed here, so that no registry is asked."""
    folder = tmp_path_factory.mktemp("image")
    venv.EnvBuilder(symlinks=True).create(folder / "archive")
    (site,) = (folder / "archive" / "lib").glob("python*/site-packages")
    for name in needed(PROJECT["dependencies"]):
        files = distribution(name).files or []
        for top in {file.parts[0] for file in files if file.parts[0] not in ("..", "__pycache__")}:
            target = Path(str(distribution(name).locate_file(top)))
            if not (site / top).is_symlink():
                (site / top).symlink_to(target)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True, timeout=120)
    (wheel,) = (folder / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return folder / "archive" / "bin" / "python"


def _run(python: Path, data: Path, *arguments: str) -> str:
    start = "import sys; from archive_service.cli import main; sys.exit(main())"
    command = [str(python), "-P", "-c", start, *arguments, "--data", str(data)]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(data.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, cwd=data.parent, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_runtime_part_is_enough_to_archive_find_and_prove(installed: Path, tmp_path: Path) -> None:
    data, mails = tmp_path / "data", tmp_path / "mails"
    mails.mkdir()
    (mails / "1.eml").write_bytes(b"From: a@example.org\r\nSubject: in the image\r\n\r\nhello\r\n")
    _run(installed, data, "init", "--tenant", "acme")
    _run(installed, data, "import", "eml", str(mails), "--tenant", "acme")
    assert "in the image" in _run(installed, data, "search", "--tenant", "acme", "subject:image")
    _run(installed, data, "export", "--tenant", "acme", "subject:image", "-o", str(tmp_path / "out.zip"))
    assert "clean" in _run(installed, data, "verify")


@pytest.mark.parametrize(
    "module", ["boto3", "hvac", "pkcs11", "psycopg", "elasticsearch", "alembic", "uvloop"]
)
def test_every_engines_library_is_there(installed: Path, module: str) -> None:
    subprocess.run(
        [str(installed), "-P", "-c", f"import {module}"], check=True, capture_output=True, timeout=60
    )


def test_tools_are_not_there(installed: Path) -> None:
    done = subprocess.run([str(installed), "-P", "-c", "import pytest"], capture_output=True, timeout=60)
    assert done.returncode == 1
