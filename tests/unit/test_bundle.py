"""The bundle's ZIP: what is in it, that it is the same every time, and what cannot be made."""

import hashlib
import json
import stat
import tracemalloc
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader

from archive_service.export.bundle import write_bundle
from archive_service.export.bundle_spool import Piece
from archive_service.export.evidence import BundleResult, ExportFailed, MessageEvidence
from archive_service.export.numbering import Numbering, parse_bates
from archive_service.export.verify_bundle import verify_bundle
from archive_service.model.canonical import canonical, parse_canonical
from archive_service.model.errors import ArchiveError, Invalid
from tests.unit.export_fixtures import Archive, Mail, request, small_archive


def make(
    target: Path, archive: Archive, messages: list[MessageEvidence] | None = None, **more: Any
) -> BundleResult:
    """A bundle of everything in the archive."""
    asked = more.pop("asked", request())
    evidence = archive.evidence() if messages is None else messages
    return write_bundle(asked, iter(evidence), archive.keys, archive.root_key.sign_text, target, **more)


@pytest.fixture
def archive() -> Archive:
    return small_archive()


def test_bundle_holds_what_the_contract_says(archive: Archive, tmp_path: Path) -> None:
    result = make(tmp_path / "b.zip", archive)
    with zipfile.ZipFile(result.path) as zipped:
        names = zipped.namelist()
        manifest = json.loads(zipped.read("manifest.json"))
        assert {"report.pdf", "manifest.json", "verify.py"} <= set(names)
        assert names == sorted(names)
        listed = {item["path"]: item for item in manifest["files"]}
        assert set(listed) == set(names) - {"manifest.json", "manifest.sig"}
        for name, item in listed.items():
            data = zipped.read(name)
            assert (len(data), hashlib.sha256(data).hexdigest()) == (item["size"], item["sha256"])
        assert canonical(manifest) == zipped.read("manifest.json"), "written piecewise, yet canonical"
        assert hashlib.sha256(zipped.read("manifest.json")).hexdigest() == result.manifest_sha256
        for info in zipped.infolist():
            assert info.compress_type == zipfile.ZIP_STORED and info.date_time == (2026, 11, 23, 10, 0, 0)
            assert stat.S_IMODE(info.external_attr >> 16) == 0o644
    assert (result.messages, result.captures, result.attachments) == (3, 4, 1)
    assert result.size == result.path.stat().st_size
    assert verify_bundle(result.path) == []


def test_bundle_mail_is_byte_for_byte(archive: Archive, tmp_path: Path) -> None:
    evidence = archive.evidence()
    with zipfile.ZipFile(make(tmp_path / "b.zip", archive, evidence).path) as zipped:
        manifest = json.loads(zipped.read("manifest.json"))
        for item, message in zip(manifest["messages"], evidence, strict=True):
            for number, capture in enumerate(message.captures, 1):
                assert zipped.read(f"{item['folder']}/capture-{number}.eml") == capture.raw
            parsed = message.captures[0].row.finding.parsed
            inner = message.captures[0].raw[parsed.inner_start : parsed.inner_end]
            assert zipped.read(f"{item['folder']}/message.eml") == inner


def test_bundle_never_holds_the_capture_record(archive: Archive, tmp_path: Path) -> None:
    """The record names the source's secret address: of it only the hash E is handed over."""
    with zipfile.ZipFile(make(tmp_path / "b.zip", archive).path) as zipped:
        proof = json.loads(zipped.read("messages/LEF0000004/proof.json"))["captures"][0]
    assert set(proof) == {
        *("id", "file", "inner_start", "inner_end", "salt", "record_commit"),
        *("entry", "index", "inclusion", "checkpoint"),
    }


def test_bundle_is_the_same_twice(archive: Archive, tmp_path: Path) -> None:
    evidence = archive.evidence()
    one, two = (make(tmp_path / name, archive, evidence) for name in ("one.zip", "two.zip"))
    assert one.path.read_bytes() == two.path.read_bytes()


