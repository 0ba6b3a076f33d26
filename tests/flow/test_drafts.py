"""Drafts are archived and stand beside what was sent: left out of searches and exports, counted, found if asked for."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.flow.archive_fixtures import run
from tests.flow.importing import counts, imported, made
from tests.unit.mime_envelopes import compound, message_tree, text_stream
from tests.unit.test_dialect_zimbra import INNER, body, intercept

OTHER = INNER.replace("<1@", "<2@").replace("hello", "hello again")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A draft, and another mail that was sent."""
    data, mails = made(tmp_path / "archive"), tmp_path / "mails"
    mails.mkdir()
    (mails / "saved.eml").write_bytes(intercept(body("save draft", "Drafts"), INNER))
    (mails / "sent.eml").write_bytes(intercept(body("send message", "Sent"), OTHER))
    assert counts(imported(data, "eml", mails, "--kind", "zimbra")) == (2, 0, 0)
    return data


def found(data: Path, *arguments: str) -> tuple[int, int]:
    """How many are shown, and how many drafts are said to be left out."""
    answer = run("search", *arguments, "--data", data, "--json").answer
    assert len(answer["hits"]) == answer["total"]
    return answer["total"], answer["drafts_left_out"]


def test_a_search_leaves_them_out_and_says_so(data: Path) -> None:
    assert found(data, "hello") == (1, 1)
    assert found(data, "hello", "--include-drafts") == (2, 0)
    assert found(data, "hello flag:draft") == (1, 0)
    assert found(data, "hello NOT flag:draft") == (1, 0)
    assert found(data, "again") == (1, 0)
    assert "1 drafts were left out" in run("search", "hello", "--data", data).out


def exported(data: Path, file: Path, *arguments: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the command says, and the bundle's manifest."""
    said = run("export", *arguments, "-o", file, "--data", data, "--json")
    assert run("verify-bundle", file, "--json").code == 0
    with zipfile.ZipFile(io.BytesIO(file.read_bytes())) as members:
        return said.answer, json.loads(members.read("manifest.json"))


def test_an_export_does_so_too_and_its_manifest_states_it(data: Path, tmp_path: Path) -> None:
    said, manifest = exported(data, tmp_path / "1.zip", "hello")
    assert (len(said["messages"]), said["drafts_left_out"]) == (1, 1)
    assert manifest["export"]["query"] == "(hello) NOT flag:draft"
    said, manifest = exported(data, tmp_path / "2.zip", "hello", "--include-drafts")
    assert (len(said["messages"]), said["drafts_left_out"]) == (2, 0)
    assert manifest["export"]["query"] == "hello"
    (draft,) = run("search", "flag:draft", "--data", data, "--json").answer["hits"]
    said, _ = exported(data, tmp_path / "3.zip", "--id", draft["id"])
    assert (said["messages"], said["drafts_left_out"]) == ([draft["id"]], 0)
    nothing = run("export", "hello NOT again", "-o", tmp_path / "4.zip", "--data", data, "--json")
    assert nothing.answer["error"]["code"] == "export.empty"


def test_what_was_saved_first_and_sent_later_counts_as_sent(data: Path, tmp_path: Path) -> None:
    later = tmp_path / "later"
    later.mkdir()
    (later / "sent.eml").write_bytes(intercept(body("send message", "Sent"), INNER))
    imported(data, "eml", later, "--kind", "zimbra")
    assert found(data, "hello") == (2, 0)
    assert found(data, "flag:draft") == (0, 0)


def test_what_outlook_never_sent_is_one(data: Path, tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    unsent = compound(message_tree(text_stream(0x0037, "hello unsent"), numbers={0x0E07: 8}))
    (files / "a.msg").write_bytes(unsent)
    imported(data, "msg", files)
    assert found(data, "unsent") == (0, 1)
    assert found(data, "unsent", "--include-drafts") == (1, 0)
