"""A folder that was handed over: what cannot be read there is a failed item, not nothing."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from archive_service.model.errors import StoreError
from ingest.importers.eml_folder import EmlFolder
from ingest.importers.mbox import Mbox

_NOBODY = 65534
_MAIL = b"From a@x Thu Nov 26 21:00:00 2026\nSubject: a\n\nx\n"


@pytest.fixture
def folder():
    made = Path(tempfile.mkdtemp(dir="/tmp"))
    made.chmod(0o755)
    (made / "a.eml").write_bytes(_MAIL)
    (made / "deep").mkdir()
    (made / "deep" / "b.eml").write_bytes(_MAIL)
    yield made
    (made / "deep").chmod(0o700)
    shutil.rmtree(made)


@pytest.fixture
def nobody():
    """Whoever may not read everything: root reads what nobody else may."""
    if (before := os.geteuid()) == 0:
        os.seteuid(_NOBODY)
    yield
    os.seteuid(before)


def outcomes(mailbox):
    found = {}
    for item in mailbox.items():
        try:
            item.read()
            found[item.name] = "read"
        except StoreError as error:
            found[item.name] = error.code
    return found


@pytest.fixture
def closed(folder):
    (folder / "deep").chmod(0)
    return folder


@pytest.mark.parametrize("form", [EmlFolder, Mbox])
def test_a_folder_that_cannot_be_listed_fails(closed, nobody, form):
    said = outcomes(form(closed, 1000))
    assert said.pop("deep") == "import.unreadable"
    assert list(said.values()) == ["read"]


@pytest.mark.parametrize("form", [EmlFolder, Mbox])
def test_a_link_to_nothing_fails(folder, form):
    (folder / "gone.eml").symlink_to("/nowhere/gone.eml")
    os.mkfifo(folder / "pipe.eml")
    said = outcomes(form(folder, 1000))
    assert said.pop("gone.eml") == "import.unreadable"
    assert list(said.values()) == ["read", "read"]


def test_every_item_is_counted(closed, nobody):
    assert EmlFolder(closed, 1000).count() == 2