def test_bundle_bates_numbers_run_on(archive: Archive, tmp_path: Path) -> None:
    """Reserved once, before anything is numbered; one a page, over all volumes."""
    asked: list[int] = []

    def reserve(pages: int) -> int:
        asked.append(pages)
        return 9_999_998

    result = make(tmp_path / "b.zip", archive, reserve=reserve, volume_pages=3)
    assert asked == [result.pages]
    assert (result.bates_first, result.bates_last) == ("LEF09999998", f"LEF{9_999_997 + result.pages:08d}")
    assert verify_bundle(result.path) == []
    stamps: list[str] = []
    with zipfile.ZipFile(result.path) as zipped:
        reports = json.loads(zipped.read("manifest.json"))["reports"]
        assert len(reports) > 1 and "report.pdf" in reports
        for number in range(1, len(reports) + 1):
            with zipped.open("report.pdf" if number == 1 else f"report-{number}.pdf") as file:
                for page in PdfReader(file).pages:
                    stamps.append(page.extract_text().split()[-1])
    assert stamps == [Numbering("LEF", 9_999_998, result.pages).label(page) for page in range(result.pages)]


def test_bundle_of_nothing(tmp_path: Path) -> None:
    """A query may find nothing; that too can be evidence."""
    result = make(tmp_path / "b.zip", Archive(), [])
    assert (result.messages, result.captures) == (0, 0)
    assert verify_bundle(result.path) == []


def test_bundle_report_that_is_longer_than_a_volume(tmp_path: Path) -> None:
    archive = Archive()
    archive.receive(Mail("m1", b"\r\n", body="line\n" * 900))
    result = make(tmp_path / "b.zip", archive, volume_pages=2)
    assert result.pages > 15 and verify_bundle(result.path) == []


def test_bundle_asks_are_checked(archive: Archive, tmp_path: Path) -> None:
    wrong: list[dict[str, Any]] = [
        {"bates_prefix": ""},
        {"bates_prefix": "../x"},
        {"bates_prefix": "a" * 41},
        {"bates_prefix": "é"},
        {"lang": "de"},
        {"export_id": "a b"},
        {"export_id": ""},
        {"requested_at": "yesterday"},
        {"ids": ("m1",)},
        {"query": None},
    ]
    for change in wrong:
        with pytest.raises(Invalid):
            make(tmp_path / "b.zip", archive, asked=request(**change))
    assert list(tmp_path.iterdir()) == []


def _other_salt(evidence: MessageEvidence) -> MessageEvidence:
    capture = evidence.captures[0]
    return replace(evidence, captures=(replace(capture, proof=replace(capture.proof, salt=b"x" * 32)),))


def _other_size(evidence: MessageEvidence) -> MessageEvidence:
    capture = evidence.captures[0]
    return replace(evidence, captures=(replace(capture, proof=replace(capture.proof, tree_size=1)),))


def _other_raw(evidence: MessageEvidence) -> MessageEvidence:
    return replace(evidence, captures=(replace(evidence.captures[0], raw=b"other"),))


BROKEN = {
    "salt": lambda e: [_other_salt(e[0])],
    "tree_size": lambda e: [_other_size(e[0])],
    "raw": lambda e: [_other_raw(e[0])],
    "no_captures": lambda e: [replace(e[0], captures=())],
    "twice": lambda e: [e[0], e[0]],
    "proof_of_another": lambda e: [replace(e[0], captures=e[1].captures)],
}


@pytest.mark.parametrize("case", BROKEN)
def test_bundle_that_would_not_verify_is_not_handed_over(case: str, archive: Archive, tmp_path: Path) -> None:
    target = tmp_path / "b.zip"
    target.write_bytes(b"the bundle before")
    evidence = BROKEN[case](archive.evidence())
    if case == "proof_of_another":  # a true proof of another capture, under this message's name: it is one
        make(target, archive, evidence)
        return
    with pytest.raises(ExportFailed):
        make(target, archive, evidence)
    assert target.read_bytes() == b"the bundle before"
    assert list(tmp_path.iterdir()) == [target], "nothing of the mail is left lying about"


