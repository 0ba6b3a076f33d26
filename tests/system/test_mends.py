"""Ways to lose mail or answers that were found by hand once."""

import shutil
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from tests.system.test_service import PROGRAM, command, make, start


def refused(*arguments: object, code: int) -> str:
    done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def imported(data: Path) -> int:
    make(data)
    samples = Path(__file__).resolve().parent.parent / "samples"
    command("import", "eml", samples, "--tenant", "acme", "--kind", "m365", "--data", data)
    return int(command("search", "*", "--data", data)["total"])


def test_a_port_is_never_shared_with_another_archive(tmp_path: Path) -> None:
    first = start(tmp_path / "a", make(tmp_path / "a"), "--role", "smtp", ARCHIVE_SMTP_WORKERS="1")
    make(tmp_path / "b")
    try:
        said = refused(
            "serve", "--data", tmp_path / "b", "--smtp", first.where["smtp"], "--http", "127.0.0.1:0", code=2
        )
        assert "port" in said
    finally:
        assert first.stop() == 0


@pytest.mark.parametrize("gone", ["index", "catalog.sqlite", "."])
def test_lost_projections_are_made_again_and_never_answer_with_less(tmp_path: Path, gone: str) -> None:
    data = tmp_path / "archive"
    total = imported(data)
    (tenant,) = [path for path in (data / "projections").iterdir() if path.is_dir()]
    for name in [f"{gone}", f"{gone}-wal", f"{gone}-shm"] if gone.endswith("sqlite") else [gone]:
        path = tenant / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    assert command("search", "*", "--data", data)["total"] == total
    assert command("verify", "--data", data)["clean"] is True


def test_a_follower_that_cannot_write_recovers_by_itself(tmp_path: Path) -> None:
    data = tmp_path / "archive"
    source = make(data, "generic")
    shutil.rmtree(data / "projections")
    (data / "projections").write_text("in the way")
    running = start(data, source, "--role", "smtp", ARCHIVE_SMTP_WORKERS="1")
    assert running.send(b"Subject: meanwhile\r\n\r\nx\r\n")[0] == 250
    assert running.stop() == 0
    with (data / "run" / "follower.log").open("w") as log:
        follower = subprocess.Popen(
            [PROGRAM, "serve", "--data", data, "--role", "follower"], stdout=log, stderr=log
        )
    (data / "projections").unlink()
    (data / "projections").mkdir()
    deadline = time.monotonic() + 60
    try:
        while command("keys", "status", "--data", data) and not list(
            (data / "projections").glob("*/catalog.sqlite")
        ):
            assert time.monotonic() < deadline
            time.sleep(0.2)
    finally:
        follower.terminate()
        follower.wait(90)
    assert command("search", "meanwhile", "--data", data)["total"] == 1


@pytest.mark.parametrize("place", ["a", "b"])
def test_a_key_place_that_is_gone_loses_nothing_and_takes_nothing(tmp_path: Path, place: str) -> None:
    data = tmp_path / "archive"
    imported(data)
    kept = tmp_path / "kept"
    shutil.move(data / "keys" / place, kept)
    report = subprocess.run(
        [PROGRAM, "verify", "--data", data, "--json"], capture_output=True, text=True, check=False
    )
    assert report.returncode == 1
    assert f"missing in place {1 + (place == 'b')}" in report.stdout
    said = refused(
        "source", "add", "--data", data, "--tenant", "acme", "--kind", "m365", "--name", "x", code=1
    )
    assert "missing" in said
    assert not (data / "keys" / place).exists()
    shutil.move(kept, data / "keys" / place)
    assert command("verify", "--data", data)["clean"] is True


def test_a_lost_state_key_is_said_and_not_made_anew(tmp_path: Path) -> None:
    data = tmp_path / "archive"
    make(data)
    (data / "kms" / "lock-state.key").unlink()
    assert "lock-state.key" in refused("source", "list", "--data", data, "--tenant", "acme", code=1)
    assert not (data / "kms" / "lock-state.key").exists()


def test_wrong_use_is_said_in_one_line(tmp_path: Path) -> None:
    data = tmp_path / "archive"
    make(data)
    assert "character" in refused("search", '"open', "--data", data, code=2)
    refused("init", "--data", tmp_path / "other", "--tenant", "\udcff", code=2)
    blocked = tmp_path / "file"
    blocked.write_text("x")
    refused("import", "eml", tmp_path / "nowhere", "--tenant", "acme", "--data", data, code=2)
    refused("export", "*", "--data", data, "-o", blocked / "x.zip", code=1)
    refused("init", "--data", data, "--tenant", "acme", code=1)


def test_a_look_from_the_command_line_is_covered_by_a_checkpoint(tmp_path: Path) -> None:
    data = tmp_path / "archive"
    imported(data)
    newest = max((data / "ledger").glob("*/access-1/batch/*/*"), key=lambda path: path.name)
    newest.chmod(0o600)
    newest.unlink()
    refused("verify", "--data", data, code=1)


def one_mail(data: Path) -> Path:
    """An archive with one mail that nobody has followed yet; its object."""
    running = start(data, make(data, "generic"), "--role", "smtp", ARCHIVE_SMTP_WORKERS="1")
    head = b"Message-ID: <one@example.fr>\r\nFrom: anne@example.fr\r\nTo: paul@example.fr\r\n"
    mail = head + b"Subject: Contrat\r\n\r\nx\r\n"
    assert running.send(mail)[0] == 250
    assert running.stop() == 0
    (sealed,) = [path for path in (data / "objects").rglob("*-0") if path.is_file()]
    return sealed


def test_a_capture_that_could_not_be_read_is_tried_again(tmp_path: Path) -> None:
    data = tmp_path / "archive"
    sealed = one_mail(data)
    away = tmp_path / "away"
    shutil.move(sealed, away)
    refused("search", "*", "--data", data, code=1)  # nothing is found yet
    shutil.move(away, sealed)
    assert command("search", "contrat", "--data", data)["total"] == 1
    assert command("verify", "--data", data)["clean"] is True


@pytest.mark.parametrize(
    "change",
    [
        "update messages set content = replace(content, 'Contrat', 'Aveu')",
        "update messages set content = replace(content, 'anne@', 'ministre@')",
        "update captures set finding = replace(finding, 'paul@example.fr', 'juge@example.fr')",
        "update captures set lock_until = '2020-01-01T00:00:00.000000Z'",
    ],
)
def test_tamper_an_edited_catalog_is_never_exported(tmp_path: Path, change: str) -> None:
    data = tmp_path / "archive"
    one_mail(data)
    assert command("search", "contrat", "--data", data)["total"] == 1
    (catalog,) = (data / "projections").glob("*/catalog.sqlite")
    with sqlite3.connect(catalog) as connection:
        assert connection.execute(change).rowcount == 1
    connection.close()
    said = refused("export", "*", "--data", data, "-o", tmp_path / "bundle.zip", code=1)
    assert "integrity" in said
    assert not (tmp_path / "bundle.zip").exists()
