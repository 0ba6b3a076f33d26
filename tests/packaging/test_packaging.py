"""The wheel: exactly our four packages under their generic names, nobody else's, and every file as it was built."""

import base64
import hashlib
import importlib.metadata
import os
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PACKAGES = {"archive_service", "ingest", "search", "retention"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
OURS = PROJECT["name"]


def run(*command: str) -> None:
    environment = {**os.environ, "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run("hatchling", "build", "-t", "wheel", "-d", str(folder))
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    run(
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--no-compile",
        "--target",
        str(target),
        str(wheel),
    )
    return target


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_exactly_four_packages(wheel: Path) -> None:
    tops = {name.partition("/")[0] for name in names(wheel)}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES


def test_the_wheel_holds_every_module_and_the_package_data(wheel: Path) -> None:
    sources = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    packed = {name for name in names(wheel) if ".dist-info/" not in name}
    assert packed == sources
    assert "archive_service/export/verify_script/verify.py" in packed


def test_the_wheel_carries_neither_tests_nor_keys(wheel: Path) -> None:
    for name in names(wheel):
        assert not name.startswith(("tests/", "bench/", "helm/"))
        assert Path(name).suffix not in {".eml", ".key", ".pem", ".sqlite"}


def test_its_metadata_keeps_it_off_public_indexes(installed: Path) -> None:
    (distribution,) = importlib.metadata.distributions(path=[str(installed)])
    assert (distribution.metadata["Name"], distribution.version) == (OURS, PROJECT["version"])
    assert "Private :: Do Not Upload" in distribution.metadata.get_all("Classifier", [])
    (script,) = distribution.entry_points.select(group="console_scripts")
    assert (script.name, script.value) == ("archive-service", "archive_service.cli:main")


def changed(folder: Path) -> list[str]:
    """Installed files that are missing or do not have the hash of RECORD (wheel format, PEP 427). Scripts lie
    elsewhere, and ``pip install --target`` writes where they would have been."""
    (distribution,) = importlib.metadata.distributions(path=[str(folder)], name=OURS)
    found = []
    for file in distribution.files or []:
        if file.parts[0] == "..":
            continue
        if file.hash is None:
            assert file.name == "RECORD"
            continue
        path = Path(str(file.locate()))
        digest = hashlib.new(file.hash.mode, path.read_bytes()).digest() if path.exists() else b""
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != file.hash.value:
            found.append(str(file))
    return found


def test_every_installed_file_is_as_it_was_built(installed: Path) -> None:
    assert changed(installed) == []


def owners(distributions: Iterable[importlib.metadata.Distribution]) -> Mapping[str, set[str]]:
    """Which distributions own a top-level name, as ``importlib.metadata.packages_distributions`` counts them."""
    found: dict[str, set[str]] = {}
    for distribution in distributions:
        for file in distribution.files or []:
            if len(file.parts) > 1:
                found.setdefault(file.parts[0], set()).add(distribution.metadata["Name"])
    return found


def test_nobody_else_owns_our_names_in_the_wheel_s_place(installed: Path) -> None:
    found = owners(importlib.metadata.distributions(path=[str(installed)]))
    assert {name: found[name] for name in PACKAGES} == {name: {OURS} for name in PACKAGES}


def test_nobody_else_owns_our_names_in_this_environment() -> None:
    """A distribution that ships a package of one of these names would overwrite ours without a word."""
    found = importlib.metadata.packages_distributions()
    for name in PACKAGES:
        assert set(found.get(name, [])) <= {OURS}


def test_an_intruder_would_be_seen(installed: Path, tmp_path: Path) -> None:
    """As a distribution on the public index does: its wheel brings a package ``retention`` of its own."""
    record = tmp_path / "retention-1.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: retention\nVersion: 1.0\n", "utf-8")
    (record / "RECORD").write_text("retention/__init__.py,,\nretention-1.0.dist-info/RECORD,,\n", "utf-8")
    found = owners(importlib.metadata.distributions(path=[str(installed), str(tmp_path)]))
    assert found["retention"] == {OURS, "retention"}


def test_an_overwritten_file_would_be_seen(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    assert changed(tmp_path) == []
    (tmp_path / "retention" / "__init__.py").write_text('"""Another package."""\n', "utf-8")
    (tmp_path / "search" / "document.py").unlink()
    assert sorted(changed(tmp_path)) == ["retention/__init__.py", "search/document.py"]


def test_the_installed_packages_import_without_the_checkout(installed: Path) -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(installed)!r})\n"
        "import archive_service, ingest, search, retention\n"
        "from importlib.resources import files\n"
        "script = files('archive_service.export.verify_script') / 'verify.py'\n"
        "assert script.is_file()\n"
        f"assert all(m.__file__.startswith({str(installed)!r}) for m in (archive_service, ingest, search, retention))\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=installed, check=True, timeout=60)
