"""``source set`` and ``source rotate``: what they change, what they print, and what they never do."""

import json
from pathlib import Path
from typing import Any

import pytest

from archive_service.cli import main

PASSWORD = "a long enough password"


@pytest.fixture
def data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    folder = tmp_path / "archive"
    assert main(["init", "--data", str(folder), "--tenant", "acme"]) == 0
    add = ["source", "add", "--data", str(folder), "--tenant", "acme", "--kind", "m365", "--name", "feed"]
    assert main(add) == 0
    capsys.readouterr()
    return folder


class Run:
    def __init__(self, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.data, self.capsys = data, capsys
        self.printed = ""

    def __call__(self, action: str, *words: object, code: int = 0) -> dict[str, Any]:
        which = [] if action == "list" else ["--source", "feed"]
        given = [
            "source",
            action,
            "--data",
            str(self.data),
            "--tenant",
            "acme",
            "--json",
            *which,
            *map(str, words),
        ]
        assert main(given) == code
        told = self.capsys.readouterr()
        self.printed += told.out + told.err
        answer: dict[str, Any] = json.loads(told.out)
        return answer

    def source(self) -> dict[str, Any]:
        found: dict[str, Any] = self("list")["sources"][0]
        return found


@pytest.fixture
def run(data: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(data, capsys)


def test_a_guard_is_set_changed_and_cleared(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks = ("--network", "192.0.2.0/24", "--network", "2001:db8::/32")
    answer = run("set", *networks, "--tls", "--max-size", 1000, "--rate", 60)
    guard = {"networks": ["192.0.2.0/24", "2001:db8::/32"], "tls": True, "max_size": 1000, "rate": 60}
    assert answer["guard"] == run.source()["guard"] == guard
    secret = tmp_path / "password"
    secret.write_text(PASSWORD + "\n", "utf-8")
    assert run("set", "--password-file", secret)["guard"] == guard | {"password": True}
    monkeypatch.setenv("FEED_PASSWORD", PASSWORD + "!")
    assert run("set", "--password-env", "FEED_PASSWORD", "--no-tls")["guard"]["password"] is True
    run("set", "--any-network", "--no-max-size", "--no-rate", "--no-password", "--no-certificate")
    assert "guard" not in run.source()
    assert PASSWORD not in run.printed and "argon2" not in run.printed


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((), "input.usage"),
        (("--network", "10.0.0.0/8", "--any-network"), "input.usage"),
        (("--tls", "--no-tls"), "input.usage"),
        (("--rate", "0"), "source.guard"),
        (("--network", "localhost"), "source.guard"),
        (("--password-env", "NOT_SET_ANYWHERE"), "source.password"),
        (("--password", PASSWORD), "input.usage"),
        (("--certificate", __file__), "source.guard"),
    ],
    ids=str,
)
def test_wrong_use_changes_nothing(run: Run, words: tuple[str, ...], code: str) -> None:
    assert run("set", *words, code=2)["error"]["code"] == code
    assert "guard" not in run.source()


def test_a_file_that_is_not_there(run: Run, tmp_path: Path) -> None:
    assert run("set", "--password-file", tmp_path / "none", code=2)["error"]["code"] == "input.file"
    (tmp_path / "binary").write_bytes(b"\xff" * 20)
    assert run("set", "--password-file", tmp_path / "binary", code=2)["error"]["code"] == "input.encoding"


def test_rotate_prints_the_new_address_and_names_the_old_one(run: Run) -> None:
    old = run.source()["address"]
    answer = run("rotate", "--overlap", "12h")
    assert answer["address"] != old
    assert [each["address"] for each in answer["former"]] == [old]
    listed = run.source()
    assert (listed["address"], listed["former"]) == (answer["address"], answer["former"])


@pytest.mark.parametrize("overlap", ["91d", "14", "d", "-1d", "1w", "", "99999d"])
def test_an_overlap_that_is_none_is_wrong_use(run: Run, overlap: str) -> None:
    before = run.source()
    assert run("rotate", f"--overlap={overlap}", code=2)["error"]["code"] == "source.overlap"
    assert run.source() == before


def test_a_source_that_is_not_there(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for action in (["set", "--tls"], ["rotate"]):
        words = ["source", *action, "--data", str(run.data), "--tenant", "acme", "--source", "none", "--json"]
        assert main(words) == 1
        assert json.loads(capsys.readouterr().out)["error"]["code"] == "source.unknown"


def test_the_acts_verify_and_rebuild(run: Run) -> None:
    """``verify`` and ``rebuild`` know the acts, and the follower passes them."""
    run("set", "--tls", "--rate", 5)
    run("rotate")
    for command in ("verify", "rebuild", "verify"):
        assert main([command, "--data", str(run.data), "--json"]) == 0, command
