"""Both verifiers against one table of tamperings: they must find the same, and never miss one."""

import importlib.util
import io
import json
import re
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archive_service.export import bundle_reader
from archive_service.export.bundle import write_bundle
from archive_service.export.verify_bundle import verify_bundle
from archive_service.ledger.note import Signer
from archive_service.model.canonical import canonical
from archive_service.model.errors import Invalid
from tests.unit.bundle_tampering import Draft, Entry, entries_of, flip, unpack, zip_of
from tests.unit.export_fixtures import Archive, Mail, request, salt_of, small_archive

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="the openssl command is not installed"
)

SCRIPT = Path(str(files("archive_service.export.verify_script"))) / "verify.py"
NAMES = (
    "checkpoints/1.json",
    "manifest.json",
    "manifest.sig",
    "messages/LEF0000004/capture-1.eml",
    "messages/LEF0000004/message.eml",
    "messages/LEF0000004/proof.json",
    "messages/LEF0000006/capture-1.eml",
    "messages/LEF0000006/capture-2.eml",
    "messages/LEF0000006/message.eml",
    "messages/LEF0000006/proof.json",
    "messages/LEF0000008/capture-1.eml",
    "messages/LEF0000008/message.eml",
    "messages/LEF0000008/proof.json",
    "report.pdf",
    "verify.py",
)
FIRST, SECOND = "messages/LEF0000004", "messages/LEF0000006"
PROOF, CHECKPOINT = f"{FIRST}/proof.json", "checkpoints/1.json"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """``verify.py`` as a module, so that a table of cases does not start a process each."""
    spec = importlib.util.spec_from_file_location("bundle_verify_script", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # The same public vectors are checked over and over: one openssl run for each is enough.
    shared: dict[Any, bool] = {}
    honest = module.OpenSSL._run

    def run(self: Any, *key: bytes) -> bool:
        if key not in shared:
            shared[key] = honest(self, *key)
        return shared[key]

    module.OpenSSL._run = run
    return module


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle as the archive writes it."""
    archive = small_archive()
    target = tmp_path_factory.mktemp("bundle") / "bundle.zip"
    write_bundle(request(), archive.evidence(), archive.keys, archive.root_key.sign_text, target)
    return target


@pytest.fixture
def draft(honest: Path) -> Draft:
    """Its members, to be falsified."""
    with zipfile.ZipFile(honest) as zipped:
        members = {name: zipped.read(name) for name in zipped.namelist()}
    return Draft(members, small_archive().root_key)


Both = Callable[[Path], set[str]]


@pytest.fixture
def both(script: ModuleType) -> Both:
    """The findings of both verifiers as "kind file", after seeing that they are the same."""

    def run(path: Path) -> set[str]:
        ours = {line.split(":")[0] for line in verify_bundle(path)}
        theirs = {line.split(":")[0] for line in script.check(path, [], lambda line: None)}
        assert ours == theirs
        return ours

    return run


@pytest.fixture
def verdict(both: Both, tmp_path: Path) -> Callable[[Draft], set[str]]:
    """The findings over a draft, which must be the same whether it is packed or unpacked."""

    def run(draft: Draft) -> set[str]:
        (tmp_path / "b.zip").write_bytes(zip_of(entries_of(draft.members)))
        packed = both(tmp_path / "b.zip")
        assert both(unpack(draft.members, tmp_path / "folder")) == packed
        return packed

    return run


Verdict = Callable[[Draft], set[str]]


def test_an_honest_bundle_verifies(honest: Path, draft: Draft, both: Both, verdict: Verdict) -> None:
    assert both(honest) == set()
    assert tuple(sorted(draft.members)) == NAMES
    assert honest.read_bytes()[:4] == b"PK\x03\x04"
    assert verdict(draft) == set()
    draft.reseal()
    assert verdict(draft) == set(), "the insider's tools themselves must be sound"


# ---------------------------------------------------------------- an outsider, who cannot sign


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_tamper_flipped_byte(name: str, place: str, draft: Draft, verdict: Verdict) -> None:
    data = draft.members[name]
    draft.members[name] = flip(data, {"first": 0, "middle": len(data) // 2, "last": len(data) - 1}[place])
    found = verdict(draft)
    expected = {"manifest.json": "manifest.", "manifest.sig": "manifest.sig"}.get(name, f"changed {name}")
    assert any(expected in line for line in found)


@pytest.mark.parametrize("name", NAMES)
def test_tamper_removed_file(name: str, draft: Draft, verdict: Verdict) -> None:
    del draft.members[name]
    assert f"missing {name}" in verdict(draft)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("change", ["longer", "shorter", "emptied"])
def test_tamper_length(name: str, change: str, draft: Draft, verdict: Verdict) -> None:
    data = draft.members[name]
    draft.members[name] = {"longer": data + b"\n", "shorter": data[:-1], "emptied": b""}[change]
    assert any(name in line for line in verdict(draft))


@pytest.mark.parametrize("name", NAMES)
def test_tamper_renamed_file(name: str, draft: Draft, verdict: Verdict) -> None:
    draft.members[name + ".old"] = draft.members.pop(name)
    assert f"missing {name}" in verdict(draft)


@pytest.mark.parametrize("name", ["note.txt", f"{FIRST}/capture-9.eml", "checkpoints/2.json", "json.py"])
def test_tamper_added_file(name: str, draft: Draft, verdict: Verdict) -> None:
    draft.members[name] = b"x"
    assert verdict(draft) == {f"added {name}"}


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [path, *(leaf for key, item in value.items() for leaf in _leaves(item, (*path, key)))]
    if isinstance(value, list):
        return [path, *(leaf for key, item in enumerate(value) for leaf in _leaves(item, (*path, key)))]
    return [path]


def _set(value: Any, path: tuple[Any, ...], new: Any) -> None:
    for step in path[:-1]:
        value = value[step]
    value[path[-1]] = new


def _get(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def _other(value: Any) -> Any:
    if isinstance(value, int):
        return value + 1
    if isinstance(value, str):
        return flip(value.encode(), len(value) - 1).decode("latin-1") if value else "x"
    return "x" if value is None else []


def test_tamper_each_manifest_field(draft: Draft, both: Both, tmp_path: Path) -> None:
    """Every leaf and every list of the manifest, changed without a new signature."""
    whole, original = draft.json("manifest.json"), draft.members["manifest.json"]
    paths = [path for path in _leaves(whole) if path and _other(_get(whole, path)) != _get(whole, path)]
    assert len(paths) > 60
    for path in paths:
        draft.edit("manifest.json", lambda value, path=path: _set(value, path, _other(_get(value, path))))
        (tmp_path / "b.zip").write_bytes(zip_of(entries_of(draft.members)))
        assert both(tmp_path / "b.zip"), path
        draft.members["manifest.json"] = original


@pytest.mark.parametrize("record", [PROOF, CHECKPOINT])
def test_tamper_each_proof_field(record: str, draft: Draft, both: Both, tmp_path: Path) -> None:
    """Every field of the proofs, changed by an insider who signs the manifest anew. Only what no proof
    speaks of, an attachment's name, type, size and hash, rests on the manifest's signature alone."""
    whole, original = draft.json(record), draft.members[record]
    for path in _leaves(whole):
        if not path or (path[0] == "attachments" and len(path) > 1):
            continue
        draft.edit(record, lambda value, path=path: _set(value, path, _other(_get(value, path))))
        if draft.members[record] == original:
            continue
        draft.reseal()
        (tmp_path / "b.zip").write_bytes(zip_of(entries_of(draft.members)))
        assert both(tmp_path / "b.zip"), path
        draft.members[record] = original


# ---------------------------------------------------------------- the ZIP itself

ZIPS: dict[str, Callable[[list[Entry]], bytes]] = {
    "slip": lambda e: zip_of([*e, Entry(b"../evil.txt", b"x")]),
    "absolute": lambda e: zip_of([*e, Entry(b"/etc/evil", b"x")]),
    "backslash": lambda e: zip_of([*e, Entry(b"..\\evil", b"x")]),
    "drive": lambda e: zip_of([*e, Entry(b"C:evil", b"x")]),
    "nul_name": lambda e: zip_of([*e, Entry(b"report.pdf\x00.txt", b"x")]),
    "control_name": lambda e: zip_of([*e, Entry(b"\x1b[2Jx", b"x")]),
    "unicode_name": lambda e: zip_of([*e, Entry("é".encode(), b"x", flags=0x800)]),
    "latin_name": lambda e: zip_of([*e, Entry(b"\xe9", b"x")]),
    "empty_name": lambda e: zip_of([*e, Entry(b"", b"x")]),
    "newline_name": lambda e: zip_of([*e, Entry(b"report.pdf\n", b"x")]),
    "dot_name": lambda e: zip_of([*e, Entry(b"./report.pdf", b"x")]),
    "folder": lambda e: zip_of([*e, Entry(b"messages/", b"", mode=0o40755)]),
    "duplicate_same": lambda e: zip_of([*e, e[0]]),
    "duplicate_other": lambda e: zip_of([Entry(e[0].name, b"other"), *e]),
    "symlink": lambda e: zip_of([*e, Entry(b"link", b"/etc/passwd", mode=0o120777)]),
    "device": lambda e: zip_of([*e, Entry(b"device", b"", mode=0o020644)]),
    "symlink_in_place": lambda e: zip_of([Entry(e[0].name, e[0].data, mode=0o120777), *e[1:]]),
    "prefix": lambda e: b"#!/bin/sh\n" + zip_of(e),
    "prefix_inside": lambda e: zip_of([Entry(e[0].name, e[0].data, before=b"hidden"), *e[1:]]),
    "between": lambda e: zip_of([*e[:2], Entry(e[2].name, e[2].data, before=b"hidden"), *e[3:]]),
    "before_directory": lambda e: zip_of(e, gap=b"hidden"),
    "trailing": lambda e: zip_of(e, tail=b"\0"),
    "comment": lambda e: zip_of(e, comment=b"hello"),
    "member_comment": lambda e: zip_of([Entry(e[0].name, e[0].data, comment=b"hello"), *e[1:]]),
    "local_name": lambda e: zip_of([Entry(e[0].name, e[0].data, local_name=b"other.json"), *e[1:]]),
    "local_crc": lambda e: zip_of([Entry(e[0].name, e[0].data, local_crc=1), *e[1:]]),
    "both_crcs": lambda e: zip_of([Entry(e[0].name, e[0].data, crc=1), *e[1:]]),
    "encrypted": lambda e: zip_of([Entry(e[0].name, e[0].data, flags=1), *e[1:]]),
    "streamed": lambda e: zip_of([Entry(e[0].name, e[0].data, flags=8), *e[1:]]),
    "deflate_claimed": lambda e: zip_of([Entry(e[0].name, e[0].data, method=8), *e[1:]]),
    "unknown_method": lambda e: zip_of([Entry(e[0].name, e[0].data, method=99), *e[1:]]),
    "bomb_size": lambda e: zip_of([Entry(e[0].name, e[0].data, size=0xFFFFFFF0), *e[1:]]),
    "packed_size": lambda e: zip_of([Entry(e[0].name, e[0].data, packed=0xFFFFFF0), *e[1:]]),
    "zip64_claimed": lambda e: zip_of([Entry(e[0].name, e[0].data, size=0xFFFFFFFF), *e[1:]]),
    "truncated": lambda e: zip_of(e)[:-30],
    "half": lambda e: zip_of(e)[: len(zip_of(e)) // 2],
    "no_members": lambda e: zip_of([]),
    "empty": lambda e: b"",
    "no_zip": lambda e: b"not a zip at all" * 10,
}


@pytest.mark.parametrize("case", ZIPS)
def test_tamper_zip(case: str, draft: Draft, both: Both, script: ModuleType, tmp_path: Path) -> None:
    """The two read ZIPs by different means and may word it differently, but both refuse."""
    path = tmp_path / "b.zip"
    path.write_bytes(ZIPS[case](entries_of(draft.members)))
    assert verify_bundle(path)
    assert script.check(path, [], lambda line: None)


def test_tamper_zip_compressed(draft: Draft, both: Both, tmp_path: Path) -> None:
    path = tmp_path / "b.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, data in draft.members.items():
            zipped.writestr(name, data)
    assert both(path)


def test_tamper_zip_any_byte(honest: Path, both: Both, script: ModuleType, tmp_path: Path) -> None:
    """A flipped bit anywhere in the file is found."""
    data, path = honest.read_bytes(), tmp_path / "b.zip"
    with zipfile.ZipFile(honest) as zipped:
        infos = zipped.infolist()
        start = zipped.start_dir
    payload = {i.header_offset + 30 + len(i.filename) + at: i for i in infos for at in (0, i.file_size // 3)}
    for offset, info in payload.items():
        path.write_bytes(flip(data, offset))
        assert any(info.filename in line for line in both(path))
    first = infos[0]
    header = range(first.header_offset, first.header_offset + 30 + len(first.filename))
    for offset in (*header, *range(start, len(data), 3)):
        path.write_bytes(flip(data, offset))
        assert verify_bundle(path), offset
        assert script.check(path, [], lambda line: None), offset


_SMUGGLED = struct.pack("<HH", 0x4242, 3000) + b"A PAGE MORE " * 250
_ZIP64 = struct.pack("<2H2Q", 1, 16, 5, 5)
_MOMENT = (1, 33)
UNNAMED: dict[str, dict[str, Any]] = {
    "local_extra": {"local_extra": _SMUGGLED},
    "central_extra": {"extra": _SMUGGLED},
    "local_zip64_without_need": {"local_extra": _ZIP64, "local_needed": 45},
    "central_zip64_without_need": {"extra": _ZIP64, "needed": 45, "made": 0x32D},
    "local_version": {"local_needed": 45},
    "both_versions": {"local_needed": 45, "needed": 45, "made": 0x32D},
    "central_version": {"needed": 10},
    "made_by": {"made": 0x14},
    "local_moment": {"local_moment": _MOMENT},
    "central_moment": {"moment": _MOMENT},
    "both_moments": {"moment": (0, 34), "local_moment": (0, 34)},
    "disk": {"disk": 1},
    "internal_attributes": {"internal": 1},
    "external_attributes": {"low_external": 0x20},
    "mode": {"mode": 0o104755},
}


@pytest.mark.parametrize("place", [1, -1])
@pytest.mark.parametrize("case", UNNAMED)
def test_tamper_zip_field_that_says_nothing_of_content(
    case: str, place: int, draft: Draft, both: Both, tmp_path: Path
) -> None:
    """No header field can carry anything: both verifiers name the member that has it."""
    entries = entries_of(draft.members)
    entries[place] = replace(entries[place], **UNNAMED[case])
    (tmp_path / "b.zip").write_bytes(zip_of(entries))
    assert both(tmp_path / "b.zip") == {f"zip {entries[place].name.decode()}"}


def test_tamper_zip_order_of_the_directory(draft: Draft, script: ModuleType, tmp_path: Path) -> None:
    path, data = tmp_path / "b.zip", zip_of(entries_of(draft.members))
    size, start = struct.unpack_from("<2L", data, len(data) - 10)
    length = 46 + struct.unpack_from("<H", data, start + 28)[0]
    end = start + size
    path.write_bytes(data[:start] + data[start + length : end] + data[start : start + length] + data[end:])
    assert verify_bundle(path)
    assert script.check(path, [], lambda line: None)


@pytest.mark.parametrize("start", [(1 << 31) - 1, 1 << 31, (1 << 32) + 5])
def test_the_directory_of_a_large_zip_is_found(script: ModuleType, start: int, tmp_path: Path) -> None:
    """With the end records that zipfile writes; the file is sparse."""
    path = tmp_path / "large"
    with path.open("w+b") as file:
        file.truncate(start - 31)
        with zipfile.ZipFile(file, "a") as zipped:
            zipped.writestr("x", b"")
        length = file.seek(0, 2)
        assert bundle_reader._find_directory(file, length)[::2] == (start, 1)
        size = bundle_reader._find_directory(file, length)[1] - start
        file.seek(start + size)
        assert file.read() == script.end_records(1, size, start)


@pytest.mark.parametrize("size", [5, (1 << 30) + 1, (1 << 31) - 100, 1 << 31, 1 << 33])
@pytest.mark.parametrize("offset", [0, 1 << 31, 1 << 33])
def test_large_members_have_the_headers_that_zipfile_writes(
    script: ModuleType, size: int, offset: int
) -> None:
    info = zipfile.ZipInfo("x", (2026, 1, 2, 3, 4, 6))
    info.file_size = info.compress_size = size
    info.CRC, info.header_offset, info.external_attr, info.create_system = 7, offset, 0o100644 << 16, 3
    wide = size * 1.05 > (1 << 31) - 1  # as ``ZipFile.open`` decides
    moment = script.dos_moment(info)
    assert script.local_header(info, b"x", moment, wide) == info.FileHeader(wide)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.filelist.append(info)
        zipped._didModify = True  # type: ignore[attr-defined]
    entry = script.directory_entry(info, b"x", moment, wide)
    assert archive.getvalue().startswith(entry)
    (member,) = bundle_reader._read_directory(io.BytesIO(entry), 0, len(entry))
    assert (member.size, member.packed, member.offset) == (size, size, offset)
    local = info.FileHeader(wide)
    at_start = replace(member, offset=0, extra=b"") if offset else member
    found = bundle_reader._check_local(io.BytesIO(local), at_start)
    assert found is not None
    assert member.as_written(45 if wide else 20)


FOLDERS: dict[str, Callable[[Path], object]] = {
    "symlink_file": lambda folder: (folder / "x").symlink_to("/etc/hostname"),
    "symlink_folder": lambda folder: (folder / "x").symlink_to("/etc"),
    "symlink_in_place": lambda folder: _relink(folder / "report.pdf"),
    "symlink_manifest": lambda folder: _relink(folder / "manifest.json"),
    "odd_name": lambda folder: (folder / "é ü.txt").write_bytes(b""),
    "hidden": lambda folder: (folder / ".DS_Store").write_bytes(b""),
}


def _relink(path: Path) -> None:
    copy = path.parent.parent / ("outside-" + path.name)
    path.rename(copy)
    path.symlink_to(copy)


@pytest.mark.parametrize("case", FOLDERS)
def test_tamper_folder(case: str, draft: Draft, both: Both, tmp_path: Path) -> None:
    folder = unpack(draft.members, tmp_path / "folder")
    FOLDERS[case](folder)
    assert both(folder)


# ---------------------------------------------------------------- an insider, who signs the manifest anew


def _swap_proofs(draft: Draft) -> None:
    one, two = draft.json(PROOF), draft.json(f"{SECOND}/proof.json")
    one["captures"][0], two["captures"][0] = (
        {**two["captures"][0], "id": one["captures"][0]["id"]},
        {**one["captures"][0], "id": two["captures"][0]["id"]},
    )
    draft.put(PROOF, one)
    draft.put(f"{SECOND}/proof.json", two)


def _swap_messages(draft: Draft) -> None:
    for name in ("capture-1.eml", "message.eml"):
        a, b = f"{FIRST}/{name}", f"{SECOND}/{name}"
        draft.members[a], draft.members[b] = draft.members[b], draft.members[a]


def _in_capture(**changes: Any) -> Callable[[Draft], None]:
    return lambda draft: draft.edit(PROOF, lambda proof: proof["captures"][0].update(changes))


def _in_entry(**changes: Any) -> Callable[[Draft], None]:
    def change(proof: Any) -> None:
        capture = proof["captures"][0]
        capture["entry"] = canonical({**json.loads(capture["entry"]), **changes}).decode()

    return lambda draft: draft.edit(PROOF, change)


def _in_checkpoint(change: Callable[[Any], None]) -> Callable[[Draft], None]:
    return lambda draft: draft.edit(CHECKPOINT, change)


def _in_root(**changes: Any) -> Callable[[Draft], None]:
    return _in_checkpoint(lambda value: value["root"].update(changes))


def _resign_log(seed: str, size: int | None = None, origin: str | None = None) -> Callable[[Draft], None]:
    """The log's checkpoint, signed by some key, perhaps of another size or log."""

    def change(value: Any) -> None:
        name, count, root = value["note"].split("\n")[:3]
        signer = Signer("a1" * 10, salt_of(seed))
        text = f"{origin or name}\n{size if size is not None else count}\n{root}\n"
        value["note"] = signer.sign_text(text)

    return _in_checkpoint(change)


def _in_manifest(change: Callable[[Any], None]) -> Callable[[Draft], None]:
    return lambda draft: draft.edit("manifest.json", change)


def _drop_last(key: str) -> Callable[[Draft], None]:
    return lambda draft: draft.edit(PROOF, lambda proof: proof["captures"][0][key].pop())


def _foreign_message(draft: Draft) -> None:
    """A message of another tenant, with an honest proof of its own."""
    other = Archive("c3" * 10)
    other.receive(Mail("f1", b"\r\nstranger\r\n"))
    evidence = other.evidence()[0].captures[0]
    proof = evidence.proof
    draft.members[f"{FIRST}/capture-1.eml"] = draft.members[f"{FIRST}/message.eml"] = evidence.raw
    draft.put(
        "checkpoints/2.json",
        {
            "version": 1,
            "note": proof.checkpoint,
            "root": {
                "salt": proof.root.salt.hex(),
                "entry": proof.root.entry.decode(),
                "index": proof.root.index,
                "inclusion": [node.hex() for node in proof.root.inclusion],
                "note": proof.root.checkpoint,
            },
        },
    )
    _in_capture(
        id="f1-0",
        inner_start=0,
        inner_end=len(evidence.raw),
        salt=proof.salt.hex(),
        record_commit=proof.record_commit.hex(),
        entry=proof.entry.decode(),
        index=proof.index,
        inclusion=[node.hex() for node in proof.inclusion],
        checkpoint="checkpoints/2.json",
    )(draft)
    _in_manifest(lambda m: m["messages"][0]["captures"].__setitem__(0, "f1-0"))(draft)
    _in_manifest(lambda m: m["keys"]["log"].append(other.log_key.vkey))(draft)


def _same_capture_twice(draft: Draft) -> None:
    """One message's evidence stands in for another's."""
    proof = {**draft.json(PROOF), "message": "m3", "attachments": []}
    draft.put("messages/LEF0000008/proof.json", proof)
    for name in ("capture-1.eml", "message.eml"):
        draft.members[f"messages/LEF0000008/{name}"] = draft.members[f"{FIRST}/{name}"]
    _in_manifest(lambda m: m["messages"][2].update(captures=["m1-0"]))(draft)


INSIDER: dict[str, tuple[Callable[[Draft], None], str]] = {
    "raw": (lambda d: d.members.update({f"{FIRST}/capture-1.eml": b"other"}), "slice"),
    "raw_same_length": (
        lambda d: d.members.update(
            {
                f"{FIRST}/capture-1.eml": d.members[f"{FIRST}/capture-1.eml"].replace(b"Bonjour", b"Bonsoir"),
                f"{FIRST}/message.eml": d.members[f"{FIRST}/message.eml"].replace(b"Bonjour", b"Bonsoir"),
            }
        ),
        "commit",
    ),
    "message_eml": (lambda d: d.members.update({f"{FIRST}/message.eml": b"other"}), "slice"),
    "swapped_proofs": (_swap_proofs, "entry"),
    "swapped_messages": (_swap_messages, "commit"),
    "salt": (_in_capture(salt="0" * 64), "commit"),
    "record_commit": (_in_capture(record_commit="0" * 64), "commit"),
    "inner_start": (_in_capture(inner_start=1), "slice"),
    "inner_end": (_in_capture(inner_end=10**6), "slice"),
    "inner_crossed": (_in_capture(inner_start=9, inner_end=3), "slice"),
    "index": (_in_capture(index=2), "entry"),
    "index_huge": (_in_capture(index=2**52), "entry"),
    "truncated_proof": (_drop_last("inclusion"), "inclusion"),
    "empty_proof": (_in_capture(inclusion=[]), "inclusion"),
    "longer_proof": (
        lambda d: d.edit(PROOF, lambda p: p["captures"][0]["inclusion"].append("0" * 64)),
        "inclusion",
    ),
    "endless_proof": (_in_capture(inclusion=["0" * 64] * 5000), "inclusion"),
    "checkpoint_missing": (_in_capture(checkpoint="checkpoints/7.json"), "unlisted"),
    "entry_time": (_in_entry(time="2020-01-01T00:00:00.000000Z"), "inclusion"),
    "entry_lock": (_in_entry(lock_until="2020-01-01T00:00:00.000000Z"), "inclusion"),
    "entry_commit": (_in_entry(commit="0" * 64), "commit"),
    "entry_type": (_in_entry(type="act"), "entry"),
    "entry_log": (_in_entry(log="a1" * 10 + "/acts"), "entry"),
    "entry_no_log": (_in_entry(log=7), "entry"),
    "entry_version_true": (_in_entry(version=True), "entry"),
    "entry_version_2": (_in_entry(version=2), "entry"),
    "entry_no_object": (_in_capture(entry="[]"), "entry"),
    "entry_no_json": (_in_capture(entry="{"), "entry"),
    "entry_spaces": (
        lambda d: d.edit(PROOF, lambda p: p["captures"][0].update(entry=p["captures"][0]["entry"] + " ")),
        "entry",
    ),
    "entry_deep": (_in_capture(entry="[" * 100_000 + "]" * 100_000), "entry"),
    "foreign_tenant": (_foreign_message, "tenant"),
    "same_capture_twice": (_same_capture_twice, "entry"),
    "no_captures": (lambda d: d.edit(PROOF, lambda p: p.update(captures=[])), "proof"),
    "other_message": (lambda d: d.edit(PROOF, lambda p: p.update(message="m2")), "proof"),
    "proof_version": (lambda d: d.edit(PROOF, lambda p: p.update(version=2)), "proof"),
    "proof_version_true": (lambda d: d.edit(PROOF, lambda p: p.update(version=True)), "proof"),
    "proof_extra_field": (lambda d: d.edit(PROOF, lambda p: p.update(more=1)), "proof"),
    "proof_types": (_in_capture(index="1"), "proof"),
    "proof_float": (lambda d: d.members.update({PROOF: d.members[PROOF].replace(b":1,", b":1.0,")}), "proof"),
    "proof_negative": (_in_capture(inner_start=-1), "proof"),
    "proof_null": (_in_capture(salt=None), "proof"),
    "proof_hex": (_in_capture(salt="A" * 64), "proof"),
    "proof_hex_newline": (_in_capture(salt="0" * 64 + "\n"), "proof"),
    "proof_list": (lambda d: d.put(PROOF, []), "proof"),
    "proof_deep": (lambda d: d.members.update({PROOF: b"[" * 200_000}), "proof"),
    "proof_not_utf8": (lambda d: d.members.update({PROOF: b"\xff"}), "proof"),
    "proof_duplicate_key": (lambda d: d.members.update({PROOF: b'{"a":1,"a":1}'}), "proof"),
    "proof_huge_number": (lambda d: d.members.update({PROOF: b"9" * 10_000}), "proof"),
    "proof_infinity": (lambda d: d.members.update({PROOF: b"Infinity"}), "proof"),
    "proof_file_elsewhere": (_in_capture(file="../capture-1.eml"), "proof"),
    "attachment_dropped": (lambda d: d.edit(PROOF, lambda p: p.update(attachments=[])), "counts"),
    "other_log_key": (_resign_log("a stranger"), "checkpoint"),
    "larger_checkpoint": (_resign_log("log key " + "a1" * 10, size=99), "anchor"),
    "checkpoint_other_log": (
        _resign_log("log key " + "a1" * 10, origin="a1" * 10 + "/capture-2"),
        "checkpoint",
    ),
    "checkpoint_unsigned": (_in_checkpoint(lambda v: v.update(note="x\n1\ny\n")), "checkpoint"),
    "checkpoint_cut": (_in_checkpoint(lambda v: v.update(note=v["note"][:-9] + "\n")), "checkpoint"),
    "checkpoint_size_zero_padded": (_resign_log("log key " + "a1" * 10, size=-0), "anchor"),
    "checkpoint_version": (_in_checkpoint(lambda v: v.update(version=3)), "checkpoint"),
    "checkpoint_no_root": (_in_checkpoint(lambda v: v.pop("root")), "checkpoint"),
    "anchor_salt": (_in_root(salt="0" * 64), "anchor"),
    "anchor_index": (_in_root(index=0), "anchor"),
    "anchor_inclusion": (_in_root(inclusion=[]), "anchor"),
    "anchor_entry_json": (_in_root(entry="null"), "anchor"),
    "anchor_note": (_in_root(note="x"), "anchor"),
    "anchor_entry_invented": (
        _in_checkpoint(
            lambda v: v["root"].update(
                entry=canonical({**json.loads(v["root"]["entry"]), "anchors": ["0" * 64]}).decode()
            )
        ),
        "anchor",
    ),
    "anchor_other_log": (
        _in_checkpoint(
            lambda v: v["root"].update(
                entry=canonical({**json.loads(v["root"]["entry"]), "log": "b2" * 10 + "/acts"}).decode()
            )
        ),
        "anchor",
    ),
    "anchor_signed_by_log": (
        _in_checkpoint(
            lambda v: v["root"].update(
                note=small_archive().log_key.sign_text("\n".join(v["root"]["note"].split("\n")[:3]) + "\n")
            )
        ),
        "anchor",
    ),
    "keys_swapped": (
        _in_manifest(lambda m: m["keys"].update(log=m["keys"]["root"], root=m["keys"]["log"])),
        "checkpoint",
    ),
    "keys_none": (_in_manifest(lambda m: m["keys"].update(log=[])), "checkpoint"),
    "key_malformed": (_in_manifest(lambda m: m["keys"]["log"].append("x+00000000+AA==")), "manifest"),
    "key_hash": (
        _in_manifest(
            lambda m: m["keys"]["log"].append(re.sub(r"\+.{8}\+", "+00000000+", m["keys"]["log"][0]))
        ),
        "manifest",
    ),
    "count_messages": (_in_manifest(lambda m: m["counts"].update(messages=4)), "counts"),
    "count_captures": (_in_manifest(lambda m: m["counts"].update(captures=3)), "counts"),
    "count_attachments": (_in_manifest(lambda m: m["counts"].update(attachments=0)), "counts"),
    "count_pages": (_in_manifest(lambda m: m["counts"].update(pages=9)), "bates"),
    "count_true": (_in_manifest(lambda m: m["counts"].update(attachments=True)), "manifest"),
    "bates_gap": (_in_manifest(lambda m: m["messages"][1]["bates"].update(last="LEF0000006")), "bates"),
    "bates_first": (_in_manifest(lambda m: m["bates"].update(first="LEF0000005")), "bates"),
    "bates_prefix": (_in_manifest(lambda m: m["bates"].update(prefix="XYZ")), "bates"),
    "bates_word": (_in_manifest(lambda m: m["bates"].update(last="LEF00000xx")), "bates"),
    "folder_moved": (_in_manifest(lambda m: m["messages"][0].update(folder="messages/x")), "bates"),
    "message_dropped": (_in_manifest(lambda m: m["messages"].pop(1)), "unexplained"),
    "message_twice": (_in_manifest(lambda m: m["messages"].append(m["messages"][0])), "manifest"),
    "no_messages": (_in_manifest(lambda m: m.update(messages=[])), "unexplained"),
    "extra_file": (lambda d: d.members.update({f"{FIRST}/extra.eml": b"x"}), "unexplained"),
    "extra_checkpoint": (
        lambda d: d.members.update({"checkpoints/2.json": d.members[CHECKPOINT]}),
        "unexplained",
    ),
    "report_unlisted": (_in_manifest(lambda m: m.update(reports=["report.pdf", "report-2.pdf"])), "unlisted"),
    "report_elsewhere": (_in_manifest(lambda m: m.update(reports=["../report.pdf"])), "manifest"),
    "format": (_in_manifest(lambda m: m.update(format="archive-service/bundle/v2")), "manifest"),
    "manifest_extra": (_in_manifest(lambda m: m.update(more=[])), "manifest"),
    "export_id": (_in_manifest(lambda m: m["export"].update(id="a b")), "manifest"),
}


@pytest.mark.parametrize("case", INSIDER)
def test_tamper_insider(case: str, draft: Draft, verdict: Verdict) -> None:
    """The manifest is true and signed, so the proofs alone must tell."""
    change, kind = INSIDER[case]
    change(draft)
    draft.reseal()
    assert kind in {line.split(" ")[0] for line in verdict(draft)}


SEALS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda note: b"",
    "not_utf8": lambda note: b"\xff" + note,
    "second_line": lambda note: note + "— other AAAAAAAA\n".encode(),
    "unknown_key": lambda note: note.replace(b"b2b2b2", b"b3b3b3"),
    "base64_bits": lambda note: note[:-3] + bytes([note[-3] + 1]) + note[-2:],
    "carriage_returns": lambda note: note.replace(b"\n", b"\r\n"),
    "count": lambda note: (
        small_archive()
        .root_key.sign_text(note.decode().split("\n\n")[0].replace("\n13\n", "\n12\n") + "\n")
        .encode()
    ),
    "other_export": lambda note: (
        small_archive()
        .root_key.sign_text(note.decode().split("\n\n")[0].replace("/0123", "/0124") + "\n")
        .encode()
    ),
    "stranger": lambda note: (
        Signer("b2" * 10, salt_of("x")).sign_text(note.decode().split("\n\n")[0] + "\n").encode()
    ),
}


