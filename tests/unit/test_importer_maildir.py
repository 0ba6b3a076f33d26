"""Maildir: names that outlive flags and moves; subfolders; what is no mail is passed over."""

from pathlib import Path

import pytest

from archive_service.model.errors import Invalid, StoreError
from ingest.importers.maildir import Maildir


def put(folder: Path, place: str, name: str, raw: bytes = b"mail\n") -> Path:
    (folder / place).mkdir(parents=True, exist_ok=True)
    path = folder / place / name
    path.write_bytes(raw)
    return path


def read(top: Path) -> dict[str, bytes]:
    found = [(item.name, item.read()) for item in Maildir(top, 1 << 20).items()]
    assert len(dict(found)) == len(found)
    return dict(found)


def test_flags_and_places_are_no_part_of_a_name(tmp_path: Path) -> None:
    unseen = put(tmp_path, "new", "1700000001.M1P1.host", b"one\n")
    put(tmp_path, "cur", "1700000002.M2P2.host,S=4,W=5:2,", b"two\n")
    before = read(tmp_path)
    assert before == {"1700000001.M1P1.host": b"one\n", "1700000002.M2P2.host,S=4,W=5": b"two\n"}
    unseen.rename(tmp_path / "cur" / "1700000001.M1P1.host:2,FS")
    assert read(tmp_path) == before


@pytest.mark.parametrize("flags", [":2,", ":2,RS", ";2,S", "!2,S"])
def test_the_ways_flags_are_written(tmp_path: Path, flags: str) -> None:
    put(tmp_path, "cur", f"1.host{flags}")
    assert list(read(tmp_path)) == ["1.host"]


def test_subfolders_of_both_kinds(tmp_path: Path) -> None:
    put(tmp_path, "cur", "1.host:2,S")
    put(tmp_path / ".Sent", "cur", "1.host:2,S")
    put(tmp_path / ".Projets.2026", "new", "2.host")
    put(tmp_path / "Archive" / "Old", "cur", "3.host")
    assert list(read(tmp_path)) == [
        "1.host",
        ".Projets.2026/2.host",
        ".Sent/1.host",
        "Archive/Old/3.host",
    ]


def test_what_is_no_mail_is_passed_over(tmp_path: Path) -> None:
    put(tmp_path, "cur", "1.host:2,S")
    put(tmp_path, "cur", ".hidden")
    put(tmp_path, "tmp", "2.host")
    put(tmp_path, ".", "dovecot-uidlist")
    (tmp_path / "cur" / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path)
    assert list(read(tmp_path)) == ["1.host"]


def test_a_mail_that_is_moved_while_it_is_read_is_found(tmp_path: Path) -> None:
    path = put(tmp_path, "new", "1.host", b"one")
    (item,) = Maildir(tmp_path, 1 << 20).items()
    (tmp_path / "cur").mkdir()
    path = path.rename(tmp_path / "cur" / "1.host:2,S")
    assert item.read() == b"one"
    path.unlink()
    with pytest.raises(StoreError) as caught:
        item.read()
    assert caught.value.code == "import.gone"


def test_bytes_stay_as_they_are(tmp_path: Path) -> None:
    raw = b"bare\rcr\nlf\r\nnul\x00" + b"x" * 100_000
    put(tmp_path, "cur", "1.host:2,", raw)
    assert read(tmp_path) == {"1.host": raw}


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    put(tmp_path / ".Re\udce7us", "cur", "1.host")
    assert list(read(tmp_path)) == [".Re\\udce7us/1.host"]


def test_a_mail_that_is_too_large_fails_alone(tmp_path: Path) -> None:
    put(tmp_path, "cur", "1.host", b"x" * 101)
    put(tmp_path, "cur", "2.host", b"x" * 100)
    large, small = Maildir(tmp_path, 100).items()
    with pytest.raises(StoreError) as caught:
        large.read()
    assert caught.value.code == "import.too_large"
    assert len(small.read()) == 100
    assert Maildir(tmp_path, 100).count() == 2


@pytest.mark.parametrize("what", ["missing", "empty", "file"])
def test_no_maildir_is_wrong_use(tmp_path: Path, what: str) -> None:
    path = tmp_path / "x"
    if what == "empty":
        path.mkdir()
    elif what == "file":
        path.write_bytes(b"")
    with pytest.raises(Invalid):
        Maildir(path, 100)


def test_folders_that_others_made() -> None:
    top = Path(__file__).parents[3] / "shared" / "corpus" / "stalwart-mail-parser" / "maildir"
    if not top.is_dir():
        pytest.skip("the mail corpus is not here (looked for shared/corpus beside the repository)")
    found = read(top)
    assert len(found) == sum(1 for path in top.rglob("*") if path.parent.name in ("cur", "new"))
    assert not any(";2," in name for name in found)
