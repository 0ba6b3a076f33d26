"""Wrong use of the command line is told like every other error: words for people, JSON where it was asked for."""

import json
from pathlib import Path

import pytest

from archive_service.cli import main
from archive_service.terms.locking import mark_file


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["nothing-of-ours"],
        ["init", "--tenant"],
        ["source", "add", "--tenant", "acme"],
        ["source", "add", "--tenant", "acme", "--kind", "pigeon", "--name", "x"],
        ["verify", "--sample", "much"],
    ],
)
def test_wrong_use_has_a_code(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--json"]) == 2
    told = capsys.readouterr()
    assert json.loads(told.out)["error"]["code"] == "input.usage"
    assert told.err.startswith("usage: ")
    assert "Traceback" not in told.err

    assert main(words) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "(input.usage)" in told.err


@pytest.mark.parametrize("given", [["--token", "sEcReT"], ["--token=sEcReT"], ["sEcReT"]])
def test_what_is_not_known_is_not_printed(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A token, given where none is taken, would stand in the log of whatever ran the command."""
    assert main(["custodians", "list", *given, "--json"]) == 2
    told = capsys.readouterr()
    assert "sEcReT" not in told.out + told.err
    assert ("--token" in told.err) == given[0].startswith("--")


def test_an_archive_that_is_open_cannot_be_opened_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(tmp_path / "archive"), "--json"]
    assert main(["init", "--tenant", "acme", *data]) == 0
    capsys.readouterr()
    assert main(["relocate", "--abandon", *data]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "archive.open"


def test_what_lies_outside_the_folders_of_the_archive_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(tmp_path / "archive"), "--json"]
    assert main(["init", "--tenant", "acme", *data]) == 0
    folder = tmp_path / "archive" / "holiday"
    folder.mkdir()
    (folder / "photo").write_bytes(b"not ours")
    ours = [mark_file(tmp_path / "archive", "owner"), tmp_path / "archive" / "holds" / "owner" / "index"]
    for path in ours:
        path.parent.mkdir(parents=True)
        path.write_bytes(b"{}")
    capsys.readouterr()
    assert main(["verify", *data]) == 0
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert [(each["severity"], each.get("name")) for each in problems if each["what"] == "store"] == [
        ("note", "holiday")
    ]
