"""A key place that was put back from a backup, or wiped: nothing destroyed comes back through it, and ``keys heal``
puts it right again from the other one."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.flow.archive_fixtures import SAMPLES, Said, done, have_erased, no_settings_around, run, verify

__all__ = ["no_settings_around"]  # fixture


def capture(data: Path) -> str:
    (catalog,) = data.glob("projections/*/catalog.sqlite")
    connection = sqlite3.connect(catalog)
    try:
        return str(connection.execute("SELECT id FROM captures ORDER BY order_seq LIMIT 1").fetchone()[0])
    finally:
        connection.close()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """An archive with mail, of which one is erased; its key store as it was before lies beside it as ``before``, and
    mail has come since."""
    folder = tmp_path / "archive"
    done("init", "--data", folder, "--tenant", "acme")
    done("import", "eml", SAMPLES, "--tenant", "acme", "--kind", "m365", "--data", folder)
    shutil.copytree(folder / "keys", tmp_path / "before")
    have_erased(folder, capture(folder))
    assert run_batch(folder).answer["erased"] == 1
    done("import", "eml", SAMPLES, "--tenant", "acme", "--kind", "generic", "--data", folder)
    return folder


def run_batch(data: Path) -> Said:
    return done("erasures", "run", "--tenant", "acme", "--today-too", "--data", data, "--json")


def put_back(data: Path, place: str) -> None:
    shutil.rmtree(data / "keys" / place)
    shutil.copytree(data.parent / "before" / place, data / "keys" / place)


def tables(data: Path, place: str) -> set[str]:
    return {path.name for path in (data / "keys" / place).glob("*/table/*")}


def test_gdpr_article_17_a_rewrap_wraps_no_retired_key_that_a_backup_brought_back(data: Path) -> None:
    """Under a newer version it would open from any backup made since, long after the grace."""
    put_back(data, "a")
    done("keys", "rewrap", "--data", data)
    names = [str(path) for path in (data / "keys" / "a").glob("*/table/*")]
    owner = next(iter(data.glob("projections/*/catalog.sqlite"))).parent.name
    (first,) = [name for name in names if f"/{owner}/" in name and name.endswith("1")]
    assert b'"key":"v1"' in Path(first).read_bytes()
    run_batch(data)
    assert not Path(first).exists()


@pytest.mark.parametrize("place", ["a", "b"])
def test_a_place_that_was_put_back_is_put_right_again(data: Path, place: str) -> None:
    put_back(data, place)
    assert verify(data).code == 1
    said = done("keys", "heal", "--data", data, "--json")
    assert said.answer["swept"] > 0
    assert said.answer["filled"] > 0
    assert said.answer["left"] == []
    found = verify(data)
    assert found.code == 0, found.out
    again = done("keys", "heal", "--data", data, "--json").answer
    assert again == {"filled": 0, "replaced": 0, "swept": 0, "left": []}


@pytest.mark.parametrize("place", ["a", "b"])
def test_a_place_that_was_wiped_is_filled_again(data: Path, place: str) -> None:
    for folder in (data / "keys" / place).iterdir():
        if folder.is_dir():
            shutil.rmtree(folder)
    said = done("keys", "heal", "--data", data, "--json")
    assert said.answer["filled"] > 0
    found = verify(data)
    assert found.code == 0, found.out


def test_what_opens_nowhere_is_named(data: Path) -> None:
    record = sorted((data / "keys" / "a").glob("*/records/capture-1/*/*"))[0]
    other = data / "keys" / "b" / record.relative_to(data / "keys" / "a")
    record.write_bytes(b"{}")
    other.unlink()
    said = run("keys", "heal", "--data", data, "--json")
    assert said.code == 1
    assert [each["name"] for each in said.answer["left"]] == [str(record.relative_to(data / "keys" / "a"))]
