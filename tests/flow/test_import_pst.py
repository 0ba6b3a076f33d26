"""PST files: through the real readpst where there are files to read, and through a stand-in that says what it says."""

import json
import os
import shutil
import stat
from pathlib import Path

import pytest

from archive_service.model.errors import ArchiveError, Invalid, StoreError
from ingest.importers.pst import Pst
from tests.flow.archive_fixtures import mail, verify
from tests.flow.importing import counts, imported, lines, made, once
from tests.services.tools import missing

FILES = Path(__file__).parents[3] / "shared" / "corpus" / "java-libpst" / "resources"
LIMIT = 1 << 24

# Writes the mails that the "PST" (JSON: path to text) lists, each with a boundary of its own as readpst does.
STAND_IN = """#!/usr/bin/env python3
import json, os, sys
if sys.argv[1:] == ["-V"]:
    print("ReadPST / LibPST v0.0.1")
    sys.exit(0)
assert sys.argv[1:5] == ["-e", "-D", "-j", "0"], sys.argv
assert not [name for name in os.environ if name.startswith("ARCHIVE")], "settings are none of its business"
out, asked = sys.argv[6], json.load(open(sys.argv[7]))
for name, text in asked["mails"].items():
    path = os.path.join(out, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    open(path, "w", newline="").write(text.replace("BOUNDARY", os.urandom(8).hex()))
for folder, skipped in asked.get("skipped", {}).items():
    print(f'\\t"{folder}" - 3 items done, {skipped} items skipped.')
sys.exit(asked.get("code", 0))
"""


@pytest.fixture
def readpst(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stand-in, first on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "readpst"
    program.write_text(STAND_IN, "utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return program


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return made(tmp_path / "archive")


def pst(tmp_path: Path, mails: dict[str, str], **more: object) -> Path:
    path = tmp_path / "box.pst"
    path.write_text(json.dumps({"mails": mails, **more}), "utf-8")
    return path


def text(number: int) -> str:
    return mail(number, "BOUNDARY").decode()


def test_a_file_is_imported_once_though_its_boundaries_change(
    data: Path, tmp_path: Path, readpst: Path
) -> None:
    mails = {f"Top/Inbox/{number}.eml": text(number) for number in (1, 2, 10)}
    path = pst(tmp_path, {**mails, "Top/Contacts/1.vcf": "no mail"})
    assert counts(imported(data, "pst", path)) == (3, 0, 0)
    assert counts(imported(data, "pst", path)) == (0, 3, 0)
    names = list(once(data))
    assert [name.partition("/")[2] for name in names] == list(mails)
    assert {name.partition("/")[0].partition(";")[2] for name in names} == {"readpst=0.0.1"}
    assert verify(data).code == 0
    assert not list((data / "run" / "importing").glob("pst-*")), "nothing is left in clear"


def test_another_readpst_may_number_otherwise(data: Path, tmp_path: Path, readpst: Path) -> None:
    path = pst(tmp_path, {"Inbox/1.eml": text(1)})
    assert counts(imported(data, "pst", path)) == (1, 0, 0)
    readpst.write_text(STAND_IN.replace("v0.0.1", "v0.0.2"), "utf-8")
    assert counts(imported(data, "pst", path)) == (1, 0, 0)


def test_what_was_left_out_is_said(data: Path, tmp_path: Path, readpst: Path) -> None:
    path = pst(tmp_path, {"Inbox/1.eml": text(1)}, skipped={"Inbox": 2, "Sent": 0})
    said = imported(data, "pst", path, "--report", tmp_path / "report")
    assert counts(said) == (1, 0, 1)
    (failed,) = [each for each in lines(tmp_path / "report") if each["outcome"] == "failed"]
    assert failed["code"] == "import.left_out"
    assert failed["item"].endswith("/Inbox") and "2 items" in failed["reason"]


def test_a_program_that_fails_archives_nothing(data: Path, tmp_path: Path, readpst: Path) -> None:
    path = pst(tmp_path, {"Inbox/1.eml": text(1)}, code=1)
    said = imported(data, "pst", path)
    assert (said.code, said.answer["error"]["code"]) == (1, "import.pst")
    assert once(data) == {}
    assert not list((data / "run" / "importing").glob("pst-*"))


def test_what_a_killed_import_left_goes_and_what_one_uses_stays(tmp_path: Path, readpst: Path) -> None:
    scratch = tmp_path / "scratch"
    path = pst(tmp_path, {"Inbox/1.eml": text(1)})
    living = Pst(path, LIMIT, scratch)
    (folder,) = scratch.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    dead = scratch / "pst-dead"
    shutil.copytree(folder, dead)
    other = Pst(path, LIMIT, scratch)
    assert not dead.exists() and folder.exists()
    assert [item.read() for item in living.items()]
    living.close()
    other.close()
    assert list(scratch.iterdir()) == []


def test_no_room_no_program_no_file(tmp_path: Path, readpst: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pst(tmp_path, {})
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 1))  # type: ignore[attr-defined]
        with pytest.raises(StoreError) as caught:
            Pst(path, LIMIT, tmp_path / "scratch")
        assert caught.value.code == "import.room"
    with pytest.raises(Invalid):
        Pst(tmp_path / "none.pst", LIMIT, tmp_path / "scratch")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Invalid) as wrong:
        Pst(path, LIMIT, tmp_path / "scratch")
    assert wrong.value.code == "import.readpst"


# --- the real one ---------------------------------------------------------------------------------------


def real() -> str:
    found = shutil.which("readpst")
    if found is None:
        missing("readpst", "apt-get install pst-utils")
    return found


def test_the_real_program_refuses_what_is_no_pst(tmp_path: Path) -> None:
    (tmp_path / "box.pst").write_bytes(b"no PST" * 1000)
    with pytest.raises(ArchiveError) as caught:
        Pst(tmp_path / "box.pst", LIMIT, tmp_path / "scratch", real())
    assert caught.value.code == "import.pst"
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize("name", ["dist-list.pst", "passworded.pst"])
def test_the_real_program_reads_real_files(tmp_path: Path, name: str) -> None:
    """These hold no mail that it can make: what it left out is told, and twice alike."""
    program = real()
    if not FILES.is_dir():
        pytest.skip("the PST files are not here (looked for shared/corpus beside the repository)")
    told = []
    for _ in range(2):
        mailbox = Pst(FILES / name, LIMIT, tmp_path / "scratch", program)
        assert mailbox.count() == 0
        told.append([item.name for item in mailbox.items()])
        mailbox.close()
    assert told[0] == told[1]
    assert {each.rpartition("/")[2] for each in told[0]} == (
        {"Contacts"} if name == "dist-list.pst" else {"Inbox", "Calendar", "Contacts"}
    )