@pytest.mark.parametrize("case", SEALS)
def test_tamper_seal(case: str, draft: Draft, verdict: Verdict) -> None:
    before = draft.members["manifest.sig"]
    draft.members["manifest.sig"] = SEALS[case](before)
    assert draft.members["manifest.sig"] != before
    assert verdict(draft) == {"seal manifest.sig"}


def test_tamper_pinned_keys(draft: Draft, script: ModuleType, tmp_path: Path) -> None:
    """A bundle made anew by a stranger verifies by its own keys, but not by those on paper."""
    path, archive = tmp_path / "b.zip", small_archive()
    path.write_bytes(zip_of(entries_of(draft.members)))
    pins = [*archive.keys.log, *archive.keys.root]
    stranger = Signer("b2" * 10, salt_of("stranger")).vkey
    for pinned, fails in ((pins, False), (pins[:1], True), (pins[1:], True), ([stranger], True)):
        ours = {line.split(":")[0] for line in verify_bundle(path, pinned)}
        theirs = {line.split(":")[0] for line in script.check(path, pinned, lambda line: None)}
        assert ours == theirs
        assert bool(ours) is fails
    with pytest.raises(Invalid):
        verify_bundle(path, ["not a key"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_tamper_random_values_in_records(
    draft: Draft, both: Both, tmp_path: Path, data: st.DataObject
) -> None:
    """Any JSON in any place of any record, signed anew: no traceback, no disagreement."""
    record = data.draw(st.sampled_from(["manifest.json", PROOF, CHECKPOINT]))
    members = dict(draft.members)
    whole = draft.json(record)
    path = data.draw(st.sampled_from([path for path in _leaves(whole) if path]))
    value = data.draw(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8"), max_size=9),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner),
            max_leaves=4,
        )
    )
    trial = Draft(members, draft.signer)
    trial.edit(record, lambda whole: _set(whole, path, value))
    if record != "manifest.json":
        trial.reseal()
    elif path[:2] != ("export", "id") and path[0] not in ("export", "files"):
        trial.sign()
    (tmp_path / "b.zip").write_bytes(zip_of(entries_of(trial.members)))
    both(tmp_path / "b.zip")


# ---------------------------------------------------------------- the script as people run it


def _run(*words: str | Path, path: str | None = None) -> tuple[int, str]:
    environment = {"PATH": path} if path is not None else None
    done = subprocess.run(
        [sys.executable, *map(str, words)], env=environment, capture_output=True, text=True, timeout=60
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout


def test_script_runs_bare_in_its_folder(draft: Draft, tmp_path: Path) -> None:
    folder = unpack(draft.members, tmp_path / "folder")
    code, said = _run(folder / "verify.py")
    assert code == 0 and said.endswith("OK: every file and every proof is in order\n")
    assert "LEF0000001 to LEF0000008" in said
    (folder / "report.pdf").write_bytes(b"other")
    code, said = _run(folder / "verify.py")
    assert code == 1 and "FAILED size report.pdf" in said and "NOT OK" in said


def test_script_takes_a_zip_and_keys(honest: Path) -> None:
    keys = [
        word for key in (*small_archive().keys.log, *small_archive().keys.root) for word in ("--key", key)
    ]
    assert _run(SCRIPT, *keys, honest)[0] == 0
    assert _run(SCRIPT, *keys[:2], honest)[0] == 1


@pytest.mark.parametrize("words", [["--what"], ["a", "b"], ["/no/such/bundle"], ["--key"], ["--key", "x"]])
def test_script_wrong_use(words: list[str]) -> None:
    assert _run(SCRIPT, *words)[0] == 2


def test_script_without_openssl_says_so(draft: Draft, tmp_path: Path) -> None:
    """It cannot say OK, but still names every changed file."""
    folder = unpack(draft.members, tmp_path / "folder")
    code, said = _run(folder / "verify.py", path=str(tmp_path))
    assert code == 1 and "openssl command was not found" in said and said.count("FAILED") == 1
    (folder / f"{FIRST}/message.eml").write_bytes(b"other")
    assert f"FAILED size {FIRST}/message.eml" in _run(folder / "verify.py", path=str(tmp_path))[1]


@pytest.mark.parametrize("body", ["exit 0", "exit 1"], ids=["says_yes", "says_no"])
def test_script_does_not_trust_any_openssl(body: str, draft: Draft, tmp_path: Path) -> None:
    folder = unpack(draft.members, tmp_path / "folder")
    fake = tmp_path / "bin" / "openssl"
    fake.parent.mkdir()
    fake.write_text(f"#!/bin/sh\n{body}\n")
    fake.chmod(0o755)
    code, said = _run(folder / "verify.py", path=str(fake.parent))
    assert code == 1 and "OpenSSL 3.0 is needed" in said


def test_tamper_script_ignores_modules_and_openssl_in_the_bundle(draft: Draft, tmp_path: Path) -> None:
    folder = unpack(draft.members, tmp_path / "folder")
    for name in ("json", "hashlib", "zipfile", "base64"):
        (folder / f"{name}.py").write_text("import sys; print('OK'); sys.exit(0)")
    code, said = _run(folder / "verify.py")
    assert code == 1 and "FAILED added hashlib.py" in said
    (folder / "openssl").write_text("#!/bin/sh\nexit 0\n")
    (folder / "openssl").chmod(0o755)
    assert "lies inside the bundle" in _run(folder / "verify.py", path=str(folder))[1]


def test_script_needs_the_standard_library_only() -> None:
    """And no syntax newer than Python 3.8."""
    import ast

    tree = ast.parse(SCRIPT.read_text(encoding="ascii"), feature_version=(3, 8))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names
    newer = ("removeprefix", "removesuffix", "is_relative_to", "str | None", "list[", "dict[")
    assert not [word for word in newer if word in SCRIPT.read_text(encoding="ascii")]