def test_bundle_signed_by_a_stranger_is_not_handed_over(archive: Archive, tmp_path: Path) -> None:
    stranger = Archive("d4" * 10).log_key
    with pytest.raises(ExportFailed):
        write_bundle(request(), archive.evidence(), archive.keys, stranger.sign_text, tmp_path / "b.zip")


@pytest.mark.parametrize("where", ["messages", "progress", "reserve", "sign"])
def test_bundle_failures_pass_through_and_leave_nothing(where: str, archive: Archive, tmp_path: Path) -> None:
    class Stopped(ArchiveError):
        pass

    def stop(*_: object) -> Any:
        raise Stopped("cancelled")

    def messages() -> Iterator[MessageEvidence]:
        yield from archive.evidence()
        if where == "messages":
            stop()

    more = {where: stop} if where in ("progress", "reserve") else {}
    sign = stop if where == "sign" else archive.root_key.sign_text
    with pytest.raises(Stopped):
        write_bundle(request(), messages(), archive.keys, sign, tmp_path / "b.zip", **more)
    assert list(tmp_path.iterdir()) == []


def test_bundle_spool_is_private_while_it_lasts(archive: Archive, tmp_path: Path) -> None:
    seen: list[int] = []

    def look(done: int) -> None:
        seen.extend(stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir())

    make(tmp_path / "b.zip", archive, progress=look)
    assert seen == [0o700] * 3


def test_bundle_memory_does_not_grow_with_mail(tmp_path: Path) -> None:
    """Forty messages of 1 MiB: far less than all of them is ever held."""
    archive = Archive()
    inner = b"Subject: x\r\n\r\n" + b"a" * (1 << 20)

    def messages() -> Iterator[MessageEvidence]:
        archive.receive(Mail("m0", inner))
        (one,) = archive.evidence()
        for number in range(40):
            # The same capture over and over is no sound evidence, so it fails in the end; the memory shows.
            yield replace(one, message=replace(one.message, id=f"m{number}"))

    tracemalloc.start()
    try:
        with pytest.raises(ExportFailed):
            write_bundle(request(), messages(), archive.keys, archive.root_key.sign_text, tmp_path / "b.zip")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 30 << 20


def test_piece_cut_short_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"abc")
    with pytest.raises(ExportFailed):
        list(Piece("x", tmp_path / "bytes", 1, 9, "").chunks())


def test_bates_numbers() -> None:
    assert [Numbering("A", 1, 3).label(page) for page in (0, 2)] == ["A0000001", "A0000003"]
    assert Numbering("A9-", 9_999_999, 2).label(0) == "A9-09999999"
    assert parse_bates("A9-09999999", "A9-") == 9_999_999
    for text in ("B0000001", "A1", "A000000x", "A", "A" + "1" * 16, "A٠٠٠٠٠٠١"):
        with pytest.raises(ValueError, match="another form"):
            parse_bates(text, "A")


def test_manifest_says_what_was_asked(archive: Archive, tmp_path: Path) -> None:
    asked = request(query=None, ids=("m1", "m2"), matter=None, purpose=None, lang="fr")
    with zipfile.ZipFile(make(tmp_path / "b.zip", archive, asked=asked).path) as zipped:
        manifest = parse_canonical(zipped.read("manifest.json"))
    assert manifest["export"] == {
        "id": asked.export_id,
        "tenant": asked.tenant_name,
        "matter": None,
        "purpose": None,
        "requested_by": asked.requested_by,
        "requested_at": asked.requested_at,
        "query": None,
        "ids": ["m1", "m2"],
    }
